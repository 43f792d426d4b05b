# commands/reset.sh: empty the development database, for a fresh start. Production has no such command.
# usage: sh run.sh -1|-2 reset --yes
#
# -1 removes the development volume; -2 does the same, or removes the embedded PostgreSQL where there is no Docker.

main() {
    [ "$MODE" != prod ] || usage_error "production's data is never removed by a command of this kit"
    [ -n "$MODE" ] || usage_error "reset needs the mode: -1 or -2"
    [ "${1-}" = --yes ] && [ $# -eq 1 ] ||
        fail "this deletes all data of the $(mode_name "$MODE") database" "if you mean it: sh run.sh $(mode_flag "$MODE") reset --yes" 2
    prepare_environment
    [ "$MODE" = dev ] || choose_local_database
    make_state_folder "$STATE"
    if [ "$MODE" = local ] && [ "$LOCAL_DATABASE" = embedded ]; then reset_embedded; else reset_volume; fi
    say "the next start makes a new one"
}

reset_volume() {
    require_engine
    require_own_stack dev
    require_local_stopped
    take_lock dev
    open_log reset
    export_compose_facts
    # --volumes takes those that the Compose files of development name: dev-data, and never prod-data.
    step "Remove the development database" compose dev down --volumes --timeout 30
}

reset_embedded() {
    ! local_server_runs || fail "the local server (-2) uses this database" "stop it first: sh run.sh -2 stop"
    take_lock local
    open_log reset
    [ -d "$EMBEDDED" ] || { say "there is none yet" && return; }
    step "Stop PostgreSQL (embedded)" embedded stop --data "$EMBEDDED"
    step "Remove the embedded database" rm -rf "$EMBEDDED"
}
