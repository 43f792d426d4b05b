#!/bin/sh
# db/collation.sh: text that was sorted by another version of the C library (or of ICU) than is there now.
# usage, in the container of the database: sh collation.sh look|rebuild ROLE [LIBC]
#   look      prints what differs, and the indexes that may miss rows (db/collation/look.sql); nothing if all is well
#   rebuild   sorts these indexes anew, and takes note of the version
# ROLE: the site's, by which roles.sh finds the superuser. LIBC: the version that the next image brings, to look before it runs.
set -eu

SQL=${0%/*}/collation

main() {
    superuser=$(sh "${0%/*}/roles.sh" superuser "$2")
    files="-f $SQL/look.sql"
    [ "$1" = look ] || files="$files -f $SQL/rebuild.sql"
    ask "$superuser" postgres -c 'SELECT datname FROM pg_database WHERE datallowconn ORDER BY oid' |
        while IFS= read -r database; do
            # shellcheck disable=SC2086 # two words of our own each
            ask "$superuser" "$database" -F '	' -v libc="${3-}" $files </dev/null
        done
}

ask() { # ask ROLE DATABASE PSQL_ARGUMENTS...
    ask_role=$1
    ask_database=$2
    shift 2
    PGOPTIONS='-c client_min_messages=error' psql -X -q -w -At -v ON_ERROR_STOP=1 -U "$ask_role" -d "$ask_database" "$@"
}

main "$@"
