# lib/hooks.sh: the site owner's own programs, which run at five moments of a release: hooks/NAME (docs/releases.md).

HOOKS="$ROOT/hooks"
HOOK_NAMES="pre-deploy pre-switch post-deploy deploy-failed post-rollback"
HOOK_SECONDS=600 # for one; a machine without timeout(1) has no limit

# One that cannot be run would be passed over without a word.
require_hooks() {
    for hook_name in $HOOK_NAMES; do
        [ ! -f "$HOOKS/$hook_name" ] || [ -x "$HOOKS/$hook_name" ] ||
            fail "hooks/$hook_name is not executable" "make it executable: chmod +x hooks/$hook_name; or rename it, to switch it off"
    done
}

has_hook() { # has_hook NAME
    [ -f "$HOOKS/$1" ]
}

# It can stop the release: whatever is not 0 does.
hook_before() { # hook_before NAME [RELEASE]
    has_hook "$1" || return 0
    hook_status=0
    try "Run hooks/$1" call_hook "$@" || hook_status=$?
    [ "$hook_status" -ne 0 ] || return 0
    show_tail
    case $hook_status in 124 | 137) fail_site "hooks/$1 did not end within $HOOK_SECONDS s" "$FIX_ABOVE" ;; esac
    fail_site "hooks/$1 stopped the release with status $hook_status; its last lines are above" "$FIX_ABOVE"
}

hook_after() { # hook_after NAME [RELEASE]: there is nothing left to stop
    ! has_hook "$1" || try "Run hooks/$1" call_hook "$@" || warn "hooks/$1 failed; see $LOG_FILE"
}

# For undo_with: last of all, when the record says how it ended.
run_failed_hook() {
    hook_after deploy-failed "$release_number"
}

# What it gets of .env it has from run.sh, which has put each key into its own environment. The role that makes databases is
# postdo's alone (lib/roles.sh).
call_hook() { # call_hook NAME [RELEASE]
    SNAPSHOT=
    hook_version=$(hook_fact version "${2-}")
    (cd "$ROOT" && unset POSTDO_RELEASE_ROLE POSTDO_RELEASE_PASSWORD && in_hook_time env POSTDO_HOOK="$1" POSTDO_SITE="$(production_address)" \
        POSTDO_RELEASE="${2-}" \
        POSTDO_VERSION="${hook_version:-${GIVEN_IMAGE:-$APP_VERSION}}" \
        POSTDO_REVISION="$(hook_fact revision "${2-}")" \
        POSTDO_BY="$(operator)" \
        POSTDO_REPLACES="$(if [ "$1" = post-rollback ]; then printf '%s' "$serving"; else hook_fact replaces "${2-}"; fi)" \
        POSTDO_OUTCOME="$(hook_fact outcome "${2-}")" \
        POSTDO_SECONDS="$(if [ "$1" = post-rollback ]; then printf '%s' "$(($(date +%s) - rollback_began))"; else hook_fact seconds "${2-}"; fi)" \
        POSTDO_APPLIED="$(result applied | paste -s -d ' ' -)" \
        DOMAIN="$DOMAIN${POSTDO_OTHER_NAMES:+,$POSTDO_OTHER_NAMES}" \
        POSTDO_REASON="$FAIL_REASON" \
        POSTDO_CONTAINER="${new:+$(container_of prod "web-$new")}" \
        POSTDO_LOG="$LOG_FILE" \
        "$HOOKS/$1") </dev/null 3>&- # what it leaves running must not keep the terminal of run.sh
}

hook_fact() { # hook_fact KEY RELEASE: nothing before the release has a number
    [ -z "$2" ] || release_fact "$2" "$1"
}

# In the foreground, where timeout(1) can do that: else Ctrl-C would not reach it.
in_hook_time() { # in_hook_time COMMAND...
    if timeout --foreground -k 10 1 true 2>/dev/null; then
        timeout --foreground -k 10 "$HOOK_SECONDS" "$@"
    elif timeout -k 10 1 true 2>/dev/null; then
        timeout -k 10 "$HOOK_SECONDS" "$@"
    else
        "$@"
    fi
}
