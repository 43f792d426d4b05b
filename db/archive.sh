#!/bin/sh
# db/archive.sh: keeps what production's database does, as it does it, so that it can be recovered as it was at any time.
# usage, in the container `archive`: sh archive.sh run            receives write-ahead log (WAL) until it is stopped
#                                    sh archive.sh base [whole]   takes a base backup; removes what is older than PITR_DAYS
# Environment: PGHOST, PGUSER, PGPASSWORD (the role of db/archive/role.sql), PITR_DAYS, PITR_SYNC.
#
# /archive (backups/archive/PROJECT_NAME of the clone) has a folder for each sequence of WAL without a gap:
#   20261130T184500Z/about                 system=, major=, segment_bytes=, why= it began: first, lost-wal or other-server
#   20261130T184500Z/alive                 the last time, in seconds, at which it was known to be received
#   20261130T184500Z/wal/                  what pg_receivewal wrote
#   20261130T184500Z/base/NAME/about       kind= (whole, incremental), parent=, start=, end=, verified=, began=, ended=, kilobytes=
#   20261130T184500Z/base/NAME/data/       what pg_basebackup wrote; NAME.part as long as it is not whole
#   state                                  state=, since=, what= and next=, if it does not receive
#   points                                 NAME=LSN TIME SYSTEM: the restore points (lib/pitr.sh)
# db/recover.sh recovers from it. No Python: the image of the database has none, and this has to work from the archive and
# that image alone.
set -eu

