# commands/backup.sh: back up a mode into a set: a folder in backups/ with the database, the uploads, the site and .env.
# usage: sh run.sh [-0|-1] backup              write a set
#        sh run.sh [-0|-1] backup --why TEXT   the same; its manifest says why it was made
#        sh run.sh [-0|-1] backup key          make the key with which sets are encrypted from then on
#        sh run.sh backup verify [SET]         use a set of production: by default, the newest that was not verified yet
#        sh run.sh -0 backup base [whole]      take a base backup for `restore --time`; whole: not on top of the last one
#        sh run.sh backup offsite              copy production's sets to OFFSITE (in .env), and read back some of them
#        sh run.sh backup fetch [SET]          bring a set back from there; without SET, list those that are there
#
# The site keeps running. Rows and uploads that are written meanwhile belong to the next set. docs/backups.md says what a
# set has, and what is not in it.
#
# verify restores the set into a PostgreSQL of its own, compares every table with the manifest, and starts the image of its
# release on it; then all of that is removed. It reaches nothing but itself, and the site keeps its share of the processor.

main() {
    backup_why="command"
    case ${1-} in
    '') take_no_arguments "$@" ;;
    --why)
        [ $# -eq 2 ] || usage_error "--why needs a value"
        backup_why=$2
        ;;
    key)
        [ $# -eq 1 ] || unknown_argument "$2"
        make_key
        return
        ;;
    verify)
        shift
        verify "$@"
        return
        ;;
    base)
        shift
        take_base_backup "$@"
        return
        ;;
    offsite | fetch)
        off_the_machine "$@"
        return
        ;;
    *) unknown_argument "$1" ;;
    esac
    enter_mode
    require_database "$MODE"
    require_image_for_backup
    back_up "$MODE" "$backup_why"
    [ "$MODE" != prod ] || say "  verify it  sh run.sh backup verify"
}

# It has a lock of its own: a release need not wait for it.
verify() { # verify [SET]
    case $# in
    0) ;;
    1) case $1 in -*) unknown_argument "$1" ;; esac ;;
    *) unknown_argument "$2" ;;
    esac
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "only sets of production can be verified: sh run.sh backup verify" ;; esac
    require_engine
    prepare_environment
    require_own_stack prod
    require_image_for_backup
    take_lock drill
    open_log verify
    if [ $# -eq 1 ]; then
        verify_set=$(set_folder "$1") || exit
    else
        [ -n "$(sets_of prod)" ] || fail "there is no set in backups/" "make one: sh run.sh -0 backup"
        verify_set=$(newest_unverified)
        [ -n "$verify_set" ] || { say "every set in backups/ is verified" && return; }
    fi
    run_drill "$verify_set"
}

newest_unverified() {
    sets_of prod | while IFS= read -r verify_folder; do
        is_verified "$verify_folder" || { printf '%s' "$verify_folder" && break; }
    done
}

require_image_for_backup() {
    docker image inspect "$(image_for_backup "$MODE")" >/dev/null 2>&1 || not_built "$MODE"
}

# Once. If it was interrupted before the public key was in .env, that one is used.
make_key() {
    enter_mode
    if [ -n "$BACKUP_RECIPIENT" ]; then
        if [ -s "$BACKUP_KEY" ]; then
            say "backups are encrypted already; the key is in ${BACKUP_KEY#"$ROOT"/}. Keep a copy elsewhere"
        else
            say "backups are encrypted already, for $BACKUP_RECIPIENT (BACKUP_RECIPIENT in .env); its key is not on this machine"
        fi
        return
    fi
    require_docker_mode "$MODE"
    require_engine
    make_state_folder "$STATE"
    take_lock "$MODE"
    open_log backup
    require_image_for_backup
    require_age "$(image_for_backup "$MODE")"
    [ -s "$BACKUP_KEY" ] || step "Make the key" write_key
    set_recipient "$(sed -n 's/^# public key: //p' "$BACKUP_KEY")" || cannot_write "$ENV_FILE"
    say "from now on backups are encrypted. Keep these three lines where this machine is not: nobody can read a backup without them"
    say ""
    cat "$BACKUP_KEY"
}

write_key() {
    (umask 077 && new_key "$(image_for_backup "$MODE")" >"$BACKUP_KEY.new") &&
        grep -q '^# public key: age1' "$BACKUP_KEY.new" && mv "$BACKUP_KEY.new" "$BACKUP_KEY"
}

# Without the lock of production: a release does not wait for it. Of two at once one waits in the archive (db/archive.sh).
take_base_backup() { # take_base_backup [whole]
    case $#-${1-} in 0- | 1-whole) ;; *) usage_error "backup base takes nothing more, or the word whole" ;; esac
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "base backups are of production: sh run.sh -0 backup base" ;; esac
    enter_mode
    require_engine
    require_own_stack prod
    make_state_folder "$STATE"
    open_log backup
    base_backup "$@"
}

off_the_machine() { # off_the_machine offsite | fetch [SET]
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "only production's backups are kept off the machine: sh run.sh backup $1" ;; esac
    case $1-$# in
    offsite-1) copy_offsite ;;
    fetch-1 | fetch-2) fetch_set "${2-}" ;;
    *) unknown_argument "$(shift $(($# - 1)) && printf '%s' "$1")" ;;
    esac
}
