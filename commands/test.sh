# commands/test.sh: the linters and all tests; the ones that need Docker or a browser where these are.
# usage: sh run.sh test [PYTEST ARGUMENTS...]
#
# With arguments (tests/unit, -k superuser) only those tests run, and no linters. With CI=true a skipped test fails.

main() {
    make_state_folder "$STATE"
    open_log test
    prepare_test_venv
    test_summary=
    if [ $# -eq 0 ]; then
        lint_result=passed
        run_linters || lint_result=FAILED
        test_summary="linters $lint_result, "
        set -- tests
    fi
    test_status=0
    in_root python -m pytest "$@" || test_status=$?
    [ "${lint_result-passed}" = passed ] || test_status=1
    say ""
    if [ "$test_status" -eq 0 ]; then
        say "${test_summary}tests passed; what was skipped is named above"
    else
        fail "${test_summary}tests ended with status $test_status" "read the failures above; repeat one: sh run.sh test PATH::NAME"
    fi
}
