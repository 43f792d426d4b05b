# commands/upgrade-db.sh: move production's database to a newer major of PostgreSQL: POSTGRES_IMAGE in .env names its image.
# usage: sh run.sh -0 upgrade-db [--yes]        copy the database to the new version, compare, and switch to it
#        sh run.sh -0 upgrade-db --back [--yes] go back to the old version
#        sh run.sh -0 upgrade-db --finish       remove the version that does not serve; until then there is a way back
#
# The site serves meanwhile, and requests wait for some seconds at the switch. The way back then has what was written since. Where
# the rows cannot be copied like this (docs/upgrade-db.md), the site is down while they are: it says for how long before, and asks;
# that way back is without what was written since. If anything goes wrong, the site continues on the old version.

main() {
    upgrade_action=upgrade_database
    upgrade_agreed=
    read_options "$@"
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "upgrade-db is for production: sh run.sh -0 upgrade-db" ;; esac
    require_engine
    prepare_environment
    require_own_stack prod
    make_state_folder "$STATE"
    settle_switch
    take_lock prod
    open_log upgrade-db
    remove_left_copy
    remove_left_upgrade
    "$upgrade_action"
}

read_options() {
    for upgrade_option in "$@"; do
        case $upgrade_option in
        --yes) upgrade_agreed=yes ;;
        --back) upgrade_action=go_back ;;
        --finish) upgrade_action=finish_upgrade ;;
        *) unknown_argument "$upgrade_option" ;;
        esac
    done
    [ $# -lt 2 ] || [ "$upgrade_agreed$upgrade_action" = yesgo_back ] || usage_error "upgrade-db takes one option, or --back --yes"
}

# --- To the newer version -------------------------------------------------------------------------------------------

upgrade_database() {
    # No impact yet.
    find_versions
    if [ "$(upgrade_state)" = linked ]; then
        turn_to_other
        return
    fi
    require_room
    export_compose_facts
    lend_database prod
    require_database_unused prod
    require_no_tablespace
    POSTDO_SUPERUSER=$(superuser_of prod)
    serves=
    ! mode_runs prod || serves=yes
    upgrade_obstacles=$(run_upgrade db obstacles) || step_failed "looking at the tables"
    if [ -n "$upgrade_obstacles" ]; then
        upgrade_by_dump
    elif site_is_well prod; then
        upgrade_by_replication
    else
        upgrade_obstacles="the site is not healthy"
        upgrade_by_dump
    fi
}

# --- While the site serves: the new version follows the old one, and after the switch the old one follows the new one ---

