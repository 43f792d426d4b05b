# commands/upgrade-db.sh: move production's database to a newer major of PostgreSQL: POSTGRES_IMAGE in .env names its image.
# usage: sh run.sh -0 upgrade-db [--yes]        copy the database to the new version, compare, and switch to it
#        sh run.sh -0 upgrade-db --back [--yes] go back to the old version, without the rows that were written since
#        sh run.sh -0 upgrade-db --finish       remove the old version's data; until then there is a way back
#
# The site is down while it copies: it says for how long before, and asks. The old data is not changed. If anything goes wrong
# before the end, the site continues on it.

main() {
    upgrade_action=upgrade_database
    upgrade_agreed=
    read_options "$@"
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "upgrade-db is for production: sh run.sh -0 upgrade-db" ;; esac
    require_engine
    prepare_environment
    require_own_stack prod
    make_state_folder "$STATE"
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
    require_room
    export_compose_facts
    lend_database prod
    require_database_unused prod
    require_no_tablespace
    [ -n "$upgrade_agreed" ] || ask_for_downtime
    back_up_before

    # From here on something changes, and each step can be undone.
    serves=
    ! mode_runs prod || serves=yes
    begin_copy
    try "Start PostgreSQL $new_major beside it" start_other || explain_unhealthy prod db-other
    require_other_image_fits
    stop_writers
    require_no_clients
    try "Copy the database to PostgreSQL $new_major" copy_clusters || {
        show_tail
        fail "the database could not be copied to PostgreSQL $new_major; the old data is unchanged" "$FIX_ABOVE"
    }
    try "Compare all rows" compare_clusters || {
        show_tail
        fail "the copy differs from the database; the old data is unchanged" "let nobody write to the database meanwhile, then run the command again"
    }
    switch_to_copy
    say "the site is on PostgreSQL $new_major. The data of PostgreSQL $old_major is kept, as it was at the switch."
    say "  release (backups need PostgreSQL $new_major's programs)  sh run.sh -0"
    say "  finish (removes it)                      sh run.sh -0 upgrade-db --finish"
    say "  go back, without rows written since      sh run.sh -0 upgrade-db --back"
}

# The image that the data was made with is not in .env any more: its container has it.
find_versions() {
    docker volume inspect "$(data_volume prod)" >/dev/null 2>&1 ||
        fail "production has no database yet" "start it: sh run.sh -0; a new one has the version of POSTGRES_IMAGE at once"
    new_image=$POSTGRES_IMAGE
    require_database_image "$new_image"
    # Also what an earlier run left, if its state is gone here.
    read_clusters "$new_image"
    [ "$(upgrade_state)" != switched ] ||
        fail "the upgrade of PostgreSQL is not finished" "finish it: sh run.sh -0 upgrade-db --finish; or go back: sh run.sh -0 upgrade-db --back"
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
    room_facts=$(in_volume prod "$new_image" room) || step_failed "reading the volume $(data_volume prod)"
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
    fail "the site will be down for about $((SWITCH_TAKES + database_mb / COPY_MB_A_SECOND)) s while $database_mb MB are copied from PostgreSQL $old_major to $new_major" \
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
    in_volume prod "$new_image" remove "$new_cluster" &&
        write_clusters "live=$live_cluster" "live_image=$old_image" "other=$new_cluster" "other_image=$new_image" state=copying
}

undo_copy() {
    remove_other
    ! site_was_stopped || start_site
}

site_was_stopped() {
    [ -n "$serves" ] && ! is_well prod "$(web_service prod)"
}

start_other() {
    POSTDO_OTHER_IMAGE=$new_image POSTDO_OTHER_CLUSTER=$new_cluster POSTDO_SUPERUSER=$(superuser_of prod)
    export POSTDO_OTHER_IMAGE POSTDO_OTHER_CLUSTER POSTDO_SUPERUSER
    compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout "$START_TIMEOUT" db-other
}

in_other() { # in_other COMMAND: of db/upgrade.sh
    run_upgrade db-other "$1"
}

run_upgrade() { # run_upgrade SERVICE COMMAND
    docker exec -u postgres "$(container_of prod "$1")" sh /etc/postdo/upgrade.sh "$2" "$POSTDO_SUPERUSER" </dev/null
}

require_other_image_fits() {
    fits_said=$(in_other check 2>>"$LOG_FILE") || [ -n "$fits_said" ] || step_failed "comparing the extensions of both images"
    [ -z "$fits_said" ] || fail "$(printf '%s\n' "$fits_said" | fact what)" "$(printf '%s\n' "$fits_said" | fact next)"
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
    write_clusters "live=$live_cluster" "live_image=$old_image" "other=$new_cluster" "other_image=$new_image" state=copying &&
        use_live_image && compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" db && undo_copy
}

# --- And back ---------------------------------------------------------------------------------------------------------

go_back() {
    require_switched
    [ -n "$upgrade_agreed" ] || fail "the site would go back to its data of $(cluster_fact since), without what was written since" \
        "to go back, run: sh run.sh -0 upgrade-db --back --yes" 2
    export_compose_facts
    require_database_unused prod
    serves=
    ! mode_runs prod || serves=yes
    set -- "$(cluster_fact live)" "$(cluster_fact live_image)" "$(cluster_fact other)" "$(cluster_fact other_image)"
    require_database_image "$4"
    stop_writers
    step "Stop PostgreSQL" stop_database prod
    step "Switch to the data of $(cluster_fact since)" write_clusters "live=$3" "live_image=$4" "other=$1" "other_image=$2" state=left
    use_live_image
    start_database prod
    # shellcheck disable=SC2046 # split on purpose: a list of words
    [ -z "$serves" ] || try "Start the site" start_site || explain_unhealthy prod db $(services_of_colour "$(live_colour)") $(additions prod)
    [ -n "$serves" ] || step "Stop PostgreSQL" stop_database prod
    say "the site is back on $4. What was written since is kept beside it, until --finish or the next upgrade-db removes it."
    say "  set in .env                              POSTGRES_IMAGE=$4"
}

require_switched() {
    [ "$(upgrade_state)" = switched ] || read_clusters "$POSTGRES_IMAGE"
    [ "$(upgrade_state)" = switched ] || fail "there is no upgrade of PostgreSQL to finish or to go back from" "do nothing: the database has one version's data"
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
    in_volume prod "$2" remove "$3" && write_clusters "live=$1" "live_image=$2" state=done
}
