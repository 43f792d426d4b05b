#!/bin/sh
# db/recover.sh: recovers production's database server, as it was at a time, from the archive of db/archive.sh.
# usage, in containers of the image of the database:
#   sh recover.sh plan time SECONDS | lsn LSN SYSTEM | latest SYSTEM   which base backup and what target; facts, KEY=VALUE a line
#   sh recover.sh serve                                   recovers into $PGDATA, and serves that at port $PORT until it ends
#   sh recover.sh hand-over DATABASE INTO                 copies a database from there to the live server beside it
# Environment of serve: what plan printed, as SEQUENCE, CHAIN, TARGET and UNTIL; PGDATA; POSTGRES_USER, the superuser.
set -eu

SQL=${0%/*}/archive
ARCHIVE=${POSTDO_ARCHIVE:-/archive}
PORT=${POSTDO_RECOVERY_PORT:-5434}
LIVE_PORT=${POSTDO_LIVE_PORT:-5432}
# Other ones are for the tests.
START=${POSTDO_START:-sh /etc/postdo/start.sh}

main() {
    case ${1-} in
    plan) shift && plan "$@" ;;
    serve) serve ;;
    hand-over) hand_over "$2" "$3" ;;
    *) stop_with "recover.sh has no command '${1-}'" "read its first lines" ;;
    esac
}

# --- Which base backup ----------------------------------------------------------------------------------------------

plan() { # plan time SECONDS | lsn LSN SYSTEM | latest SYSTEM
    [ -n "$(sequences)" ] || stop_with "there is no archive from which to recover" "set PITR=on in .env and start the site, which begins one: sh run.sh -0"
    plan_base=
    "plan_$1" "$2" "${3-}"
    [ -n "$plan_base" ] || stop_with "the archive does not cover that: it covers $(covered)" "choose a time that it covers, or restore a backup: sh run.sh -0 restore backups/NAME"
    plan_major=$(about "$plan_sequence" major)
    [ "${PG_MAJOR:-$plan_major}" = "$plan_major" ] ||
        stop_with "the archive of that time is of PostgreSQL $plan_major, but the image is PostgreSQL $PG_MAJOR" "set POSTGRES_IMAGE in .env to an image of PostgreSQL $plan_major, in a clone with another PROJECT_NAME, and copy the archive there"
    plan_chain=
    plan_next=$plan_base
    while [ -n "$plan_next" ]; do
        [ -e "$plan_sequence/base/$plan_next/about" ] ||
            stop_with "the base backup $plan_next, on which $plan_base builds, is missing in the archive" "recover another time: it covers $(covered)"
        plan_chain="$plan_next $plan_chain"
        plan_next=$(about "$plan_sequence/base/$plan_next" parent)
    done
    require_wal
    printf 'sequence=%s\nchain=%s\ntarget=%s\nuntil=%s\nbase=%s\n' "${plan_sequence##*/}" "${plan_chain% }" "$plan_target" "$plan_until" "$plan_base"
}

plan_time() { # plan_time SECONDS
    plan_target="time=$1"
    plan_until=$1
    for plan_name in $(sequences | sort -r); do
        plan_sequence="$ARCHIVE/$plan_name"
        [ "$1" -le "$(end_of "$plan_sequence")" ] || continue
        for plan_try in $(bases "$plan_sequence" | sort -r); do
            [ "$(about "$plan_sequence/base/$plan_try" ended)" -le "$1" ] || continue
            plan_base=$plan_try
            return
        done
    done
}

plan_lsn() { # plan_lsn LSN SYSTEM
    plan_target="lsn=$1"
    for plan_name in $(sequences | sort -r); do
        plan_sequence="$ARCHIVE/$plan_name"
        [ "$(about "$plan_sequence" system)" = "$2" ] || continue
        plan_until=$(end_of "$plan_sequence")
        for plan_try in $(bases "$plan_sequence" | sort -r); do
            [ "$(lsn_number "$(about "$plan_sequence/base/$plan_try" end)")" -le "$(lsn_number "$1")" ] || continue
            plan_base=$plan_try
            return
        done
    done
}

# All that there is: of the server before this one, whose disk was lost, if there was one; else of this one.
plan_latest() { # plan_latest SYSTEM: the live one's
    plan_target=latest
    for plan_pass in others all; do
        for plan_name in $(sequences | sort -r); do
            plan_sequence="$ARCHIVE/$plan_name"
            [ "$plan_pass" = all ] || [ "$(about "$plan_sequence" system)" != "$1" ] || continue
            plan_base=$(bases "$plan_sequence" | tail -n 1)
            plan_until=$(end_of "$plan_sequence")
            [ -z "$plan_base" ] || return 0
        done
    done
}

