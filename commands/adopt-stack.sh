# commands/adopt-stack.sh: after the folder of this clone was moved: take the containers that it made at its old place.
# usage: sh run.sh adopt-stack
#
# Until then every command is refused, because a copy of the folder looks the same. The old place must not have a clone
# any more. It stops nothing; the next start gives the containers the files of the new place.

main() {
    [ $# -eq 0 ] || usage_error "adopt-stack takes no argument '$1'"
    [ -z "$MODE" ] || usage_error "adopt-stack is for all modes: sh run.sh adopt-stack"
    require_engine
    prepare_environment
    make_state_folder "$STATE"
    adopt_folders=$(for adopt_mode in prod dev; do other_owners "$adopt_mode"; done | sort -u)
    [ -n "$adopt_folders" ] || { say "nothing to adopt: no container of $PROJECT_NAME was made in another folder" && return; }
    printf '%s\n' "$adopt_folders" | while IFS= read -r adopt_folder; do
        [ ! -e "$adopt_folder/run.sh" ] || fail "$adopt_folder still holds a clone that owns the containers of $PROJECT_NAME" \
            "to let this clone take them over, remove or rename $adopt_folder; for a second site, set another PROJECT_NAME in .env"
    done || exit "$?"
    adopt_known=$([ "$(head -n 1 "$ADOPTED" 2>/dev/null)" != "$ROOT" ] || tail -n +2 "$ADOPTED")
    { printf '%s\n' "$ROOT" ${adopt_known:+"$adopt_known"} "$adopt_folders" >"$ADOPTED.new" && mv "$ADOPTED.new" "$ADOPTED"; } ||
        fail "cannot write $ADOPTED" "free some disk space, or make it writable"
    say "adopted the containers that were created from $(printf '%s' "$adopt_folders" | tr '\n' ' ')"
    for adopt_mode in prod dev; do
        ! mode_runs "$adopt_mode" || say "restart $(mode_name "$adopt_mode"), so that it uses the files of this folder: sh run.sh $(mode_flag "$adopt_mode")"
    done
}
