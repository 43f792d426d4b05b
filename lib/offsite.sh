# lib/offsite.sh: copies of sets off the machine (OFFSITE in .env), by restic in a container (docs/backups.md).

OFFSITE_STATE="$STATE/offsite" # restic's cache, our key for SFTP, the hosts that we know, and what is known of the copies
OFFSITE_FACTS="$OFFSITE_STATE/facts"

offsite_fact() { # offsite_fact KEY: of the copies, as they were seen last; nothing of another place
    [ -f "$OFFSITE_FACTS" ] && [ "$(fact address <"$OFFSITE_FACTS")" = "$OFFSITE" ] || return 0
    fact "$1" <"$OFFSITE_FACTS"
}

# --- The commands ---------------------------------------------------------------------------------------------------

copy_offsite() {
    begin_offsite
    prepare_backups_folder
    try "Copy the sets to $OFFSITE" in_offsite_image copy || offsite_failed
    say "copied; sets at $OFFSITE: $(offsite_fact set | grep -c .)"
}

fetch_set() { # fetch_set NAME; without one, the names are listed
    begin_offsite
    prepare_backups_folder
    if [ -z "${1-}" ]; then
        try "List the sets at $OFFSITE" in_offsite_image list || offsite_failed
        result set
        return
    fi
    try "Fetch $1 from $OFFSITE" in_offsite_image fetch "$1" || offsite_failed
    say "fetched: backups/$(result set), and all of its checksums are right"
}

# It has a lock of its own: a release need not wait for it.
begin_offsite() {
    require_engine
    prepare_environment
    [ -n "$OFFSITE" ] || fail "OFFSITE in .env is empty, so there is no other place for backups" "set it there (docs/backups.md#off-the-machine)"
    require_passphrase
    take_lock offsite
    open_log offsite
    OFFSITE_NAME="$PROJECT_NAME-offsite"
    [ "$(docker inspect --format '{{.State.Running}}' "$OFFSITE_NAME" 2>/dev/null)" != true ] ||
        fail "a copy that was begun earlier is still at work" "wait until it ends, or stop it: docker stop $OFFSITE_NAME"
    docker rm --force "$OFFSITE_NAME" >/dev/null 2>&1 || true
    require_offsite_image
    # What restic has there may belong to the container's root.
    [ -d "$OFFSITE_STATE" ] || make_state_folder "$OFFSITE_STATE"
    make_state_folder "$RESULT_FOLDER"
    chmod 777 "$RESULT_FOLDER" 2>/dev/null || true
}

# Whoever puts it into .env has seen it. By a timer, which nobody reads, none is made.
require_passphrase() {
    [ -z "$OFFSITE_PASSPHRASE" ] || return 0
    offsite_what="OFFSITE_PASSPHRASE in .env is empty: the copies are encrypted with it, and nobody can read them without it"
    [ -z "${POSTDO_FAILED-}" ] || fail "$offsite_what" "run this by hand, which makes one: sh run.sh backup offsite"
    fail "$offsite_what" "keep this line where this machine is not, add it to .env, and repeat the command: OFFSITE_PASSPHRASE=$(random_word 32)"
}

offsite_failed() {
    offsite_what=$(result what)
    [ -n "$offsite_what" ] || step_failed restic
    fail "$offsite_what" "$(result next)"
}

# --- restic's container ---------------------------------------------------------------------------------------------

# Of the Python image that is here for the site anyway. Its label says of what it was built.
require_offsite_image() {
    offsite_sum=$({ python_image && cat "$ROOT/lib/offsite.Dockerfile"; } | cksum | cut -d ' ' -f 1)
    [ "$(image_label "$OFFSITE_NAME" postdo.offsite 2>/dev/null)" != "$offsite_sum" ] || return 0
    require_disk 300
    try "Build the image that has restic" docker build --tag "$OFFSITE_NAME" --label "postdo.offsite=$offsite_sum" \
        --build-arg "PYTHON_IMAGE=$(python_image)" - <"$ROOT/lib/offsite.Dockerfile" || {
        show_tail
        fail "the image with restic could not be built" "connect this machine to Debian's packages; $FIX_ABOVE"
    }
}

# On the host's network, so that it reaches what the host reaches. As root, who reads every set; by the name of its host
# restic knows the locks of a run that was killed. The container's name is a lock that outlives run.sh.
in_offsite_image() { # in_offsite_image ARGUMENTS...: of postdo_backup.offsite
    set -- "$OFFSITE_NAME" python3 -m postdo_backup.offsite --backups /backups --state /offsite --project "$PROJECT_NAME" \
        --daily "$BACKUP_DAILY" --weekly "$BACKUP_WEEKLY" --monthly "$BACKUP_MONTHLY" "$@"
    case $OFFSITE in /*) [ ! -d "$OFFSITE" ] || set -- --volume "$OFFSITE:$OFFSITE" "$@" ;; esac
    undo_with stop_offsite
    offsite_status=0
    docker run --rm --name "$OFFSITE_NAME" --hostname "$OFFSITE_NAME-$(uname -n)" --network host \
        --user 0 --read-only --tmpfs /tmp --security-opt no-new-privileges:true \
        --cap-drop ALL --cap-add DAC_OVERRIDE --cap-add CHOWN --cap-add FOWNER \
        --volume "$ROOT/postdo:/kit/postdo:ro" --volume "$ROOT/postdo_backup:/kit/postdo_backup:ro" --env PYTHONPATH=/kit \
        --volume "$BACKUPS:/backups" --volume "$OFFSITE_STATE:/offsite" \
        --volume "$RESULT_FOLDER:/result" --env "POSTDO_RESULT=/result/$RESULT" --env HOME=/tmp \
        --env OFFSITE --env OFFSITE_PASSPHRASE --env OFFSITE_USER --env OFFSITE_SECRET "$@" </dev/null || offsite_status=$?
    UNDO=${UNDO#stop_offsite }
    return "$offsite_status"
}

# On TERM restic takes back its lock.
stop_offsite() {
    ! docker inspect "$OFFSITE_NAME" >/dev/null 2>&1 || docker stop --time 30 "$OFFSITE_NAME"
}
