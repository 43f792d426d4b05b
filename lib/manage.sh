# lib/manage.sh: manage.py in the mode at hand, whether that runs or not.

# In the running container if there is one; else in one of its own, which ends with the command. The local mode uses
# the virtual environment, and starts the database for as long as the command runs.
manage() { # manage ARGUMENTS...
    case $MODE in
    local) manage_local "$@" ;;
    *) manage_in_docker "$@" ;;
    esac
}

manage_in_docker() { # manage_in_docker ARGUMENTS...
    require_engine
    export_compose_facts
    manage_service=$(web_service "$MODE")
    if [ "$manage_service" != web- ] && is_running "$MODE" "$manage_service"; then
        manage_how="exec"
    else
        manage_how="run --rm --entrypoint python"
        manage_service=web
        image_exists "$MODE" || fail "the $(mode_name "$MODE") image is not built yet" "build and start it first: sh run.sh $(mode_flag "$MODE")"
        [ "$MODE" != prod ] || prepare_backups_folder
    fi
    [ -t 0 ] && [ -t 1 ] || manage_how="$manage_how -T"
    # shellcheck disable=SC2086 # split on purpose: words of our own
    case $manage_how in
    exec*) compose "$MODE" $manage_how "$manage_service" python manage.py "$@" ;;
    run*) compose "$MODE" $manage_how "$manage_service" manage.py "$@" ;;
    esac
}

manage_local() { # manage_local ARGUMENTS...
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
    in_web "$VENV/bin/python" manage.py "$@"
}

image_exists() { # image_exists MODE: the image of the one-off service `web`
    image_tag=$([ "$1" = prod ] && printf next || printf dev)
    docker image inspect "$PROJECT_NAME-web:$image_tag" >/dev/null 2>&1
}
