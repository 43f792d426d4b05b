# commands/reset.sh: delete the development database. There is no such command for production.
# usage: sh run.sh -1|-2 reset --yes
#
# -1 removes the development volume. -2 does the same, or removes the embedded PostgreSQL if there is no Docker.

main() {
    [ "$MODE" != prod ] || usage_error "no command of this kit deletes production's data"
    [ -n "$MODE" ] || usage_error "reset needs a mode: -1 or -2"
    [ "${1-}" = --yes ] && [ $# -eq 1 ] ||
        fail "this would delete all data in the $(mode_name "$MODE") database" "to delete it, run: sh run.sh $(mode_flag "$MODE") reset --yes" 2
    prepare_environment
    [ "$MODE" = dev ] || choose_local_database
    make_state_folder "$STATE"
    if [ "$MODE" = local ] && [ "$LOCAL_DATABASE" = embedded ]; then reset_embedded; else reset_volume; fi
    say "the next start creates a new one"
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
    require_local_stopped
    take_lock local
    open_log reset
    [ -d "$EMBEDDED" ] || { say "there is no embedded database yet" && return; }
    step "Stop PostgreSQL (embedded)" embedded stop --data "$EMBEDDED"
    step "Remove the embedded database" rm -rf "$EMBEDDED"
}
