# lib/sets.sh: what uses a set of `backup` (docs/backups.md): its verification (lib/drill.sh), and restore.

MANIFEST=manifest.json

has_manifest() { # has_manifest FOLDER
    [ -f "$1/$MANIFEST" ]
}

# By its name or its path: prints the absolute path of its folder.
set_folder() { # set_folder SET
    for set_found in "$1" "$BACKUPS/$1"; do
        ! has_manifest "$set_found" || {
            (cd "$set_found" && pwd -P)
            return
        }
    done
    fail "there is no backup $1" "list the backups: ls backups"
}

sets_of() { # sets_of MODE: the folders of those in backups/, the newest first
    find "$BACKUPS" -mindepth 2 -maxdepth 2 -name "$MANIFEST" -path "*-$1-[0-9]*Z/*" 2>/dev/null | sed "s/\/$MANIFEST\$//" |
        awk -F - '{ print $NF "\t" $0 }' | sort -r | cut -f 2-
}

is_verified() { # is_verified SET: its folder; what verified.json says is about this very manifest
    grep -qsF "$(sha256sum "$1/$MANIFEST" | cut -d ' ' -f 1)" "$1/verified.json"
}

is_encrypted() { # is_encrypted SET: its folder
    [ -f "$1/database.dump.age" ]
}

# For a set that is encrypted: the key, and the program that knows it.
require_key() { # require_key SET
    USE_KEY=
    is_encrypted "$1" || return 0
    [ -s "$BACKUP_KEY" ] ||
        fail "${1##*/} is encrypted, and its key is not on this machine" "write the lines that you keep elsewhere into $BACKUP_KEY, then run the command again"
    require_age "$(image_for_backup "$USE_MODE")"
    USE_KEY=$BACKUP_KEY
}

# Every file is read, and what it is becomes known by set_fact. False if it cannot be used here; `result` says why.
check_set() { # check_set SET [MAJOR: of the PostgreSQL that is to read it]
    require_key "$1"
    if try "Check ${1##*/}" use_set none '' usable "$1" ${2:+--major "$2"}; then
        SET_FACTS=$(cat "$RESULT_FOLDER/$RESULT")
        return
    fi
    [ -n "$(result what)" ] || step_failed "Check ${1##*/}"
    return 1
}

require_good_set() { # require_good_set SET [MAJOR]
    check_set "$@" || fail "${1##*/} cannot be used: $(result what)" "$(result next)"
}

SET_FACTS= # of the set that was checked last

set_fact() { # set_fact KEY
    printf '%s\n' "$SET_FACTS" | fact "$1"
}

# A command of postdo_backup on a set that may lie anywhere, in a container that has the set and one folder or volume more.
# As in_site_image: of the clone's own postdo_backup, in the kit's folder, and as root, since uploads keep their owners.
use_set() { # use_set NETWORK MOUNT COMMAND SET ARGUMENTS...
    use_network=$1
    use_mount=$2
    use_command=$3
    use_folder=$4
    shift 4
    [ -z "$USE_KEY" ] || set -- "$@" --identity /key
    use_rights=ro
    [ "$use_command" != verified ] || use_rights=rw
    USE_CONTAINER="$PROJECT_NAME-set-$$"
    undo_with stop_use_of_set
    rm -f "$RESULT_FOLDER/$RESULT"
    use_status=0
    docker run --rm --name "$USE_CONTAINER" ${USE_PROJECT:+--label "com.docker.compose.project=$USE_PROJECT"} --network "$use_network" \
        --user 0 --workdir /opt/kit --read-only --tmpfs /tmp --security-opt no-new-privileges:true \
        --cap-drop ALL --cap-add DAC_OVERRIDE --cap-add CHOWN --cap-add FOWNER \
        --volume "$ROOT/postdo_backup:/opt/kit/postdo_backup:ro" --volume "$use_folder:/sets/${use_folder##*/}:$use_rights" \
        ${use_mount:+--volume "$use_mount"} ${PROGRAMS:+--volume "$PROGRAMS:/opt/postgresql:ro"} ${USE_KEY:+--volume "$USE_KEY:/key:ro" --volume "$AGE:/opt/age:ro"} --volume "$RESULT_FOLDER:/result" --env "POSTDO_RESULT=/result/$RESULT" \
        --entrypoint python "$(image_for_backup "$USE_MODE")" -m postdo_backup "$use_command" "/sets/${use_folder##*/}" "$@" \
        </dev/null || use_status=$?
    UNDO=${UNDO#stop_use_of_set }
    return "$use_status"
}

# No set has them, and nothing here changes them.
tell_of_bucket() {
    [ -z "$(set_fact bucket)" ] || say "its uploads are in the bucket $(set_fact bucket), not in the set: they stay as they are now"
}

USE_MODE=prod # whose image it is
USE_KEY=      # the secret key, if the set is encrypted
USE_PROJECT=  # the Compose project by which a later run finds a container that is left
USE_CONTAINER=

# A docker that was killed has not passed the signal on.
stop_use_of_set() {
    ! docker inspect "$USE_CONTAINER" >/dev/null 2>&1 || docker rm --force "$USE_CONTAINER"
}
