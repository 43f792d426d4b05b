# commands/init.sh: write .env with new secrets, to read it before the first start; starts nothing.
# usage: sh run.sh init

main() {
    take_no_arguments "$@"
    [ ! -e "$ENV_FILE" ] || say ".env already exists, and was not changed"
    prepare_environment
}
