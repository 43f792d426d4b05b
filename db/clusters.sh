#!/bin/sh
# db/clusters.sh: the clusters in the volume of the database, while upgrade-db moves it to another major, and afterwards.
# usage, with the volume at PGDATA: sh clusters.sh COMMAND
#   look              prints the facts of postdo-clusters, major= of the live cluster, image_major=, and cluster= for each
#   write KEY=VALUE   replaces postdo-clusters by these facts, a line each; without any, removes it
#   remove FOLDER     removes a cluster that is not the live one
#   room              prints size= of the live cluster and free= on its disk, in MB
#
# The first cluster is in the volume itself (.), others are in folders of it: pg18. The file postdo-clusters says which one
# is the site's, and db/start.sh starts no other. It is replaced by a rename, so that a kill or a power cut leaves the one
# or the other. Keys: live, live_image, other (a cluster that is kept), other_image, state, way, since, lost.
set -eu

FACTS=$PGDATA/postdo-clusters

main() {
    command=$1
    shift
    case $command in
    look) look ;;
    write) write "$@" ;;
    remove) remove "$1" ;;
    room) room ;;
    esac
}

look() {
    [ ! -e "$FACTS" ] || cat "$FACTS"
    printf 'major=%s\nimage_major=%s\n' "$(cat "$(folder_of "$(live)")/PG_VERSION" 2>/dev/null || true)" "${PG_MAJOR-}"
    for look_cluster in . $(folders); do
        [ ! -s "$PGDATA/$look_cluster/PG_VERSION" ] || printf 'cluster=%s\n' "$look_cluster"
    done
}

live() {
    live_found=$(sed -n 's/^live=//p' "$FACTS" 2>/dev/null || true)
    printf '%s' "${live_found:-.}"
}

folder_of() { # folder_of CLUSTER
    if [ "$1" = . ]; then printf '%s' "$PGDATA"; else printf '%s/%s' "$PGDATA" "$1"; fi
}

folders() { # PostgreSQL's own begin with pg_
    find "$PGDATA" -mindepth 1 -maxdepth 1 -type d -name 'pg[0-9]*' -exec basename {} \;
}

write() { # write KEY=VALUE...
    if [ $# -eq 0 ]; then
        rm -f "$FACTS"
    else
        write_live=$(printf '%s\n' "$@" | sed -n 's/^live=//p')
        [ -s "$(folder_of "$write_live")/PG_VERSION" ] || stop_with "there is no cluster $write_live in the volume"
        printf '%s\n' "$@" >"$FACTS.new"
        sync "$FACTS.new" 2>/dev/null || sync
        mv "$FACTS.new" "$FACTS"
    fi
    sync "$PGDATA" 2>/dev/null || sync
}

remove() { # remove CLUSTER
    [ "$1" != "$(live)" ] || stop_with "$1 is the cluster that serves the site"
    case $1 in
    .) find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name 'pg[0-9]*' ! -name 'postdo-clusters*' -exec rm -rf {} + ;;
    pg[0-9]*) rm -rf "${PGDATA:?}/$1" "${PGDATA:?}/$1.new" ;;
    esac
}

room() {
    room_size=0
    for room_part in base global pg_wal pg_tblspc pg_xact; do
        # Files come and go while they are counted.
        room_part_size=$(du -skL "$(folder_of "$(live)")/$room_part" 2>/dev/null | awk '{ print $1 }' || true)
        room_size=$((room_size + ${room_part_size:-0}))
    done
    printf 'size=%s\nfree=%s\n' "$((room_size / 1024 + 1))" "$(df -Pk "$PGDATA" | awk 'NR == 2 { print int($4 / 1024) }')"
}

stop_with() { # stop_with WHY
    printf 'db/clusters.sh: %s\n' "$1" >&2
    exit 1
}

main "$@"
