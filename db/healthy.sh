#!/bin/sh
# db/healthy.sh: the health check of the database. It also looks after the room on the disk (db/room.sh), and with PITR_SYNC=on
# sees to it that commits wait for the archive as long as that is there, and no longer.
# usage, in the container of the database: sh healthy.sh
# Environment: POSTGRES_USER (the superuser), POSTGRES_DB, PGDATA (the volume, where db/roles.sh leaves a note of PITR_SYNC).
set -eu

SQL=${0%/*}/archive
PORT=${PGPORT:-5432}
AWAY=${POSTDO_AWAY_FILE:-/run/postdo/archive-away} # since when the archive is away
AWAY_SECONDS=${POSTDO_AWAY_SECONDS:-10}            # that commits wait for it; a restart of it takes two or three

main() {
    sh "${0%/*}/room.sh" look || true # where it cannot, the next check does
    # By TCP: the socket answers already while the first start is still writing its scripts.
    pg_isready -q -h 127.0.0.1 -p "$PORT" -U "$POSTGRES_USER" -d "$POSTGRES_DB"
    [ ! -e "$PGDATA/postdo-archive-sync" ] || hold_commits_for_archive || true # the database itself is well
}

hold_commits_for_archive() {
    case $(ask sync.sql) in
    here-waits) rm -f "$AWAY" ;;
    here-free) ask sync-on.sql ;;
    away-waits)
        if [ ! -e "$AWAY" ]; then
            date +%s >"$AWAY"
        elif [ "$(($(date +%s) - $(cat "$AWAY")))" -ge "$AWAY_SECONDS" ]; then
            printf 'db/healthy.sh: the archive is away, so commits no longer wait for it\n' >&2
            ask sync-off.sql
            rm -f "$AWAY"
        fi
        ;;
    esac
}

ask() { # ask FILE
    psql -XqAtw -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres -f "$SQL/$1"
}

main
