# lib/database.sh: a mode's PostgreSQL in Docker, for commands that work on it while the site may be stopped.

# A database that does not run is started for as long as the command needs it.
require_database() { # require_database MODE
    require_docker_mode "$1"
    require_engine
    require_own_stack "$1"
    make_state_folder "$STATE"
    take_lock "$1"
    open_log "$COMMAND"
    export_compose_facts
    lend_database "$1"
}

require_docker_mode() { # require_docker_mode MODE
    [ "$1" != local ] || fail "$COMMAND works only on a database in Docker" "choose a mode: sh run.sh -0 $COMMAND, or sh run.sh -1 $COMMAND"
}

lend_database() { # lend_database MODE: for who has the lock and a log already
    database_mode=$1
    ! is_running "$database_mode" db || return 0
    undo_with stop_database_again
    start_server "$database_mode" >&2
}

# Before the site is stopped for a change of its database.
require_database_unused() { # require_database_unused MODE
    ! one_off_runs "$1" || fail "a manage command is using the database" "wait until it ends, then run the command again"
    [ "$1" = prod ] || require_local_stopped
}

start_server() { # start_server MODE [OPTION OF `compose up`]
    try "Start PostgreSQL" compose "$1" up -d --no-build --wait --wait-timeout "$START_TIMEOUT" ${2:+"$2"} db || explain_unhealthy "$1" db
}

stop_database_again() {
    stop_unused_database "$database_mode"
}

in_database() { # in_database MODE PROGRAM ARGUMENTS...: one of PostgreSQL's programs, beside the server, as the superuser
    in_mode=$1
    in_program=$2
    shift 2
    compose "$in_mode" exec -T db "$in_program" -U "$(superuser_of "$in_mode")" "$@"
}

run_sql() { # run_sql MODE FILE [PSQL ARGUMENTS...]: a file of db/restore/
    sql_mode=$1
    sql_file=$2
    shift 2
    in_database "$sql_mode" psql --no-psqlrc -qAt -v ON_ERROR_STOP=1 -d postgres "$@" -f "/etc/postdo/restore/$sql_file" </dev/null
}

database_exists() { # database_exists MODE NAME
    run_sql "$1" names.sql | grep -qxF "$2"
}
