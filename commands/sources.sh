# commands/sources.sh: compare the migration files in web/ with those that were applied in production.
# usage: sh run.sh sources [--json] [--show APP.NAME]
#
# Builds the image to read the files in web/. --show prints the text of a migration as it was applied.

main() {
    check_options "--json --show=" "$@"
    look_at_production build sources "$@"
}
