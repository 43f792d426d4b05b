# commands/status.sh: show what runs in each mode, what is wrong with it and how to fix that, and whether visitors get pages.
# usage: sh run.sh [-0|-1|-2] status
#        sh run.sh [-0|-1|-2] status --watch   show it again every 2 s, until Ctrl-C
#        sh run.sh [-0|-1|-2] status --json    for programs: docs/status-json.md
#
# Exits with 0 if the mode is healthy, 1 if it is unhealthy or requests are held, 2 if nothing answers. It asks for the page HEALTH_PATH through
# the proxy, as a visitor does. Without a mode, the worst of those that run counts, and production if it was ever released.

EVERY=2 # seconds between two pages of --watch

main() {
    status_form=page
    case ${1-} in
    '') ;;
    --json) status_form=json ;;
    --watch)
        status_form=watch
        [ -t 1 ] || usage_error "--watch needs a terminal; for a program: status --json"
        ;;
    *) unknown_argument "$1" ;;
    esac
    [ $# -le 1 ] || unknown_argument "$2"
    read_environment
    [ "$status_form" != watch ] || watch_status
    look_at_modes
    show_facts "$status_form"
    exit "$status_worst"
}

watch_status() {
    trap 'rm -f ${MEMORY_FILE:+"$MEMORY_FILE"}; printf "\n"; exit 0' INT
    printf '\033[2J'
    while :; do
        look_at_modes
        # Each line over the one before, so that nothing flickers; then what is left of the page before is cleared.
        watch_page=$(date '+%H:%M:%S, every '"$EVERY"' s; Ctrl-C ends it' && show_facts page)
        printf '\033[H%s\033[K\n\033[J' "$(printf '%s\n' "$watch_page" | awk 'NR > 1 { printf "\033[K\n" } { printf "%s", $0 }')"
        sleep "$EVERY"
    done
}
