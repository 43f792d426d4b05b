# commands/restore.sh: put back a backup: it is restored beside the site's data, compared, and takes its place.
# usage: sh run.sh [-0|-1] restore [--yes] [SET]   put back a set of `backup`; without SET, the newest good one
#        sh run.sh restore --on-new-machine SET    build and start production from a set alone, on an empty machine
#        sh run.sh [-0|-1] restore BACKUP          restore a folder of a release, or a file such as SET/database.dump, as database "restored"
#        sh run.sh -0 restore SET/uploads.tar      put back the uploads of a set; newer ones stay
#        sh run.sh -0 restore --time "2026-11-21 10:42"     restore the database as it was then, as database "restored"
#        sh run.sh -0 restore --before-release NUMBER       ... just before that release changed it
#        sh run.sh -0 restore --before-migrations [NUMBER]  ... just before the last migrations, or those of that release
#        sh run.sh -0 restore --latest                      ... at the end of the archive, of a server whose disk was lost
#        sh run.sh [-0|-1] restore --swap          swap the site's database with "restored"
#        sh run.sh [-0|-1] restore --drop-old      remove the database that was replaced
#
# A set is restored into a database beside the site's, in which every table is compared with the manifest. Nothing happens
# before you agree (--yes does so for a script), and first a set of what is there is made. Uploads come back too; newer ones stay.
#
# Nothing is lost: the swap keeps the site's former database as "replaced". If the restored one has the same migrations, the
# requests to production wait for some seconds, and then get the restored data; otherwise the swap stops the site, and the
# next start migrates the data.

RESTORED=restored # the database that is to take the place of the site's

main() {
    case ${1-} in --time | --before-release | --before-migrations | --latest) restore_from_archive "$@" && return ;; esac
    restore_yes=
    restore_new=
    restore_what=
    for restore_word; do
        case $restore_word in
        --yes) restore_yes=yes ;;
        --on-new-machine) restore_new=yes ;;
        --swap | --drop-old | [!-]*)
            [ -z "$restore_what" ] || unknown_argument "$restore_word"
            restore_what=$restore_word
            ;;
        *) unknown_argument "$restore_word" ;;
        esac
    done
    if [ -n "$restore_new" ]; then
        case $restore_yes$restore_what in '' | -* | yes*) usage_error "--on-new-machine needs a set: restore --on-new-machine SET" ;; esac
        restore_on_new_machine "$restore_what"
        return
    fi
    case $restore_what in
    '' | --swap | --drop-old) ;;
    *) require_backup "$restore_what" ;;
    esac
    enter_mode
    if [ -z "$restore_what" ] || has_manifest "${BACKUP-}"; then
        restore_set "${BACKUP-}"
        return
    fi
    [ -z "$restore_yes" ] || usage_error "--yes goes with a set: restore --yes SET"
    require_database "$MODE"
    case $restore_what in
    --swap) put_in_place ;;
    --drop-old) drop_old ;;
    *uploads.tar) restore_uploads "$restore_what" ;;
    *) restore_beside "$restore_what" ;;
    esac
}

require_backup() { # require_backup PATH: sets BACKUP, the absolute path
    restore_path=$1
    # shellcheck disable=SC2153 # the folder of all of them
    [ -e "$1" ] || ! has_manifest "$BACKUPS/$1" || restore_path="$BACKUPS/$1"
    [ -e "$restore_path" ] || fail "there is no backup $1" "list the backups: ls backups"
    [ -r "$restore_path" ] || fail "cannot read $1" "run this as a user who can read it, or with sudo"
    [ ! -d "$restore_path" ] || [ -f "$restore_path/toc.dat" ] || has_manifest "$restore_path" ||
        fail "$1 is not a backup" "name a set from: sh run.sh backup, or a folder that a release wrote: ls backups"
    BACKUP=$(cd "$(dirname "$restore_path")" && pwd -P)/$(basename "$restore_path")
}

# --- A set, in one go -----------------------------------------------------------------------------------------------

