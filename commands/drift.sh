# commands/drift.sh: how production's schema differs from what its migrations produce; changes nothing.
# usage: sh run.sh drift [--json] [--record APP.NAME | --unrecord APP.NAME]
#
# With --record or --unrecord it corrects the record of one migration, if the schema proves it wrong. docs/migrations.md
# has the rest.

main() {
    check_options "--json --record= --unrecord=" "$@"
    look_at_production keep drift "$@"
}
