#!/bin/sh
# db/copy.sh: takes a base backup of production's server, and serves it at another port until it is removed.
# usage, in a container that shares the network of db's: sh copy.sh
# Environment: POSTDO_COPY_MB (the room that it needs), POSTGRES_USER (the superuser), POSTGRES_DB, PGDATA (the image sets it).
set -eu

main() {
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    require_room
    # What the image's first start writes into pg_hba.conf lets the machine itself take one.
    pg_basebackup --host=127.0.0.1 --username="$POSTGRES_USER" --no-password --pgdata="$PGDATA" \
        --wal-method=stream --checkpoint=fast --no-sync
    preload=$(ask_production 'SHOW shared_preload_libraries')
    # On the command line, where nothing that came with the copy overrides it. Nobody misses it after a power failure;
    # and what production does beside the site (archive, subscriptions, scheduled jobs) is not done twice.
    exec sh /etc/postdo/start.sh -p 5433 -c unix_socket_directories=/tmp -c "shared_preload_libraries=$preload" \
        -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c synchronous_standby_names= \
        -c archive_mode=off -c max_wal_senders=0 -c max_logical_replication_workers=0 \
        -c cron.launch_active_jobs=off -c shared_buffers=256MB
}

require_room() {
    free=$(df -Pk "$PGDATA" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge "${POSTDO_COPY_MB:-0}" ] && return
    # Read by lib/copy.sh.
    printf 'what=%s\nnext=%s\n' "a copy of the server needs $POSTDO_COPY_MB MB, but its disk has $free MB left" "free some disk space there"
    exit 1
}

ask_production() { # ask_production STATEMENT
    psql --host=127.0.0.1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --no-password --no-psqlrc -Atc "$1"
}

main "$@"
