#!/bin/sh
# db/roles.sh: the roles of a cluster: a superuser for the kit, the site's own role, and one that makes databases.
# usage, in the container of the database: sh roles.sh COMMAND
#   first-start                                               a new volume: the site's role and its database
#   superuser ROLE                                            prints the name of the superuser
#   check ROLE DATABASE                                       prints what and next if one of them does not exist
#   settle ROLE DATABASE CREATEDB|NOCREATEDB EXTENSIONS <PASSWORD   brings roles and extensions to what they should be
#   open ROLE <PASSWORD                                       lets postdo_release log in, and make databases
#   close                                                     ends that
#   archive ROLE on|off <PASSWORD                             lets postdo_archive replicate; on: commits wait for it
#   archive-off ROLE                                          ends that
# By the socket, where the image lets everybody in: nobody has, or needs, the superuser's password. Each command can be
# repeated. What it hands back are facts, KEY=VALUE a line (lib/result.sh reads them): where it fails, what=... and
# next=...; said=... for a line that people should read.
# Environment: POSTGRES_USER (the superuser of a new volume), POSTDO_SITE_ROLE, POSTGRES_DB, PGDATA, and POSTDO_RUN, how
# people call run.sh for this mode.
set -eu

SQL=${0%/*}/roles
SUPERUSER=postdo_superuser
RELEASE=postdo_release
ARCHIVE=postdo_archive
ARCHIVE_SQL=${0%/*}/archive
# While a volume is moved over: who renames the superuser, and who becomes the site's role.
MOVER=postdo_mover
HEIR=postdo_heir
RUN=${POSTDO_RUN:-sh run.sh}
TRIES=30 # of a second each, for a table that is in use

main() {
    command=$1
    shift
    case $command in
    first-start) first_start ;;
    superuser) superuser "$@" ;;
    check) check "$@" ;;
    settle) settle "$@" ;;
    open) open "$@" ;;
    archive) archive "$@" ;;
    archive-off) archive_off "$@" ;;
    close) ask "$(superuser "$SUPERUSER")" postgres -v release="$RELEASE" -f "$SQL/close.sql" ;;
    *) stop_with "roles.sh has no command '$command'" "read its first lines" ;;
    esac
}

# Before the site's own scripts, which may name the role. The password comes later: run.sh brings it.
first_start() {
    : >"$PGDATA/postdo-first-start" # see db/start.sh
    ask "$POSTGRES_USER" "$POSTGRES_DB" -v role="$POSTDO_SITE_ROLE" -v database="$POSTGRES_DB" -f "$SQL/first-start.sql"
}

# In a volume that an older kit made, the site's role is the superuser itself.
superuser() { # superuser ROLE
    superuser_error=
    for superuser_name in "$SUPERUSER" "$1" "${POSTGRES_USER:-$1}"; do
        superuser_said=$(value "$superuser_name" postgres "SELECT rolsuper FROM pg_roles WHERE rolname = current_user" 2>&1 || true)
        # On the last line: a warning may precede it.
        case $superuser_said in
        t | *"
t")
            printf '%s\n' "$superuser_name"
            return
            ;;
        esac
        case $superuser_said in
        f | *"
f" | *'role "'*'" does not exist'*) continue ;;
        esac
        superuser_error=$(printf '%s\n' "$superuser_said" | sed -n 's/^psql: error: //p' | sed 's/.*failed: //; s/^FATAL: *//' | tail -n 1)
    done
    [ -z "$superuser_error" ] ||
        stop_with "the kit cannot log in to PostgreSQL: $superuser_error" "find the cause in its log ($RUN logs), fix it, then run the command again"
    stop_with "this database was not created with POSTGRES_USER=$1" "set POSTGRES_USER in .env back to its value at the first start"
}

check() { # check ROLE DATABASE
    check_superuser=$(superuser "$1") || {
        printf '%s\n' "$check_superuser"
        return 0
    }
    ask "$check_superuser" postgres -At -v role="$1" -v database="$2" -v superuser="$SUPERUSER" -v run="$RUN" -f "$SQL/check.sql"
}

settle() { # settle ROLE DATABASE CREATEDB|NOCREATEDB EXTENSIONS <PASSWORD
    PASSWORD=$(cat)
    export PASSWORD
    settle_wrong=$(check "$1" "$2")
    [ -z "$settle_wrong" ] || {
        printf '%s\n' "$settle_wrong"
        exit 1
    }
    rm -f "$PGDATA/postdo-first-start" # it has finished (db/start.sh)
    settle_superuser=$(superuser "$1")
    if [ "$settle_superuser" = "$1" ]; then
        require_first_superuser "$1"
        move "$1"
        settle_superuser=$SUPERUSER
        printf 'said=%s\n' "The database role $1 is no longer a superuser; it still owns all of its objects. The superuser is now $SUPERUSER."
    elif [ "$(value "$settle_superuser" postgres "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '$MOVER' OR rolsuper AND rolname = '$1')")" = t ]; then
        hand_over "$settle_superuser" "$1" # a move was interrupted, and settle.sql takes away what tells of it
    fi
    ask "$settle_superuser" postgres -v role="$1" -v mover="$MOVER" -v release="$RELEASE" -v createdb="$3" -v database="$2" -f "$SQL/settle.sql"
    # Whatever a first-start script has made belongs to the site, which else could not use it.
    if [ "$(value "$settle_superuser" postgres "SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = '$1'")" = t ]; then
        hand_over "$settle_superuser" "$1"
        ask "$settle_superuser" postgres -v role="$1" -f "$SQL/password.sql"
    fi
    for settle_extension in $(printf '%s' "$4" | tr ',' ' '); do
        install_extension "$settle_superuser" "$2" "$settle_extension" "$1"
    done
}

