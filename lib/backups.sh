# lib/backups.sh: sets of backups (docs/backups.md): a folder each in backups/, written by postdo_backup.

BACKUPS="$ROOT/backups"
OF_DEVELOPMENT='-(dev|development)-[0-9]' # in the name of a backup; an older kit wrote out the mode

# Of the database, the uploads and the files of the site, under another name until it is whole: a full disk or a kill
# leaves nothing that looks like a backup.
back_up() { # back_up MODE WHY: `result set` is the name of the set then
    prepare_backups_folder
    [ -z "$BACKUP_RECIPIENT" ] || require_age "$(image_for_backup "$1")"
    lend_programs "$(image_for_backup "$1")" "$(container_of "$1" db)"
    backup_status=0
    try "Back up $(mode_name "$1")" write_set "$@" || backup_status=$?
    [ "$backup_status" -eq 0 ] || explain_backup
    say "wrote backups/$(result set) ($(result bytes) bytes)"
    result removed | while IFS= read -r backup_removed; do
        say "  removed backups/$backup_removed, which BACKUP_DAILY, BACKUP_WEEKLY and BACKUP_MONTHLY no longer keep"
    done
    [ -z "$(result warning)" ] || warn "$(result warning)"
    [ "$1" != prod ] || ! has_part s3 || say "  without the uploads: they are in the bucket $(bucket), which needs a backup of its own, such as versioning"
}

bucket() { # of the part s3; empty without it
    ! has_part s3 || printf '%s/%s' "${S3_ENDPOINT%/}" "$S3_BUCKET"
}

explain_backup() { # postdo_backup failed, or did not get to run
    backup_what=$(result what)
    [ -n "$backup_what" ] || step_failed "Back up $(mode_name "$MODE")"
    fail "the backup failed: $backup_what" "$(result next)"
}

