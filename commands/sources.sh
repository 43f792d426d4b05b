# commands/sources.sh: compare the files of the applied migrations with those that production keeps.
# usage: sh run.sh sources [--json] [--show APP.NAME]
#
# Builds the image, to see the files of web/. With --show, prints the text of a migration as it was applied.

main() {
    check_options "--json --show=" "$@"
    look_at_production build sources "$@"
}
