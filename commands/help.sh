# commands/help.sh: list the commands, or show how to use one.
# usage: sh run.sh help [COMMAND]

main() {
    case ${1-} in
    '') show_all ;;
    -0) show_one production ;;
    -1) show_one development ;;
    -2) show_one local ;;
    *) show_one "$1" ;;
    esac
}

show_all() {
    tell "sh run.sh -0              production: Gunicorn behind Caddy, production volume" \
        "sh run.sh -1              development in Docker: reload on save, pgAdmin, development volume" \
        "sh run.sh -2              local development: the site without Docker, with the data of -1" \
        "" \
        "Every mode has the same commands. If several modes run, put the mode first (sh run.sh -0 logs):" \
        ""
    set -- init stop status logs manage shell psql dump load backup backups restore upgrade-db reindex plan deploy rollback releases maintenance hold jobs watch alert mail-test drift rehearse sources reset service adopt-stack doctor test lint help
    tell "$(summaries "$@")" | for help_name; do
        IFS= read -r help_summary
        printf '  %-11s %s\n' "$help_name" "$help_summary"
    done
    tell "" "More about a command: sh run.sh help COMMAND. The configuration is in .env."
}

summaries() { # summaries COMMAND...: a line each, the first of its file
    for summary_of; do
        sed -n '1s/^# commands\/[a-z-]*\.sh: //p' "$ROOT/commands/$summary_of.sh"
    done
}

show_one() { # show_one COMMAND
    require_command "$1"
    if [ -z "$MESSAGES" ]; then
        header_of "$1"
    else
        tell "$(header_of "$1" | awk -f "$ROOT/lib/sentences.awk")" | fold -s -w 120 | sed 's/ $//'
    fi
}

# The comment at the top of a command's file is its help.
header_of() { # header_of COMMAND
    sed -n '1s/^# commands\/[a-z-]*\.sh: //p; 2,${/^#/!q; s/^# \{0,1\}//p;}' "$ROOT/commands/$1.sh"
}