SQL=${0%/*}/archive
ARCHIVE=${POSTDO_ARCHIVE:-/archive}
SLOT=postdo_archive

FLUSH_SECONDS=1                           # from a row that is acknowledged to its place on the archive's disk
ALIVE_SECONDS=${POSTDO_ALIVE_SECONDS:-10} # how exactly it is known until when WAL was received
ROOM_SECONDS=30                           # between two looks at the free disk space
RETRY_SECONDS=${POSTDO_RETRY_SECONDS:-3}
LOCK_SECONDS=10        # that one who wants a base backup waits for the end of another one
BASE_RETRY_SECONDS=300 # after a base backup that failed
CHAIN=7                # base backups, of which the first is whole; each further one makes a restore longer
# Below this the archive gives up and lets PostgreSQL remove its WAL: the disk is often PostgreSQL's own.
LEAST_FREE_MB=${POSTDO_LEAST_FREE_MB:-1500}

main() {
    umask 077
    case ${1-} in
    run) receive_always ;;
    base) take_base_now "${2-}" ;;
    *) stop_with "archive.sh has no command '${1-}'" "read its first lines" ;;
    esac
}

# --- Receiving ------------------------------------------------------------------------------------------------------

# Each commit waits until it is on this disk (db/healthy.sh).
synchronous=
[ "${PITR_SYNC:-off}" = off ] || synchronous=--synchronous

receiver= # its process, and that of a base backup that was taken because there was none
baser=
next_base=0

receive_always() {
    trap end TERM INT
    while :; do
        receive
        pause "$RETRY_SECONDS"
    done
}

end() {
    trap '' TERM INT
    # The last WAL that came is written to the disk.
    [ -z "$receiver" ] || { kill -s INT "$receiver" && wait "$receiver"; } 2>/dev/null || true
    [ -z "$baser" ] || kill "$baser" 2>/dev/null || true
    exit 0
}

# Until the connection ends: PostgreSQL restarts, or something failed.
receive() {
    has_room || {
        give_up
        return 0
    }
    server=$(ask_server) || {
        note waiting "PostgreSQL does not answer" "start the site, or find out why: sh run.sh -0 logs db"
        return 0
    }
    open_sequence || {
        note failed "the replication slot $SLOT cannot be made" "find out why: sh run.sh -0 logs archive"
        return 0
    }
    # By this name a commit waits for it, and not for a base backup of the same role.
    PGAPPNAME=$SLOT pg_receivewal --directory="$sequence/wal" --slot="$SLOT" --no-loop --no-password --status-interval=5 $synchronous &
    receiver=$!
    receive_ticks=0
    while kill -0 "$receiver" 2>/dev/null; do
        pause "$FLUSH_SECONDS"
        receive_ticks=$((receive_ticks + 1))
        flush
        [ "$((receive_ticks % ALIVE_SECONDS))" -ne 1 ] || tell_alive
        [ "$((receive_ticks % ROOM_SECONDS))" -ne 0 ] || has_room || kill -s INT "$receiver" 2>/dev/null || true
    done
    wait "$receiver" || true
    receiver=
}

# What came since the last time. pg_receivewal itself does this at the end of each file of 16 MB.
flush() {
    for flush_file in "$sequence"/wal/*.partial; do
        if [ "$flush_file" -nt "$sequence/flushed" ] || [ ! -e "$sequence/flushed" ]; then
            : >"$sequence/flushed"
            sync --data "$flush_file" 2>/dev/null || true # it was renamed meanwhile, and so written out
        fi
    done
}

# It ends by itself when its connection does (--no-loop), so as long as it is there it receives.
tell_alive() {
    kill -0 "$receiver" 2>/dev/null || return 0
    date +%s >"$sequence/alive"
    note receiving
    if [ -n "$baser" ]; then
        kill -0 "$baser" 2>/dev/null || baser=
    elif [ -z "$(newest_base "$sequence")" ] && [ "$(date +%s)" -ge "$next_base" ]; then
        next_base=$(($(date +%s) + BASE_RETRY_SECONDS))
        (take_base_now whole) &
        baser=$!
    fi
}

# A signal ends a `wait`, and no other command.
pause() { # pause SECONDS
    sleep "$1" &
    wait "$!" || true
}

has_room() {
    [ "$(df -Pk "$ARCHIVE" | awk 'NR == 2 { print int($4 / 1024) }')" -ge "$LEAST_FREE_MB" ]
}

# The site comes first: a slot that nobody reads keeps WAL on PostgreSQL's disk.
give_up() {
    note full "the disk of backups/ has less than $LEAST_FREE_MB MB left, so the archive receives nothing" "free some disk space, or lower PITR_DAYS in .env"
    pg_receivewal --slot="$SLOT" --drop-slot --no-password 2>/dev/null || true
}

# The newest sequence, if it can go on from where it is; else a new one, whose base backup is taken as soon as it receives.
open_sequence() { # sets sequence
    [ "$(server_fact slot)" != lost ] || pg_receivewal --slot="$SLOT" --drop-slot --no-password || return 1
    sequence=$(newest_sequence)
    sequence_why=$(why_anew)
    pg_receivewal --slot="$SLOT" --create-slot --if-not-exists --no-password || return 1
    server=$(ask_server) || return 1
    sequence_why=${sequence_why:-$(why_anew)}
    [ -n "$sequence_why" ] || return 0
    sequence="$ARCHIVE/$(date -u +%Y%m%dT%H%M%SZ)"
    mkdir -p "$sequence/wal" "$sequence/base"
    for sequence_key in system major segment_bytes; do printf '%s=%s\n' "$sequence_key" "$(server_fact "$sequence_key")"; done >"$sequence/about.new"
    printf 'why=%s\n' "$sequence_why" >>"$sequence/about.new"
    mv "$sequence/about.new" "$sequence/about"
    next_base=0
    printf 'db/archive.sh: begins %s (%s): a new base backup follows\n' "${sequence##*/}" "$sequence_why"
}

# Nothing where it can go on. A server that is behind the archive was put back to an older state, and writes the same places
# of its WAL anew.
why_anew() {
    [ -n "$sequence" ] || { printf first && return; }
    [ "$(about "$sequence" system)" = "$(server_fact system)" ] && [ "$(about "$sequence" major)" = "$(server_fact major)" ] || { printf other-server && return; }
    [ "$(server_fact slot)" != lost ] || { printf lost-wal && return; }
    why_next=$(next_segment)
    [ -n "$why_next" ] || return 0
    [ "$why_next" -le "$(($(segment_number "$(server_fact position)") + 1))" ] || { printf other-server && return; }
    why_oldest=$(server_fact oldest)
    [ -z "$why_oldest" ] || [ "$why_next" -ge "$(segment_number "$why_oldest")" ] || printf lost-wal
}

