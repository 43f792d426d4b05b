# commands/test.sh: run the linters and all tests; skips those that need Docker, a browser or Python 3.11 if it is missing.
# usage: sh run.sh test [quick | PYTEST ARGUMENTS...]
#
# quick: the linters, and of each kind the tests that find most; without Docker, in a few minutes (tests/quick.txt).
# With arguments (tests/unit, -k superuser) only those tests run, without the linters. With CI=true a skipped test fails.

main() {
    make_state_folder "$STATE"
    open_log test
    prepare_test_venv
    case $#${1-} in
    0 | 1quick) ;;
    *)
        in_root python -m pytest "$@"
        return
        ;;
    esac
    TEST_SUMMARY_FILE="$STATE/test-summary"
    export TEST_SUMMARY_FILE
    : >"$TEST_SUMMARY_FILE" || cannot_write "$TEST_SUMMARY_FILE"

    test_failed=
    case ${1-} in quick) run_quick ;; *) run_all ;; esac
    summarise
}

run_all() {
    # The stack waits for health checks, and for what stops gracefully. The others compute in that time.
    begin_stack_tests
    run_linters || test_failed="linters"
    # In this order, which has the longest first: left to itself, xdist begins with the files that have the most tests.
    several tests/projects_real tests/hazards tests/starter tests/unit tests/shell
    begin_stack_row # a third one, for what is left of them
    end_stack_tests
}

run_quick() {
    run_linters || test_failed="linters"
    # shellcheck disable=SC2046 # split on purpose: paths without spaces
    several $(sed '/^#/d' "$ROOT/tests/quick.txt")
}

# These wait a little too, so there may be more of them at once than there are cores.
several() { # several PATH...
    suite --numprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
}

# Behind the containers of the stack tests: those are one long row, and this only computes.
suite() { # suite PYTEST_ARGUMENTS...
    printf 'tests: ' >>"$TEST_SUMMARY_FILE"
    in_root nice -n 5 python -m pytest "$@" || test_failed="$test_failed tests"
}

# In the background, in rows: each of which takes the next file that no other has (tests/stack/rows.py).
begin_stack_tests() {
    STACK_TESTS=
    STACK_ROWS=0
    STACK_QUEUE="$STATE/test-queue"
    rm -rf "$STACK_QUEUE"
    mkdir "$STACK_QUEUE" || cannot_write "$STACK_QUEUE"
    undo_with stop_stack_tests
    begin_stack_row
    begin_stack_row
    say "tests/stack, tests/browser and tests/faults run beside the others. Follow them: tail -f $STATE/test-stack-*.log"
}

begin_stack_row() {
    STACK_ROWS=$((STACK_ROWS + 1))
    printf 'tests: ' >"$TEST_SUMMARY_FILE.$STACK_ROWS"
    # Not by in_root: what is to be told to end is pytest itself.
    (
        cd "$ROOT" && PATH="$TEST_VENV/bin:$PATH" exec env TEST_SUMMARY_FILE="$TEST_SUMMARY_FILE.$STACK_ROWS" TEST_QUEUE="$STACK_QUEUE" \
            python -m pytest tests/stack tests/browser tests/faults
    ) >"$STATE/test-stack-$STACK_ROWS.log" 2>&1 &
    STACK_TESTS="$STACK_TESTS $!"
}

end_stack_tests() {
    say "waiting for tests/stack, tests/browser and tests/faults"
    for stack_row in $STACK_TESTS; do
        wait "$stack_row" || test_failed="$test_failed tests"
    done
    UNDO=
    stack_row=1
    while [ "$stack_row" -le "$STACK_ROWS" ]; do
        cat "$STATE/test-stack-$stack_row.log"
        cat "$TEST_SUMMARY_FILE.$stack_row" >>"$TEST_SUMMARY_FILE"
        stack_row=$((stack_row + 1))
    done
}

# They remove what they have started when they are told to end.
stop_stack_tests() {
    for stack_row in $STACK_TESTS; do
        kill "$stack_row" 2>/dev/null || true
    done
    for stack_row in $STACK_TESTS; do
        wait "$stack_row" || true
    done
}

summarise() {
    say ""
    case $test_failed in linters*) say "linters: found problems" ;; *) say "linters: clean" ;; esac
    cat "$TEST_SUMMARY_FILE"
    [ -z "$test_failed" ] || fail "not everything passed" "fix what failed above; to run one test again: sh run.sh test PATH::NAME"
    say "everything passed"
}
