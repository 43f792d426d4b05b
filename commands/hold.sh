# commands/hold.sh: let requests wait while a command runs, such as a restart of the database, instead of failing.
# usage: sh run.sh hold COMMAND [ARGUMENT]...
#
# First the requests that are under way get 10 s to end. Those that come meanwhile wait in the proxy until COMMAND has
# ended and the site is healthy again, each for 30 s at most; then it gets an error (503). After 300 s nothing waits any
# more. COMMAND is a program of this machine, such as `docker restart postdo-prod-db-1`, and its exit code is that of hold.

main() {
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "hold is for production: sh run.sh hold COMMAND" ;; esac
    case ${1-} in
    '') usage_error "hold needs a command to run while requests wait" ;;
    -*) unknown_argument "$1" ;;
    esac
    require_engine
    read_environment
    require_own_stack prod
    is_running prod proxy || fail "the proxy is not running, so no requests can wait" "start production: sh run.sh -0; or run the command without hold"
    make_state_folder "$STATE"
    take_lock hold
    open_log hold
    require_proxy_knows /tmp/hold
    hold_was_well=
    ! site_is_well prod || hold_was_well=yes
    drain_open=0
    # What COMMAND prints is all there is on standard output.
    try "Hold requests" hold_requests >&2 || step_failed "holding requests"
    [ "$drain_open" -eq 0 ] || warn "some requests were still running after $DRAIN_LIMIT s; the command does not wait for them"
    hold_began=$(date +%s)
    hold_result=0
    (forget_environment && export POSTDO_HELD=yes && command "$@") || hold_result=$?
    # docker restart, for one, does not wait until PostgreSQL answers.
    [ -z "$hold_was_well" ] || wait_until "$HELD_SECONDS" site_is_well prod || true
    hold_took=$(($(date +%s) - hold_began))
    # The proxy may be gone by what the command did, and with it whoever waited there; its exit code is that of hold.
    try "Let requests through" release_requests >&2 ||
        warn "the proxy does not answer, so requests that waited there may have failed; check the site: sh run.sh -0 status"
    [ "$hold_took" -lt "$HOLD_LIMIT" ] || warn "requests were let through after $HOLD_LIMIT s, although the command was still running"
    [ "$hold_took" -lt "$HELD_SECONDS" ] || warn "the command took $hold_took s; requests that waited for $HELD_SECONDS s got 503"
    exit "$hold_result"
}