next_segment() { # the number of the file that the sequence needs next; nothing if it has none yet
    next_file=$(cd "$sequence/wal" && find . -name '[0-9A-F]*' ! -name '*.history' | sed 's/^\.\///' | sort | tail -n 1)
    case $next_file in
    '') ;;
    *.partial) segment_number "${next_file%.partial}" ;;
    *) printf '%s' "$(($(segment_number "$next_file") + 1))" ;;
    esac
}

segment_number() { # segment_number NAME: of 8 digits each of timeline, high and low
    segment_low=${1#????????????????}
    segment_high=${1#????????}
    segment_high=${segment_high%????????}
    printf '%s' "$((0x$segment_high * (4294967296 / $(server_fact segment_bytes)) + 0x$segment_low))"
}

# --- Base backups ---------------------------------------------------------------------------------------------------

take_base_now() { # take_base_now [whole]
    exec 9>"$ARCHIVE/base-lock"
    flock --wait "$LOCK_SECONDS" 9 || stop_with "a base backup is being taken already" "wait until it ends: sh run.sh -0 logs archive"
    server=$(ask_server) || stop_with "PostgreSQL does not answer" "start the site: sh run.sh -0"
    sequence=$(newest_sequence)
    [ -n "$sequence" ] && [ "$(about "$sequence" system)" = "$(server_fact system)" ] ||
        stop_with "the archive receives nothing yet" "find out why: sh run.sh -0 status"
    rm -rf "$ARCHIVE"/*/base/*.part "$ARCHIVE"/*.part
    base_parent=
    [ "${1-}" = whole ] || base_parent=$(parent_of_next)
    if [ -z "$base_parent" ]; then
        take_base "" || base_failed
    else
        # The server has no summaries that go back so far: they are kept for ten days.
        take_base "$base_parent" || take_base "" || base_failed
    fi
    rm -f "$ARCHIVE/base-failed"
    remove_old
}

base_failed() {
    date +%s >"$ARCHIVE/base-failed"
    stop_with "the base backup failed; the log says why" "find out why: sh run.sh -0 logs archive"
}

# Of the newest base backup, if PostgreSQL can add to it (from 17 on) and the chain is not too long.
parent_of_next() {
    [ "$(server_fact summaries)" = on ] || return 0
    parent_first=$(newest_base "$sequence")
    parent_length=0
    parent_base=$parent_first
    while [ -n "$parent_base" ]; do
        parent_length=$((parent_length + 1))
        parent_base=$(about "$sequence/base/$parent_base" parent)
    done
    [ "$parent_length" -ge "$CHAIN" ] || printf '%s' "$parent_first"
}

# Whole by itself: it has the WAL that was written while it was taken.
take_base() { # take_base PARENT: empty for a whole one
    while base_name=$(date -u +%Y%m%dT%H%M%SZ) && [ -e "$sequence/base/$base_name" ]; do sleep 1; done
    base_part="$sequence/base/$base_name.part"
    base_began=$(date +%s)
    mkdir -p "$base_part"
    if ! pg_basebackup --pgdata="$base_part/data" --checkpoint=fast --wal-method=stream --no-password --label="$base_name" \
        ${1:+"--incremental=$sequence/base/$1/data/backup_manifest"} >&2 || ! verify "$base_part/data"; then
        rm -rf "$base_part"
        return 1
    fi
    {
        printf 'kind=%s\nparent=%s\n' "${1:+incremental}" "$1" | sed 's/^kind=$/kind=whole/'
        sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/start=\1/p' "$base_part/data/backup_label"
        sed -n 's/.*"End-LSN": "\([0-9A-F]*\/[0-9A-F]*\)".*/end=\1/p' "$base_part/data/backup_manifest" | tail -n 1
        printf 'verified=%s\nbegan=%s\nended=%s\nkilobytes=%s\n' "$base_verified" "$base_began" "$(date +%s)" "$(du -sk "$base_part/data" | cut -f 1)"
    } >"$base_part/about"
    [ -n "$(about "$base_part" start)" ] && [ -n "$(about "$base_part" end)" ] && sync || return 1
    mv "$base_part" "$sequence/base/$base_name"
    sync
    printf 'base=%s\nkind=%s\nseconds=%s\nkilobytes=%s\n' "$base_name" "$(about "$sequence/base/$base_name" kind)" \
        "$(($(date +%s) - base_began))" "$(about "$sequence/base/$base_name" kilobytes)"
}

# By the checksums of its manifest. A pg_verifybackup that crashes (that of one build of 18.4 does) says nothing of the backup.
verify() { # verify FOLDER
    base_verified=yes
    verify_status=0
    pg_verifybackup --quiet "$1" >&2 || verify_status=$?
    [ "$verify_status" -ge 128 ] || return "$verify_status"
    base_verified=no
}

# What no time of the last PITR_DAYS needs: base backups before the newest one that is older than that, unless a kept one
# builds on them; WAL from before the oldest that is kept; and sequences that ended before.
remove_old() {
    old_before=$(($(date +%s) - PITR_DAYS * 86400))
    old_kept=' '
    old_last=
    for old_base in $(bases "$sequence" | sort -r); do
        old_kept="$old_kept$old_base "
        old_last=$old_base
        [ "$(about "$sequence/base/$old_base" ended)" -gt "$old_before" ] || break
    done
    [ -n "$old_last" ] || return 0
    for old_base in $old_kept; do
        while old_base=$(about "$sequence/base/$old_base" parent) && [ -n "$old_base" ]; do old_kept="$old_kept$old_base "; done
    done
    for old_base in $(bases "$sequence"); do
        case $old_kept in *" $old_base "*) continue ;; esac
        remove_folder "$sequence/base/$old_base"
    done
    pg_archivecleanup "$sequence/wal" "$(about "$sequence/base/$old_last" start)" >&2
    for old_sequence in $(sequences); do
        old_sequence="$ARCHIVE/$old_sequence"
        [ "$old_sequence" != "$sequence" ] || continue
        [ "$(cat "$old_sequence/alive" 2>/dev/null || printf 0)" -ge "$old_before" ] || remove_folder "$old_sequence"
    done
}

