# commands/adopt-stack.sh: take over the containers of this clone after you moved its folder.
# usage: sh run.sh adopt-stack
#
# Until then every command is refused, because a moved folder looks like a copy of it. There must be no clone at the old
# place any more. It stops nothing; the next start gives the containers the files at the new place.

main() {
    take_no_arguments "$@"
    [ -z "$MODE" ] || usage_error "adopt-stack takes no mode: it is for all of them"
    require_engine
    prepare_environment
    make_state_folder "$STATE"
    adopt_folders=$(for adopt_mode in prod dev; do other_owners "$adopt_mode"; done | sort -u)
    [ -n "$adopt_folders" ] || { say "nothing to adopt: no other folder has created containers of $PROJECT_NAME" && return; }
    printf '%s\n' "$adopt_folders" | while IFS= read -r adopt_folder; do
        [ ! -e "$adopt_folder/run.sh" ] || fail "$adopt_folder still holds a clone that owns the containers of $PROJECT_NAME" \
            "remove or rename $adopt_folder to take its containers over, or set another PROJECT_NAME in .env for a second site"
    done || exit "$?"
    adopt_known=$([ "$(head -n 1 "$ADOPTED" 2>/dev/null)" != "$ROOT" ] || tail -n +2 "$ADOPTED")
    { printf '%s\n' "$ROOT" ${adopt_known:+"$adopt_known"} "$adopt_folders" >"$ADOPTED.new" && mv "$ADOPTED.new" "$ADOPTED"; } ||
        cannot_write "$ADOPTED"
    say "took over the containers created from $(printf '%s' "$adopt_folders" | tr '\n' ' ')"
    for adopt_mode in prod dev; do
        ! mode_runs "$adopt_mode" || say "restart $(mode_name "$adopt_mode"), so that it uses the files in this folder: sh run.sh $(mode_flag "$adopt_mode")"
    done
}
