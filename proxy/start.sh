# proxy/start.sh: the first process of the proxy's container. It runs Caddy, and when Caddy should run with something else
# (settings, Caddyfile, certificates), another one beside it that takes over: lib/proxy.sh, docs/decisions/proxy-exchange.md.
# usage: sh start.sh run                 run Caddy until the container is stopped
#        sh start.sh validate SETTINGS   would Caddy start with that file of settings, and the Caddyfile as it is now?
#        sh start.sh current SETTINGS    is that what the Caddy that serves was started with?
#        sh start.sh next [PROTOCOLS]    have another Caddy take over, which is waited for; false if it does not start
#        sh start.sh old                 print the process of the Caddy that it took over from, if that still runs
#        sh start.sh leave SECONDS       end that one, when it has no connection left or after so many seconds
#        sh start.sh healthy             does the Caddy that serves answer?
#        sh start.sh upstreams           print what the Caddy that serves says of its requests to the site, in JSON
#
# The two have a slot each, 0 or 1: ports for the health check (2020 or 2021) and for questions (2010 or 2011), and a file
# that tells it to leave. Beside each runs one that sends files, as nobody (files.Caddyfile; 2040 and 2050, or 2041 and 2051).

CADDYFILE=/etc/caddy/site/Caddyfile
FILES_CADDYFILE=/etc/caddy/site/files.Caddyfile
SETTINGS=/etc/caddy/live/settings
ALL_PROTOCOLS="h1 h2 h3"
START_SECONDS=30
NEXT_SECONDS=300 # one that was left by an exchange before may have to end first

run() {
    slot=1 old='' files='' old_files=''
    # A hold of requests does not outlive the container (proxy/hold.sh).
    : >/tmp/hold
    : >/tmp/patient
    printf '%s' "$ALL_PROTOCOLS" >/tmp/protocols
    launch
    serving=$new
    trap take_over HUP
    trap forget_old USR1
    trap 'kill -s TERM "$serving" $old 2>/dev/null' TERM INT
    # A trap ends the wait early, and another process may be the one that serves then.
    while kill -0 "$serving" 2>/dev/null; do
        status=0
        wait "$serving" || status=$?
    done
    [ -z "$old" ] || wait "$old"
    exit "$status"
}

launch() { # starts $new, in the slot that the one that serves does not have
    slot=$((1 - slot))
    : >"/tmp/leaving-$slot"
    read_settings "$SETTINGS" "$(cat /tmp/protocols)"
    adapt >"/tmp/config-$slot" || true
    files=
    if [ "$FILES" = apart ]; then
        SLOT=$slot serve_files &
        files=$!
    fi
    SLOT=$slot "$CADDY" run --config "$CADDYFILE" --adapter caddyfile &
    new=$!
    printf '%s' "$slot" >/tmp/slot
}

# In a process of its own, until that is told to end.
serve_files() {
    trap 'kill -s TERM "$sender" 2>/dev/null; wait "$sender"; exit 0' TERM
    export SLOT CADDY FILES_CADDYFILE
    while :; do
        # shellcheck disable=SC2016 # for that shell
        su -s /bin/sh -c 'exec "$CADDY" run --config "$FILES_CADDYFILE" --adapter caddyfile' nobody &
        sender=$!
        wait "$sender" || true
        sleep 1
    done
}

# By SIGHUP. What was left of an exchange before is told to end, and not waited for any longer.
take_over() {
    if [ -n "$old" ]; then
        kill -s TERM "$old" 2>/dev/null
        forget_old
    fi
    files_before=$files
    launch
    if started "$new" "$slot"; then
        old=$serving serving=$new
        old_files=$files_before
        printf '%s' "$old" >/tmp/old
        # From now on it closes each connection with the answer to its next request.
        printf 1 >"/tmp/leaving-$((1 - slot))"
        printf started >/tmp/outcome
    else
        kill -s KILL "$new" 2>/dev/null
        wait "$new"
        end_files "$files"
        files=$files_before
        slot=$((1 - slot))
        printf '%s' "$slot" >/tmp/slot
        printf failed >/tmp/outcome
    fi
}

started() { # started PID SLOT: it answers
    tries=$((START_SECONDS * 10))
    while runs "$1" && [ "$tries" -gt 0 ]; do
        ! answers "$2" || return 0
        tries=$((tries - 1))
        sleep 0.1
    done
    return 1
}

