# commands/backup.sh: back up a mode into a set: a folder in backups/ with the database, the uploads, the site and .env.
# usage: sh run.sh [-0|-1] backup              write a set
#        sh run.sh [-0|-1] backup --why TEXT   the same; its manifest says why it was made
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
    *) unknown_argument "$1" ;;
    esac
    enter_mode
    require_database "$MODE"
    docker image inspect "$(image_for_backup "$MODE")" >/dev/null 2>&1 || not_built "$MODE"
    back_up "$MODE" "$backup_why"
}
