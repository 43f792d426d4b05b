# commands/psql.sh: psql on the database of the running mode.
# usage: sh run.sh [-0|-1|-2] psql [PSQL ARGUMENTS...]
#
# In Docker it goes through the container's own socket, so that it works also when the password in .env is wrong.

main() {
    prepare_environment
    require_mode
    case $MODE in
    local) psql_local "$@" ;;
    *) psql_in_docker "$MODE" "$@" ;;
    esac
}

psql_in_docker() { # psql_in_docker MODE ARGUMENTS...
    psql_mode=$1
    shift
    require_engine
    is_running "$psql_mode" db ||
        fail "the $(mode_name "$psql_mode") database does not run" "start it: sh run.sh $(mode_flag "$psql_mode")"
    set -- db psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"
    [ -t 0 ] && [ -t 1 ] || set -- -T "$@"
    compose "$psql_mode" exec "$@"
}

psql_local() { # psql_local ARGUMENTS...
    choose_local_database
    case $LOCAL_DATABASE in
    docker) psql_in_docker dev "$@" ;;
    embedded) embedded psql --data "$EMBEDDED" -- "$@" ;;
    esac
}
