# commands/production.sh: build web/, prepare the database, and switch to the new version, behind Caddy.
# usage: sh run.sh -0 [--dry-run | --no-build | [--concurrently] [--approve CHECKSUM]]
#
# To release an image that was built elsewhere, in place of web/ (docs/releases.md): IMAGE=NAME sh run.sh -0
#
# Safe to run at any time: if nothing has changed, it changes nothing. A new version starts as the other colour (blue or
# green), and visitors are switched to it only when it is healthy and has passed its smoke test (SMOKE_PATHS in .env). The
# old version then keeps running for WATCH_SECONDS, and takes over again if the new one ends or answers with more errors.
# Ctrl-C ends the watch early and keeps the new version.
#   --dry-run           show the steps of a release and what each would do, and do nothing
#   --no-build          start the last build, without the network, as the boot does
#   --approve CHECKSUM  approve the plan with that checksum, which `sh run.sh plan` shows
#   --concurrently      build indexes with CONCURRENTLY, one migration after another; not all of it can be undone

main() {
    build=yes
    dry_run=
    read_options "$@"
    if [ -n "$dry_run" ]; then
        show_dry_run || return
        return
    fi

    # No impact yet.
    require_engine
    prepare_environment
    require_own_stack prod
    [ "$build" = no ] || settle_switch
    take_lock prod
    open_log prod
    take_snapshot prod
    [ "$build" = yes ] || [ -z "$(live_colour)" ] || note_meant_to_run # also if it cannot be started yet
    remove_left_copy
    remove_left_upgrade
    require_hooks
    require_ports
    ! serves_https || [ "$build" = no ] || { require_domain_leads_here && note_twin; }
    warn_of_trusted_visitors
    export_compose_facts
    warn_of_other_uploads
    require_volume_major prod
    [ "$build" = no ] || require_data_of_env
    require_proxy_image
    require_roles prod

    SNAPSHOT= # the build may take minutes
    if [ "$build" = yes ]; then release; else start_last_release; fi
    [ "$build" = no ] || ! serves_https || get_other_certificates
    note_meant_to_run
    end_switch
    announce
}

read_options() {
    POSTDO_APPROVE='' POSTDO_CONCURRENTLY='' # the options alone count
    while [ $# -gt 0 ]; do
        case $1 in
        --dry-run) dry_run=yes ;;
        --no-build) build=no ;;
        --concurrently)
            POSTDO_CONCURRENTLY=1
            export POSTDO_CONCURRENTLY
            ;;
        --approve)
            case ${2-} in '' | -*) usage_error "--approve needs the checksum of a plan, which sh run.sh plan shows" ;; esac
            POSTDO_APPROVE=$2
            export POSTDO_APPROVE
            shift
            ;;
        *) unknown_argument "$1" ;;
        esac
        shift
    done
    [ "$build" = yes ] || [ -z "$POSTDO_APPROVE$POSTDO_CONCURRENTLY" ] ||
        usage_error "--no-build cannot be combined with other options, because it makes no plan"
    [ "$build" = yes ] || [ -z "$GIVEN_IMAGE" ] || usage_error "--no-build cannot be combined with IMAGE"
    [ -z "$dry_run" ] || [ "$build$POSTDO_APPROVE$POSTDO_CONCURRENTLY" = yes ] ||
        usage_error "--dry-run cannot be combined with other options"
}

require_ports() {
    require_port HTTP_PORT prod
    ! serves_https || require_port HTTPS_PORT prod
    [ -z "$PROD_DB_PORT" ] || require_port PROD_DB_PORT prod
    # At a boot the site is not to wait for these: start_parts.
    [ "$build" = no ] || ! has_part tasks || require_port FLOWER_PORT prod
    [ "$build" = no ] || ! has_part metrics || require_port METRICS_PORT prod
}

release() {
    begin_hooks
    get_image
    require_no_migrations_yet
    release_what_was_built
}

# From here on hooks/deploy-failed is told if it does not go well.
begin_hooks() {
    new=
    release_number=
    hook_before pre-deploy
    undo_with run_failed_hook
}

