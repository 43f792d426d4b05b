# commands/lint.sh: the linters over everything in the clone that is the kit's or the starter's.
# usage: sh run.sh lint
#
# They come from PyPI into .postdo/test-venv, pinned; the Compose linter from npm, where there is one.

main() {
    [ $# -eq 0 ] || usage_error "lint takes no argument '$1'"
    make_state_folder "$STATE"
    open_log lint
    prepare_test_venv
    run_linters || fail "a linter found something; its lines are above" "mend them, and repeat: sh run.sh lint"
    say "lint: clean"
}
