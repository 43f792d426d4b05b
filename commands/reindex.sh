# commands/reindex.sh: rebuild the indexes that another version of the C library has put out of order.
# usage: sh run.sh [-0|-1] reindex          show which
#        sh run.sh [-0|-1] reindex --yes    stop the site, rebuild them, and take note of the version
#
# PostgreSQL sorts text by the C library of its image. After an update of that, an index may miss rows, and a unique one let
# the same value in twice.

main() {
    case $#${1-} in
    0 | 1--yes) ;;
    *) usage_error "reindex takes nothing but --yes" ;;
    esac
    enter_mode
    require_database "$MODE"
    reindex_libc=$(libc_to_come "$MODE")
    reindex_changes=$(collation_changes "$MODE" "$reindex_libc")
    if [ -z "$reindex_changes" ]; then
        say "nothing to rebuild: every index is in the order that PostgreSQL's image has"
        return
    fi
    printf '%s\n' "$reindex_changes" | show_order
    [ "${1-}" = --yes ] ||
        fail "these indexes must be rebuilt, and the site is down while that runs" "choose a quiet hour, then: sh run.sh $(mode_flag "$MODE") reindex --yes" 2
    ! one_off_runs "$MODE" || fail "a manage command is at work on the database" "wait until it has ended"
    [ "$MODE" = prod ] || require_local_stopped
    "stop_site_$MODE"
    [ -z "$reindex_libc" ] || step "Start PostgreSQL from its new image" compose "$MODE" up -d --no-build --wait --wait-timeout "$START_TIMEOUT" db
    try "Rebuild the indexes" run_collation "$MODE" rebuild || {
        show_tail
        fail "an index could not be rebuilt, and the site is stopped" "fix what the lines above name (in a unique index: delete one of the two equal rows), then: sh run.sh $(mode_flag "$MODE") reindex --yes$([ "$MODE" != prod ] || printf '; to start the site as it was: sh run.sh -0 --no-build')"
    }
    say "all indexes are in order; start the site: sh run.sh $(mode_flag "$MODE")"
}
