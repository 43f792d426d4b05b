# commands/maintenance.sh: show visitors a page in place of the site (503), but let yourself in.
# usage: sh run.sh maintenance on [--allow ADDRESS]...
#        sh run.sh maintenance off
#        sh run.sh maintenance        say whether it is on, and print the link
#
# `on` prints a link that lets a browser in until it is closed; requests from each ADDRESS (--allow) get the site as well.
# The page is web/maintenance.html, if there is one; repeat `on` after you change it. Maintenance stays on over restarts
# and releases, until `off`.

main() {
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "maintenance is for production: sh run.sh maintenance on" ;; esac
    maintenance_wish=${1-}
    maintenance_allowed=
    [ $# -eq 0 ] || shift
    case $maintenance_wish in
    on) read_addresses "$@" ;;
    off | '') take_no_arguments "$@" ;;
    *) usage_error "maintenance takes on or off" ;;
    esac
    read_environment
    ! engine_answers || require_own_stack prod
    case $maintenance_wish in
    on) turn_on ;;
    off) turn_off ;;
    *) tell_maintenance ;;
    esac
}

read_addresses() {
    while [ $# -gt 0 ]; do
        [ "$1" = --allow ] || unknown_argument "$1"
        maintenance_address=$(canonical_address "${2-}") ||
            usage_error "--allow needs an IP address such as 203.0.113.7, but not a name or a network: '${2-}'"
        maintenance_allowed="$maintenance_allowed $maintenance_address"
        shift 2
    done
}

turn_on() {
    maintenance_page="$ROOT/proxy/maintenance.html"
    [ ! -e "$OWN_PAGE" ] || maintenance_page=$OWN_PAGE
    { [ -r "$maintenance_page" ] && [ "$(wc -c <"$maintenance_page")" -le "$LONGEST_PAGE" ]; } ||
        fail "$maintenance_page cannot be the page: it is not readable, or larger than 1 MB" "correct it, or move it away to use the kit's own page"
    require_proxy_knows /etc/caddy/live/maintenance
    make_state_folder "$STATE"
    # shellcheck disable=SC2086 # split on purpose: a list of words
    start_maintenance "$maintenance_page" $maintenance_allowed || cannot_write "$(maintenance_folder)"
    tell_maintenance
}

turn_off() {
    turn_off_from=on
    maintenance_is_on || turn_off_from=off
    stop_maintenance || cannot_write "$(maintenance_folder)"
    if [ "$turn_off_from" = off ]; then say "maintenance is off already"; else say "maintenance is off: visitors get the site"; fi
}

tell_maintenance() {
    maintenance_is_on || { say "maintenance is off" && return; }
    say "maintenance is on since $(maintenance_since): visitors get the maintenance page"
    say "  visit the site yourself   $(maintenance_link)"
    for maintenance_file in "$(maintenance_folder)"/allowed/*; do
        [ ! -e "$maintenance_file" ] || say "  allowed address           ${maintenance_file##*/}"
    done
    say "  end it                    sh run.sh maintenance off"
}
