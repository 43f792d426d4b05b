# commands/test.sh: the linters and all tests; the ones that need Docker, a browser or Python 3.11 where these are.
# usage: sh run.sh test [PYTEST ARGUMENTS...]
#
# With arguments (tests/unit, -k superuser) only those tests run, and no linters. With CI=true a skipped test fails.

main() {
    make_state_folder "$STATE"
    open_log test
    prepare_test_venv
    if [ $# -gt 0 ]; then
        in_root python -m pytest "$@"
        return
    fi
    TEST_SUMMARY_FILE="$STATE/test-summary"
    export TEST_SUMMARY_FILE
    : >"$TEST_SUMMARY_FILE" || fail "cannot write $TEST_SUMMARY_FILE (disk full?)" "free some disk space"

    test_failed=
    run_linters || test_failed="linters"
    # These wait more than they compute, so there may be more of them at once than there are cores. In this order,
    # which has the longest first: left to itself, xdist begins with the files that have the most tests.
    suite --numprocesses 4 --dist loadfile --no-loadscope-reorder tests/projects_real tests/hazards tests/starter tests/unit tests/shell
    # One at a time: two at once took 0.93 of the time, and made each wait for the other.
    suite tests/stack tests/browser
    summarise
}

suite() { # suite PYTEST_ARGUMENTS...
    printf 'tests: ' >>"$TEST_SUMMARY_FILE"
    in_root python -m pytest "$@" || test_failed="$test_failed tests"
}

summarise() {
    say ""
    say "linters: $(case $test_failed in linters*) printf 'found something' ;; *) printf clean ;; esac)"
    cat "$TEST_SUMMARY_FILE"
    [ -z "$test_failed" ] || fail "not everything passed" "read the failures above; repeat one: sh run.sh test PATH::NAME"
    say "everything passed"
}
