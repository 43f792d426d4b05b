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
    [ "$MODE" != local ] || fail "reindex works on a database in Docker" "name the mode: sh run.sh -0 reindex, or sh run.sh -1 reindex"
    require_database "$MODE"
    reindex_libc=$(libc_to_come "$MODE")
    reindex_changes=$(collation_changes "$MODE" "$reindex_libc")
    if [ -z "$reindex_changes" ]; then
        say "nothing to rebuild: every index is in the order that PostgreSQL's image has"
        return
    fi
    printf '%s\n' "$reindex_changes" | show_order
    [ "${1-}" = --yes ] ||
        fail "these indexes have to be rebuilt, and nobody can use the site meanwhile" "do it in a quiet hour: sh run.sh $(mode_flag "$MODE") reindex --yes" 2
    stop_for_reindex
    [ -z "$reindex_libc" ] || step "Start PostgreSQL from its new image" compose "$MODE" up -d --no-build --wait --wait-timeout "$START_TIMEOUT" db
    try "Rebuild the indexes" run_collation "$MODE" rebuild || {
        show_tail
        fail "an index could not be rebuilt; no version was noted" "remove what the lines above name (two equal rows, in a unique index), and repeat"
    }
    say "all indexes are in order; start the site: sh run.sh $(mode_flag "$MODE")"
}

stop_for_reindex() {
    if [ "$MODE" = prod ]; then
        step "Stop the site" compose prod stop proxy web-blue web-green
    else
        ! local_is_at_work || fail "the local server (-2) uses this database" "end it first: sh run.sh -2 stop"
        step "Stop the site" compose dev stop web pgadmin
    fi
}
