#!/bin/sh
# db/start.sh: fills this machine's memory into db/postgresql.conf, then becomes the image's own entrypoint.
# usage, in the container: sh start.sh [postgres options | --check, which only tries them | --reload, for the running server]
# Environment: POSTGRES_MAX_CONNECTIONS, PGDATA (the volume), POSTDO_CLUSTER (not the live cluster in it, but this one).
# A first start that did not finish (a script in db/init failed) starts over.
set -eu

# Other places are for the tests.
TEMPLATE=${POSTDO_TEMPLATE:-/etc/postdo/postgresql.conf}
CONFIG=${POSTDO_CONFIG:-/run/postdo/postgresql.conf}
MEMINFO=${POSTDO_MEMINFO:-/proc/meminfo}
CGROUP=${POSTDO_CGROUP:-/sys/fs/cgroup}

main() {
    sh "${0%/*}/room.sh" start
    choose_cluster
    memory=$(usable_megabytes "$MEMINFO" "$CGROUP/memory.max" "$CGROUP/memory/memory.limit_in_bytes")
    POSTDO_CACHEABLE=$(cacheable_megabytes "$PGDATA/base" "$PGDATA/pg_tblspc")MB
    POSTDO_SLOT_WAL=$(slot_megabytes "$PGDATA")MB
    export POSTDO_CACHEABLE POSTDO_SLOT_WAL
    {
        printf '# Written by db/start.sh for %s MB of memory.\n' "$memory"
        printf "include_if_exists = '%s/postgresql.conf'\n" "$PGDATA"
        fill_in "$memory" <"$TEMPLATE"
        # From 17 on: what incremental base backups need (db/archive.sh). Not with too little WAL for them (lib/drill.sh).
        case " $* " in
        *" wal_level=minimal "*) ;;
        *) [ "${PG_MAJOR:-0}" -lt 17 ] || printf 'summarize_wal = on\n' ;;
        esac
    } >"$CONFIG"
    printf 'db/start.sh: settings for %s MB of memory in %s\n' "$memory" "$CONFIG"
    [ "${1-}" != --reload ] || reload_settings
    [ "${1-}" != --check ] || try_settings
    [ ! -s "$PGDATA/PG_VERSION" ] || ! first_start_failed || begin_anew
    # The image wants a password for the superuser of a new volume; the first start takes it away again (db/roles.sh).
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        POSTGRES_PASSWORD=$(random_word)
        export POSTGRES_PASSWORD
    fi
    exec docker-entrypoint.sh postgres -c "config_file=$CONFIG" "$@"
}

# A volume has one cluster, until upgrade-db makes one of another major in a folder beside it. From then on a file in the
# volume says which of them is the site's (db/clusters.sh): no container, and no state of run.sh, decides it. A cluster that
# is named and is not there is never made anew, and one of another major is left alone.
choose_cluster() {
    cluster=${POSTDO_CLUSTER:-$(sed -n 's/^live=//p' "$PGDATA/postdo-clusters" 2>/dev/null || true)}
    [ "${cluster:-.}" = . ] || PGDATA=$PGDATA/$cluster
    export PGDATA
    cluster_major=$(cat "$PGDATA/PG_VERSION" 2>/dev/null || true)
    [ -z "$cluster" ] || [ -n "$cluster_major" ] ||
        stop_start "the volume has no data of PostgreSQL in $PGDATA, which its file postdo-clusters names"
    [ -z "$cluster_major" ] || [ -z "${PG_MAJOR-}" ] || [ "$cluster_major" = "$PG_MAJOR" ] ||
        stop_start "the data was created by PostgreSQL $cluster_major, but the image is PostgreSQL $PG_MAJOR; see POSTGRES_IMAGE in .env, and: sh run.sh help upgrade-db"
}

stop_start() { # stop_start WHY: before anything is written
    printf 'db/start.sh: FATAL: %s\n' "$1" >&2
    exit 1
}

