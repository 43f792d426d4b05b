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
    cat <<'TEXT'
sh run.sh -0              production: Gunicorn behind Caddy, production volume
sh run.sh -1              development in Docker: reload on save, pgAdmin, development volume
sh run.sh -2              local development: the site without Docker, with the data of -1

Every mode has the same commands. If several modes run, put the mode first (sh run.sh -0 logs):

TEXT
    for help_name in init stop status logs manage shell psql dump load backup restore reindex plan rollback releases drift rehearse sources reset service adopt-stack doctor test lint help; do
        printf '  %-11s %s\n' "$help_name" "$(summary "$help_name")"
    done
    printf '\nMore about a command: sh run.sh help COMMAND. The configuration is in .env.\n'
}

# The first line of a command's file is its help.
summary() { # summary COMMAND
    sed -n '1s/^# commands\/[a-z-]*\.sh: //p' "$ROOT/commands/$1.sh"
}

show_one() { # show_one COMMAND
    require_command "$1"
    sed -n '1s/^# commands\/[a-z-]*\.sh: //p; 2,${/^#/!q; s/^# \{0,1\}//p;}' "$ROOT/commands/$1.sh"
}
