# lib/manage.sh: manage.py in the mode at hand, whether that runs or not.

# In the running container if there is one; else in one of its own, which ends with the command. The local mode uses
# the virtual environment. A database that does not run is started for as long as the command runs.
manage() { # manage ARGUMENTS...
    python_in_mode manage.py "$@"
}

python_in_mode() { # python_in_mode PROGRAM ARGUMENTS...: a file in web/, or - for the input
    case $MODE in
    local) python_in_venv "$@" ;;
    *) python_in_docker "$@" ;;
    esac
}

python_in_docker() { # python_in_docker PROGRAM ARGUMENTS...
    require_engine
    require_own_stack "$MODE"
    export_compose_facts
    manage_service=$(web_service "$MODE")
    manage_terminal=
    [ -t 0 ] && [ -t 1 ] || manage_terminal=-T
    if [ "$manage_service" != web- ] && is_running "$MODE" "$manage_service"; then
        ! manage_reads_input "$@" && input_is_a_loops || COMPOSE_INPUT=given
        compose "$MODE" exec ${manage_terminal:+"$manage_terminal"} "$manage_service" python "$@"
        return
    fi
    manage_service=$(service_of_a_stopped_site "$MODE")
    require_image "$MODE" "$manage_service"
    [ "$MODE" != prod ] || leave_out_parts "$PROJECT_NAME-web:$(if [ "$manage_service" = web ]; then printf next; else live_colour; fi)"
    [ "$MODE-$manage_service" != prod-web ] || prepare_backups_folder
    if ! is_running "$MODE" db; then
        require_database "$MODE"
        start_additions "$MODE" >&2
    fi
    ! manage_reads_input "$@" && input_is_a_loops || COMPOSE_INPUT=given
    run_to_its_end "$MODE" ${manage_terminal:+"$manage_terminal"} --entrypoint python "$manage_service" "$@"
}

# Those whose input is what they work on.
manage_reads_input() { # manage_reads_input PROGRAM ARGUMENTS...
    [ "$1" != - ] || return 0
    shift
    case " $* " in
    " shell"*" -c "* | " shell"*" --command"*) return 1 ;;
    " shell "* | " dbshell "* | " loaddata "*" - "*) ;;
    *) return 1 ;;
    esac
}

# In production what was built last may never have been released, or have been refused: the live colour's image counts.
service_of_a_stopped_site() { # service_of_a_stopped_site MODE
    if [ "$1" = prod ] && [ -n "$(live_colour)" ]; then web_service prod; else printf web; fi
}

warn_of_load() {
    warn "this overwrites rows in production that have the same key. To make a backup first, press Ctrl-C and run: sh run.sh -0 backup"
}

python_in_venv() { # python_in_venv PROGRAM ARGUMENTS...
    choose_local_database
    if ! local_server_runs; then
        make_state_folder "$STATE"
        take_lock local
        open_log manage
        prepare_local_venv >&2
        undo_with stop_local_database
        start_local_database >&2
    fi
    export_local_environment
    in_web "$VENV/bin/python" "$@"
}

require_image() { # require_image MODE SERVICE
    case $2 in
    web) image_tag=$([ "$1" = prod ] && printf next || printf dev) ;;
    *) image_tag=${2#web-} ;;
    esac
    docker image inspect "$PROJECT_NAME-web:$image_tag" >/dev/null 2>&1 || not_built "$1"
}