# Every file from the start of the base backup on. The last one may be partial.
require_wal() {
    wal_missing=$(wal_files | awk -v from="$(about "$plan_sequence/base/$plan_base" start)" -v bytes="$(about "$plan_sequence" segment_bytes)" '
        function number(hex,    i, sum) {
            for (i = 1; i <= length(hex); i++) sum = sum * 16 + index("0123456789ABCDEF", substr(hex, i, 1)) - 1
            return sum
        }
        function place(name) { return number(substr(name, 9, 8)) * (4294967296 / bytes) + number(substr(name, 17, 8)) }
        { file = substr($0, 1, 24); sub(/.*\//, "", file) }
        place(file) < place(from) { next }
        # A timeline begins with a copy of the file in which it left the one before.
        !begun { if (place(file) != place(from)) { print from; exit } begun = 1; last = place(file); next }
        place(file) != last && place(file) != last + 1 { print "the one before " file; exit }
        { last = place(file) }
        END { if (!begun) print from }' | head -n 1)
    [ -z "$wal_missing" ] ||
        stop_with "a file of the archive is missing: $wal_missing" "take a new base backup (sh run.sh -0 backup base whole), and restore a backup for this time"
}

wal_files() {
    (cd "$plan_sequence/wal" && find . -name '[0-9A-F]*' ! -name '*.history') | sed 's/^\.\///' | sort
}

covered() { # in the time of UTC
    covered_list=
    for covered_name in $(sequences); do
        covered_first=$(bases "$ARCHIVE/$covered_name" | head -n 1)
        [ -n "$covered_first" ] || continue
        covered_list="$covered_list${covered_list:+, and }$(clock "$(about "$ARCHIVE/$covered_name/base/$covered_first" ended)") to $(clock "$(end_of "$ARCHIVE/$covered_name")")"
    done
    printf '%s' "${covered_list:-nothing yet, since the first base backup has not ended}"
}

clock() { # clock SECONDS
    date -u -d "@$1" '+%Y-%m-%d %H:%M:%S UTC'
}

# The last time at which it is known to have received, or got something.
end_of() { # end_of SEQUENCE
    {
        cat "$1/alive" 2>/dev/null || true
        find "$1/wal" -type f -exec stat -c %Y {} +
    } | sort -n | tail -n 1
}

lsn_number() { # lsn_number HIGH/LOW
    printf '%s' "$((0x${1%/*} * 4294967296 + 0x${1#*/}))"
}

sequences() {
    for sequences_path in "$ARCHIVE"/[0-9]*Z; do
        [ ! -e "$sequences_path/about" ] || printf '%s\n' "${sequences_path##*/}"
    done
}

bases() { # bases SEQUENCE
    for bases_path in "$1"/base/*Z; do
        [ ! -e "$bases_path/about" ] || printf '%s\n' "${bases_path##*/}"
    done
}

about() { # about FOLDER KEY
    sed -n "s/^$2=//p" "$1/about"
}

# --- Recovering -----------------------------------------------------------------------------------------------------

serve() {
    # shellcheck disable=SC2153 # from the environment
    sequence="$ARCHIVE/$SEQUENCE"
    wal="$PGDATA.wal"
    require_room
    put_base
    put_wal
    : >"$PGDATA/recovery.signal"
    [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$PGDATA" "$wal"
    chmod 700 "$PGDATA"
    trap 'kill -s INT "$server" 2>/dev/null || true; wait "$server" || true; exit 0' TERM INT
    case $TARGET in
    latest) ;;
    # With a record behind the target PostgreSQL ends there. Without one it says that it did not get there, and stops: the
    # archive is known to go further, and nothing happened since.
    time=*)
        run_server -c "recovery_target_time=$(date -u -d "@${TARGET#time=}" '+%Y-%m-%d %H:%M:%S+00')" || true
        ;;
    lsn=*) run_server -c "recovery_target_lsn=${TARGET#lsn=}" -c recovery_target_inclusive=off || true ;;
    esac
    : >"$PGDATA.to-the-end"
    run_server
}

require_room() {
    # shellcheck disable=SC2046 # split on purpose: a list of paths without spaces
    room_needed=$(du -skc "$sequence/wal" $(for room_base in $CHAIN; do printf '%s/base/%s ' "$sequence" "$room_base"; done) | tail -n 1 | awk '{ print int($1 / 1024) + 200 }')
    mkdir -p "$PGDATA"
    room_free=$(df -Pk "$PGDATA" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$room_free" -ge "$room_needed" ] || stop_with "the recovery needs $room_needed MB, but the disk of Docker's volumes has $room_free MB left" "free some disk space there"
}

put_base() {
    case $CHAIN in
    *' '*)
        put_inputs=
        for put_name in $CHAIN; do put_inputs="$put_inputs $sequence/base/$put_name/data"; done
        # shellcheck disable=SC2086 # split on purpose: a list of paths without spaces
        pg_combinebackup --no-sync --output="$PGDATA" $put_inputs
        ;;
    *) cp -R "$sequence/base/$CHAIN/data/." "$PGDATA" ;;
    esac
}

