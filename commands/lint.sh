# commands/lint.sh: run the linters over the kit and the starter.
# usage: sh run.sh lint
#
# They are installed from PyPI into .postdo/test-venv, with pinned versions. The Compose linter needs npm.

main() {
    take_no_arguments "$@"
    make_state_folder "$STATE"
    open_log lint
    prepare_test_venv
    run_linters || fail "a linter found problems; they are listed above" "fix them, then run: sh run.sh lint"
    say "lint: clean"
}
