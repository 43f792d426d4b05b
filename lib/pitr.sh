# lib/pitr.sh: point in time. An archive beside the database keeps what it does (db/archive.sh), restore points are left in
# it, and production's database is recovered from it as it was at a time (db/recover.sh).

RECOVERY_SECONDS=86400 # a recovery may take hours

# In backups/, and not in a volume: people copy it from there, and can put it on another disk than PostgreSQL's.
archive_folder() {
    printf '%s/backups/archive/%s' "$ROOT" "$PROJECT_NAME"
}

# --- The archive ----------------------------------------------------------------------------------------------------

# on, off, or where the disk has room for two whole base backups, the WAL between them, and what a release needs. Once
# it has begun it stays.
pitr_is_on() {
    case $PITR in
    on) return 0 ;;
    off) return 1 ;;
    esac
    [ -z "$(container_of prod archive)" ] || return 0
    pitr_size=$(docker exec -u postgres "$(container_of prod db)" sh -c 'du -sk "$PGDATA"' 2>/dev/null | awk '{ print int($1 / 1024) }')
    pitr_free=$(df -Pk "$ROOT/backups" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
    [ -n "$pitr_size" ] && [ "${pitr_free:-0}" -ge "$((pitr_size * 3 + ARCHIVE_ROOM_MB))" ] && return 0
    pitr_lacks="$pitr_free $((pitr_size * 3 + ARCHIVE_ROOM_MB))"
    return 1
}

ARCHIVE_ROOM_MB=4000

# At the end of a start, when the site serves. Whatever is wrong with the archive, the site goes on without it.
settle_archive() {
    prepare_backups_folder
    pitr_lacks=
    if pitr_is_on; then
        start_archive >>"$LOG_FILE" 2>&1 ||
            warn "the archive for points in time could not be started, so the site runs without it; see $LOG_FILE"
    elif [ -n "$pitr_lacks" ]; then
        say "No archive for points in time: the disk of backups/ has ${pitr_lacks% *} MB free, and PITR=auto wants ${pitr_lacks#* } MB"
    elif [ -n "$(container_of prod archive)" ]; then
        remove_archive >>"$LOG_FILE" 2>&1 || warn "the archive for points in time could not be ended; see $LOG_FILE"
    fi
}

start_archive() {
    make_archive_folder || return 1
    POSTDO_ARCHIVE_PASSWORD=$(archive_password) || return 1
    archive_said=$(printf '%s' "$POSTDO_ARCHIVE_PASSWORD" | run_roles prod archive "$POSTGRES_USER" "$PITR_SYNC") || return 1
    [ "$(printf '%s\n' "$archive_said" | fact unbounded)" != yes ] ||
        docker exec "$(container_of prod db)" sh /etc/postdo/start.sh --reload || return 1
    # The name of the image: its id changes with each `docker pull`, and both are to change together.
    POSTDO_ARCHIVE_IMAGE=$(docker inspect --format '{{.Config.Image}}' "$(container_of prod db)")
    export POSTDO_ARCHIVE_PASSWORD POSTDO_ARCHIVE_IMAGE
    compose prod up -d --no-build --no-deps archive
}

# Whoever owns backups/ works in it, as with the other backups.
make_archive_folder() {
    (umask 077 && mkdir -p "$(archive_folder)") || return 1
    # shellcheck disable=SC2012 # only numbers are read of it
    POSTDO_ARCHIVE_USER=$(ls -ldn "$ROOT/backups" | awk '{ print $3 ":" $4 }')
    [ "$(id -u)" -ne 0 ] || chown "$POSTDO_ARCHIVE_USER" "$ROOT/backups/archive" "$(archive_folder)" || return 1
    ! engine_is_rootless || POSTDO_ARCHIVE_USER=0:0
    export POSTDO_ARCHIVE_USER
}

# Not in .env, all of which the site's containers have.
archive_password() {
    archive_secret="$STATE/archive-password"
    [ -s "$archive_secret" ] || (umask 077 && random_word 32 >"$archive_secret.$$" && mv "$archive_secret.$$" "$archive_secret") || return 1
    cat "$archive_secret"
}

# PITR=off: PostgreSQL keeps nothing for it any more. What is in backups/archive stays.
remove_archive() {
    run_roles prod archive-off "$POSTGRES_USER" </dev/null && compose prod rm --stop --force archive
}

# After PostgreSQL, whose last WAL it still receives.
stop_archive() {
    compose prod stop archive
}

# --- Base backups ---------------------------------------------------------------------------------------------------

