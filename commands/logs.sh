# commands/logs.sh: show the logs of a mode's services; on a terminal it follows them until Ctrl-C.
# usage: sh run.sh [-0|-1|-2] logs [--json] [SERVICE] [COMPOSE LOGS ARGUMENTS...]
#
# The site's JSON lines are shown as text, tracebacks line by line. --json shows them as they were written.
# The logs of production containers that a later release replaced are in .postdo/log/released-*.log.

main() {
    enter_mode
    case $MODE in
    local) logs_local ;;
    *) logs_in_docker "$@" ;;
    esac
}

logs_in_docker() {
    require_engine
    require_own_stack "$MODE"
    logs_json=
    if [ "${1-}" = --json ]; then
        logs_json=yes
        shift
    fi
    # In production the site and its companions are those of the live colour.
    if [ "$MODE" = prod ] && [ -n "${1-}" ]; then
        case " web $(companions)" in *" $1 "*)
            logs_service="$1-$(live_colour)"
            shift
            set -- "$logs_service" "$@"
            ;;
        esac
    fi
    case " $* " in
    *" -"*) ;;
    *) set -- --tail 200 "$@" && [ ! -t 1 ] || set -- --follow "$@" ;;
    esac
    # Colours are for a terminal, and not for what a file or another program gets.
    if [ -t 1 ]; then
        COMPOSE_ANSI=always
        export COMPOSE_ANSI
    else
        set -- --no-color "$@"
    fi
    # The status is that of Compose, and not of who reads what it says.
    { logs_status=$({ { if compose "$MODE" logs "$@"; then printf 0 >&4; else printf 1 >&4; fi; } | read_logs >&5; } 4>&1); } 5>&1
    return "$logs_status"
}

# mawk waits for a full buffer unless it is told not to; no other awk knows the option.
read_logs() {
    case $(awk -W version 2>&1 </dev/null) in
    mawk*) LC_ALL=C awk -W interactive -v json="$logs_json" -f "$ROOT/lib/logs.awk" ;;
    *) LC_ALL=C awk -v json="$logs_json" -f "$ROOT/lib/logs.awk" ;;
    esac
}

logs_local() {
    say "the local server (-2) writes its log to the terminal in which you started it"
    [ ! -f "$EMBEDDED/server.log" ] || tail -n 200 "$EMBEDDED/server.log"
}
