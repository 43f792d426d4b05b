#!/bin/sh
# db/upgrade.sh: copies the live cluster into another one of a newer major, and compares the two.
# usage: sh upgrade.sh COMMAND SUPERUSER
#   check     prints what=... and next=... if the other image lacks an extension that a database has
#   clients   prints who is connected to the live cluster, one a line
#   copy      roles and databases into the other cluster, which is new; in the container of the live one
#   analyze   makes statistics for the planner of the other one
#   compare   prints the tables, sequences and large objects that differ; nothing if all are equal
# The live one answers at 127.0.0.1:5432 and the other one at 5433, since both containers share a network, and both let this
# machine in. All but `copy` runs in the container of the other cluster. PostgreSQL 14 to 18.
set -eu

SQL=${0%/*}/upgrade
LIVE=${POSTDO_LIVE_PORT:-5432} # other ports are for the tests
OTHER=${POSTDO_OTHER_PORT:-5433}

main() {
    SUPERUSER=$2
    FOLDER=$(mktemp -d)
    trap 'rm -rf "$FOLDER"' EXIT
    case $1 in
    check) check ;;
    clients) ask "$LIVE" postgres -f "$SQL/clients.sql" ;;
    copy) copy ;;
    analyze) analyze ;;
    compare) compare ;;
    esac
}

check() {
    list_databases
    ask "$OTHER" postgres -f "$SQL/available.sql" >"$FOLDER/available"
    while IFS= read -r check_database; do
        ask "$LIVE" "$check_database" -f "$SQL/extensions.sql" >"$FOLDER/extensions"
        check_lacks=$(grep -vxF -f "$FOLDER/available" "$FOLDER/extensions" | head -n 1)
        [ -z "$check_lacks" ] || {
            printf 'what=the new image does not have the extension %s of the database %s\n' "$check_lacks" "$check_database"
            printf 'next=choose an image that has it (POSTGRES_IMAGE in .env), or remove the extension from the database\n'
            exit 1
        }
    done <"$FOLDER/databases"
}

list_databases() {
    ask "$LIVE" postgres -f "$SQL/databases.sql" >"$FOLDER/databases"
}

# By the server's own programs. Those of an image of a newer major, but older by its date, do not know what the server has
# had since: pg_dump 18.4 writes the column options of Debian's 17.12 (pg_attver), which only that server understands.
# Each database by itself, as pg_dumpall would: only what is no data may be filtered.
copy() {
    printf 'roles\n'
    { dump pg_dumpall --globals-only || : >"$FOLDER/failed"; } |
        grep -vxF -e "CREATE ROLE $SUPERUSER;" -e "CREATE ROLE \"$SUPERUSER\";" | restore postgres
    [ ! -e "$FOLDER/failed" ] || exit 1
    list_databases
    while IFS= read -r copy_database; do
        printf 'database %s\n' "$copy_database"
        copy_into=postgres
        set -- --create
        # These two are in every cluster.
        case $copy_database in postgres | template1) copy_into=$copy_database && set -- ;; esac
        { dump pg_dump --dbname="$(named "$copy_database")" "$@" || : >"$FOLDER/failed"; } | restore "$copy_into"
        [ ! -e "$FOLDER/failed" ] || exit 1
    done <"$FOLDER/databases"
}

analyze() {
    vacuumdb --host=127.0.0.1 --port="$OTHER" --username="$SUPERUSER" --no-password --all --analyze-only --quiet
}

dump() { # dump PROGRAM OPTIONS...
    dump_program=$1
    shift
    "$dump_program" --host=127.0.0.1 --port="$LIVE" --username="$SUPERUSER" --no-password "$@" </dev/null
}

restore() { # restore DATABASE <SQL
    PGOPTIONS='-c client_min_messages=warning' psql --host=127.0.0.1 --port="$OTHER" --username="$SUPERUSER" --no-password \
        --dbname="$(named "$1")" -Xq -o /dev/null -v ON_ERROR_STOP=1
}

named() { # named DATABASE: as a connection string, in which any name can stand
    printf "dbname='%s'" "$(printf '%s' "$1" | sed "s/[\\\\']/\\\\&/g")"
}

# Through files, and not pipes, in which a query that fails would leave two lists that are equal because both are short.
compare() {
    list_databases
    contents "$LIVE" >"$FOLDER/live"
    contents "$OTHER" >"$FOLDER/other"
    diff "$FOLDER/live" "$FOLDER/other" | sed -n 's/^[<>] //p' | sed 's/|.*//' | sort -u
}

contents() { # contents PORT
    while IFS= read -r contents_database; do
        printf 'database %s\n' "$contents_database"
        ask "$1" "$contents_database" -f "$SQL/contents.sql"
    done <"$FOLDER/databases"
}

ask() { # ask PORT DATABASE PSQL_ARGUMENTS...
    ask_port=$1
    ask_database=$2
    shift 2
    PGOPTIONS='-c client_min_messages=warning' psql --host=127.0.0.1 --port="$ask_port" --username="$SUPERUSER" \
        --dbname="$(named "$ask_database")" --no-password -XqAt -v ON_ERROR_STOP=1 "$@" </dev/null
}

main "$@"
