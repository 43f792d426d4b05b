# commands/local.sh: run the site from a virtual environment, with reload on save and the data of -1.
# usage: sh run.sh -2
#
# Without a Docker engine it runs an embedded PostgreSQL. Ctrl-C stops the server and the database.

main() {
    take_no_arguments "$@"

    # No impact yet.
    prepare_environment
    make_state_folder "$STATE"
    take_lock local
    open_log local
    stop_orphan
    require_port LOCAL_PORT
    prepare_local_venv
    choose_local_database

    undo_with stop_local_database # from here on, whatever ends this run ends the database
    start_local_database
    export_local_environment
    prepare_local_database
    announce
    serve
}

# The server of a run.sh that was killed: it has lost its keeper, and holds the port.
stop_orphan() {
    ! server_is_gone || return 0
    say "stopping the local server that an earlier run left behind"
    kill_server
}

prepare_local_database() {
    try "Prepare the database" in_web "$VENV/bin/python" -m postdo prepare || step_failed "preparing the database"
}

announce() {
    say ""
    say "  site      http://127.0.0.1:$LOCAL_PORT/"
    say "  admin     http://127.0.0.1:$LOCAL_PORT/admin/   $(superuser_login)"
    say "  database  $LOCAL_DATABASE PostgreSQL on 127.0.0.1:$DEV_DB_PORT"
    if has_part tasks && [ -n "${CELERY_BROKER_URL-}" ]; then
        say "  tasks     are done by the worker of -1, as long as it runs"
    elif has_part tasks || has_part tasks-db; then
        say "  tasks     run in the process of the site: only -1 has a worker"
    fi
    say "  stop      Ctrl-C"
    say ""
}

# In the background, because a shell that waits hears its signals, and one that runs a command does not. The terminal
# stays the server's, for breakpoint().
serve() {
    exec 4<&0
    (cd "$ROOT/web" && exec "$VENV/bin/python" manage.py runserver "127.0.0.1:$LOCAL_PORT" <&4 4<&- 3>&-) &
    server=$!
    printf '%s %s\n' "$server" "$(process_start "$server")" >"$SERVER_PID_FILE"
    undo_with kill_server
    ENDING="stopping the server and its database"
    serve_status=0
    wait "$server" || serve_status=$?
    case $serve_status in
    0 | 143) ;; # ended by `run.sh -2 stop`
    *) fail "the local server stopped by itself (status $serve_status)" "fix what its last lines above say, then run: sh run.sh -2" ;;
    esac
}