remove_folder() { # remove_folder PATH: half of it is never taken for the whole
    mv "$1" "$1.part"
    rm -rf "$1.part"
}

# --- What is there --------------------------------------------------------------------------------------------------

sequences() { # their names, the oldest first
    for sequences_path in "$ARCHIVE"/[0-9]*Z; do
        [ ! -e "$sequences_path/about" ] || printf '%s\n' "${sequences_path##*/}"
    done
}

newest_sequence() { # its path
    newest_name=$(sequences | tail -n 1)
    [ -z "$newest_name" ] || printf '%s/%s' "$ARCHIVE" "$newest_name"
}

bases() { # bases SEQUENCE: their names, the oldest first
    for bases_path in "$1"/base/*Z; do
        [ ! -e "$bases_path/about" ] || printf '%s\n' "${bases_path##*/}"
    done
}

newest_base() { # newest_base SEQUENCE
    bases "$1" | tail -n 1
}

about() { # about FOLDER KEY
    sed -n "s/^$2=//p" "$1/about"
}

ask_server() {
    PGCONNECT_TIMEOUT=10 psql -XqAtw -v ON_ERROR_STOP=1 -d postgres -f "$SQL/server.sql" </dev/null
}

server_fact() { # server_fact KEY
    printf '%s\n' "$server" | sed -n "s/^$1=//p"
}

noted=
note() { # note STATE [WHAT NEXT]: for status; by people in the log
    [ "$noted" != "$1" ] || return 0
    noted=$1
    printf 'db/archive.sh: %s%s\n' "$1" "${2:+: $2}"
    printf 'state=%s\nsince=%s\nwhat=%s\nnext=%s\n' "$1" "$(date +%s)" "${2-}" "${3-}" >"$ARCHIVE/state.new" &&
        mv "$ARCHIVE/state.new" "$ARCHIVE/state" || true
}

stop_with() { # stop_with WHAT REMEDY
    printf 'what=%s\nnext=%s\n' "$1" "$2"
    exit 1
}

main "$@"
