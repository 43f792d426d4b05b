# commands/sources.sh: compare the files of the applied migrations with those that production keeps.
# usage: sh run.sh sources [--json] [--restore APP.NAME...]
#
# Builds the image, to see the files of web/. With --restore the kept text of a migration is written below backups/; put it
# back where it belongs, and commit it.

main() {
    check_options "--json --restore=..." "$@"
    look_at_production build sources --into /backups "$@"
}
