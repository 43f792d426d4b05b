# commands/reindex.sh: rebuild the indexes that another version of PostgreSQL's C library sorts differently.
# usage: sh run.sh [-0|-1] reindex          list them
#        sh run.sh [-0|-1] reindex --yes    stop the site, rebuild them, and record the version
#
# PostgreSQL sorts text with the C library of its image. After an update of that library, an index may miss rows, and a
# unique index may accept the same value twice.

main() {
    case $#${1-} in
    0 | 1--yes) ;;
    *) usage_error "reindex takes only --yes" ;;
    esac
    enter_mode
    require_database "$MODE"
    reindex_libc=$(libc_to_come "$MODE")
    reindex_changes=$(collation_changes "$MODE" "$reindex_libc")
    if [ -z "$reindex_changes" ]; then
        say "nothing to rebuild: PostgreSQL's C library has not changed since the indexes were built"
        return
    fi
    say "$(printf '%s\n' "$reindex_changes" | show_order)"
    [ "${1-}" = --yes ] ||
        fail "these indexes must be rebuilt, and the site will be down meanwhile" "at a quiet time, run: sh run.sh $(mode_flag "$MODE") reindex --yes" 2
    require_database_unused "$MODE"
    "stop_site_$MODE"
    [ -z "$reindex_libc" ] || step "Start PostgreSQL from its new image" compose "$MODE" up -d --no-build --wait --wait-timeout "$START_TIMEOUT" db
    try "Rebuild the indexes" run_collation "$MODE" rebuild || {
        show_tail
        fail "an index could not be rebuilt, and the site is stopped" "$FIX_LINES (in a unique index: delete one of the two equal rows), then run: sh run.sh $(mode_flag "$MODE") reindex --yes$([ "$MODE" != prod ] || printf '; to start the site as it was: sh run.sh -0 --no-build')"
    }
    say "all indexes are rebuilt. Start the site: sh run.sh $(mode_flag "$MODE")"
}
