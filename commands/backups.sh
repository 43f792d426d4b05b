# commands/backups.sh: list the backups: age, size, whether it was verified, how long recovery took, where else it is.
# usage: sh run.sh backups [--json]
#
# VERIFIED: when the set was last restored and used. A backup that a release keeps was restored in its rehearsal. --json
# writes the same as JSON (docs/backups.md says what is in it).

main() {
    case ${1-} in
    '') take_no_arguments "$@" ;;
    --json) [ $# -eq 1 ] || unknown_argument "$2" ;;
    *) unknown_argument "$1" ;;
    esac
    read_environment
    require_engine
    list_mode=prod
    docker image inspect "$(image_for_backup prod)" >/dev/null 2>&1 || list_mode=dev
    docker image inspect "$(image_for_backup "$list_mode")" >/dev/null 2>&1 || not_built prod
    prepare_backups_folder
    make_result_folder
    # shellcheck disable=SC2046 # split on purpose: names and addresses have no spaces
    in_site_image "$list_mode" "$(image_for_backup "$list_mode")" list /backups "$@" $(known_elsewhere)
}
