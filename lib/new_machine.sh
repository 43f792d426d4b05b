# lib/new_machine.sh: a site from a set alone, on a machine that has nothing of it (docs/backups.md).
#
# The folder is what the set's site.tar.gz has. Until the data is there, a file says of which set it is to be: what a run that
# was killed has made, the volume among it, is then its own, and the next one begins anew on it.

NEW_MACHINE="$STATE/new-machine"

restore_on_new_machine() { # restore_on_new_machine SET
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "--on-new-machine is for production: sh run.sh restore --on-new-machine SET" ;; esac
    build=yes
    require_engine
    new_set=$(set_folder "$1") || exit
    new_name=${new_set##*/}
    restore_name=$new_name
    new_began=$(date +%s)
    take_lock prod
    open_log restore
    step "Check $new_name" checksums_are_right "$new_set"
    take_settings
    prepare_environment
    require_own_stack prod
    require_empty_machine
    require_port HTTP_PORT prod
    export_compose_facts

    # From here on something is made, which the next run uses or replaces.
    printf '%s\n' "$new_name" >"$NEW_MACHINE" || cannot_write "$NEW_MACHINE"
    get_image
    make_result_folder
    database_mode=prod
    undo_with stop_database_again
    start_database prod
    require_good_set "$new_set" "$(run_sql prod major.sql)"
    try "Restore $new_name, and compare every table" use_set "container:$(container_of prod db)" '' restore "$new_set" --roles \
        --server "postgresql://$(superuser_of prod)@127.0.0.1" --database restoring --owner "$POSTGRES_USER" || explain_restore
    step "Take it for the site" take_restored_database
    [ -z "$(set_fact uploads)" ] || step "Put its uploads back" put_first_uploads
    tell_of_bucket
    UNDO=${UNDO#stop_database_again }
    rm -f "$NEW_MACHINE" # the volume has data from now on
    start_restored_site
    say "restored: $new_name ($(set_fact tables) tables, $(set_fact rows) rows, all as in the manifest). It took $(($(date +%s) - new_began)) s."
}

# By hand, so to speak: nothing is built yet that could do it better.
checksums_are_right() { # checksums_are_right SET
    (cd "$1" && sha256sum -c SHA256SUMS)
}

# A .env that is there already counts: somebody has put it there, and changed what is different on this machine.
take_settings() {
    [ ! -f "$new_set/override" ] || [ -e "$OVERRIDE_FILE" ] || cp "$new_set/override" "$OVERRIDE_FILE" || cannot_write "$OVERRIDE_FILE" "$ROOT"
    [ ! -e "$ENV_FILE" ] || return 0
    ! is_encrypted "$new_set" ||
        fail "$new_name is encrypted, and so is its .env" "write it yourself: age -d -i KEY $new_set/env.age >.env (and override.age, if there is one, as docker-compose.override.yml); then run the command again"
    [ -f "$new_set/env" ] || fail "$new_name has no .env" "write one: sh run.sh init, with the names and passwords of the old one"
    (umask 077 && cp "$new_set/env" "$ENV_FILE.new.$$" && mv "$ENV_FILE.new.$$" "$ENV_FILE") || cannot_write "$ENV_FILE" "$ROOT"
}

require_empty_machine() {
    [ "$(cat "$NEW_MACHINE" 2>/dev/null)" != "$new_name" ] || [ -n "$(live_colour)" ] || return 0
    ! docker volume inspect "$PROJECT_NAME-prod_prod-data" >/dev/null 2>&1 ||
        fail "this machine is not empty: it has a volume $PROJECT_NAME-prod_prod-data" "to start the site: sh run.sh -0; then, to put the set in place of what is there: sh run.sh -0 restore $new_set; for a second site, set another PROJECT_NAME in .env"
}

# What the first start of the volume has made has nothing in it.
take_restored_database() {
    ! database_exists prod replaced || run_sql prod discard.sql -v name=replaced || return 1
    run_sql prod swap.sql -1 -v live="$POSTGRES_DB" -v restored=restoring && run_sql prod discard.sql -v name=replaced
}

# Compose makes the volume, with the owner that the image says.
put_first_uploads() {
    prepare_backups_folder
    run_to_its_end prod -T --entrypoint true web &&
        use_set none "$PROJECT_NAME-prod_prod-media:/files" restore-uploads "$new_set" /files
}

# As any release: it builds what was just built, finds nothing to migrate, and serves once it has passed its smoke test.
start_restored_site() {
    release_lock prod
    (forget_environment && exec sh "$ROOT/run.sh" -0) ||
        fail "the data is restored, but the site does not start" "$FIX_LINES, then run: sh run.sh -0"
}