# Copies, because the archive belongs to another user.
put_wal() {
    mkdir -p "$wal"
    put_first=$(sed -n 's/^START WAL LOCATION: .*(file [0-9A-F]\{8\}\([0-9A-F]*\))$/\1/p' "$PGDATA/backup_label")
    for put_file in "$sequence"/wal/*; do
        put_name=${put_file##*/}
        case $put_name in
        *.history) cp "$put_file" "$wal/" ;;
        *.partial) [ -e "${put_file%.partial}" ] || cp "$put_file" "$wal/${put_name%.partial}" ;;
        *) [ "$(printf '%s\n' "$put_first" "$(printf '%s' "$put_name" | cut -c 9-)" | sort | head -n 1)" != "$put_first" ] || cp "$put_file" "$wal/" ;;
        esac
    done
}

# Nobody misses it after a power failure; and what production does beside the site is not done twice (as in db/copy.sh).
run_server() { # run_server OPTIONS...
    $START -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp \
        -c "restore_command=cp '$wal/%f' '%p'" -c recovery_target_action=promote -c hot_standby=off \
        -c fsync=off -c full_page_writes=off -c synchronous_standby_names= -c archive_mode=off \
        -c max_logical_replication_workers=0 -c cron.launch_active_jobs=off -c shared_buffers=128MB "$@" &
    server=$!
    wait "$server"
}

# --- Handing over ---------------------------------------------------------------------------------------------------

# Roles first that the live server lacks: without them nothing that they own can be there.
hand_over() { # hand_over DATABASE INTO
    require_target "$1"
    ask "$PORT" postgres -f "$SQL/roles.sql" | ask "$LIVE_PORT" postgres -f -
    over_failed="/tmp/hand-over-failed-$$"
    rm -f "$over_failed"
    { pg_dump --host=127.0.0.1 --port="$PORT" --username="$POSTGRES_USER" --no-password --format=custom --compress=0 --dbname="$1" || : >"$over_failed"; } |
        pg_restore --host=127.0.0.1 --port="$LIVE_PORT" --username="$POSTGRES_USER" --no-password --single-transaction --dbname="$2"
    [ ! -e "$over_failed" ]
}

# Where nothing was written since the target, PostgreSQL recovered to the end of the archive. If it got there for another
# reason (it was killed on the way), it may be behind the target; and it takes the first damaged place for the end.
require_target() { # require_target DATABASE
    ! [ -e "$PGDATA.to-the-end" ] || reached_the_end ||
        stop_with "the archive is damaged: PostgreSQL reads it up to $(ask "$PORT" "$1" -c "SELECT coalesce(pg_last_xact_replay_timestamp()::text, 'its beginning')")" "recover a time before that, or restore a backup"
    case $TARGET in
    time=*) late=$(ask "$PORT" "$1" -c "SELECT coalesce(pg_last_xact_replay_timestamp() > to_timestamp(${TARGET#time=} + 1), false)") ;;
    lsn=*) late=$(ask "$PORT" "$1" -c "SELECT abs(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '${TARGET#lsn=}')) > 8192") ;;
    *) late=f ;;
    esac
    [ "$late" = f ] || stop_with "the recovered server is not at its target" "run the command again; if it says the same, restore a backup"
}

# The last file may end within a record that began in the one before.
reached_the_end() {
    end_bytes=$(about "$ARCHIVE/$SEQUENCE" segment_bytes)
    end_last=$(cd "$PGDATA.wal" && find . -name '[0-9A-F]*' ! -name '*.history' | sed 's/^\.\///' | sort | tail -n 1)
    [ -n "$end_last" ] || return 0
    end_high=$(printf '%s' "$end_last" | cut -c 9-16)
    end_low=$(printf '%s' "$end_last" | cut -c 17-24)
    end_replayed=$(ask "$PORT" postgres -c 'SELECT pg_last_wal_replay_lsn()')
    [ "$(($(lsn_number "$end_replayed") / end_bytes + 1))" -ge "$((0x$end_high * (4294967296 / end_bytes) + 0x$end_low))" ]
}

ask() { # ask PORT DATABASE PSQL_ARGUMENTS...
    ask_port=$1
    ask_database=$2
    shift 2
    PGOPTIONS='-c client_min_messages=warning' psql -XqAtw -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$ask_port" -U "$POSTGRES_USER" -d "$ask_database" "$@"
}

stop_with() { # stop_with WHAT REMEDY
    printf 'what=%s\nnext=%s\n' "$1" "$2"
    exit 1
}

main "$@"
