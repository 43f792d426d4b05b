# lib/dry_run.sh: what a release would do now, without doing it. No container, image, tag or file is touched: there is no
# lock, and no log.

SHOWN_TIMES=5 # of the last releases

show_dry_run() {
    require_engine
    read_environment
    require_own_stack prod
    require_ports
    export_compose_facts
    require_disk 1000
    live=$(live_colour)
    new=$(other_colour "$live")
    dry_number=$(live_release)
    say "A release would do this now. Nothing has been changed."
    ! is_locked prod || say "  lock        another run.sh is at work here, and a release is refused until it ends"
    show_build
    show_restarts
    show_migrations
    say "  backup      before the schema changes, to backups/, where the newest $BACKUP_KEEP are kept"
    say "  start       web-$new"
    show_hooks
    say "  smoke test  ${SMOKE_PATHS:-$HEALTH_PATH / /admin/login/}"
    if [ -n "$live" ]; then
        say "  watch       $WATCH_SECONDS s, beside web-$live"
        say "  drain       until web-$live has no request left, at most $DRAIN_SECONDS s; then it is stopped"
    fi
    show_time
}

show_build() {
    if [ -n "$GIVEN_IMAGE" ]; then
        say "  image       $GIVEN_IMAGE, downloaded if it is not here"
    elif [ -z "$live" ]; then
        say "  build       web/ at $APP_VERSION, for the first release"
    elif [ "$(release_fact "$dry_number" version)" != "$APP_VERSION" ]; then
        say "  build       web/ at $APP_VERSION; $(release_fact "$dry_number" version) is serving"
    else
        say "  build       web/ at $APP_VERSION, which is serving: if the new image is the same one, the release ends here"
    fi
}

# What a changed .env does, the values themselves are tried only by a release.
show_restarts() {
    [ -n "$live" ] || return 0
    ! is_well prod "web-$live" || [ "$(planned_for "web-$live")" = keep ] || say "  settings    .env or a Compose file has changed: there is a release even if the image is the same one"
    for restart_service in db proxy; do
        ! is_well prod "$restart_service" || [ "$(planned_for "$restart_service")" != replace ] || tell_restart "$restart_service"
    done
}

# By the files, because the plan takes the image.
show_migrations() {
    say "  migrations  to see the plan, get the image and rehearse them: sh run.sh plan"
    [ -z "$GIVEN_IMAGE" ] || return 0
    dry_revision=$(release_fact "$dry_number" revision)
    dry_changed=$(changed_migrations "$dry_revision") || return 0
    say "              changed in web/ since the release that serves: ${dry_changed:-none}"
}

changed_migrations() { # changed_migrations REVISION: the files, in one line; false if git cannot tell
    [ -n "$1" ] && [ "$1" != unversioned ] || return 1
    changed_files=$(in_web diff --name-only --relative "$1" -- . && in_web ls-files --others --exclude-standard) || return 1
    printf '%s\n' "$changed_files" | grep -E '(^|/)migrations/[^_/][^/]*\.py$' | sort -u | paste -s -d ' ' -
}

in_web() { # in_web ARGUMENTS...: git, in the project's repository
    git -c safe.directory="*" -C "$ROOT/web" "$@" 2>/dev/null
}

show_hooks() {
    dry_hooks=$(for dry_hook in $HOOK_NAMES; do
        ! has_hook "$dry_hook" || printf '%s\n' "$dry_hook"
    done | paste -s -d ' ' -)
    [ -z "$dry_hooks" ] || say "  hooks       $dry_hooks"
}

show_time() {
    dry_times=$(for dry_time_of in $(release_numbers); do
        [ "$(release_fact "$dry_time_of" outcome)" != live ] || release_fact "$dry_time_of" seconds
    done | head -n "$SHOWN_TIMES")
    if [ -z "$dry_times" ]; then
        say "  time        not known before the first release"
        return
    fi
    dry_middle=$(printf '%s\n' "$dry_times" | sort -n | awk '{ time[NR] = $1 } END { print time[int((NR + 1) / 2)] }')
    say "  time        about $dry_middle s from the built image to the switch (the last releases: $(printf '%s\n' "$dry_times" | paste -s -d ' ' -))"
}
