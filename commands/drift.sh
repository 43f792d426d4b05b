# commands/drift.sh: show how production's schema differs from its migrations; changes nothing.
# usage: sh run.sh drift [--json] [--record APP.NAME | --unrecord APP.NAME]
#
# --record and --unrecord correct the record of one migration, if the schema proves it wrong. See docs/migrations.md.

main() {
    check_options "--json --record= --unrecord=" "$@"
    look_at_production keep drift "$@"
}
