# lib/copy.sh: a copy of production's whole server in a container of its own, on which a big database is rehearsed.
# The service `copy` of docker-compose.prod.yml. postdo is asked first whether it wants one.

COPY_PORT=5433 # db/copy.sh
POSTDO_COPY_SERVER=
POSTDO_COPY_SECONDS=

# Before one_off: from here on there is a copy, if COMMAND wants one, until drop_copy or the end. False if it cannot be had.
copy_for_rehearsal() { # copy_for_rehearsal plan|rehearse|prepare
    wants_copy "$1" || return 0
    [ "$1" != prepare ] || is_running prod archive || back_up_before_release
    undo_with remove_copy
    try "Copy production's database server for the rehearsal" make_copy
}

# A rehearsal on such a copy leaves no backup. Where no archive goes back to before the release either, a set does.
back_up_before_release() {
    prepare_backups_folder
    [ -z "$BACKUP_RECIPIENT" ] || require_age "$(image_for_backup prod)"
    lend_programs "$(image_for_backup prod)" "$(container_of prod db)"
    if try "Back up $(mode_name prod)" write_set prod "before-release-$release_number"; then
        say "wrote backups/$(result set) ($(result bytes) bytes)"
    else
        warn "there is no backup from just before this release: $(result what)"
    fi
}

# A container that only asks takes seconds: not for a database that any rehearsal copies by dump and restore.
wants_copy() { # wants_copy COMMAND
    copy_database_mb=$(docker exec -u postgres "$(container_of prod db)" \
        psql -XqAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /etc/postdo/size.sql </dev/null 2>>"$LOG_FILE") || return 1
    [ "${copy_database_mb:-0}" -ge "$REHEARSE_DUMP_MB" ] || return 1
    prepare_backups_folder
    # What is wrong with it the command itself will say.
    run_one_off -T --entrypoint python web -m postdo needs-copy "$1" >>"$LOG_FILE" 2>&1 || return 1
    [ "$(result copy)" = yes ]
}

# The image is the one that production runs on, whatever its tag says by now.
make_copy() {
    copy_began=$(date +%s)
    copy_of=$(container_of prod db)
    POSTDO_DB_IMAGE=$(docker inspect --format '{{.Image}}' "$copy_of")
    # Files come and go while they are counted.
    POSTDO_COPY_MB=$({ docker exec "$copy_of" sh -c 'du -sk "$PGDATA"' 2>/dev/null || true; } | awk '{ print int($1 / 1024 * 1.1) + 1 }')
    POSTDO_SUPERUSER=$(superuser_of prod)
    export POSTDO_DB_IMAGE POSTDO_COPY_MB POSTDO_SUPERUSER
    printf '%s\n' "copying production's database server (up to ${POSTDO_COPY_MB:-?} MB)" # into the log
    compose prod up -d --no-build --no-deps --wait --wait-timeout "$REHEARSE_SECONDS" copy || return 1
    POSTDO_COPY_SERVER=$COPY_PORT
    POSTDO_COPY_SECONDS=$(($(date +%s) - copy_began))
    export POSTDO_COPY_SERVER POSTDO_COPY_SECONDS
}

# As postdo refuses: nothing was changed (3).
refuse_without_copy() { # refuse_without_copy fail|fail_site
    copy_container=$(container_of prod copy)
    copy_remedy="fix the cause and try again"
    if is_running prod copy; then
        copy_reason="it took longer than the $REHEARSE_SECONDS s of REHEARSE_SECONDS"
        copy_remedy="raise REHEARSE_SECONDS in .env"
    elif [ -n "$copy_container" ]; then
        copy_log=$(docker logs --tail 50 "$copy_container" 2>&1)
        copy_reason=$(printf '%s\n' "$copy_log" | fact what | tail -n 1)
        [ -z "$copy_reason" ] || copy_remedy=$(printf '%s\n' "$copy_log" | fact next | tail -n 1)
        # Else PostgreSQL's own programs have said it.
        copy_reason=${copy_reason:-$(printf '%s\n' "$copy_log" | awk '/(error|FATAL): / { last = $0 } END { sub(/^.*(error|FATAL): +/, "", last); print last }')}
    fi
    "$1" "the database server could not be copied for the rehearsal: ${copy_reason:-its container could not be started}" \
        "$copy_remedy, or set REHEARSE=schema in .env to rehearse without rows" 3
}

# The rehearsal has ended. What cannot be removed is tried again at the end, and by the next run.
drop_copy() {
    case $UNDO in "remove_copy "*) ;; *) return 0 ;; esac
    ! remove_copy >>"$LOG_FILE" 2>&1 || UNDO=${UNDO#remove_copy }
}

remove_copy() {
    SNAPSHOT=
    remove_container=$(container_of prod copy)
    [ -z "$remove_container" ] || docker rm --force --volumes "$remove_container"
}

# Of a run that was killed: nobody else has one while we hold the lock.
remove_left_copy() {
    [ -z "$(container_of prod copy)" ] || step "Remove the copy of the data that an earlier run left behind" remove_copy
}