# PostgreSQL's own trial (as initdb does it): it takes its settings and its shared memory, and ends. In a folder that is
# nobody's data.
try_settings() {
    mkdir -p /tmp/trial/pg_notify
    cp "$PGDATA/postgresql.auto.conf" /tmp/trial/ 2>/dev/null || true # what ALTER SYSTEM has set
    PGDATA=/tmp/trial
    export PGDATA
    printf '%s\n' "$PG_MAJOR" >"$PGDATA/PG_VERSION"
    exec docker-entrypoint.sh postgres --check -D "$PGDATA" -c "config_file=$CONFIG"
}

# Those that need no restart count from then on.
reload_settings() {
    as_postgres pg_ctl reload --silent --pgdata="$PGDATA"
    exit
}

# Scripts run in a server that listens on the socket alone, and the file of its options stays until another one has
# started. So where it says that, no site has ever been connected, and what is in the volume is from the scripts.
first_start_failed() {
    [ -e "$PGDATA/postdo-first-start" ] || return 1 # written by the first of them (db/roles.sh)
    ! grep -q '"listen_addresses="' "$PGDATA/postmaster.opts" 2>/dev/null || return 0
    as_postgres rm -f "$PGDATA/postdo-first-start"
    return 1
}

begin_anew() {
    printf 'db/start.sh: the first start of this volume did not finish, so it starts over\n'
    as_postgres find "$PGDATA" -mindepth 1 -delete
}

as_postgres() { # as_postgres COMMAND...: root has no right to write there (docker-compose.prod.yml)
    if [ "$(id -u)" = 0 ]; then gosu postgres "$@"; else "$@"; fi
}

random_word() {
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | dd bs=1 count=32 2>/dev/null
}

# The least of what the machine has and what the container is limited to, cgroup v2 or v1. A file that is missing, or has
# no number in it ("max"), limits nothing; without a limit, v1 shows a number larger than any machine.
usable_megabytes() { # usable_megabytes MEMINFO LIMIT_IN_BYTES...
    cat "$@" 2>/dev/null | awk '
        /^MemTotal:/ { least = $2 / 1024 }
        /^[0-9]+$/ && $1 / 1048576 < least { least = $1 / 1048576 }
        END { printf "%d\n", least }
    '
}

# Twice what the databases take on disk, so that they can grow until the next start; at least 256 MB, at most 8 GB.
# PostgreSQL describes each buffer from its start on, used or not: 1 GB of them take 25 MB more than 256 MB, 6 GB 100 MB.
cacheable_megabytes() { # cacheable_megabytes FOLDER...
    cacheable=$(du -skL "$@" 2>/dev/null | awk '{ sum += $1 } END { printf "%d\n", sum / 512 }')
    [ "$cacheable" -ge 256 ] || cacheable=256
    [ "$cacheable" -le 8192 ] || cacheable=8192
    printf '%s\n' "$cacheable"
}

# Half of what is free now; at least 256 MB, at most 8 GB.
slot_megabytes() { # slot_megabytes FOLDER
    slot_free=$(df -Pk "$1" 2>/dev/null | awk 'NR == 2 { printf "%d\n", $4 / 2048 }')
    [ "${slot_free:-0}" -ge 256 ] || slot_free=256
    [ "$slot_free" -le 8192 ] || slot_free=8192
    printf '%s\n' "$slot_free"
}

# "${NAME}" to the variable, then "0.25% [4MB..64MB]" to a number of MB.
fill_in() { # fill_in MEGABYTES <TEMPLATE
    awk -v memory="$1" '
        function megabytes(size) { return size + 0 == 0 ? 0 : (size ~ /GB$/ ? size * 1024 : size + 0) }
        function clamp(value, low, high) { return value < low ? low : value > high ? high : value }
        /^[^#]*\$\{[A-Z_]+\}/ {
            start = index($0, "${")
            end = index($0, "}")
            $0 = substr($0, 1, start - 1) ENVIRON[substr($0, start + 2, end - start - 2)] substr($0, end + 1)
        }
        /^[a-z_]+ = [0-9.]+% \[[0-9]+[MG]B\.\.[0-9]+[MG]B\]$/ {
            split(substr($4, 2, length($4) - 2), bounds, /\.\./)
            $0 = $1 " = " int(clamp(memory * $3 / 100, megabytes(bounds[1]), megabytes(bounds[2]))) "MB"
        }
        { print }
    '
}

main "$@"
