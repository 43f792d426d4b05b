# commands/development.sh: the site in Docker with reload on save, PostgreSQL and pgAdmin.
# usage: sh run.sh -1
#
# Goes on in the background: sh run.sh -1 logs shows what it says, sh run.sh -1 stop ends it.

main() {
    [ $# -eq 0 ] || usage_error "-1 takes no option '$1'"

    # No impact yet.
    require_engine
    prepare_environment
    make_state_folder "$STATE"
    take_lock dev
    open_log dev
    require_disk 500
    require_free_dev_ports
    export_compose_facts
    require_volume_major dev

    step "Build the image" compose dev build web
    is_running dev web || undo_with stop_what_was_started
    try "Start PostgreSQL, the site and pgAdmin" compose dev up -d --wait --wait-timeout "$START_TIMEOUT" || explain_dev_failure
    UNDO=
    announce
}

require_free_dev_ports() {
    is_running dev web || require_port DEV_PORT
    is_running dev pgadmin || require_port PGADMIN_PORT
    is_running dev db || require_port DEV_DB_PORT
}

explain_dev_failure() {
    for explain_service in db web pgadmin; do
        case $(state_of dev "$explain_service") in
        healthy | running) continue ;;
        esac
        compose dev logs --no-log-prefix --tail 20 "$explain_service" 2>&1 | sed 's/^/  | /' >&3
        fail "$explain_service did not get healthy; its last lines are above" "mend what they say, and repeat: sh run.sh -1"
    done
    step_failed "starting development"
}

stop_what_was_started() {
    local_server_runs && compose dev stop web pgadmin || compose dev stop
}

announce() {
    say ""
    say "  site     http://127.0.0.1:$DEV_PORT/"
    say "  admin    http://127.0.0.1:$DEV_PORT/admin/   $(superuser_login)"
    say "  pgAdmin  http://127.0.0.1:$PGADMIN_PORT/"
    say "  logs     sh run.sh -1 logs        end it  sh run.sh -1 stop"
    say ""
}
