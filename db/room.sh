#!/bin/sh
# db/room.sh: what PostgreSQL does when its disk fills up: it still reads, refuses writes, and takes them again when there is room.
# usage, in the container of the database: sh room.sh start   before PostgreSQL starts
#                                          sh room.sh look    while it runs, each time that its health is checked
# Environment: PGDATA (the volume), POSTGRES_USER (the superuser).
#
# On a full disk PostgreSQL ends at the first write-ahead log that it cannot write, and then lets nobody in, not even to read
# (docs/decisions/disk-full.md). So writes are refused before, and a reserve is kept which is given up when that was too late.
set -eu

# By the beginning of its name, pg_basebackup leaves it out.
RESERVE=$PGDATA/pgsql_tmp_postdo_reserve
READ_ONLY=${POSTDO_READ_ONLY_FILE:-/run/postdo/read-only.conf} # db/postgresql.conf includes it; in memory, so it can always be written

# Megabytes that are free: below the first nobody writes; from the second on everybody does again, also with the reserve
# made anew; below the third the reserve is given up.
READ_ONLY_MB=128
WRITABLE_MB=256
CRITICAL_MB=32
RESERVE_MB=64

main() {
    # A first start has to write, and needs an empty folder.
    [ -s "$PGDATA/PG_VERSION" ] || [ -e "$PGDATA/postdo-clusters" ] || return 0
    free=$(free_mb)
    [ -n "$free" ] || return 0
    [ "$free" -ge "$CRITICAL_MB" ] || give_up_reserve
    case $1 in
    start)
        : >"$READ_ONLY"
        [ "$free" -ge "$READ_ONLY_MB" ] || refuse_writes
        ;;
    look) look ;;
    esac
}

look() {
    if [ "$free" -lt "$READ_ONLY_MB" ]; then
        [ -s "$READ_ONLY" ] || { refuse_writes && reload; }
    elif [ "$free" -ge "$WRITABLE_MB" ]; then
        [ -e "$RESERVE" ] || make_reserve
        [ ! -s "$READ_ONLY" ] || { : >"$READ_ONLY" && reload; }
    fi
}

free_mb() {
    df -Pk "$PGDATA" | awk 'NR == 2 { print int($4 / 1024) }'
}

# A session that has to write all the same, to make room, sets it to off.
refuse_writes() {
    printf '# Written by db/room.sh: the disk is full.\ndefault_transaction_read_only = on\n' >"$READ_ONLY"
    chmod 644 "$READ_ONLY"
}

reload() {
    psql -XqAtw -o /dev/null -U "$POSTGRES_USER" -d postgres -c 'SELECT pg_reload_conf()'
}

make_reserve() {
    as_postgres fallocate -l "${RESERVE_MB}M" "$RESERVE" 2>/dev/null ||
        as_postgres dd if=/dev/zero of="$RESERVE" bs=1048576 count="$RESERVE_MB" 2>/dev/null || give_up_reserve
}

give_up_reserve() {
    as_postgres rm -f "$RESERVE"
}

as_postgres() { # as_postgres COMMAND...: root has no right to write there (docker-compose.prod.yml)
    if [ "$(id -u)" = 0 ]; then gosu postgres "$@"; else "$@"; fi
}

main "$@"
