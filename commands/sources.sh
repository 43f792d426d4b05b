# commands/sources.sh: compare the files of the applied migrations with those that production keeps.
# usage: sh run.sh sources [--json] [--restore APP.NAME]
#
# With --restore the kept text of a migration is written below backups/; put it back where it belongs, and commit it.

main() {
    look_at_production keep sources --into /backups "$@"
}
