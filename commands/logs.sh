# commands/logs.sh: what the services of a mode say; on a terminal it follows until Ctrl-C.
# usage: sh run.sh [-0|-1|-2] logs [SERVICE] [COMPOSE LOGS ARGUMENTS...]

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
    # In production the site is the live one of two colours.
    if [ "$MODE" = prod ] && [ "${1-}" = web ]; then
        shift
        set -- "$(web_service prod)" "$@"
    fi
    case " $* " in
    *" -"*) ;;
    *) set -- --tail 200 "$@" && [ ! -t 1 ] || set -- --follow "$@" ;;
    esac
    compose "$MODE" logs "$@"
}

logs_local() {
    say "the dev server writes to the terminal in which sh run.sh -2 runs"
    [ ! -f "$EMBEDDED/server.log" ] || tail -n 200 "$EMBEDDED/server.log"
}