base_backup() { # base_backup [whole]
    is_running prod archive || fail "the archive for points in time is not running" \
        "$(if [ "$PITR" = off ]; then printf 'set PITR=on in .env, then run: sh run.sh -0'; else printf 'start the site: sh run.sh -0; if it says that the disk is too small, free some space or set PITR=on in .env'; fi)"
    try "Take a base backup" docker exec "$(container_of prod archive)" sh /etc/postdo/archive.sh base "${1-}" || {
        base_facts=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE")
        show_tail
        fail "no base backup was taken: $(printf '%s\n' "$base_facts" | fact what | tail -n 1)" "$(printf '%s\n' "$base_facts" | fact next | tail -n 1)"
    }
    base_facts=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE")
    say "wrote the base backup $(printf '%s\n' "$base_facts" | fact base) ($(($(printf '%s\n' "$base_facts" | fact kilobytes) / 1024 + 1)) MB)"
}

# --- Restore points -------------------------------------------------------------------------------------------------

# In the WAL, and with its place and time in the archive, where it is found again also on another machine.
leave_restore_point() { # leave_restore_point NAME
    is_running prod archive || return 0
    if ! point_facts=$(in_time docker exec -u postgres "$(container_of prod db)" \
        psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -U postdo_superuser -d postgres -v name="$1" -f /etc/postdo/archive/point.sql </dev/null 2>>"$LOG_FILE") ||
        ! printf '%s=%s\n' "$1" "$point_facts" >>"$(archive_folder)/points"; then
        warn "the restore point $1 could not be left; see $LOG_FILE"
    fi
}

# To the place that postdo has noted: what was written during the rehearsal is before the migrations too.
move_restore_point() { # move_restore_point NAME "LSN SECONDS"
    point_from=$(restore_point "$1")
    [ -n "$2" ] && [ -n "$point_from" ] || return 0
    points_file="$(archive_folder)/points"
    printf '%s=%s %s\n' "$1" "$2" "${point_from##* }" >>"$points_file" || warn "cannot write $points_file"
}

# Nothing happened after it that anybody would want to go back from.
forget_restore_point() { # forget_restore_point NAME
    points_file="$(archive_folder)/points"
    [ -f "$points_file" ] || return 0
    if ! { grep -v "^$1=" "$points_file" || true; } >"$points_file.new" || ! mv "$points_file.new" "$points_file"; then
        warn "cannot write $points_file"
    fi
}

restore_points() { # the numbers of the releases that have one, the newest 20, in one line
    sed -n 's/^before-[a-z]*-\([0-9]*\)=.*/\1/p' "$(archive_folder)/points" 2>/dev/null | sort -un | tail -n 20 | paste -s -d ' ' -
}

restore_point() { # restore_point NAME: "LSN SECONDS SYSTEM" of the last one of that name
    fact "$1" 2>/dev/null <"$(archive_folder)/points" | tail -n 1
}

# From before its migrations; without any, from just before visitors got it.
point_before_release() { # point_before_release NUMBER: its name, if there is one
    for point_name in "before-migrations-$1" "before-release-$1"; do
        [ -z "$(restore_point "$point_name")" ] || { printf '%s' "$point_name" && return; }
    done
}

# For who cannot go back to a release because of the data: the first later one with a restore point.
point_after_release() { # point_after_release NUMBER: the number of the release that the point is from before
    for point_number in $(release_numbers | sort -n); do
        [ "$point_number" -gt "$1" ] || continue
        [ -z "$(point_before_release "$point_number")" ] || { printf '%s' "$point_number" && return; }
    done
}

# --- Recovering -----------------------------------------------------------------------------------------------------

# What was asked for, before anything starts: sets RECOVER_AS, the words of `recover.sh plan`.
read_point_in_time() { # read_point_in_time OPTION [VALUE]
    case $1 in
    --time)
        recover_seconds=$(seconds_of "${2-}") ||
            usage_error "--time needs a time such as \"2026-11-21 10:42\", with seconds if needed, in the time zone of this machine ($(date +%Z)), or with UTC behind it"
        RECOVER_AS="time $recover_seconds"
        ;;
    --before-release)
        case ${2-} in '' | *[!0-9]*) usage_error "--before-release takes the number of a release: sh run.sh releases" ;; esac
        RECOVER_POINT="release-$2"
        ;;
    --before-migrations)
        case ${2-} in *[!0-9]*) usage_error "--before-migrations takes the number of a release: sh run.sh releases" ;; esac
        RECOVER_POINT="migrations-${2-}"
        ;;
    --latest) RECOVER_AS=latest ;;
    esac
    if [ $# -gt 2 ] || [ "$*" = "--latest ${2-}" ]; then usage_error "restore takes one point in time"; fi
}

# In the zone of this machine, as in `releases` and the logs; UTC where it is said.
seconds_of() { # seconds_of TIME
    seconds_text=${1%UTC}
    seconds_text=${seconds_text% }
    case $seconds_text in
    [0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]" "[0-2][0-9]:[0-5][0-9] | [0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]" "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]) ;;
    *) return 1 ;;
    esac
    if [ "$seconds_text" = "$1" ]; then date -d "$seconds_text" +%s; else TZ=UTC date -d "$seconds_text" +%s; fi 2>/dev/null
}