write_set() { # write_set MODE WHY
    set_mode=$1
    set_image=$(image_for_backup "$1")
    set_revision=$(image_label "$set_image" org.opencontainers.image.revision)
    # What is under way shows in the log alone.
    set -- create --set "/backups/$PROJECT_NAME-$1-$(date -u +%Y%m%dT%H%M%SZ)" --project "$PROJECT_NAME" --mode "$1" --why "$2" \
        --database "postgresql://$(superuser_of "$1")@127.0.0.1/$POSTGRES_DB" --globals "/result/$GLOBALS" \
        --site /site --env /site/.env --override /site/docker-compose.override.yml \
        --postgres-image "$POSTGRES_IMAGE" --postgres-image-id "$(docker inspect --format '{{.Image}}' "$(container_of "$1" db)")" \
        --recipient "$BACKUP_RECIPIENT" --image-id "$(image_id "$set_image")" --revision "${set_revision:-$APP_REVISION}"
    if [ "$set_mode" = prod ]; then
        set -- "$@" --release "$(live_release)" --uploads /uploads --bucket "$(bucket)" \
            --daily "$BACKUP_DAILY" --weekly "$BACKUP_WEEKLY" --monthly "$BACKUP_MONTHLY"
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

# pg_dump and pg_restore have to be of the server's major. Those of the site's image are of another one from the switch of
# upgrade-db to the next release, and for a set from before it, which is verified on a server of its own. They come out of that
# server's image then, as they do in a build, and are mounted over the others.
lend_programs() { # lend_programs IMAGE SERVER: a container
    PROGRAMS=
    programs_of=$(docker inspect --format '{{.Image}}{{range .Config.Env}}{{println}}{{.}}{{end}}' "$2" 2>/dev/null) || return 0
    programs_major=$(printf '%s\n' "$programs_of" | fact PG_MAJOR)
    [ -n "$programs_major" ] || return 0
    programs_of=$(printf '%s\n' "$programs_of" | head -n 1)
    programs_there=$(docker run --rm --network none --entrypoint /opt/postgresql/bin/pg_dump "$1" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')
    case $programs_there in '' | "$programs_major") return 0 ;; esac
    programs_folder="$STATE/postgresql-$programs_major"
    if [ "$(cat "$programs_folder/image" 2>/dev/null)" != "$programs_of" ]; then
        rm -rf "$programs_folder"
        step "Get the programs of PostgreSQL $programs_major" get_programs
    fi
    PROGRAMS=$programs_folder
}

PROGRAMS= # a folder for /opt/postgresql

# By cp, so that they belong to whoever runs this.
get_programs() {
    programs_container="$PROJECT_NAME-programs-$$"
    undo_with remove_programs_container
    programs_status=0
    { docker run --name "$programs_container" --network none --user 0 --volume "$ROOT/image/postgresql.sh:/postgresql.sh:ro" \
        --entrypoint sh "$programs_of" /postgresql.sh /opt/postgresql &&
        docker cp "$programs_container:/opt/postgresql" "$programs_folder" &&
        printf '%s\n' "$programs_of" >"$programs_folder/image"; } || programs_status=$?
    remove_programs_container
    UNDO=${UNDO#remove_programs_container }
    return "$programs_status"
}

remove_programs_container() {
    docker rm --force --volumes "$programs_container"
}

# postdo_backup, and postdo of which it uses some modules, are the clone's own, not the image's: this run.sh and they are of
# one age then. From the kit's folder: Python looks for modules where it is started first, and in /app a file of the project
# would be run as root. As root, who reads every file of the site and of the uploads; what it writes belongs to whoever owns
# backups/.
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
    [ ! -d "$AGE" ] || set -- --volume "$AGE:/opt/age:ro" "$@"
    [ -z "$PROGRAMS" ] || set -- --volume "$PROGRAMS:/opt/postgresql:ro" "$@"
    undo_with stop_backup_container
    site_status=0
    docker run --rm --name "$BACKUP_CONTAINER" --user 0 --workdir /opt/kit --read-only --tmpfs /tmp --security-opt no-new-privileges:true \
        --cap-drop ALL --cap-add DAC_OVERRIDE --cap-add CHOWN --cap-add FOWNER \
        --volume "$ROOT/postdo_backup:/opt/kit/postdo_backup:ro" --volume "$ROOT/postdo:/opt/kit/postdo:ro" --volume "$BACKUPS:/backups" \
        --volume "$RESULT_FOLDER:/result" --env "POSTDO_RESULT=/result/$RESULT" --env "POSTDO_MODE=$(mode_name "$site_mode")" "$@" </dev/null || site_status=$?
    UNDO=${UNDO#stop_backup_container }
    return "$site_status"
}

BACKUP_CONTAINER=

# On TERM it removes what it has begun. A docker that was killed has not passed it on.
stop_backup_container() {
    ! docker inspect "$BACKUP_CONTAINER" >/dev/null 2>&1 || docker stop --time 10 "$BACKUP_CONTAINER"
}

known_elsewhere() { # --elsewhere=SET=PLACE for each set that is also at another place
    for known_set in $(offsite_fact set); do printf ' --elsewhere=%s=%s' "$known_set" "$OFFSITE"; done
}

# --- The key --------------------------------------------------------------------------------------------------------

AGE="$STATE/age"               # age and age-keygen
BACKUP_KEY="$STATE/backup-key" # the secret one, if it is on this machine; the public one is BACKUP_RECIPIENT in .env

# Who keeps the key elsewhere has a machine that writes sets, and verifies them where the key is.
can_read_sets() {
    [ -z "$BACKUP_RECIPIENT" ] || [ -s "$BACKUP_KEY" ]
}

# Debian's programs, for the site's image, which has the C library that they need. Two files of 5 MB, and no image of their
# own: docs/decisions/backups.md.
require_age() { # require_age IMAGE
    [ ! -x "$AGE/age" ] || return 0
    make_state_folder "$AGE"
    try "Get age, which encrypts backups" docker run --rm --user 0 --volume "$AGE:/opt/age" --volume "$ROOT/image/age.sh:/age.sh:ro" \
        --entrypoint sh "$1" /age.sh /opt/age </dev/null || {
        show_tail
        fail "age could not be installed" "connect this machine to Debian's packages, or put the programs age and age-keygen into $AGE; then run the command again"
    }
}

# Not into a log of the engine's.
new_key() { # new_key IMAGE: to standard output, as age-keygen writes it
    docker run --rm --log-driver none --network none --volume "$AGE:/opt/age:ro" --entrypoint /opt/age/age-keygen "$1" </dev/null
}

# The one line that the kit changes in .env, and only where it is empty.
set_recipient() { # set_recipient PUBLIC_KEY
    recipient_new="$ENV_FILE.new.$$"
    cp -p "$ENV_FILE" "$recipient_new" &&
        awk -v line="BACKUP_RECIPIENT=$1" '
            /^BACKUP_RECIPIENT=/ { if (!done++) print line; next }
            { print }
            END { if (!done) print line }' "$ENV_FILE" >"$recipient_new" &&
        mv "$recipient_new" "$ENV_FILE"
}
