# commands/manage.sh: any manage.py command in the running mode.
# usage: sh run.sh [-0|-1|-2] manage COMMAND [ARGUMENTS...]

main() {
    [ $# -gt 0 ] || usage_error "manage needs a command, such as: manage makemigrations"
    enter_mode
    manage "$@"
}
