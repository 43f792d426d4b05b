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
    require_hooks
    open_log rollback
    export_compose_facts

    live=$(live_colour)
    [ -n "$live" ] || not_built prod
    serving=$(live_release)
    target=${1:-$(release_before "$serving")}
    require_release "$target"
    leave_out_parts "$(release_image "$target")"
    warn_of_parts_left_out
    new=$(other_colour "$live")
    db_was=$(state_of prod db)
    start_release
    note_meant_to_run
    say "Release $target ($(release_fact "$target" version)) is serving. To go forward again: sh run.sh rollback ${serving:-NUMBER}; to release web/: sh run.sh -0"
    remind_of_maintenance
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
        "check out the older code and release it: sh run.sh -0"
    [ -f "$RELEASES/$1" ] || fail "there is no release $1" "choose one that has an image: sh run.sh releases"
    if [ -z "$(release_image "$1")" ]; then
        require_outcome=$(release_fact "$1" outcome)
        [ "$require_outcome" = live ] ||
            fail "release $1 ended as $require_outcome, and there is nothing to roll back to" "choose another one: sh run.sh releases"
        fail "the image of release $1 no longer exists; the kit keeps the newest $KEEP_RELEASES (KEEP_RELEASES in .env)" \
            "check out its code ($(release_fact "$1" version)) and release it: sh run.sh -0"
    fi
    [ "$1" != "$serving" ] || fail "release $1 is serving already" "choose another one: sh run.sh releases"
}

# Its container may still be there, stopped: then it is only started. Its entrypoint refuses a schema that its code cannot
# work with; why, a look at the database with the same image tells. The live version may be why the site is down: then this
# brings it up.
start_release() {
    undo_with undo_release
    rollback_began=$(date +%s)
    if [ "$db_was" = stopped ]; then
        require_volume_major prod
        start_database prod
    fi
    # Also those of a part that the live version does not have.
    additions_run prod || start_additions prod
    require_nothing_pending
    keep_logs "$new"
    try "Start release $target as $new" start_kept_image || explain_rollback
    # As when it was released: a page that came later is missing there.
    case $GIVEN in *" SMOKE_PATHS "*) ;; *) SMOKE_PATHS=$(release_fact "$target" smoke) ;; esac
    require_smoke_test "$new" "choose another release (sh run.sh releases), or say what this one has to answer: SMOKE_PATHS=/ sh run.sh rollback $target"
    step "Switch to $new" switch_to "$new"
    finish_alone
    docker tag "$PROJECT_NAME-web:$new" "$PROJECT_NAME-web:next" >>"$LOG_FILE" 2>&1 || warn "could not tag the image of $new; see $LOG_FILE"
    printf 'rolled-back-to=%s %s %ss\n' "$target" "$(date '+%Y-%m-%d %H:%M:%S')" "$(($(date +%s) - rollback_began))" >>"$RELEASES/${serving:-$target}" ||
        warn "cannot write $RELEASES/${serving:-$target}"
    if is_running prod proxy; then
        stop_old_version "$live"
        start_additions prod late
        remove_left_parts prod
    else
        undo_with stop_what_was_started
        start_proxy_and_database "$new"
    fi
    UNDO=
    hook_after post-rollback "$target"
}

# Its entrypoint would apply them, without approval and backup. A database that is older than a release was restored, or
# migrated backwards by hand.
require_nothing_pending() {
    if ! rollback_pending=$(pending_by_record); then
        step "Compare its migrations with the database" list_pending_of_kept
        rollback_pending=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | fact pending)
    fi
    [ -n "$rollback_pending" ] || return 0
    rollback_pending=$(printf '%s\n' "$rollback_pending" | paste -s -d , - | sed 's/,/, /g')
    fail_site "release $target has migrations that the database does not have: $rollback_pending" \
        "check out its code ($(release_fact "$target" version)) and release it, with its backup and rehearsal: sh run.sh -0" 3
}

# By what its release recorded, so that no container has to start. False where that cannot tell: the release was of an older
# kit, or the database keeps its record elsewhere.
pending_by_record() {
    [ -n "$(release_fact "$target" migration)" ] || return 1
    pending_applied=$(docker exec -u postgres "$(container_of prod db)" \
        psql -XqAt -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /etc/postdo/applied.sql </dev/null 2>>"$LOG_FILE") || return 1
    release_fact "$target" migration | lines_not_in "$pending_applied"
}

list_pending_of_kept() {
    tag_kept_image && list_pending "web-$new"
}

tag_kept_image() {
    docker tag "$(release_image "$target")" "$PROJECT_NAME-web:$new"
}

# Docker asks a new container once a second how it is: here it is asked at once, and again and again.
start_kept_image() {
    # shellcheck disable=SC2046 # split on purpose: a list of words
    tag_kept_image && compose prod up -d --no-build --no-deps $(services_of_colour "$new") || return 1
    kept_ended=
    wait_until "$START_TIMEOUT" answers_or_ended "$new" && [ -z "$kept_ended" ] || return 1
    for kept_companion in $(companions); do
        wait_until "$START_TIMEOUT" is_well prod "$kept_companion-$new" || return 1
    done
}

answers_or_ended() { # answers_or_ended COLOUR
    ! answers "$1" || return 0
    [ "$(docker inspect --format '{{.RestartCount}} {{.State.Running}}' "$(container_of prod "web-$1")")" != "0 true" ] && kept_ended=yes
}

answers() { # answers COLOUR: its health check, run now
    docker exec "$(container_of prod "web-$1")" python -I -S /opt/kit/healthcheck.py
}

explain_rollback() {
    explain_status=0
    look_as_it_would >>"$LOG_FILE" 2>&1 || explain_status=$?
    [ "$explain_status" -ne 3 ] || tell_of_restore_point
    [ "$explain_status" -ne 3 ] || explain_preparation 3
    # shellcheck disable=SC2046 # split on purpose: a list of words
    explain_unhealthy prod $(services_of_colour "$new")
}

# The code cannot go back without the data, which can.
tell_of_restore_point() {
    rollback_point=$(point_after_release "$target")
    [ -z "$rollback_point" ] ||
        say "the data can go back too, to just before release $rollback_point: sh run.sh -0 restore --before-release $rollback_point"
}

# What was built last is the live version's again afterwards, for sh run.sh drift and services of the site's image.
look_as_it_would() {
    docker tag "$PROJECT_NAME-web:$new" "$PROJECT_NAME-web:next" || return 1
    look_status=0
    prepare_database || look_status=$?
    docker tag "$PROJECT_NAME-web:$live" "$PROJECT_NAME-web:next"
    return "$look_status"
}
