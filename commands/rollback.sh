# commands/rollback.sh: serve the code of an earlier release again, without a build; the database stays as it is.
# usage: sh run.sh rollback [NUMBER]
#
# Without NUMBER it is the release that the live one replaced; sh run.sh releases lists the numbers. It is refused if
# that code cannot work with today's schema. Visitors notice nothing: it starts beside what serves, and takes over when it
# is healthy and has passed its smoke test.

main() {
    [ $# -le 1 ] || usage_error "rollback takes one number"
    case ${1-} in *[!0-9]*) usage_error "rollback takes the number of a release: sh run.sh releases" ;; esac
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "rollback is for production: sh run.sh rollback" ;; esac
    build=no
    require_engine
    prepare_environment
    require_own_stack prod
    make_state_folder "$STATE"
    take_lock prod
    open_log rollback
    export_compose_facts

    live=$(live_colour)
    { [ -n "$live" ] && is_running prod proxy && is_running prod db; } ||
        fail "production is not running" "start it first: sh run.sh -0 --no-build"
    serving=$(live_release)
    target=${1:-$(release_before "$serving")}
    require_release "$target"
    new=$(other_colour "$live")
    db_was=running
    start_release
    say "Release $target ($(release_fact "$target" version)) is serving. Forward again: sh run.sh rollback ${serving:-NUMBER}, or release web/: sh run.sh -0"
}

# The one that it replaced, which need not be the number before: that one may have failed, been taken back, or been rolled
# back. If it is the same code, or its image is gone, the one before that.
release_before() { # release_before NUMBER
    before_number=$1
    while before_number=$(release_fact "$before_number" replaces) && [ -n "$before_number" ]; do
        if [ -n "$(release_image "$before_number")" ] && [ "$(release_fact "$before_number" image)" != "$(release_fact "$1" image)" ]; then
            printf '%s' "$before_number"
            return
        fi
    done
}

require_release() { # require_release NUMBER
    [ -n "$1" ] || fail "there is no earlier release to roll back to" \
        "check out the older code and release it: sh run.sh -0; sh run.sh releases lists what was recorded"
    [ -f "$RELEASES/$1" ] || fail "there is no release $1" "choose one that has an image: sh run.sh releases"
    [ -n "$(release_image "$1")" ] || fail "the image of release $1 is not here any more" \
        "check out its code ($(release_fact "$1" version)) and release it: sh run.sh -0. KEEP_RELEASES in .env says how many images are kept"
    [ "$1" != "$serving" ] || fail "release $1 is serving already" "choose another one: sh run.sh releases"
}

# Its container may still be there, stopped: then it is only started. Its entrypoint refuses a schema that its code cannot
# work with; why, a look at the database with the same image tells.
start_release() {
    undo_with undo_release
    rollback_began=$(date +%s)
    try "Start release $target as $new" start_image "$(release_image "$target")" "$new" || explain_rollback
    require_smoke_test "$new"
    step "Switch to $new" switch_to "$new"
    UNDO=
    printf 'rolled-back-to=%s %s %ss\n' "$target" "$(date '+%Y-%m-%d %H:%M:%S')" "$(($(date +%s) - rollback_began))" >>"$RELEASES/${serving:-$target}"
    step "Stop $live" stop_old_version "$live"
}

start_image() { # start_image IMAGE COLOUR
    docker tag "$1" "$PROJECT_NAME-web:$2" && docker tag "$1" "$PROJECT_NAME-web:next" &&
        compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" "web-$2"
}

explain_rollback() {
    prepare_database >>"$LOG_FILE" 2>&1 || case $? in
    3) explain_preparation 3 ;;
    esac
    explain_unhealthy prod "web-$new"
}
