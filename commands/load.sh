# commands/load.sh: load a fixture from a file on this machine (loaddata), all of it or nothing.
# usage: sh run.sh [-0|-1|-2] load FILE.json
#
# Rows with the same key are overwritten.

main() {
    [ $# -eq 1 ] || usage_error "load needs one file, such as: load data.json"
    [ -r "$1" ] || fail "cannot read $1" "name a file that dump wrote"
    enter_mode
    [ "$MODE" != prod ] || warn_of_load
    manage loaddata --format=json - <"$1" || fail "nothing was loaded; the reason is above" "$FIX_ABOVE"
}
