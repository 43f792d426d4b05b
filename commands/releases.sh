# commands/releases.sh: list the last releases of production, the newest first.
# usage: sh run.sh releases
#
# A release with an image can be rolled back to: sh run.sh rollback NUMBER. KEEP_RELEASES in .env says how many images
# are kept.

main() {
    take_no_arguments "$@"
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "releases is for production: sh run.sh releases" ;; esac
    require_engine
    read_environment
    require_own_stack prod
    [ -n "$(release_numbers)" ] || { say "no release yet; the first one: sh run.sh -0" && return; }
    releases_live=$(live_release)
    say "number  began                by          version               seconds  outcome       migrations applied"
    for releases_number in $(release_numbers | head -n "$SHOWN_RELEASES"); do
        show_release "$releases_number"
    done
    releases_points=$(restore_points)
    [ -z "$releases_points" ] ||
        say "the database from just before a release: sh run.sh -0 restore --before-release NUMBER ($releases_points)"
}

show_release() { # show_release NUMBER
    show_outcome=$(release_fact "$1" outcome)
    if [ "$1" = "$releases_live" ]; then
        show_outcome=live
    elif [ "$show_outcome" = live ]; then
        show_outcome="replaced"
        [ -n "$(release_image "$1")" ] || show_outcome="no image"
    fi
    printf '%6s  %-19s  %-10s  %-20s  %7s  %-12s  %s\n' "$1" "$(release_fact "$1" began)" "$(release_fact "$1" by)" \
        "$(release_fact "$1" version)" "$(release_fact "$1" seconds)" "$(tell "$show_outcome")" "$(release_fact "$1" applied | paste -s -d ' ' -)"
}
