# commands/shell.sh: open Django's Python shell in the running mode.
# usage: sh run.sh [-0|-1|-2] shell [ARGUMENTS...]

main() {
    enter_mode
    manage shell "$@"
}
