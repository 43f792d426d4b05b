# commands/rehearse.sh: run the pending migrations of web/ on a copy of production's data, then remove the copy.
# usage: sh run.sh rehearse [--json]
#
# Copies the database beside production, migrates the copy and reports what happened. Its limits are REHEARSE_* in .env.

main() {
    check_options "--json" "$@"
    look_at_production build rehearse "$@"
}
