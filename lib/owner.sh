# lib/owner.sh: whose is a stack? Its containers carry the folder of the clone that made them, in a label that Compose sets
# by itself, and a command from any other folder leaves them alone: under the same PROJECT_NAME a copied clone would take
# production over.

# Folders that this clone had before it was moved, below its own path: a copy of the file in another folder counts nothing.
ADOPTED="$STATE/adopted"

require_own_stack() { # require_own_stack prod|dev
    owner_folder=$(other_owners "$1" | head -n 1)
    [ -z "$owner_folder" ] || fail "PROJECT_NAME $PROJECT_NAME ($(mode_name "$1")) belongs to the clone in $owner_folder" \
        "if this is a second site, set another PROJECT_NAME in .env; if you moved that clone here: sh run.sh adopt-stack"
}

other_owners() { # other_owners MODE: the folders whose containers there are, without ours
    docker ps -a --filter "label=com.docker.compose.project=$PROJECT_NAME-$1" \
        --format '{{.Label "com.docker.compose.project.working_dir"}}' 2>/dev/null | sort -u |
        while IFS= read -r owner_found; do
            [ -z "$owner_found" ] || [ "$owner_found" = "$ROOT" ] || was_adopted "$owner_found" || printf '%s\n' "$owner_found"
        done
}

was_adopted() { # was_adopted FOLDER
    [ "$(head -n 1 "$ADOPTED" 2>/dev/null)" = "$ROOT" ] && tail -n +2 "$ADOPTED" | grep -qxF -e "$1"
}
