# commands/init.sh: write .env, with new secrets, and start nothing; for a look at it before the first start.
# usage: sh run.sh init

main() {
    [ $# -eq 0 ] || usage_error "init takes no argument '$1'"
    [ ! -e "$ENV_FILE" ] || say ".env is there already, and stays as it is"
    prepare_environment
}