# By SIGUSR1, when it has ended.
forget_old() {
    wait "$old"
    end_files "$old_files"
    old='' old_files=''
    rm -f /tmp/old
}

end_files() { # end_files PID
    [ -z "$1" ] || kill -s TERM "$1" 2>/dev/null || true
}

answers() { # answers SLOT
    wget -q -O /dev/null "http://127.0.0.1:202$1/" 2>/dev/null
}

runs() { # runs PID: and is not one that has ended, of which its parent has not heard yet
    case $(cat "/proc/${1:-none}/stat" 2>/dev/null) in '' | *') Z '*) return 1 ;; esac
}

# Into the environment, for the {$NAME} of the Caddyfile.
read_settings() { # read_settings FILE PROTOCOLS
    set -a
    # shellcheck source=/dev/null
    [ ! -e "$1" ] || . "$1"
    PROTOCOLS=$2
    FILES=direct
    # Not in a container that an older kit started, nor in an image without these.
    ! su -s /bin/sh -c true nobody 2>/dev/null || FILES=apart
    set +a
    # One that was copied out of a newer image, as long as it is there.
    [ -x "${CADDY-}" ] || CADDY=caddy
}

adapt() { # which Caddy, what it makes of the Caddyfile, but for the slot, and how much memory it may use
    printf '%s %s\n' "$CADDY" "${GOMEMLIMIT-}"
    SLOT=0 "$CADDY" adapt --config "$CADDYFILE" --adapter caddyfile 2>/dev/null
}

validate() { # validate SETTINGS
    read_settings "$1" "$ALL_PROTOCOLS"
    SLOT=0 exec "$CADDY" validate --config "$CADDYFILE" --adapter caddyfile
}

current() { # current SETTINGS
    read_settings "$1" "$ALL_PROTOCOLS"
    [ "$(adapt)" = "$(cat "/tmp/config-$(cat /tmp/slot)")" ]
}

next() { # next [PROTOCOLS]
    # In a container that an older kit started it is not there.
    [ -e /tmp/patient ] || : >/tmp/patient
    # Not there where docker-compose.override.yml has another command for the proxy.
    [ -s /tmp/slot ] || return 1
    printf '%s' "${1:-$ALL_PROTOCOLS}" >/tmp/protocols
    rm -f /tmp/outcome
    kill -s HUP 1
    tries=$((NEXT_SECONDS * 10))
    while [ ! -s /tmp/outcome ] && [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    [ "$(cat /tmp/outcome 2>/dev/null)" = started ]
}

old() {
    ! runs "$(cat /tmp/old 2>/dev/null)" || cat /tmp/old
}

# Two looks: at the first one a connection may be on its way. With `caddy stop` requests on their way end, for WEB_TIMEOUT
# seconds (grace_period); streams and WebSockets are closed.
leave() { # leave SECONDS
    leaving=$(old)
    [ -n "$leaving" ] || return 0
    # A connection that was handed on before it was accepted may wake nobody up until the next one comes: here it is. With
    # no valid name it gets an error from Caddy, and does not reach the site.
    for port in 80 443; do wget -q -T 1 -O /dev/null --header "Host: <" "http://127.0.0.1:$port/" 2>/dev/null || true; done
    until=$(($(date +%s) + $1))
    quiet=0
    while [ "$quiet" -lt 2 ] && [ "$(date +%s)" -lt "$until" ]; do
        if [ "$(connections "$leaving")" -eq 0 ]; then quiet=$((quiet + 1)); else quiet=0; fi
        sleep 0.2
    done
    kill -s TERM "$leaving"
    while runs "$leaving"; do sleep 0.1; done
    kill -s USR1 1
}

# Those of visitors: at port 80 (0050) or 443 (01BB) and not listening (0A). Column 10 is the socket's inode.
connections() { # connections PID: how many it has
    # shellcheck disable=SC2012 # only numbers are read of it
    ls -l "/proc/$1/fd" | sed -n 's/.*socket:\[\([0-9]*\)\].*/\1/p' | awk '
        FILENAME == "-" { own[$1]; next }
        $4 != "0A" && $2 ~ /:(0050|01BB)$/ && ($10 in own) { count++ }
        END { print count + 0 }' - /proc/net/tcp /proc/net/tcp6
}

upstreams() {
    wget -q -O - "http://127.0.0.1:201$(cat /tmp/slot)/reverse_proxy/upstreams"
}

healthy() {
    answers "$(cat /tmp/slot)"
}

"$@"
