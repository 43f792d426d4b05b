# commands/status.sh: what runs, in which mode, whether it is healthy, which version, and where.
# usage: sh run.sh [-0|-1|-2] status

main() {
    [ $# -eq 0 ] || usage_error "status takes no argument '$1'"
    read_environment
    status_modes=${MODE:-$(possible_modes)}
    if problem=$(engine_problem); then :; else
        say "Docker: $(printf '%s\n' "$problem" | head -n 1)"
    fi
    for status_mode in $status_modes; do
        case $status_mode in
        local) show_local ;;
        *) [ -n "$problem" ] || show_mode "$status_mode" ;;
        esac
    done
}

show_mode() { # show_mode prod|dev
    status_owner=$(other_owners "$1" | head -n 1)
    if [ -n "$status_owner" ]; then
        printf '%-12s belongs to the clone in %s (PROJECT_NAME %s)\n' "$(mode_name "$1")" "$status_owner" "$PROJECT_NAME"
        return
    fi
    if ! mode_runs "$1" && ! is_running "$1" db; then
        printf '%-12s stopped   (start: sh run.sh %s)\n' "$(mode_name "$1")" "$(mode_flag "$1")"
        return
    fi
    if mode_runs "$1"; then
        printf '%-12s version %s\n' "$(mode_name "$1")" "$(version_of "$1")"
    else
        printf '%-12s its database only\n' "$(mode_name "$1")"
    fi
    case $1 in
    prod)
        show_service prod proxy "$(production_address)"
        show_service prod "$(web_service prod)" "live"
        ;;
    dev)
        show_service dev web "http://127.0.0.1:$DEV_PORT/"
        show_service dev pgadmin "http://127.0.0.1:$PGADMIN_PORT/"
        ;;
    esac
    show_service "$1" db "$([ "$1" = prod ] || printf '127.0.0.1:%s' "$DEV_DB_PORT")"
}

show_service() { # show_service MODE SERVICE WHERE
    printf '  %-10s %-10s %s\n' "$2" "$(state_of "$1" "$2")" "$3"
}

version_of() { # version_of MODE: what the serving container was told of itself
    version_container=$(container_of "$1" "$(web_service "$1")")
    [ -n "$version_container" ] || { printf 'none' && return; }
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$version_container" | sed -n 's/^APP_VERSION=//p'
}

show_local() {
    if ! local_server_runs; then
        printf '%-12s stopped   (start: sh run.sh -2)\n' local
        return
    fi
    printf '%-12s process %s\n' local "$(cut -d ' ' -f 1 "$SERVER_PID_FILE")"
    printf '  %-10s %-10s %s\n' web running "http://127.0.0.1:$LOCAL_PORT/"
    choose_local_database
    case $LOCAL_DATABASE in
    docker) show_service dev db "127.0.0.1:$DEV_DB_PORT" ;;
    embedded) printf '  %-10s %-10s %s\n' db "$(case $(embedded status --data "$EMBEDDED" 2>&1) in *" runs on "*) printf running ;; *) printf stopped ;; esac)" "127.0.0.1:$DEV_DB_PORT" ;;
    esac
}
