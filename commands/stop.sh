# commands/stop.sh: stop a mode gracefully; its data is kept.
# usage: sh run.sh [-0|-1|-2] stop

main() {
    take_no_arguments "$@"
    enter_mode
    make_state_folder "$STATE"
    open_log "stop-$MODE"
    "stop_$MODE"
}

stop_prod() {
    require_engine
    require_own_stack prod
    take_lock prod
    remove_left_copy
    remove_left_upgrade
    stop_site_prod
    step "Stop PostgreSQL" stop_database prod
    ! is_running prod archive || step "Stop the archive" stop_archive
}

stop_dev() {
    require_engine
    require_own_stack dev
    take_lock dev
    stop_site_dev
    if local_is_at_work; then
        say "PostgreSQL keeps running: the local server (-2) is using it"
    else
        step "Stop PostgreSQL" stop_database dev
    fi
}

# The run.sh that keeps the server ends it and the database when it is told to end itself. If it was killed, we do.
stop_local() {
    if keeper_is_gone && server_is_gone; then
        say "the local server is not running"
    elif ! keeper_is_gone; then
        kill "${keeper%% *}" 2>/dev/null || true
        step "Stop the local server and its database" wait_until 120 keeper_is_gone
    fi
    take_lock local
    server_is_gone || step "Stop the local server" kill_server
    [ ! -d "$EMBEDDED" ] || step "Stop PostgreSQL (embedded)" embedded stop --data "$EMBEDDED"
}

keeper_is_gone() {
    keeper=$(cat "$STATE/lock-local" 2>/dev/null) || return 0
    ! lock_is_held "$keeper"
}
