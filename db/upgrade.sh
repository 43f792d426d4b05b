#!/bin/sh
# db/upgrade.sh: copies the live cluster into another one of a newer major, keeps the two equal, and compares them.
# usage: sh upgrade.sh COMMAND SUPERUSER [ARGUMENT]
#   obstacles           prints why the rows cannot be copied while the site serves, a reason a line
#   check               prints what=... and next=... if the other image lacks an extension that a database has
#   clients             prints who is connected to the live cluster, one a line
#   copy [definitions]  roles and databases into the other cluster, which is new; of the site's database definitions alone
#   definitions [other] prints a checksum of all that is defined in the site's database
#   follow              lets the other cluster copy the rows of the live one, and then follow it
#   copied              prints copied=, tables= and errors=, how far it is
#   behind              prints by how many bytes it is behind; nothing if it does not follow
#   catch-up SECONDS    waits until it has all that was written until now
#   lock                lets nobody write to the live one until its input ends, and then says: locked
#   equal               copies the values of the sequences, and compares all tables of the site's database
#   turn                prepares the other one to be followed in its turn
#   fence               lets nobody connect to the live one any more
#   hand-over           the four before this one, while nobody writes; prints what differs
#   unfence             takes that back
#   relink              after a turn, or where one was interrupted: the other one follows the live one
#   unlink              the live one is not followed any more
#   analyze [vacuum]    makes statistics for the planner of the other one, and lets it count rows by an index
#   write-out           writes what both have in memory to their disk
#   compare             prints the tables, sequences and large objects that differ; nothing if all are equal
# The live one answers at 127.0.0.1:5432 and the other one at 5433, since both containers share a network, and both let this
# machine in. `copy` and `definitions` run in the container of the live cluster, with its programs. PostgreSQL 14 to 18.
# Environment: POSTGRES_DB, the site's database.
set -eu

