# lib/backups.sh: sets of backups (docs/backups.md): a folder each in backups/, written by postdo_backup.

BACKUPS="$ROOT/backups"
OF_DEVELOPMENT='-(dev|development)-[0-9]' # in the name of a backup; an older kit wrote out the mode

# Of the database, the uploads and the files of the site, under another name until it is whole: a full disk or a kill
# leaves nothing that looks like a backup.
back_up() { # back_up MODE WHY: `result set` is the name of the set then
    prepare_backups_folder
    backup_status=0
    try "Back up $(mode_name "$1")" write_set "$@" || backup_status=$?
    [ "$backup_status" -eq 0 ] || explain_backup
    say "wrote backups/$(result set) ($(result bytes) bytes)"
}

explain_backup() { # postdo_backup failed, or did not get to run
    backup_what=$(result what)
    [ -n "$backup_what" ] || step_failed "Back up $(mode_name "$MODE")"
    fail "the backup failed: $backup_what" "$(result next)"
}

write_set() { # write_set MODE WHY
    set_mode=$1
    set_image=$(image_for_backup "$1")
    # What is under way shows in the log alone.
    set -- create --set "/backups/$PROJECT_NAME-$1-$(date -u +%Y%m%dT%H%M%SZ)" --project "$PROJECT_NAME" --mode "$1" --why "$2" \
        --database "postgresql://$(superuser_of "$1")@127.0.0.1/$POSTGRES_DB" --globals "/result/$GLOBALS" \
        --site /site --env /site/.env --override /site/docker-compose.override.yml \
        --postgres-image "$POSTGRES_IMAGE" --postgres-image-id "$(docker inspect --format '{{.Image}}' "$(container_of "$1" db)")" \
        --image-id "$(image_id "$set_image")" --revision "$(image_label "$set_image" org.opencontainers.image.revision)"
    if [ "$set_mode" = prod ]; then
        set -- "$@" --release "$(live_release)" --uploads /uploads
    fi
    make_result_folder
    undo_with remove_globals
    (umask 077 && in_database "$set_mode" pg_dumpall --globals-only -w </dev/null >"$RESULT_FOLDER/$GLOBALS") || return
    set_status=0
    in_site_image "$set_mode" "$set_image" "$@" || set_status=$?
    remove_globals
    UNDO=${UNDO#remove_globals }
    return "$set_status"
}

# The roles with their passwords, from the server itself: only a superuser reads them.
GLOBALS="globals-$$"

remove_globals() {
    rm -f "$RESULT_FOLDER/$GLOBALS"
}

# The version that serves, whose pg_dump is of the server's major; the one that was built last, before the first release.
image_for_backup() { # image_for_backup MODE
    case $1 in
    dev) image_tag=dev ;;
    *) image_tag=$(live_colour) ;;
    esac
    printf '%s-web:%s' "$PROJECT_NAME" "${image_tag:-next}"
}

# postdo_backup is the clone's own, not the image's: this run.sh and it are of one age then. From the kit's folder: Python
# looks for modules where it is started first, and in /app a file of the project would be run as root. As root, who reads every file of
# the site and of the uploads; what it writes belongs to whoever owns backups/.
in_site_image() { # in_site_image MODE IMAGE ARGUMENTS...: of postdo_backup
    site_mode=$1
    site_image=$2
    BACKUP_CONTAINER="$PROJECT_NAME-$1-backup-$$"
    shift 2
    site_command=$1
    set -- --entrypoint python "$site_image" -m postdo_backup "$@"
    if [ "$site_command" = create ]; then
        set -- --network "container:$(container_of "$site_mode" db)" --volume "$ROOT:/site:ro" "$@"
        # Docker would make one that is not there.
        [ "$site_mode" = dev ] || ! docker volume inspect "$PROJECT_NAME-prod_prod-media" >/dev/null 2>&1 ||
            set -- --volume "$PROJECT_NAME-prod_prod-media:/uploads:ro" "$@"
    else
        set -- --network none "$@"
    fi
    undo_with stop_backup_container
    site_status=0
    docker run --rm --name "$BACKUP_CONTAINER" --user 0 --workdir /opt/kit --read-only --tmpfs /tmp --security-opt no-new-privileges:true \
        --cap-drop ALL --cap-add DAC_OVERRIDE --cap-add CHOWN --cap-add FOWNER \
        --volume "$ROOT/postdo_backup:/opt/kit/postdo_backup:ro" --volume "$BACKUPS:/backups" \
        --volume "$RESULT_FOLDER:/result" --env "POSTDO_RESULT=/result/$RESULT" --env "POSTDO_MODE=$(mode_name "$site_mode")" "$@" </dev/null || site_status=$?
    UNDO=${UNDO#stop_backup_container }
    return "$site_status"
}

BACKUP_CONTAINER=

# On TERM it removes what it has begun. A docker that was killed has not passed it on.
stop_backup_container() {
    ! docker inspect "$BACKUP_CONTAINER" >/dev/null 2>&1 || docker stop --time 10 "$BACKUP_CONTAINER"
}