# Only the first superuser's objects are handed over, and only he cannot lose that attribute.
require_first_superuser() { # require_first_superuser ROLE
    first_superuser=$(value "$1" postgres "SELECT quote_ident(rolname) FROM pg_roles WHERE oid = 10 AND rolname <> '$1'")
    [ -z "$first_superuser" ] ||
        stop_with "the first superuser of this volume is $first_superuser, not $1" \
            "rename it: $RUN psql -d postgres -c 'ALTER ROLE $first_superuser RENAME TO $SUPERUSER', then run the command again"
}

# The site keeps running: one object after another changes its owner while the site's role is still a superuser, and the
# last transaction only renames the two roles. If it is interrupted, it starts again from the beginning.
move() { # move ROLE
    ask "$1" postgres -v mover="$MOVER" -v heir="$HEIR" -f "$SQL/begin.sql"
    hand_over "$1" "$HEIR"
    ask "$MOVER" postgres -v role="$1" -v heir="$HEIR" -v superuser="$SUPERUSER" -f "$SQL/exchange.sql"
    hand_over "$SUPERUSER" "$1" # what was made in between
}

hand_over() { # hand_over SUPERUSER TO
    hand_databases=$(value "$1" postgres "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template1' AND datdba IN (10, (SELECT oid FROM pg_roles WHERE rolname = '$2'))")
    printf '%s\n' "$hand_databases" |
        while IFS= read -r hand_database; do
            [ -z "$hand_database" ] || give_all "$1" "$2" "$hand_database"
        done
    ask "$1" postgres -v role="$2" -f "$SQL/hand-over-shared.sql"
}

# Table by table; one that is in use keeps nobody waiting for longer than a second, and is tried again.
give_all() { # give_all SUPERUSER TO DATABASE
    give_tries=0
    until give_said=$(ask "$1" "$3" -v VERBOSITY=verbose -v role="$2" -f "$SQL/hand-over.sql" 2>&1 </dev/null); do
        give_error=$(printf '%s\n' "$give_said" | sed -n 's/^.*ERROR:  //p' | tail -n 1)
        case $give_error in
        55P03:* | 40P01:*) ;; # lock_not_available, deadlock_detected
        *) stop_with "the objects in database $3 could not be given to the site's role: $give_error" "fix that, then run the command again" ;;
        esac
        give_tries=$((give_tries + 1))
        [ "$give_tries" -lt "$TRIES" ] ||
            stop_with "a table in database $3 stayed locked for $TRIES s" "find the transaction that locks it ($RUN psql -c 'SELECT pid, state, query FROM pg_stat_activity'), end it, then run the command again"
        sleep 1
    done
}

# Also in template1, from which Django makes its test databases, and postdo the copies of a database with such extensions:
# there the site's role could not create it.
install_extension() { # install_extension SUPERUSER DATABASE NAME ROLE
    for install_database in "$2" template1; do
        ask "$1" "$install_database" -v extension="$3" -v role="$4" -f "$SQL/extension.sql" ||
            stop_with "the extension $3 of DB_EXTENSIONS cannot be created; PostgreSQL's message is in the log" \
                "remove it from DB_EXTENSIONS in .env, or release with an image that has it (POSTGRES_IMAGE in .env) before you set DB_EXTENSIONS"
    done
}

open() { # open ROLE <PASSWORD
    PASSWORD=$(cat)
    export PASSWORD
    ask "$(superuser "$1")" postgres -v role="$1" -v release="$RELEASE" -f "$SQL/open.sql"
}

# What the image writes into pg_hba.conf lets nobody replicate from elsewhere. The first line that fits counts, so one of
# the user's own stays as it is.
archive() { # archive ROLE on|off <PASSWORD
    PASSWORD=$(cat)
    export PASSWORD
    archive_superuser=$(superuser "$1")
    archive_hba=$(value "$archive_superuser" postgres 'SHOW hba_file')
    archive_line="host replication $ARCHIVE all scram-sha-256"
    grep -qxF "$archive_line" "$archive_hba" || printf '# db/roles.sh: the archive for points in time\n%s\n' "$archive_line" >>"$archive_hba"
    ask "$archive_superuser" postgres -At -v archive="$ARCHIVE" -f "$ARCHIVE_SQL/role.sql"
    if [ "$2" = on ]; then : >"$PGDATA/postdo-archive-sync"; else wait_for_no_archive "$archive_superuser"; fi
}

# Before the slot goes: nobody is to wait for it then.
archive_off() { # archive_off ROLE
    off_superuser=$(superuser "$1")
    wait_for_no_archive "$off_superuser"
    ask "$off_superuser" postgres -v archive="$ARCHIVE" -f "$ARCHIVE_SQL/off.sql"
}

wait_for_no_archive() { # wait_for_no_archive SUPERUSER
    [ -e "$PGDATA/postdo-archive-sync" ] || return 0
    rm -f "$PGDATA/postdo-archive-sync"
    ask "$1" postgres -f "$ARCHIVE_SQL/sync-off.sql"
}

ask() { # ask ROLE DATABASE PSQL_ARGUMENTS...
    ask_role=$1
    ask_database=$2
    shift 2
    PGOPTIONS='-c client_min_messages=warning' \
        psql -X -q -w -v ON_ERROR_STOP=1 -U "$ask_role" -d "$ask_database" "$@"
}

value() { # value ROLE DATABASE QUERY
    ask "$1" "$2" -Atc "$3"
}

stop_with() { # stop_with WHAT REMEDY
    printf 'what=%s\nnext=%s\n' "$1" "$2"
    exit 1
}

main "$@"