SQL=${0%/*}/upgrade
LIVE=${POSTDO_LIVE_PORT:-5432} # other ports are for the tests
OTHER=${POSTDO_OTHER_PORT:-5433}
DIGEST_MB=200 # while requests wait; a processor makes digests of about 150 MB a second

main() {
    SUPERUSER=$2
    FOLDER=$(mktemp -d)
    trap 'rm -rf "$FOLDER"' EXIT
    case $1 in
    obstacles) obstacles ;;
    check) check ;;
    clients) ask "$LIVE" postgres -f "$SQL/clients.sql" ;;
    copy) copy "${3-}" ;;
    definitions) definitions "${3-}" ;;
    follow) follow ;;
    copied) ask "$OTHER" "$POSTGRES_DB" -f "$SQL/copied.sql" ;;
    behind) behind "" ;;
    catch-up) catch_up "$3" ;;
    lock) lock ;;
    equal) equal ;;
    turn) turn ;;
    fence) fence ;;
    relink) relink ;;
    hand-over) hand_over ;;
    unfence) unfence "$LIVE" -1 ;;
    unlink) unlink ;;
    analyze) analyze "${3-}" ;;
    write-out) write_out ;;
    compare) compare ;;
    esac
}

# --- Before ---------------------------------------------------------------------------------------------------------

obstacles() {
    ask "$LIVE" "$POSTGRES_DB" -f "$SQL/obstacles.sql"
    list_databases
    while IFS= read -r obstacles_database; do
        [ "$obstacles_database" = "$POSTGRES_DB" ] || ask "$LIVE" "$obstacles_database" -f "$SQL/elsewhere.sql"
    done <"$FOLDER/databases"
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

# --- The copy -------------------------------------------------------------------------------------------------------

# By the server's own programs. Those of an image of a newer major, but older by its date, do not know what the server has
# had since: pg_dump 18.4 writes the column options of Debian's 17.12 (pg_attver), which only that server understands.
# Each database by itself, as pg_dumpall would: only what is no data may be filtered.
copy() { # copy [definitions]
    copy_what=$1
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
        [ -z "$copy_what" ] || [ "$copy_database" != "$POSTGRES_DB" ] || set -- "$@" --schema-only --no-publications --no-subscriptions
        { dump pg_dump --dbname="$(named "$copy_database")" "$@" || : >"$FOLDER/failed"; } | restore "$copy_into"
        [ ! -e "$FOLDER/failed" ] || exit 1
    done <"$FOLDER/databases"
}

# Always by the programs of one server, of which the text is the same as long as nothing changes.
definitions() { # definitions [other]
    [ "$1" != other ] || LIVE=$OTHER
    dump pg_dump --dbname="$(named "$POSTGRES_DB")" --schema-only --no-publications --no-subscriptions >"$FOLDER/definitions"
    grep -v '^\\\(un\)\{0,1\}restrict ' "$FOLDER/definitions" | cksum
}

analyze() { # analyze [vacuum]
    analyze_how=--analyze-only
    [ -z "$1" ] || analyze_how=--analyze
    vacuumdb --host=127.0.0.1 --port="$OTHER" --username="$SUPERUSER" --no-password --all "$analyze_how" --quiet
}

# A server that is stopped does it first, while requests wait.
write_out() {
    ask "$OTHER" postgres -c CHECKPOINT &
    ask "$LIVE" postgres -c CHECKPOINT
    wait "$!"
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

# --- Logical replication: one of the two follows the other, never both ------------------------------------------------

follow() {
    ask "$LIVE" "$POSTGRES_DB" -f "$SQL/publish.sql"
    subscribe true
}

subscribe() { # subscribe true|false: with the rows that are there, or without
    ask "$OTHER" "$POSTGRES_DB" -v connection="host=127.0.0.1 port=$LIVE user=$SUPERUSER $(named "$POSTGRES_DB")" \
        -v slot="$(slot_for "$OTHER")" -v copy="$1" -f "$SQL/subscribe.sql"
}

# Named after who follows: a cluster that comes to serve, and still has a subscription, has no slot of that name itself.
slot_for() { # slot_for PORT
    printf 'postdo_to_%s' "$(($(ask "$1" postgres -c 'SHOW server_version_num') / 10000))"
}

behind() { # behind POSITION
    ask "$LIVE" "$POSTGRES_DB" -v position="$1" -f "$SQL/behind.sql"
}

catch_up() { # catch_up SECONDS
    catch_position=$(ask "$LIVE" "$POSTGRES_DB" -f "$SQL/position.sql")
    catch_until=$(($(date +%s) + $1))
    while :; do
        catch_bytes=$(behind "$catch_position")
        [ "${catch_bytes:-1}" -gt 0 ] || return 0
        [ "$(date +%s)" -lt "$catch_until" ] || {
            printf 'behind by %s bytes\n' "${catch_bytes:-unknown}"
            return 1
        }
        sleep 0.1
    done
}

lock() {
    # Two scripts, of which the second is the input: whoever ends it, also by kill -9, ends the session and its locks.
    PGAPPNAME=postdo_upgrade_lock psql --host=127.0.0.1 --port="$LIVE" --username="$SUPERUSER" --dbname="$(named "$POSTGRES_DB")" \
        --no-password -XqAt -v ON_ERROR_STOP=1 -f "$SQL/lock.sql" -f -
}

equal() {
    ask "$LIVE" "$POSTGRES_DB" -f "$SQL/sequences.sql" >"$FOLDER/sequences"
    ask "$OTHER" "$POSTGRES_DB" -o /dev/null -f "$FOLDER/sequences"
    printf '%s\n' "$POSTGRES_DB" >"$FOLDER/databases"
    differences "$DIGEST_MB"
}

# What is written to it from here on is kept for the one that serves now. It does not serve before the file of the volume says
# so: until then all of this can be taken back.
turn() {
    turn_slot=$(slot_for "$LIVE")
    ask "$OTHER" "$POSTGRES_DB" -c 'ALTER SUBSCRIPTION postdo_upgrade DISABLE'
    ask "$OTHER" "$POSTGRES_DB" -f "$SQL/publish.sql"
    ask "$OTHER" "$POSTGRES_DB" -o /dev/null -v slot="$turn_slot" -f "$SQL/slot.sql"
}

# In one go, since requests wait. A statement that fails ends it (set -e).
hand_over() {
    catch_up 10
    equal >"$FOLDER/differ"
    [ ! -s "$FOLDER/differ" ] || {
        printf 'these differ:\n'
        cat "$FOLDER/differ"
        exit 1
    }
    turn
    fence
}

fence() {
    fence_limit=$(limit_of "$LIVE")
    [ "$fence_limit" -eq 0 ] || set_limit "$OTHER" "$fence_limit"
    ask "$LIVE" postgres -o /dev/null -v database="$POSTGRES_DB" -f "$SQL/fence.sql"
}

unfence() { # unfence PORT LIMIT
    [ "$(limit_of "$1")" -eq 0 ] || return 0
    set_limit "$1" "$([ "$2" -ne 0 ] && printf '%s' "$2" || printf -- -1)"
}

limit_of() { # limit_of PORT
    ask "$1" postgres -v database="$POSTGRES_DB" -f "$SQL/limit.sql"
}

set_limit() { # set_limit PORT LIMIT
    printf 'ALTER DATABASE :"database" CONNECTION LIMIT %s;\n' "$2" >"$FOLDER/limit"
    ask "$1" postgres -v database="$POSTGRES_DB" -f "$FOLDER/limit"
}

# Can be repeated, and is by each start.
relink() {
    unfence "$LIVE" "$(limit_of "$OTHER")"
    ask "$LIVE" "$POSTGRES_DB" -f "$SQL/unsubscribe.sql"
    unpublish "$OTHER"
    ask "$OTHER" postgres -o /dev/null -f "$SQL/archive.sql"
    subscribe false
}

unlink() {
    ask "$LIVE" "$POSTGRES_DB" -f "$SQL/unsubscribe.sql"
    unpublish "$LIVE"
    unfence "$LIVE" -1
}

unpublish() { # unpublish PORT
    unpublish_tries=0
    until [ "$(ask "$1" "$POSTGRES_DB" -f "$SQL/unpublish.sql")" = t ]; do
        unpublish_tries=$((unpublish_tries + 1))
        [ "$unpublish_tries" -lt 50 ] || exit 1
        sleep 0.2
    done
}

# --- Comparing ------------------------------------------------------------------------------------------------------

compare() {
    list_databases
    differences 0
}

# Through files, and not pipes, in which a query that fails would leave two lists that are equal because both are short.
differences() { # differences DIGEST_MB: of the databases in the list
    differences_number=0
    while IFS= read -r differences_database; do
        differences_number=$((differences_number + 1))
        ask "$LIVE" "$differences_database" -v digest_mb="$1" -f "$SQL/contents.sql" >"$FOLDER/contents-$differences_number"
    done <"$FOLDER/databases"
    contents "$OTHER" >"$FOLDER/other" &
    contents "$LIVE" >"$FOLDER/live"
    wait "$!"
    diff "$FOLDER/live" "$FOLDER/other" | sed -n 's/^[<>] //p' | sed 's/|.*//' | sort -u
}

contents() { # contents PORT
    contents_number=0
    while IFS= read -r contents_database; do
        contents_number=$((contents_number + 1))
        printf 'database %s\n' "$contents_database"
        ask "$1" "$contents_database" -f "$FOLDER/contents-$contents_number"
    done <"$FOLDER/databases"
}

ask() { # ask PORT DATABASE PSQL_ARGUMENTS...
    ask_port=$1
    ask_database=$2
    shift 2
    PGOPTIONS='-c client_min_messages=warning' psql --host=127.0.0.1 --port="$ask_port" --username="$SUPERUSER" \
        --dbname="$(named "$ask_database")" --no-password -XqAt -v ON_ERROR_STOP=1 "$@" </dev/null
}

named() { # named DATABASE: as a connection string, in which any name can stand
    printf "dbname='%s'" "$(printf '%s' "$1" | sed "s/[\\\\']/\\\\&/g")"
}

main "$@"
