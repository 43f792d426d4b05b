# commands/development.sh: run the site in Docker, with reload on save, PostgreSQL and pgAdmin.
# usage: sh run.sh -1
#
# It runs in the background. See its logs with sh run.sh -1 logs, and stop it with sh run.sh -1 stop.

main() {
    take_no_arguments "$@"

    # No impact yet.
    require_engine
    prepare_environment
    require_own_stack dev
    make_state_folder "$STATE"
    take_lock dev
    open_log dev
    require_disk 500
    require_port DEV_PORT dev
    require_port PGADMIN_PORT dev
    require_port DEV_DB_PORT dev
    [ -z "$DEBUG_PORT" ] || require_port DEBUG_PORT dev
    ! has_part tasks || require_port DEV_FLOWER_PORT dev
    export_compose_facts
    require_volume_major dev
    require_roles dev

    # Before the build: a local server that ends meanwhile leaves its database to this run.
    is_running dev web || undo_with stop_what_was_started
    build_image dev
    start_database dev
    # shellcheck disable=SC2046 # split on purpose: a list of words
    set -- db web $(additions dev)
    try "Start the site" compose dev up -d --wait --wait-timeout "$START_TIMEOUT" "$@" || explain_unhealthy dev "$@"
    UNDO=
    remove_left_parts dev
    start_pgadmin
    announce
}

stop_what_was_started() {
    compose dev stop web pgadmin
    stop_unused_database dev
}

# Not waited for: it takes more than a minute on a small machine, and the site does not need it.
start_pgadmin() {
    try "Start pgAdmin" compose dev up -d --no-deps pgadmin && return
    show_tail
    warn "pgAdmin did not start; its last log lines are above. The site is running without it."
}

announce() {
    say ""
    say "  site     http://127.0.0.1:$DEV_PORT/"
    say "  admin    http://127.0.0.1:$DEV_PORT/admin/   $(superuser_login)"
    say "  pgAdmin  http://127.0.0.1:$PGADMIN_PORT/$(pgadmin_login)$(is_well dev pgadmin || printf '   (still starting, which takes a minute)')"
    [ -z "$DEBUG_PORT" ] || say "  debugger 127.0.0.1:$DEBUG_PORT"
    ! has_part tasks || say "  tasks    http://127.0.0.1:$DEV_FLOWER_PORT/ (Flower)"
    say "  logs     sh run.sh -1 logs        stop  sh run.sh -1 stop"
    say ""
}

pgadmin_login() { # asked for only when others can reach it
    [ "$PGADMIN_CONFIG_SERVER_MODE" = False ] || printf '   %s / %s' "$PGADMIN_DEFAULT_EMAIL" "$PGADMIN_DEFAULT_PASSWORD"
}
