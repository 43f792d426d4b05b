# commands/load.sh: a fixture from a file on this machine into the database (loaddata), all of it or nothing.
# usage: sh run.sh [-0|-1|-2] load FILE.json
#
# Rows with the same key are overwritten.

main() {
    [ $# -eq 1 ] || usage_error "load needs one file, such as: load data.json"
    [ -r "$1" ] || fail "cannot read $1" "name a file that dump has written"
    enter_mode
    [ "$MODE" != prod ] || warn_of_load
    manage loaddata --format=json - <"$1" || fail "nothing was loaded; the reason is above" "mend what it says, and repeat"
}
