#!/bin/bash
# shellcheck shell=bash
# Starts PostgreSQL as the official image does: same variables, same order,
# same permissions. Written anew, in POSIX words; run by bash because the
# official one is, and first-start scripts that are sourced may rely on it.
set -eu

main() {
    case ${1:-} in -*) set -- postgres "$@" ;; esac
    if [ "${1:-}" = postgres ] && ! only_asks "$@"; then
        read_settings
        own_folders
        # Once more from the top, as the user who owns the data.
        [ "$(id -u)" -ne 0 ] || exec gosu postgres "$0" "$@"
        if [ -s "$PGDATA/PG_VERSION" ]; then
            printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
        else
            first_start "$@"
        fi
    fi
    exec "$@"
}

only_asks() {
    for word; do
        case $word in -\? | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

read_settings() {
    from_file POSTGRES_PASSWORD ''
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS ''
}

# from_file NAME DEFAULT: NAME from itself, or from the file that NAME_FILE names.
from_file() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$value" ] && [ -n "$file" ]; then
        echo "error: both $1 and $1_FILE are set (but are exclusive)" >&2
        exit 1
    fi
    [ -z "$file" ] || value=$(cat "$file")
    export "$1=${value:-$2}"
    unset "$1_FILE"
}

own_folders() {
    mkdir -p "$PGDATA"
    chmod 00700 "$PGDATA" || :
    mkdir -p /var/run/postgresql || :
    chmod 03775 /var/run/postgresql || :
    if [ "$(id -u)" -eq 0 ]; then
        find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
    fi
}

first_start() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
        echo '       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.' >&2
        exit 1
    fi
    # The arguments are several words, which may be quoted.
    printf '%s\n' "$POSTGRES_PASSWORD" |
        eval 'initdb --username="$POSTGRES_USER" --pwfile=/dev/stdin '"$POSTGRES_INITDB_ARGS"
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"

    export PGPASSWORD="$POSTGRES_PASSWORD"
    start_temporary_server "$@"
    create_database
    run_first_start_scripts
    pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

# On the socket only, so that nobody takes it for the real one.
start_temporary_server() {
    shift
    set -- "$@" -c listen_addresses= -p "${PGPORT:-5432}"
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@")" -w start
}

create_database() {
    found=$(echo "SELECT 1 FROM pg_database WHERE datname = :'db'" |
        process_sql postgres --set db="$POSTGRES_DB" --tuples-only)
    [ -n "$found" ] || echo 'CREATE DATABASE :"db"' | process_sql postgres --set db="$POSTGRES_DB"
}

# process_sql DATABASE [psql arguments]
process_sql() {
    database=$1
    shift
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc \
        --username "$POSTGRES_USER" --dbname "$database" "$@"
}

run_first_start_scripts() {
    for script in /docker-entrypoint-initdb.d/*; do
        echo "$0: running $script"
        case $script in
        *.sh)
            if [ -x "$script" ]; then
                "$script"
            else
                # shellcheck disable=SC1090 # a user's script, known at run time
                . "$script"
            fi
            ;;
        *.sql) process_sql "$POSTGRES_DB" -f "$script" ;;
        *.sql.gz) gunzip -c "$script" | process_sql "$POSTGRES_DB" ;;
        *.sql.xz) xzcat "$script" | process_sql "$POSTGRES_DB" ;;
        *.sql.zst) zstd -dc "$script" | process_sql "$POSTGRES_DB" ;;
        *) echo "$0: ignoring $script" ;;
        esac
    done
}

main "$@"
