# commands/psql.sh: open psql on a mode's database.
# usage: sh run.sh [-0|-1|-2] psql [PSQL ARGUMENTS...]
#
# A stopped database runs as long as psql does. In Docker, psql connects through the container's own socket, so it works
# even if the password in .env is wrong. In a loop that reads a list (while read), psql -c leaves the list to the loop.

main() {
    enter_mode
    case $MODE in
    local) psql_local "$@" ;;
    *) psql_in_docker "$MODE" "$@" ;;
    esac
}

psql_in_docker() { # psql_in_docker MODE ARGUMENTS...
    psql_mode=$1
    shift
    require_engine
    require_own_stack "$psql_mode"
    # A start that failed has stopped the database again, and psql is how to correct what it failed on.
    is_running "$psql_mode" db || require_database "$psql_mode"
    set -- db psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"
    [ -t 0 ] && [ -t 1 ] || set -- -T "$@"
    ! psql_reads_input "$@" && input_is_a_loops || COMPOSE_INPUT=given
    compose "$psql_mode" exec "$@"
}

# Without a command or a file its input is what it works on.
psql_reads_input() { # psql_reads_input ARGUMENTS...
    case " $* " in *" -f - "* | *" --file=- "* | *[Ss][Tt][Dd][Ii][Nn]*) return 0 ;; esac
    for psql_argument in "$@"; do
        case $psql_argument in
        --command | --command=* | --file | --file=* | --list) return 1 ;;
        --*) ;;
        -*[cfl]*) return 1 ;;
        esac
    done
}

psql_local() { # psql_local ARGUMENTS...
    choose_local_database
    case $LOCAL_DATABASE in
    docker) psql_in_docker dev "$@" ;;
    embedded) embedded psql --data "$EMBEDDED" -- "$@" ;;
    esac
}
