# commands/manage.sh: run a manage.py command in the running mode.
# usage: sh run.sh [-0|-1|-2] manage [--yes] COMMAND [ARGUMENTS...]
#
# In production, it refuses a command that would change the schema outside a release or delete the data. --yes runs it.
# If the site is stopped, it runs in the image of the version that served last, and the database runs as long as the
# command does.
# In a loop that reads a list (while read), it leaves the list to the loop. Give a command its input with < FILE or a pipe.

main() {
    manage_sure=no
    if [ "${1-}" = --yes ]; then
        manage_sure=yes
        shift
    fi
    [ $# -gt 0 ] || usage_error "manage needs a command, such as: manage makemigrations"
    enter_mode
    [ "$MODE" != prod ] || warn_of_production "$manage_sure" "$@"
    manage "$@"
}

# What production's data would not survive, or what belongs to a release.
warn_of_production() { # warn_of_production SURE COMMAND ARGUMENTS...
    case $2 in
    migrate)
        [ "$1" = yes ] || only_reads_migrations "$@" || refuse_migrate "$@"
        ;;
    flush | reset_db | reset_schema) # the last two are of django-extensions
        [ "$1" = yes ] || fail "manage $2 would delete all data in production's database, without a backup" \
            "make a backup: sh run.sh -0 backup; to delete the data, then run: sh run.sh -0 manage --yes $2"
        ;;
    sqlflush) warn "these statements delete all data in production's database if you run them" ;;
    loaddata) warn_of_load ;;
    esac
}

only_reads_migrations() { # only_reads_migrations SURE migrate ARGUMENTS...: Django prunes the records before it plans
    case " $* " in *" --pr"*) return 1 ;; esac
    case " $* " in *" --plan "* | *" --check "* | *" --help "* | *" -h "*) ;; *) return 1 ;; esac
}

faked() { # faked SURE migrate ARGUMENTS...: the migration that they name, if they name one
    shift 2
    for faked_word; do
        shift
        case $faked_word in -*) ;; *) set -- "$@" "$faked_word" ;; esac
    done
    if [ $# -eq 2 ]; then printf '%s.%s' "$1" "$2"; else printf APP.NAME; fi
}

refuse_migrate() { # refuse_migrate SURE migrate ARGUMENTS...
    case " $* " in
    *" --fa"*) migrate_remedy="correct the record of one migration: sh run.sh drift --record $(faked "$@"), or --unrecord $(faked "$@")" ;;
    *) migrate_remedy="see what is pending: sh run.sh plan; to apply it: sh run.sh -0; to migrate backwards: \"manage migrate\" in docs/troubleshooting.md" ;;
    esac
    fail "manage migrate would change production's database without rehearsal, approval and backup" "$migrate_remedy"
}