upgrade_by_replication() {
    back_up_before
    begin_copy
    follow_needs_restart=$(run_upgrade_sql wal-level.sql)
    [ "$follow_needs_restart" = logical ] ||
        try "Restart PostgreSQL while requests wait" while_held restart_live || explain_unhealthy prod db
    try "Start PostgreSQL $new_major beside it" start_other "$new_image" "$new_cluster" || explain_unhealthy prod db-other
    require_other_image_fits
    try "Copy roles and definitions" copy_definitions || fail_copy
    try "Copy the rows while the site serves" follow_live || fail_copy
    try "Make statistics" in_other analyze vacuum || fail_copy
    try "Check the site on PostgreSQL $new_major" check_on_other || {
        show_tail
        fail "the site does not work on PostgreSQL $new_major; nothing was changed" "$FIX_ABOVE"
    }
    set_direction "$live_cluster" "$old_image" "$old_major" "$new_cluster" "$new_image" "$new_major"
    switch_servers
    UNDO=${UNDO#undo_copy }
    tell_linked
}

fail_copy() {
    show_tail
    fail "the database could not be copied to PostgreSQL $new_major; the old data is unchanged" "$FIX_ABOVE"
}

restart_live() {
    docker restart --time 120 "$(container_of prod db)" && wait_until "$START_TIMEOUT" is_healthy prod db
}

is_healthy() { # is_healthy MODE SERVICE
    [ "$(state_of "$1" "$2")" = healthy ]
}

copy_definitions() {
    followed_definitions=$(run_upgrade db definitions) && run_upgrade db copy definitions
}

# All rows, and then as good as all that was written meanwhile. PostgreSQL tries what fails again and again.
follow_live() {
    in_other follow || return 1
    until rows_are_copied; do
        [ -z "$copied_errors" ] || return 1
        is_well prod db-other || return 1
        sleep 1
    done
    in_other catch-up 600
}

rows_are_copied() {
    copied_facts=$(in_other copied) || return 1
    copied_errors=$(printf '%s\n' "$copied_facts" | fact errors)
    if [ "${copied_errors:-0}" -gt "$COPY_ERRORS" ]; then docker logs --tail 20 "$(container_of prod db-other)" 2>&1; else copied_errors=; fi
    printf '%s of %s tables\n' "$(printf '%s\n' "$copied_facts" | fact copied)" "$(printf '%s\n' "$copied_facts" | fact tables)"
    [ "$(printf '%s\n' "$copied_facts" | fact tables)" -gt 0 ] && [ "$(printf '%s\n' "$copied_facts" | fact copied)" = "$(printf '%s\n' "$copied_facts" | fact tables)" ]
}

COPY_ERRORS=3 # tries that may fail, of a connection that ended

# The version that serves, with Django's checks of the database, which write nothing.
check_on_other() {
    (
        export DATABASE_URL="postgres://$POSTGRES_USER:$POSTGRES_PASSWORD@db:$OTHER_PORT/$POSTGRES_DB" PGOPTIONS='-c default_transaction_read_only=on'
        docker exec -e DATABASE_URL -e PGOPTIONS "$(container_of prod "$(web_service prod)")" python -m django check --database default
    )
}

OTHER_PORT=5433 # db/other.sh

# From the one that serves to the one that follows.
set_direction() { # set_direction CLUSTER IMAGE MAJOR CLUSTER IMAGE MAJOR
    from_cluster=$1 from_image=$2 from_major=$3 to_cluster=$4 to_image=$5 to_major=$6
}

switch_servers() {
    require_same_definitions
    if [ -n "$(companions)" ]; then
        undo_with start_site
        step "Stop the services beside the site" stop_companions "$(live_colour)"
    fi
    try "Wait for jobs and commands to end" wait_until 600 nothing_uses_database || step_failed "waiting for jobs and commands"
    try "Write out what both have in memory" in_other write-out || step_failed "writing out what is in memory"
    # A site that does not work now need not work then: it may be why somebody goes back.
    switch_was_well=
    ! site_is_well prod || switch_was_well=yes
    # It ends by itself also if this run.sh is killed, and requests wait until then.
    trap '' INT TERM HUP PIPE
    begin_switch
    for switch_try in 1 2 3; do
        switch_status=0
        try "Switch to PostgreSQL $to_major while requests wait" while_held switch_apart || switch_status=$?
        [ "$switch_status" -eq "$NOT_LOCKED" ] && [ "$switch_try" -lt 3 ] || break
        sleep 10 # a transaction that writes takes long
    done
    handle_signals
    trap 'interrupted PIPE 141' PIPE
    [ "$switch_status" -eq 0 ] || show_tail
    read_clusters "$to_image"
    use_live_image
    [ -z "$(companions)" ] || { UNDO=${UNDO#start_site } && start_site >>"$LOG_FILE" 2>&1; } || warn "the services beside the site did not start; see $LOG_FILE"
    keep_link
    end_switch
    settle_archive
    [ "$switch_status" -eq 0 ] || fail_site "the switch to PostgreSQL $to_major failed" "$FIX_ABOVE"
}

NOT_LOCKED=9

nothing_uses_database() {
    ! one_off_runs prod
}

# What was not copied would be missing: PostgreSQL replicates rows, and no definitions. Each server's own programs describe it.
require_same_definitions() {
    # shellcheck disable=SC2015 # the failure of each of them counts
    same_now=$(run_upgrade db definitions) && next_definitions=$(in_other definitions other) || step_failed "looking at the definitions"
    [ "$same_now" = "$followed_definitions" ] ||
        fail "the definitions in the database have changed, and PostgreSQL $to_major does not have them" "${definitions_remedy-wait until nobody changes them (a release, manage migrate), then run the command again}"
}

write_linked() { # write_linked CLUSTER IMAGE MAJOR CLUSTER IMAGE MAJOR DEFINITIONS: the live one first
    write_clusters "live=$1" "live_image=$2" "live_major=$3" "other=$4" "other_image=$5" "other_major=$6" state=linked "definitions=$7"
}

switch_apart() {
    (wait_until 5 is_locked prod && switch_held) &
    lend_lock prod "$!" || true
    switch_apart_status=0
    wait "$!" || switch_apart_status=$?
    lend_lock prod "$$" || true
    return "$switch_apart_status"
}

# Nobody writes from the lock on. Until the file of the volume names the other cluster, all can be taken back; from then on the
# first one is not the site's any more, so it must be stopped before.
switch_held() {
    switch_before=$(upgrade_state)
    lock_live || {
        unlock_live
        return "$NOT_LOCKED"
    }
    in_other hand-over || {
        unlock_live
        run_upgrade db unfence
        return 1
    }
    stop_both_at_once || {
        unlock_live
        serve_again && run_upgrade db unfence
        return 1
    }
    unlock_live
    switch_file || {
        compose prod stop db
        take_switch_back
        return 1
    }
}

switch_file() {
    write_linked "$to_cluster" "$to_image" "$to_major" "$from_cluster" "$from_image" "$from_major" "$next_definitions" &&
        use_live_image && serve_again || return 1
    # Twice: a connection that the site has kept is noticed by the first.
    [ -z "$switch_was_well" ] || smoke_test "$(live_colour)" || smoke_test "$(live_colour)"
}

stop_both_at_once() {
    remove_other_server &
    compose prod stop db
    wait "$!" && ! is_running prod db
}

# As it was: followed, or still being copied.
take_switch_back() {
    if [ "$switch_before" = linked ]; then
        write_linked "$from_cluster" "$from_image" "$from_major" "$to_cluster" "$to_image" "$to_major" "$followed_definitions"
    else
        write_copying
    fi && use_live_image && serve_again && run_upgrade db unfence
}

serve_again() {
    compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" db
}

# As a hold of requests, it lasts as long as its input is open here.
lock_live() {
    lock_pipe="$STATE/lock-live.$$"
    rm -f "$lock_pipe" "$lock_pipe.said" && mkfifo "$lock_pipe" || return 1
    docker exec -i -u postgres "$(container_of prod db-other)" sh /etc/postdo/upgrade.sh lock "$POSTDO_SUPERUSER" <"$lock_pipe" >"$lock_pipe.said" &
    lock_process=$!
    exec 8>"$lock_pipe"
    rm -f "$lock_pipe"
    wait_until 8 lock_has_answered
    lock_said=$(cat "$lock_pipe.said")
    rm -f "$lock_pipe.said"
    [ "$lock_said" = locked ]
}

lock_has_answered() {
    [ -s "$lock_pipe.said" ] || ! kill -0 "$lock_process" 2>/dev/null
}

unlock_live() {
    exec 8>&-
    kill "$lock_process" 2>/dev/null || true
    wait "$lock_process" 2>/dev/null || true
}

tell_linked() {
    say "the site is on PostgreSQL $to_major. PostgreSQL $from_major follows it, with all that is written."
    say "  finish (removes PostgreSQL $from_major's data)          sh run.sh -0 upgrade-db --finish"
    [ "$to_major" -lt "$from_major" ] || say "  go back, with all that was written             sh run.sh -0 upgrade-db --back"
}

# The other one has all rows: nothing is copied.
turn_to_other() {
    set_direction "$(cluster_fact live)" "$(cluster_fact live_image)" "$(cluster_fact live_major)" \
        "$(cluster_fact other)" "$(cluster_fact other_image)" "$(cluster_fact other_major)"
    followed_definitions=$(cluster_fact definitions)
    definitions_remedy="keep this version: sh run.sh -0 upgrade-db --finish"
    require_database_image "$to_image"
    export_compose_facts
    require_database_unused prod
    lend_database prod
    POSTDO_SUPERUSER=$(superuser_of prod)
    try "Let PostgreSQL $to_major follow" settle_link || {
        show_tail
        fail "PostgreSQL $to_major does not follow PostgreSQL $from_major" "find out why: docker logs $(container_of prod db-other); or keep this version: sh run.sh -0 upgrade-db --finish"
    }
    try "Wait until PostgreSQL $to_major has all rows" in_other catch-up 600 || {
        show_tail
        fail "PostgreSQL $to_major does not have all rows" "find out why: docker logs $(container_of prod db-other); or keep this version: sh run.sh -0 upgrade-db --finish"
    }
    switch_servers
    tell_linked
}

# --- Or with the site stopped, by dump and restore ----------------------------------------------------------------------

upgrade_by_dump() {
    [ -n "$upgrade_agreed" ] || [ -z "$serves" ] || ask_for_downtime
    back_up_before

    # From here on something changes, and each step can be undone.
    undo_with end_switch
    begin_copy
    try "Start PostgreSQL $new_major beside it" start_other "$new_image" "$new_cluster" || explain_unhealthy prod db-other
    require_other_image_fits
    mark_downtime
    stop_writers
    require_no_clients
    try "Copy the database to PostgreSQL $new_major" copy_clusters || fail_copy
    try "Compare all rows" compare_clusters || {
        show_tail
        fail "the copy differs from the database; the old data is unchanged" "let nobody write to the database meanwhile, then run the command again"
    }
    switch_to_copy
    UNDO=${UNDO#end_switch }
    end_switch
    [ -z "$serves" ] || settle_archive
    say "the site is on PostgreSQL $new_major. The data of PostgreSQL $old_major is kept, as it was at the switch."
    say "  finish (removes it)                      sh run.sh -0 upgrade-db --finish"
    say "  go back, without rows written since      sh run.sh -0 upgrade-db --back"
}

# --- What both have in common -------------------------------------------------------------------------------------------

# The image that the data was made with is not in .env any more: its container has it.
find_versions() {
    docker volume inspect "$(data_volume prod)" >/dev/null 2>&1 ||
        fail "production has no database yet" "start it: sh run.sh -0; a new one has the version of POSTGRES_IMAGE at once"
    new_image=$POSTGRES_IMAGE
    require_database_image "$new_image"
    # Also what an earlier run left, if its state is gone here.
    read_clusters "$new_image"
    if [ "$(upgrade_state)" = linked ] && [ "$(cluster_fact other_image)" = "$new_image" ]; then return; fi
    case $(upgrade_state) in
    switched | linked)
        fail "the upgrade of PostgreSQL is not finished" "finish it: sh run.sh -0 upgrade-db --finish; or go back: sh run.sh -0 upgrade-db --back"
        ;;
    esac
    new_major=$(printf '%s\n' "$clusters_found" | fact image_major)
    old_major=$(printf '%s\n' "$clusters_found" | fact major)
    live_cluster=$(printf '%s\n' "$clusters_found" | fact live)
    live_cluster=${live_cluster:-.}
    [ -n "$new_major" ] && [ -n "$old_major" ] ||
        fail "the version of PostgreSQL in the volume $(data_volume prod) or in the image $new_image cannot be read" "check that $new_image is an image of PostgreSQL, and that production has started before"
    [ "$new_major" -ne "$old_major" ] || fail "the database is on PostgreSQL $old_major already" "set POSTGRES_IMAGE in .env to the image of a newer version, then run the command again"
    [ "$new_major" -gt "$old_major" ] || fail "PostgreSQL $new_major is older than the database, which is on PostgreSQL $old_major" "set POSTGRES_IMAGE in .env to the image of a newer version"
    old_image=$(cluster_fact live_image)
    [ -n "$old_image" ] || old_image=$(docker inspect --format '{{.Config.Image}}' "$(container_of prod db)" 2>/dev/null) || true
    [ -n "$old_image" ] || fail "production's database has no container, so its image is not known" \
        "start it once as it was: POSTGRES_IMAGE=postgres:$old_major sh run.sh -0 --no-build; then run the command again"
    new_cluster=pg$new_major
    keep_clusters "live=$live_cluster" "live_image=$old_image" state=left || cannot_write "$STATE"
}

# The copy, and as much again as a copy writes to its log (max_wal_size in db/postgresql.conf).
require_room() {
    room_facts=$(ask_volume prod "$new_image" room) || step_failed "reading the volume $(data_volume prod)"
    database_mb=$(printf '%s\n' "$room_facts" | fact size)
    room_free=$(printf '%s\n' "$room_facts" | fact free)
    room_needed=$((database_mb * 11 / 10 + 2500))
    [ "$room_free" -ge "$room_needed" ] ||
        fail "the copy needs $room_needed MB on the disk of the database, but there are $room_free MB left" "$FREE_DISK, then run the command again"
}

require_no_tablespace() {
    upgrade_tablespace=$(run_upgrade_sql tablespaces.sql | head -n 1)
    [ -z "$upgrade_tablespace" ] || fail "the database has the tablespace $upgrade_tablespace, which upgrade-db cannot copy" "move its tables to pg_default and drop it, then run the command again"
}

run_upgrade_sql() { # run_upgrade_sql FILE: of db/upgrade/, on the live cluster
    in_database prod psql --no-psqlrc -qAt -v ON_ERROR_STOP=1 -d postgres -f "/etc/postdo/upgrade/$1" </dev/null
}

COPY_MB_A_SECOND=15 # docs/decisions/upgrade-db.md
# Seconds, of the stop, the comparison and the start of a small database.
SWITCH_TAKES=15

ask_for_downtime() {
    fail "the site will be down for about $((SWITCH_TAKES + database_mb / COPY_MB_A_SECOND)) s while $database_mb MB are copied: $(printf '%s\n' "$upgrade_obstacles" | head -n 1)" \
        "at a quiet time, run: sh run.sh -0 upgrade-db --yes" 2
}

# As anybody would, in a run of its own, which takes the lock.
back_up_before() {
    release_lock prod
    backup_status=0
    (forget_environment && sh "$ROOT/run.sh" -0 backup --why before-upgrade) || backup_status=$?
    take_lock prod
    [ "$backup_status" -eq 0 ] || fail "the backup before the upgrade failed; nothing was changed" "$FIX_ABOVE"
}

begin_copy() {
    undo_with undo_copy
    step "Make room for PostgreSQL $new_major" make_room
}

make_room() {
    in_volume prod "$new_image" remove "$new_cluster" && write_copying
}

write_copying() {
    write_clusters "live=$live_cluster" "live_image=$old_image" "other=$new_cluster" "other_image=$new_image" state=copying
}

undo_copy() {
    remove_other
    ! site_was_stopped || start_site
}

site_was_stopped() {
    [ -n "$serves" ] && ! is_well prod "$(web_service prod)"
}

require_other_image_fits() {
    fits_said=$(in_other check 2>>"$LOG_FILE") || [ -n "$fits_said" ] || step_failed "comparing the extensions of both images"
    [ -z "$fits_said" ] || fail "$(printf '%s\n' "$fits_said" | fact what)" "$(printf '%s\n' "$fits_said" | fact next)"
}

# A site that was stopped before is not to be started by whoever finds the mark.
mark_downtime() {
    [ -z "$serves" ] || begin_switch
}

# The proxy stays: it tells visitors that the site is down.
stop_writers() {
    [ -z "$(live_colour)" ] || step "Stop the site" stop_colour "$(live_colour)"
    stop_jobs
    [ -z "$(additions prod)" ] || step "Stop the services beside the site" stop_additions prod
}

# What they write would not be in the copy.
require_no_clients() {
    other_clients=$(in_other clients 2>>"$LOG_FILE") || step_failed "looking for other clients of the database"
    [ -z "$other_clients" ] || fail "somebody else is connected to the database: $(printf '%s\n' "$other_clients" | head -n 1)" "disconnect it, then run the command again"
}

copy_clusters() {
    run_upgrade db copy && in_other analyze
}

compare_clusters() {
    compare_found=$(in_other compare) || return 1
    [ -z "$compare_found" ] || { printf '%s\n' "$compare_found" && return 1; }
}

# The volume's file is the switch: what is done before it can be repeated, and what comes after it starts what it names.
switch_to_copy() {
    step "Stop both servers" stop_both
    UNDO=${UNDO#undo_copy }
    undo_with undo_switch
    step "Switch to PostgreSQL $new_major" write_clusters "live=$new_cluster" "live_image=$new_image" "other=$live_cluster" "other_image=$old_image" \
        state=switched way=dump "since=$(date '+%Y-%m-%d %H:%M')"
    use_live_image
    start_database prod
    [ -z "$serves" ] || start_on_copy
    UNDO=${UNDO#undo_switch }
}

start_on_copy() {
    # shellcheck disable=SC2015 # the second one's failure counts as the first one's does
    try "Start the site" start_site && try "Smoke-test it" smoke_test "$(live_colour)" || {
        show_tail
        fail "the site does not work on PostgreSQL $new_major, so it goes back to PostgreSQL $old_major" "$FIX_ABOVE"
    }
}

stop_both() {
    remove_other_server && stop_database prod
}

# Nobody has written to the copy yet, so nothing is lost.
undo_switch() {
    [ -z "$serves" ] || { stop_colour "$(live_colour)" && stop_additions prod; }
    stop_database prod
    write_copying && use_live_image && compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" db && undo_copy
}

# --- And back ---------------------------------------------------------------------------------------------------------

go_back() {
    require_switched
    if [ "$(upgrade_state)" = linked ]; then
        [ "$(cluster_fact other_major)" -lt "$(cluster_fact live_major)" ] ||
            fail "the site is on the old version already" "to switch to the new one again: sh run.sh -0 upgrade-db"
        turn_to_other
        say "  set in .env                              POSTGRES_IMAGE=$to_image"
        return
    fi
    [ -n "$upgrade_agreed" ] || fail "the site would go back to its data of $(cluster_fact since), without what was written since" \
        "to go back, run: sh run.sh -0 upgrade-db --back --yes" 2
    export_compose_facts
    require_database_unused prod
    serves=
    ! mode_runs prod || serves=yes
    set -- "$(cluster_fact live)" "$(cluster_fact live_image)" "$(cluster_fact other)" "$(cluster_fact other_image)"
    require_database_image "$4"
    mark_downtime
    stop_writers
    step "Stop PostgreSQL" stop_database prod
    step "Switch to the data of $(cluster_fact since)" write_clusters "live=$3" "live_image=$4" "other=$1" "other_image=$2" state=left
    use_live_image
    start_database prod
    # shellcheck disable=SC2046 # split on purpose: a list of words
    [ -z "$serves" ] || try "Start the site" start_site || explain_unhealthy prod db $(services_of_colour "$(live_colour)") $(additions prod)
    end_switch
    if [ -n "$serves" ]; then settle_archive; else step "Stop PostgreSQL" stop_database prod; fi
    say "the site is back on $4. What was written since is kept beside it, until --finish or the next upgrade-db removes it."
    say "  set in .env                              POSTGRES_IMAGE=$4"
}

require_switched() {
    upgrade_is_kept || read_clusters "$POSTGRES_IMAGE"
    upgrade_is_kept || fail "there is no upgrade of PostgreSQL to finish or to go back from" "do nothing: the database has one version's data"
}

# Also after --back, to remove the data of the new version.
finish_upgrade() {
    [ -n "$(cluster_fact other)" ] || read_clusters "$POSTGRES_IMAGE"
    [ -n "$(cluster_fact other)" ] || require_switched
    [ "$POSTGRES_IMAGE" = "$(cluster_fact live_image)" ] ||
        fail "POSTGRES_IMAGE in $(place_of POSTGRES_IMAGE) is $POSTGRES_IMAGE, but the database runs on $(cluster_fact live_image)" "set POSTGRES_IMAGE=$(cluster_fact live_image) in .env, then run the command again"
    step "Remove the other version's data" remove_old_cluster
    say "the upgrade is finished"
}

remove_old_cluster() {
    set -- "$(cluster_fact live)" "$(cluster_fact live_image)" "$(cluster_fact other)"
    remove_other_server || return 1
    [ "$(upgrade_state)" != linked ] || { export_compose_facts && lend_database prod && POSTDO_SUPERUSER=$(superuser_of prod) && run_upgrade db unlink; } || return 1
    in_volume prod "$2" remove "$3" && write_clusters "live=$1" "live_image=$2" state=done
}
