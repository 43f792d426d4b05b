# lib/copy.sh: a copy of production's whole server in a container of its own, on which a big database is rehearsed.
# The service `copy` of docker-compose.prod.yml; postdo says that it needs one (REHEARSE_DUMP_MB).

COPY_WANTED=75 # how postdo ends then (postdo/__main__.py)
COPY_PORT=5433 # db/copy.sh

beside_a_copy() { # beside_a_copy COMMAND...: ends as that does, and as refused if there can be no copy
    undo_with remove_copy
    copy_status=3
    if make_copy >&2; then
        copy_status=0
        "$@" || copy_status=$?
    fi
    # What cannot be removed is tried again at the end, and by the next run.
    ! remove_copy >&2 || UNDO=${UNDO#remove_copy }
    return "$copy_status"
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
    say "copying production's server (up to ${POSTDO_COPY_MB:-?} MB)"
    compose prod up -d --no-build --no-deps --wait --wait-timeout "$REHEARSE_SECONDS" copy || {
        refuse_without_copy
        return 1
    }
    POSTDO_COPY_SERVER=$COPY_PORT
    POSTDO_COPY_SECONDS=$(($(date +%s) - copy_began))
    export POSTDO_COPY_SERVER POSTDO_COPY_SECONDS
}

# In postdo's own words, which is what the commands look for.
refuse_without_copy() {
    copy_container=$(container_of prod copy)
    if is_running prod copy; then
        copy_reason="it took longer than the $REHEARSE_SECONDS s that REHEARSE_SECONDS allows"
    else
        copy_reason=$([ -z "$copy_container" ] || docker logs --tail 50 "$copy_container" 2>&1 | awk '/(error|FATAL): / { last = $0 } END { sub(/^.*(error|FATAL): +/, "", last); print last }')
    fi
    printf 'postdo: refused: no base backup for the rehearsal: %s\n' "${copy_reason:-its container could not be started}"
    printf 'postdo: next: %s\n' "mend that, or set REHEARSE=schema in .env for a copy without rows"
}

remove_copy() {
    remove_container=$(container_of prod copy)
    [ -z "$remove_container" ] || docker rm --force --volumes "$remove_container"
}

# Of a run that was killed: nobody else has one while we hold the lock.
remove_left_copy() {
    [ -z "$(container_of prod copy)" ] || step "Remove the copy of the data that an earlier run has left" remove_copy
}
