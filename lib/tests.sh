# lib/tests.sh: what `test` and `lint` share.

TEST_VENV="$STATE/test-venv"
DCLINT_VERSION=3.1.0

prepare_test_venv() {
    [ -f "$ROOT/web/requirements/test.txt" ] && [ -d "$ROOT/web/accounts" ] ||
        fail "the kit's own tests need the starter in web/, but there is another project" \
            "run them in a fresh clone; to run your project's tests: sh run.sh -1 manage test"
    require_python
    prepare_venv "$TEST_VENV" "$ROOT/web/requirements/test.txt" "$ROOT/web/requirements/prod.txt" "$ROOT/tests/requirements.txt"
    link_package "$TEST_VENV" postdo
}

shell_files() {
    (cd "$ROOT" && git ls-files --cached --others --exclude-standard -- '*.sh' 'hooks/*.sample' .ci/run)
}

# Each linter runs, also when one before it has found something.
run_linters() {
    lint_status=0
    lint shellcheck shell_files_to shellcheck --external-sources --source-path=SCRIPTDIR
    lint shfmt shell_files_to shfmt --diff --indent 4 --posix
    lint "ruff check" in_root ruff check .
    lint "ruff format" in_root ruff format --check --quiet .
    lint mypy in_root mypy .
    lint "mypy (web)" in_web_of_tests mypy .
    lint hadolint in_root hadolint Dockerfile lib/offsite.Dockerfile
    lint_compose
    return "$lint_status"
}

lint() { # lint NAME COMMAND...
    try "$@" && return 0
    show_tail
    lint_status=1
}

in_root() { # in_root TOOL ARGUMENTS...: a tool of the test environment, in the clone
    (cd "$ROOT" && PATH="$TEST_VENV/bin:$PATH" exec "$@")
}

in_web_of_tests() {
    (cd "$ROOT/web" && PATH="$TEST_VENV/bin:$PATH" exec "$@")
}

shell_files_to() { # shell_files_to TOOL ARGUMENTS...
    # shellcheck disable=SC2046 # names of the kit's own files, without spaces
    in_root "$@" $(shell_files)
}

# dclint is an npm package; without npm it is skipped, with a message. CI has npm.
lint_compose() {
    if ! command -v npm >/dev/null 2>&1; then
        [ "${CI-}" = true ] && lint_status=1
        say "skipped: dclint, the Compose linter (npm is not installed)"
        return
    fi
    dclint="$STATE/node/node_modules/.bin/dclint"
    [ "$("$dclint" --version 2>/dev/null)" = "$DCLINT_VERSION" ] ||
        lint "Install dclint" npm install --prefix "$STATE/node" --no-save --no-fund --no-audit "dclint@$DCLINT_VERSION"
    lint dclint in_root "$dclint" .
}
