# commands/plan.sh: show what a release of web/ would do to production's database; changes nothing.
# usage: sh run.sh plan [--json | --html FILE]
#
# Builds the image, rehearses the pending migrations on a copy of the data, and exits with 3 if the release would be
# refused or needs approval. docs/migrations.md explains each word of a plan.

main() {
    case ${1-} in
    --html)
        case $#-${2-} in
        2-[!-]*) ;;
        *) usage_error "--html needs one file, such as: plan --html plan.html" ;;
        esac
        plan_page=$2
        (: >"$plan_page.part") 2>/dev/null || fail "cannot write to $plan_page.part" "name a file in a folder that you can write to"
        undo_with remove_part
        plan_status=0
        look_at_production build plan --html - >"$plan_page.part" || plan_status=$?
        [ -s "$plan_page.part" ] || exit "$plan_status"
        mv "$plan_page.part" "$plan_page"
        say "wrote $plan_page"
        exit "$plan_status"
        ;;
    esac
    check_options "--json" "$@"
    look_at_production build plan "$@"
}

remove_part() {
    rm -f "$plan_page.part"
}
