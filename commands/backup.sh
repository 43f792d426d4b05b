# commands/backup.sh: back up a mode into a set: a folder in backups/ with the database, the uploads, the site and .env.
# usage: sh run.sh [-0|-1] backup              write a set
#        sh run.sh [-0|-1] backup --why TEXT   the same; its manifest says why it was made
#        sh run.sh [-0|-1] backup key          make the key with which sets are encrypted from then on
#
# The site keeps running. Rows and uploads that are written meanwhile belong to the next set. docs/backups.md says what a
# set has, and what is not in it.

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
    *) unknown_argument "$1" ;;
    esac
    enter_mode
    require_database "$MODE"
    require_image_for_backup
    back_up "$MODE" "$backup_why"
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
