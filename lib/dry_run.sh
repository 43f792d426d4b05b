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
    say "  start       $(services_of_colour "$new")"
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
    for restart_service in $(what_restarts); do
        ! is_well prod "$restart_service" || [ "$(planned_for "$restart_service")" != replace ] || tell_restart "$restart_service"
    done
    ! is_well prod proxy || [ "$(planned_for proxy)" = replace ] || ! proxy_will_change || tell_exchange
    rm -f "$(live_folder)/settings.new"
}

# By the names of files, because the plan takes the image. Whose app has another label than its folder is taken for new.
show_migrations() {
    say "  migrations  to see the plan, get the image and rehearse them: sh run.sh plan"
    dry_served=$(release_fact "$dry_number" migration)
    [ -z "$GIVEN_IMAGE" ] && [ -n "$dry_served" ] || return 0
    # An app of a part that is off (COMPOSE_PROFILES) is in web/ and not installed.
    dry_files=$(release_fact "$dry_number" file)
    dry_new=$(migration_files | lines_not_in "$dry_served" | lines_not_in "$dry_files" | sort | paste -s -d ' ' -)
    say "              files in web/ that the release that serves does not have: ${dry_new:-none}"
}

migration_files() { # of web/, as app.name
    find "$ROOT/web" \( -name node_modules -o -name '.?*' -o -name site-packages \) -prune -o \
        -path '*/migrations/[!_~]*.py' -type f -print 2>/dev/null | awk -F / '$(NF - 1) == "migrations" { sub(/\.py$/, ""); print $(NF - 2) "." $NF }'
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
