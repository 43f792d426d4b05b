# lib/hold.sh: requests wait in the proxy while something is done that they would not survive. proxy/hold.sh is its half in
# the proxy's container.
#
# A hold lives as long as the input of a `docker exec`, whose other end run.sh has open, and what run.sh starts meanwhile:
# when all of them have ended, also by kill -9, the hold ends. In the memory of the container, it survives no restart either.

HELD_SECONDS=30 # proxy/Caddyfile: then a request that waits gets 503
DRAIN_LIMIT=10  # seconds; requests that were under way before, and take longer, are not waited for
HOLD_LIMIT=300  # seconds for the whole, should nobody be left who could end it
HOLD=           # the process of that `docker exec`

# One hold at a time: the end of the other one would let through what waits for this.
hold_requests() {
    [ -z "${POSTDO_HELD-}" ] || return 0 # by the run.sh hold that this one is the command of
    case " $LOCKS " in
    *" hold "*) ;;
    *)
        wait_until "$HOLD_LIMIT" hold_is_free || return 1
        take_lock hold
        ;;
    esac
    undo_with release_requests
    hold_pipe="$STATE/hold.$$"
    rm -f "$hold_pipe" && mkfifo "$hold_pipe" || return 1
    in_hold -i hold "$HOLD_LIMIT" <"$hold_pipe" &
    HOLD=$!
    exec 9>"$hold_pipe"
    rm -f "$hold_pipe"
    wait_until 5 in_hold held || return 1
    drain "$(live_colour)" "$DRAIN_LIMIT"
}

hold_is_free() {
    ! is_locked hold
}

# By another run.sh, whose lock locked_by has then.
requests_are_held() {
    is_running prod proxy && is_locked hold && in_hold held 2>/dev/null
}

release_requests() {
    UNDO=${UNDO#release_requests }
    [ -n "$HOLD" ] || return 0
    exec 9>&-
    release_status=0
    in_hold end || release_status=$?
    kill "$HOLD" 2>/dev/null || true
    wait "$HOLD" 2>/dev/null || true
    HOLD=
    release_lock hold
    return "$release_status"
}

in_hold() { # in_hold [-i] hold|held|end [SECONDS]: -i with an input
    hold_input=
    [ "$1" != -i ] || { hold_input=-i && shift; }
    docker exec ${hold_input:+"$hold_input"} "$(container_of prod proxy)" sh /etc/caddy/site/hold.sh "$@"
}

# Where they cannot be held, visitors get an error for as long as it takes.
while_held() { # while_held COMMAND...
    hold_requests || printf 'the requests could not be held\n'
    held_status=0
    "$@" || held_status=$?
    release_requests || true
    return "$held_status"
}