release_what_was_built() {
    live=$(live_colour)
    take_snapshot prod
    try_what_restarts
    db_was=$(state_of prod db)
    ! serves_https || has_certificate "$DOMAIN" || get_certificate
    if [ -n "$live" ] && serves_this_version "$live"; then
        say "Already up to date: $live is serving this version"
        start_proxy_and_database "$live"
        UNDO= # what was started for the certificate stays
        return
    fi
    new=$(other_colour "$live")
    watched=
    [ "$WATCH_SECONDS" = 0 ] || [ -z "$live" ] || ! site_is_well prod || watched=yes

    begin_release
    undo_with undo_release
    # A server that runs is left as it is until the release has passed on it: it may have to restart for the new .env.
    start_database prod
    start_additions prod
    leave_restore_point "before-migrations-$release_number"
    copy_for_rehearsal prepare || refuse_without_copy fail_site
    try "Prepare the database" prepare_database || explain_preparation "$?"
    drop_copy
    prepared=$(date +%s)
    tell_migrated
    if [ -n "$(result applied)" ]; then
        move_restore_point "before-migrations-$release_number" "$(result before | tail -n 1)"
    else
        forget_restore_point "before-migrations-$release_number"
    fi
    # shellcheck disable=SC2046 # split on purpose: a list of words
    try "Start $new" start_colour "$new" || explain_unhealthy prod db $(services_of_colour "$new")
    require_smoke_test "$new" "fix the pages that the lines above name, or change SMOKE_PATHS in $(place_of SMOKE_PATHS), then run the command again"
    hook_before pre-switch "$release_number"
    # The hook had ten minutes with it.
    ! has_hook pre-switch || is_well prod "web-$new" || explain_unhealthy prod "web-$new"
    tag_release_image
    [ -n "$(result applied)" ] || leave_restore_point "before-release-$release_number"
    step "Switch to $new" switch_to "$new"
    finish_alone
    [ -z "$live" ] || note_switch
    end_release live
    [ -z "$watched" ] || try "Watch $new for $WATCH_SECONDS s" watch_new_version "$new" "$live" || take_back "$new" "$live"
    remove_old_images
    is_running prod proxy || undo_with stop_what_was_started
    start_proxy_and_database "$new"
    UNDO=
    hook_after post-deploy "$release_number"
}

start_last_release() {
    live=$(live_colour)
    last_version_is_left || not_built prod
    leave_out_parts "$PROJECT_NAME-web:$live"
    warn_of_parts_left_out
    # Services of your own that have the site's image run what the site runs, and not what was built and never released.
    docker tag "$PROJECT_NAME-web:$live" "$PROJECT_NAME-web:next"
    # While it serves, a changed .env comes as a release of the same image, not as a restart. After a switch that was killed it may
    # look well for some seconds, and its database lets nobody in.
    if is_well prod "web-$live" && ! switch_was_begun; then
        export_version_of_image "$PROJECT_NAME-web:next" # which need not be that of web/
        # A worker takes longer to start than the site. One that is about to is no reason for a release.
        [ -z "$(companions)" ] || wait_until "$START_TIMEOUT" companions_have_started "$live" || true
        begin_hooks
        release_what_was_built
        return
    fi
    db_was=$(state_of prod db)
    is_running prod proxy || undo_with stop_what_was_started
    start_database prod
    # shellcheck disable=SC2046 # split on purpose: a list of words
    set -- db "web-$live" proxy $(own_additions prod)
    try "Start $live, PostgreSQL and the proxy" start_all "$@" || explain_unhealthy prod "$@"
    UNDO=
    tell_of_streams "$live"
    stop_other_colour "$live"
    remove_left_parts prod
    keep_link
    settle_archive
    start_parts "$live"
}

start_all() { # start_all SERVICE...: where nothing serves
    settle_proxy_image &&
        write_proxy_settings "$SETTINGS" &&
        compose prod up -d --no-build --wait --wait-timeout "$START_TIMEOUT" "$@" &&
        limit_proxy_memory 1
}

# The previous version keeps serving, over plain HTTP. The one that redirects to HTTPS replaces it when there is a
# certificate.
get_certificate() {
    make_live_folder
    is_running prod proxy || undo_with stop_what_was_started
    try "Start the proxy for $DOMAIN" start_proxy || explain_unhealthy prod proxy
    try "Get a certificate for $DOMAIN" wait_until "$START_TIMEOUT" has_certificate "$DOMAIN" ||
        fail_site "no certificate for $DOMAIN: $(certificate_reason)" \
            "$(certificate_remedy); to serve without HTTPS, leave DOMAIN empty in .env"
}

# It and its companions are healthy, their image is the one just built, and Compose would leave their containers as they are.
serves_this_version() { # serves_this_version COLOUR
    for serves_service in $(services_of_colour "$1"); do
        [ "$(state_of prod "$serves_service")" = healthy ] &&
            has_image prod "$serves_service" "$PROJECT_NAME-web:next" &&
            [ "$(planned_for "$serves_service")" = keep ] || return 1
    done
}

# A second before, in which the container of the preparation ends, and one after, in which Caddy looks the name up.
note_switch() {
    printf '%s\n' "$(($(date +%s) - prepared + 2))" >"$SWITCH_SECONDS" || warn "cannot write to $SWITCH_SECONDS, so the next plan cannot say how long its switch takes"
}

announce() {
    say ""
    say "  site   $(production_address)"
    [ -n "$DOMAIN" ] || say "         plain HTTP, on every address of this machine; set DOMAIN in .env for HTTPS"
    [ -z "$DJANGO_SUPERUSER_EMAIL" ] || say "  admin  /admin/   $DJANGO_SUPERUSER_EMAIL, password in .env"
    [ -n "$EMAIL_URL" ] || say "  mail   EMAIL_URL in .env is empty, so the starter cannot send mail (docs/uploads-and-mail.md)"
    ! has_part tasks || say "  tasks  http://127.0.0.1:$FLOWER_PORT/ (Flower, on this machine alone)"
    remind_of_maintenance
    say "  logs   sh run.sh -0 logs        stop  sh run.sh -0 stop"
    [ -f "/etc/systemd/system/$PROJECT_NAME.service" ] || say "  boot   start at boot: sudo sh run.sh service install"
    say ""
}