# The restored database has the name "restoring" until it takes the place of the site's: what a kill leaves of it is in
# nobody's way.
restore_set() { # restore_set SET: its folder; empty: the newest good one
    USE_MODE=$MODE
    [ "$MODE" != prod ] || require_no_link
    require_database "$MODE"
    docker image inspect "$(image_for_backup "$MODE")" >/dev/null 2>&1 || not_built "$MODE"
    make_result_folder
    restore_major=$(server_major)
    if [ -n "$1" ]; then
        require_good_set "$1" "$restore_major"
        restore_folder=$1
    else
        find_good_set
    fi
    restore_name=${restore_folder##*/}
    [ "$(set_fact mode)" = "$MODE" ] || fail "$restore_name is not a set of $(mode_name "$MODE")" "name another one: ls backups"
    require_swap_possible
    ask_before_restore
    back_up "$MODE" before-restore # with the programs that the restore needs too
    try "Restore $restore_name, and compare every table" use_set "container:$(container_of "$MODE" db)" '' restore "$restore_folder" \
        --server "postgresql://$(superuser_of "$MODE")@127.0.0.1" --database restoring --owner "$POSTGRES_USER" || explain_restore
    [ "$MODE$(set_fact uploads)" != prodyes ] || try "Put its uploads back" put_uploads_back || explain_uploads
    tell_of_bucket
    RESTORED=restoring
    put_in_place
}

# Not what an earlier restore has replaced: that is put back by its name.
find_good_set() {
    for restore_folder in $(sets_of "$MODE" | sed 's/.*\///'); do
        restore_folder="$BACKUPS/$restore_folder"
        if ! check_set "$restore_folder" "$restore_major"; then
            warn "${restore_folder##*/} cannot be used: $(result what)"
        elif [ "$(set_fact why)" != before-restore ]; then
            return
        fi
    done
    fail "there is no set in backups/ that can be restored" "bring one from where you keep copies, then: sh run.sh $(mode_flag "$MODE") restore SET"
}

server_major() {
    run_sql "$MODE" major.sql
}

ask_before_restore() {
    [ -z "$restore_yes" ] || return 0
    restore_question="$restore_name, made $(set_fact made-at), would replace the data of $(mode_name "$MODE")"
    [ -t 0 ] || fail "$restore_question" "to restore it without a question: sh run.sh $(mode_flag "$MODE") restore --yes $restore_name" 2
    say "$restore_question: $(set_fact tables) tables, $(set_fact rows) rows. $(restore_verified)"
    say "First, a set of what is there now is made; and the database that it replaces is kept"
    tell "Restore it? Type yes:" >&3
    IFS= read -r restore_answer || restore_answer=
    [ "$restore_answer" = yes ] || fail "nothing was restored" "to restore it, answer yes" 2
}

restore_verified() {
    if is_verified "$restore_folder"; then
        tell "It is verified."
    else
        tell "It is not verified: sh run.sh backup verify $restore_name"
    fi
}

explain_restore() {
    run_sql "$MODE" discard.sql -v name=restoring >>"$LOG_FILE" 2>&1 || true
    restore_what=$(result what)
    result detail | indented >&3
    [ -n "$restore_what" ] || step_failed "Restore $restore_name, and compare every table"
    fail "nothing has changed, because $restore_what" "$(result next)"
}

# The databases were not swapped yet.
explain_uploads() {
    restore_what=$(result what)
    restore_remedy=$(result next)
    run_sql "$MODE" discard.sql -v name=restoring >>"$LOG_FILE" 2>&1 || true
    [ -n "$restore_what" ] || step_failed "Put its uploads back"
    fail "the database is unchanged, because $restore_what" "$restore_remedy"
}

# As a file of the volume, which Compose has made: with the site's image, whose user owns it.
put_uploads_back() {
    use_set none "$PROJECT_NAME-prod_prod-media:/files" restore-uploads "$restore_folder" /files
}

# --- Other backups, in two steps ------------------------------------------------------------------------------------

require_no_restored() {
    ! database_exists "$MODE" restored ||
        fail "the database \"restored\" already exists" "swap it with the site's: sh run.sh $(mode_flag "$MODE") restore --swap; or remove it: sh run.sh $(mode_flag "$MODE") psql -c 'DROP DATABASE restored'"
}

restore_beside() { # restore_beside NAME
    require_no_restored
    step "Create an empty database" run_sql "$MODE" create.sql -v owner="$POSTGRES_USER"
    try "Restore $1" restore_into || {
        run_sql "$MODE" discard.sql -v name=restoring >>"$LOG_FILE" 2>&1 || true
        show_tail
        fail "the backup could not be restored; the site's data is unchanged" "$FIX_LINES, or restore another backup: ls backups"
    }
    step "Rename it to \"restored\"" run_sql "$MODE" finish.sql
    say "the backup is now the database \"restored\". The site's database is unchanged."
    tell_of_restored
}

tell_of_restored() {
    say "  inspect it                sh run.sh $(mode_flag "$MODE") psql -d restored"
    say "  swap it with the site's   sh run.sh $(mode_flag "$MODE") restore --swap"
}

# Each as it was, with its owner.
restore_uploads() { # restore_uploads NAME
    [ "$MODE" = prod ] || usage_error "uploads can be restored only to production; those of development are in web/media"
    restore_foreign="$1 is not a whole backup of uploads; nothing was changed"
    restore_another="copy the file again from where it was made, or restore another one: ls backups"
    is_whole_tar "$BACKUP" || fail "$restore_foreign" "$restore_another"
    try "Check $1" holds_uploads "$BACKUP" || {
        show_tail
        fail "$restore_foreign" "$restore_another"
    }
    try "Restore $1" in_uploads rw tar -C /files -xpf - <"$BACKUP" || {
        show_tail
        fail "the uploads could not be restored; some of them may be as in the backup" "$FIX_LINES, then run the command again"
    }
    ! has_part s3 || warn "the files are in the volume, but this site has its uploads in the bucket $(bucket), and does not look into the volume"
}

newest_backup() { # of this mode; NAME if there is none
    # shellcheck disable=SC2010,SC2012 # names of the kit's own, and by their time
    newest_name=$(ls -t "$ROOT/backups" 2>/dev/null | grep -v -e '\.part$' -e '-uploads\.tar$' -e '^archive$' |
        if [ "$MODE" = prod ]; then grep -v -E -e "$OF_DEVELOPMENT"; else grep -E -e "$OF_DEVELOPMENT"; fi | head -n 1)
    printf '%s' "${newest_name:-NAME}"
}

# In a container of the server's own image, which reads both forms, at the server's own address.
restore_into() {
    docker run --rm --network "container:$(container_of "$MODE" db)" -v "$BACKUP:/backup:ro" \
        --entrypoint pg_restore "$(docker inspect --format '{{.Image}}' "$(container_of "$MODE" db)")" \
        -h 127.0.0.1 -U "$(superuser_of "$MODE")" -d restoring --single-transaction /backup
}

put_in_place() {
    [ "$MODE" != prod ] || require_no_link
    require_swap_possible
    database_exists "$MODE" "$RESTORED" || fail "there is no database \"restored\"" "restore a backup first: sh run.sh $(mode_flag "$MODE") restore backups/$(newest_backup)"
    [ "$MODE" != prod ] || leave_out_parts "$PROJECT_NAME-web:$(live_colour)"
    if [ "$MODE" = prod ] && site_is_well prod && has_same_migrations; then
        swap_while_requests_wait
        say "the site now serves the restored data. Its former data is in the database \"replaced\"."
    else
        swap_and_stay_stopped
        say "the site now has the restored data. Its former data is in the database \"replaced\"."
        say "  start the site      sh run.sh $(mode_flag "$MODE")"
    fi
    say "  remove the old one  sh run.sh $(mode_flag "$MODE") restore --drop-old"
}

# Before anything is restored or stopped.
require_swap_possible() {
    [ "$POSTGRES_DB" != postgres ] ||
        fail "restore --swap cannot rename the database postgres (POSTGRES_DB in .env), because the kit itself connects to it" \
            "stop the site, rename \"restored\" (sh run.sh $(mode_flag "$MODE") psql -U postdo_superuser -c 'ALTER DATABASE restored RENAME TO site'), set POSTGRES_DB=site in .env and start the site"
    ! database_exists "$MODE" replaced || fail "the database \"replaced\" of an earlier restore still exists" "remove it: sh run.sh $(mode_flag "$MODE") restore --drop-old"
    require_database_unused "$MODE"
}

# Then the code that serves can work on it as it is.
has_same_migrations() {
    restore_migrations=$(migrations_of "$RESTORED") && [ -n "$restore_migrations" ] && [ "$restore_migrations" = "$(migrations_of "$POSTGRES_DB")" ]
}

migrations_of() { # migrations_of DATABASE
    run_sql prod migrations.sql -d "$1" 2>>"$LOG_FILE"
}

# The processes of the site start anew: they may remember something of the former data.
swap_while_requests_wait() {
    # Before the hold, in which requests wait for HELD_SECONDS at most: a worker lets its tasks end for that long.
    undo_with start_site
    [ -z "$(companions)" ] || step "Stop the services beside the site" stop_companions "$(live_colour)"
    restore_status=0
    try "Swap the databases while requests wait" while_held swap_under_site || restore_status=$?
    UNDO=${UNDO#start_site }
    if [ "$restore_status" -ne 0 ]; then
        run_sql prod names.sql >/dev/null 2>&1 ||
            fail_site "PostgreSQL does not answer, so nobody knows whether the databases were swapped" "list them when it runs again: sh run.sh -0 psql -l"
        # The site that does not start, or the swap?
        # shellcheck disable=SC2046 # split on purpose: a list of words
        ! database_exists prod replaced || explain_unhealthy prod db $(services_of_colour "$(live_colour)") $(additions prod)
        show_tail
        fail_site "the databases could not be swapped; both are unchanged" "$FIX_ABOVE"
    fi
}

# Whoever interrupts it gets the site back before the requests are let through.
swap_under_site() {
    undo_with start_site
    swap_status=0
    { stop_colour "$(live_colour)" && stop_additions prod && swap_databases; } || swap_status=$?
    start_status=0
    start_site || start_status=$?
    UNDO=${UNDO#start_site }
    [ "$start_status" -ne 0 ] || return "$swap_status"
    return "$start_status"
}

swap_databases() {
    run_sql "$MODE" swap.sql -1 -v live="$POSTGRES_DB" -v restored="$RESTORED"
}

# Until the next start.
swap_and_stay_stopped() {
    "stop_site_$MODE"
    try "Swap the databases" swap_databases || {
        show_tail
        fail "the databases could not be swapped; both are unchanged, and the site is stopped" "$FIX_ABOVE; to start the site with its own data: sh run.sh $(mode_flag "$MODE")"
    }
    step "Stop PostgreSQL" stop_database_again
}

drop_old() {
    database_exists "$MODE" replaced || fail "there is no database \"replaced\"" "do nothing: no restore has replaced a database"
    step "Remove the replaced database" run_sql "$MODE" discard.sql -v name=replaced
}
