# commands/deploy.sh: release web/ to production; another name of sh run.sh -0.
# usage: sh run.sh deploy [--dry-run | --no-build | [--concurrently] [--approve CHECKSUM]]
#
# The options are those of -0: sh run.sh help -0.

main() {
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "deploy is for production: sh run.sh deploy" ;; esac
    # shellcheck source=/dev/null
    . "$ROOT/commands/production.sh"
    main "$@"
}