clock_of() { # clock_of SECONDS: in the zone of this machine, and in UTC
    printf '%s (%s)' "$(date -d "@$1" '+%Y-%m-%d %H:%M:%S %Z')" "$(TZ=UTC date -d "@$1" '+%H:%M:%S UTC')"
}

restore_from_archive() { # restore_from_archive OPTION [VALUE]
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "points in time are of production: sh run.sh -0 restore $1" ;; esac
    read_point_in_time "$@"
    enter_mode
    require_database prod
    require_no_restored
    restore_point_in_time
    say "the database as it was then is now the database \"restored\". The site's database is unchanged."
    tell_of_restored
}

restore_point_in_time() {
    [ -z "${RECOVER_POINT-}" ] || choose_restore_point
    plan_recovery
    say "recovering the database as it was at $(clock_of "$(recovery_fact until)"), from the base backup $(recovery_fact base)"
    undo_with remove_recovery
    try "Recover a copy of the server" start_recovery || recovery_failed
    step "Create an empty database" run_sql prod create.sql -v owner="$POSTGRES_USER"
    try "Copy the database from there" docker exec "$(container_of prod recovery)" sh /etc/postdo/recover.sh hand-over "$POSTGRES_DB" restoring || {
        run_sql prod discard.sql -v name=restoring >>"$LOG_FILE" 2>&1 || true
        recovery_failed
    }
    step "Rename it to \"restored\"" run_sql prod finish.sql
    remove_recovery >>"$LOG_FILE" 2>&1 || true
    UNDO=${UNDO#remove_recovery }
}

choose_restore_point() {
    case $RECOVER_POINT in
    release-*)
        point_of=$(point_before_release "${RECOVER_POINT#release-}")
        [ -n "$point_of" ] || fail "there is no restore point from before release ${RECOVER_POINT#release-}$(points_there)" "choose another one, or a time: sh run.sh -0 restore --time \"YYYY-MM-DD HH:MM\""
        ;;
    migrations-)
        point_of=$(sed -n 's/^\(before-migrations-[0-9]*\)=.*/\1/p' "$(archive_folder)/points" 2>/dev/null | tail -n 1)
        [ -n "$point_of" ] || fail "there is no restore point from before migrations$(points_there)" "choose a release or a time: sh run.sh -0 restore --time \"YYYY-MM-DD HH:MM\""
        ;;
    *)
        point_of="before-$RECOVER_POINT"
        [ -n "$(restore_point "$point_of")" ] || fail "there is no restore point from before the migrations of release ${RECOVER_POINT#migrations-}$(points_there)" "choose another one, or a time: sh run.sh -0 restore --time \"YYYY-MM-DD HH:MM\""
        ;;
    esac
    point_found=$(restore_point "$point_of")
    point_system=${point_found##* }
    point_found=${point_found% *}
    RECOVER_UNTIL=${point_found#* }
    RECOVER_AS="lsn ${point_found% *} $point_system"
    say "restore point $point_of"
}

points_there() { # for messages
    points_list=$(restore_points)
    [ -z "$points_list" ] || printf '; there are some from before releases %s' "$points_list"
}

RECOVER_AS=
RECOVER_POINT=
RECOVER_UNTIL=
RECOVERY=

# In a container of the server's own image, which alone can tell whether it reads the archive.
plan_recovery() {
    [ "$RECOVER_AS" != latest ] || RECOVER_AS="latest $(docker exec -u postgres "$(container_of prod db)" psql -XqAt -U postdo_superuser -d postgres -c 'SELECT system_identifier FROM pg_control_system()' </dev/null)"
    [ -d "$(archive_folder)" ] || fail "there is no archive from which to recover" "set PITR=on in .env and start the site, which begins one: sh run.sh -0"
    # shellcheck disable=SC2086 # split on purpose: a list of words
    RECOVERY=$(docker run --rm --network none -v "$ROOT/db:/etc/postdo:ro" -v "$(archive_folder):/archive:ro" --entrypoint sh \
        "$(docker inspect --format '{{.Image}}' "$(container_of prod db)")" /etc/postdo/recover.sh plan $RECOVER_AS 2>>"$LOG_FILE") ||
        fail "$(recovery_fact what | grep . || printf 'the archive cannot be read')" "$(recovery_fact next | grep . || printf '%s' "$FIX_ABOVE")"
}

recovery_fact() { # recovery_fact KEY
    if [ "$1" = until ] && [ -n "$RECOVER_UNTIL" ]; then printf '%s' "$RECOVER_UNTIL"; else printf '%s\n' "$RECOVERY" | fact "$1"; fi
}

start_recovery() {
    remove_recovery || return 1
    POSTDO_DB_IMAGE=$(docker inspect --format '{{.Image}}' "$(container_of prod db)")
    POSTDO_SUPERUSER=$(superuser_of prod)
    POSTDO_RECOVERY_SEQUENCE=$(recovery_fact sequence)
    POSTDO_RECOVERY_CHAIN=$(recovery_fact chain)
    POSTDO_RECOVERY_TARGET=$(recovery_fact target)
    export POSTDO_DB_IMAGE POSTDO_SUPERUSER POSTDO_RECOVERY_SEQUENCE POSTDO_RECOVERY_CHAIN POSTDO_RECOVERY_TARGET
    compose prod up -d --no-build --no-deps --wait --wait-timeout "$RECOVERY_SECONDS" recovery
}

recovery_failed() {
    recovery_facts=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" && [ -z "$(container_of prod recovery)" ] || docker logs --tail 50 "$(container_of prod recovery)" 2>&1)
    [ -z "$(container_of prod recovery)" ] || docker logs --tail 20 "$(container_of prod recovery)" 2>&1 | last_lines | indented >&3
    recovery_what=$(printf '%s\n' "$recovery_facts" | fact what | tail -n 1)
    recovery_next=$(printf '%s\n' "$recovery_facts" | fact next | tail -n 1)
    fail "the database could not be recovered; the site's data is unchanged${recovery_what:+: $recovery_what}" "${recovery_next:-$FIX_ABOVE}"
}

remove_recovery() {
    remove_container=$(container_of prod recovery)
    [ -z "$remove_container" ] || docker rm --force --volumes "$remove_container"
}

# --- What status says -----------------------------------------------------------------------------------------------

# Facts, KEY=VALUE: state= off, receiving, waiting (for PostgreSQL), full (the disk) or stopped; since= (seconds); from= and
# base=, the first and the last base backup (their names are times in UTC); kept=, bytes that PostgreSQL keeps for it; sync=, whether
# commits wait for it; what= and next= where that is a problem. One look at PostgreSQL, one at the container: for an alarm, too.
archive_facts() {
    facts_folder=$(archive_folder)
    if [ "$PITR" = off ] || [ -z "$(container_of prod archive)" ]; then
        printf 'state=off\n'
        [ "$PITR" != on ] || printf 'what=%s\nnext=%s\n' "PITR is on, but there is no archive of the database" "start it: sh run.sh -0"
        return
    fi
    facts_slot=$(in_time docker exec -u postgres "$(container_of prod db)" \
        psql -XqAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /etc/postdo/archive/slot.sql </dev/null 2>/dev/null) || facts_slot=
    facts_noted=$(fact state 2>/dev/null <"$facts_folder/state") || facts_noted=
    facts_state=stopped
    if ! is_running prod archive; then
        facts_what="the archive of the database is stopped" facts_next="start it: sh run.sh -0"
    elif [ "$(printf '%s\n' "$facts_slot" | fact receiving)" = yes ]; then
        facts_state=receiving facts_what=
        [ ! -e "$facts_folder/base-failed" ] ||
            facts_what="the last base backup failed" facts_next="find out why: sh run.sh -0 logs archive; then take one: sh run.sh -0 backup base"
    else
        case $facts_noted in waiting | full) facts_state=$facts_noted ;; esac
        facts_what=$(fact what 2>/dev/null <"$facts_folder/state") || facts_what=
        facts_what=${facts_what:-the archive of the database receives nothing}
        facts_next=$(fact next 2>/dev/null <"$facts_folder/state") || facts_next=
        facts_next=${facts_next:-find out why: sh run.sh -0 logs archive}
    fi
    printf 'sync=%s\n' "$(printf '%s\n' "$facts_slot" | fact sync)"
    printf 'state=%s\nsince=%s\nfrom=%s\nbase=%s\nkept=%s\n' "$facts_state" "$(fact since 2>/dev/null <"$facts_folder/state")" \
        "$(archive_bases | head -n 1)" "$(archive_bases | tail -n 1)" "$(printf '%s\n' "$facts_slot" | fact kept)"
    [ -z "$facts_what" ] || printf 'what=%s\nnext=%s\n' "$facts_what" "$facts_next"
}

archive_bases() { # of the newest sequence
    archive_newest=$(find "$(archive_folder)" -mindepth 1 -maxdepth 1 -name '[0-9]*Z' 2>/dev/null | sort | tail -n 1)
    [ -z "$archive_newest" ] || find "$archive_newest/base" -mindepth 1 -maxdepth 1 -name '[0-9]*Z' 2>/dev/null | sed 's/.*\///' | sort
}
