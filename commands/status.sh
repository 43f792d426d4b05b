# commands/status.sh: show what runs in each mode, its version and address, and whether visitors get pages.
# usage: sh run.sh [-0|-1|-2] status
#
# Exits with 0 if the mode is healthy, 1 if it is unhealthy, 2 if nothing answers. It asks for the page HEALTH_PATH through
# the proxy, as a visitor does. Without a mode, the worst of those that run counts, and production if it was ever released.

WELL=0
ILL=1
DOWN=2

main() {
    take_no_arguments "$@"
    read_environment
    problem=$(engine_problem) || say "Docker: $(printf '%s\n' "$problem" | head -n 1)"
    status_worst=$WELL
    for status_mode in ${MODE:-prod dev local}; do
        status_code=$WELL
        "status_of_$status_mode" || status_code=$?
        ! status_counts "$status_mode" || [ "$status_code" -le "$status_worst" ] || status_worst=$status_code
    done
    exit "$status_worst"
}

# A mode that nobody has started is not ill.
status_counts() { # status_counts MODE
    [ -z "$MODE" ] || return 0
    case $1 in
    prod) [ -n "$(live_colour)" ] && return ;;
    local) local_server_runs && return ;;
    esac
    [ -z "$problem" ] && mode_runs "$1"
}

status_of_prod() {
    begin_in_docker prod || return "$DOWN"
    status_web=$(web_service prod)
    # shellcheck disable=SC2046 # split on purpose: a port, and a name if there is one
    if maintenance_is_on; then
        # Through the proxy there is the page alone.
        ANSWER=$(ask_as_visitor prod "$status_web" 127.0.0.1 8000)
    else
        ANSWER=$(ask_as_visitor prod "$status_web" proxy $(if serves_https; then printf '443 %s' "$DOMAIN"; else printf 80; fi))
    fi
    show_service prod proxy "$(production_address)"
    show_service prod "$status_web" live
    show_service prod db ""
    show_disorder prod
    ! serves_https || for status_name in $(own_domains); do
        printf '  %-10s %s\n' certificate "$(describe_certificate "$status_name")"
    done
    ! maintenance_is_on || printf '  %-10s since %s, visitors get its page; end it: sh run.sh maintenance off\n' maintenance "$(maintenance_since)"
    judge prod proxy "$status_web" db
}

status_of_dev() {
    begin_in_docker dev || return "$DOWN"
    ANSWER=$(ask_as_visitor dev web 127.0.0.1 8000)
    show_service dev web "http://127.0.0.1:$DEV_PORT/"
    show_service dev pgadmin "http://127.0.0.1:$PGADMIN_PORT/"
    show_service dev db "127.0.0.1:$DEV_DB_PORT"
    show_disorder dev
    judge dev web db
}

# The head of a mode's lines. False if nobody can be served: no engine, another folder's, stopped.
begin_in_docker() { # begin_in_docker prod|dev
    [ -z "$problem" ] || return 1
    status_owner=$(other_owners "$1" | head -n 1)
    if [ -n "$status_owner" ]; then
        printf '%-12s belongs to the clone in %s (PROJECT_NAME %s)\n' "$(mode_name "$1")" "$status_owner" "$PROJECT_NAME"
        return 1
    fi
    if mode_runs "$1"; then
        printf '%-12s version %s\n' "$(mode_name "$1")" "$(version_of "$1")"
        return
    fi
    if is_running "$1" db; then
        printf '%-12s only its database runs\n' "$(mode_name "$1")"
        show_service "$1" db "$([ "$1" = prod ] || printf '127.0.0.1:%s' "$DEV_DB_PORT")"
    else
        printf '%-12s stopped   (start: sh run.sh %s)\n' "$(mode_name "$1")" "$(mode_flag "$1")"
    fi
    return 1
}

# Asked now, by this clone's own script in the site's container: Docker's check is half a minute behind.
ask_as_visitor() { # ask_as_visitor MODE SERVICE HOST PORT [DOMAIN]: prints what a visitor gets, such as "200 for /readyz"
    is_running "$1" "$2" || { printf 'no page: %s is not running' "$2" && return; }
    visitor_container=$(container_of "$1" "$2")
    shift 2
    in_time docker exec -i "$visitor_container" python -I -S - "$HEALTH_PATH" "$@" <"$ROOT/healthcheck.py" 2>&1 | tail -n 1
}

is_a_page() { # is_a_page ANSWER
    case $1 in [1-4][0-9][0-9]" "*) ;; *) return 1 ;; esac
}

# The last line, and the verdict.
judge() { # judge MODE SERVICE...: those that have to be well besides
    judge_mode=$1
    printf '  %-10s %s\n' "$([ "$judge_mode" = prod ] && maintenance_is_on && printf 'site' || printf visitors)" "get ${ANSWER:-no answer}"
    shift
    judge_code=$DOWN
    case $ANSWER in 5[0-9][0-9]" "*) judge_code=$ILL ;; esac
    ! is_a_page "$ANSWER" || judge_code=$WELL
    for judge_service in "$@"; do
        [ "$judge_code" -ne "$WELL" ] || is_well "$judge_mode" "$judge_service" || judge_code=$ILL
    done
    return "$judge_code"
}

# A site that gives no visitor the page is not healthy, whatever Docker has last seen.
show_service() { # show_service MODE SERVICE WHERE
    show_state=$(state_of "$1" "$2")
    case $2-$show_state in web*-healthy) is_a_page "$ANSWER" || show_state=unhealthy ;; esac
    printf '  %-10s %-10s %s\n' "$2" "$show_state" "$3"
}

version_of() { # version_of MODE: what the serving container was told of itself
    version_container=$(container_of "$1" "$(web_service "$1")")
    [ -n "$version_container" ] || { printf 'none' && return; }
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$version_container" | sed -n 's/^APP_VERSION=//p'
}

status_of_local() {
    if ! local_server_runs; then
        printf '%-12s stopped   (start: sh run.sh -2)\n' local
        return "$DOWN"
    fi
    local_code=$WELL
    local_answer=$("$VENV/bin/python" -I -S "$ROOT/healthcheck.py" "$HEALTH_PATH" 127.0.0.1 "$LOCAL_PORT" 2>&1) || local_code=$ILL
    case $local_answer in [1-5][0-9][0-9]" "*) ;; *) local_code=$DOWN ;; esac
    printf '%-12s process %s\n' local "$(cut -d ' ' -f 1 "$SERVER_PID_FILE")"
    printf '  %-10s %-10s %s\n' web "$([ "$local_code" = "$WELL" ] && printf running || printf unhealthy)" "http://127.0.0.1:$LOCAL_PORT/"
    choose_local_database
    case $LOCAL_DATABASE in
    docker) show_service dev db "127.0.0.1:$DEV_DB_PORT" ;;
    embedded) printf '  %-10s %-10s %s\n' db "$(case $(embedded status --json --data "$EMBEDDED" 2>&1) in *'"state": "running"'*) printf running ;; *) printf stopped ;; esac)" "127.0.0.1:$DEV_DB_PORT" ;;
    esac
    printf '  %-10s %s\n' visitors "get $local_answer"
    return "$local_code"
}
