# commands/production.sh: build web/, prepare the database, and switch to the new version, behind Caddy.
# usage: sh run.sh -0 [--no-build | [--concurrently] [--approve CHECKSUM]]
#
# Safe to run at any time: if nothing has changed, it changes nothing. A new version starts as the other colour (blue or
# green), and visitors are switched to it only when it is healthy.
#   --no-build          start the last build, without the network, as the boot does
#   --approve CHECKSUM  approve the plan with that checksum, which `sh run.sh plan` shows
#   --concurrently      build indexes with CONCURRENTLY, one migration after another; not all of it can be undone

main() {
    build=yes
    read_options "$@"

    # No impact yet.
    require_engine
    prepare_environment
    require_own_stack prod
    take_lock prod
    open_log prod
    remove_left_copy
    require_port HTTP_PORT prod
    [ -z "$DOMAIN" ] || require_port HTTPS_PORT prod
    [ -z "$PROD_DB_PORT" ] || require_port PROD_DB_PORT prod
    [ -z "$DOMAIN" ] || [ "$build" = no ] || { require_domain_leads_here && note_twin; }
    export_compose_facts
    require_volume_major prod
    require_roles prod

    if [ "$build" = yes ]; then release; else start_last_release; fi
    announce
}

read_options() {
    POSTDO_APPROVE='' POSTDO_CONCURRENTLY='' # the options alone count
    while [ $# -gt 0 ]; do
        case $1 in
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
}

release() {
    require_disk 1000
    build_image prod
    release_what_was_built
}

release_what_was_built() {
    live=$(live_colour)
    try_what_restarts
    db_was=$(state_of prod db)
    [ -z "$DOMAIN" ] || has_certificate "$DOMAIN" || get_certificate
    if [ -n "$live" ] && serves_this_version "$live"; then
        say "Already up to date: $live is serving this version"
        start_proxy_and_database "$live"
        UNDO= # what was started for the certificate stays
        return
    fi
    new=$(other_colour "$live")

    undo_with undo_release
    # A server that runs is left as it is until the release has passed on it: it may have to restart for the new .env.
    start_database prod
    start_additions prod
    copy_for_rehearsal prepare || refuse_without_copy fail_site
    try "Prepare the database" prepare_database || explain_preparation "$?"
    drop_copy
    prepared=$(date +%s)
    tell_migrated
    try "Start $new" start_colour "$new" || explain_unhealthy prod db "web-$new"
    step "Switch to $new" switch_to "$new"
    UNDO=
    [ -z "$live" ] || note_switch
    record_release "$new"
    is_running prod proxy || undo_with stop_what_was_started
    start_proxy_and_database "$new"
    UNDO=
}

start_last_release() {
    live=$(live_colour)
    last_version_is_left || not_built prod
    # While it serves, a changed .env comes as a release of the same image, not as a restart.
    if is_well prod "web-$live"; then
        docker tag "$PROJECT_NAME-web:$live" "$PROJECT_NAME-web:next"
        release_what_was_built
        return
    fi
    db_was=$(state_of prod db)
    is_running prod proxy || undo_with stop_what_was_started
    start_database prod
    # shellcheck disable=SC2046 # split on purpose: a list of words
    set -- db "web-$live" proxy $(additions prod)
    try "Start $live, PostgreSQL and the proxy" compose prod up -d --no-build --wait --wait-timeout "$START_TIMEOUT" "$@" ||
        explain_unhealthy prod "$@"
    UNDO=
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

# It is healthy, its image is the one just built, and Compose would leave its container as it is.
serves_this_version() { # serves_this_version COLOUR
    [ "$(state_of prod "web-$1")" = healthy ] &&
        has_image prod "web-$1" "$PROJECT_NAME-web:next" &&
        [ "$(planned_for "web-$1")" = keep ]
}

# The entrypoint prepares, then becomes `true`.
prepare_database() {
    one_off web true
}

# By which plan, how many, and what to know of it; nothing if nothing was pending.
tell_migrated() {
    result said | sed 's/^/  /'
    result warning | sed 's/^/  warning: /'
}

# How postdo ended, with its exit code: a caller can tell refused from undone.
explain_preparation() { # explain_preparation STATUS
    what=$(result what)
    [ -n "$what" ] || explain_no_result "$1"
    result detail | indented >&3
    remedy=$(result next)
    case $(result outcome) in
    refused) fail_site "preparing the database was refused: $what" "$remedy" 3 ;;
    undone) fail_site "preparing the database failed and was undone: $what" "$remedy" 4 ;;
    # Perhaps no version fits the database now.
    not-undone) fail "preparing the database failed and was not undone: $what" "$remedy" 5 ;;
    *) fail_site "preparing the database failed: $what" "$remedy" ;;
    esac
}

# It was killed, or its container was never started.
explain_no_result() { # explain_no_result STATUS
    prepare_words=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | sed -n 's/^Error response from daemon: //p' | tail -n 1)
    prepare_remedy=$(engine_hint "$prepare_words")
    show_tail
    [ "$1" -ne 137 ] || fail_site "preparing the database was killed; it may need more memory than WEB_MEMORY ($WEB_MEMORY)" \
        "raise WEB_MEMORY in .env, then run: sh run.sh -0"
    [ -z "$prepare_words" ] || fail_site "preparing the database failed: the Docker engine says: $prepare_words" \
        "${prepare_remedy:-$FIX_LINES}, then run: sh run.sh -0"
    fail_site "preparing the database ended with status $1 and left no result" "$FIX_LINES, then run: sh run.sh -0"
}

start_colour() { # start_colour COLOUR
    keep_logs "$1"
    docker tag "$PROJECT_NAME-web:next" "$PROJECT_NAME-web:$1" &&
        compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout "$START_TIMEOUT" "web-$1"
}

# Before the switch nobody uses what this run has started. (An interruption can come between the switch and the end of
# its step.)
undo_release() {
    [ "$(live_colour)" != "$new" ] || return 0
    keep_logs "$new"
    compose prod rm --stop --force "web-$new"
    put_database_back
}

# Without a proxy before, nobody has been let in yet: all of it goes.
stop_what_was_started() {
    compose prod stop proxy web-blue web-green
    put_database_back
}

put_database_back() {
    [ "$db_was" != stopped ] || { stop_additions prod && stop_database prod; }
}

# Caddy reads the name at each look-up; the rename lets it see the old one or the new one, never half of one.
switch_to() { # switch_to COLOUR
    switch_file=$(live_file)
    make_live_folder &&
        printf 'web-%s' "$1" >"$switch_file.new" && chmod 644 "$switch_file.new" && mv "$switch_file.new" "$switch_file"
}

# Whatever else belongs to production: up if it is down, left alone if it is as it should be; and of the two colours
# only the live one runs, also when an earlier run was interrupted after its switch.
start_proxy_and_database() { # start_proxy_and_database COLOUR
    # shellcheck disable=SC2046 # split on purpose: a list of words
    try "Start the proxy and PostgreSQL" start_all_but_web || explain_unhealthy prod db "web-$1" proxy $(additions prod)
    start_other=$(other_colour "$1")
    ! is_running prod "web-$start_other" || step "Stop $start_other" stop_old_version "$start_other"
}

start_all_but_web() {
    # shellcheck disable=SC2046 # split on purpose: a list of words
    start_proxy db $(additions prod) && lead_to_https
}

# A change of the Caddyfile is no change of the container, so Caddy is asked; the same file again changes nothing.
start_proxy() { # start_proxy [SERVICE...]: and these
    compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" "$@" proxy &&
        in_proxy reload
}

# With this file Caddy sends plain HTTP on to HTTPS, and other names to DOMAIN (proxy/Caddyfile).
lead_to_https() {
    if [ -z "$DOMAIN" ] || ! has_certificate "$DOMAIN"; then return 0; fi
    note_name "$DOMAIN"
    : >"$(live_folder)/https-$DOMAIN"
}

# Caddy looks the name up every second (proxy/Caddyfile, refresh); by then no new request goes to the old colour, and
# SIGTERM lets those that it has end. It is kept, stopped.
stop_old_version() { # stop_old_version COLOUR
    sleep 2
    compose prod stop "web-$1"
}

# A second before, in which the container of the preparation ends, and one after, in which Caddy looks the name up.
note_switch() {
    printf '%s\n' "$(($(date +%s) - prepared + 2))" >"$SWITCH_SECONDS" || warn "cannot write to $SWITCH_SECONDS"
}

record_release() { # record_release COLOUR
    printf '%s %s %s %s\n' "$(date '+%Y-%m-%dT%H:%M:%S%z')" "$APP_VERSION" "$1" \
        "$(docker image inspect --format '{{.Id}}' "$PROJECT_NAME-web:$1")" >>"$STATE/releases.log" || warn "cannot write to $STATE/releases.log"
}

announce() {
    say ""
    say "  site   $(production_address)"
    [ -n "$DOMAIN" ] || say "         plain HTTP, on every address of this machine; set DOMAIN in .env for HTTPS"
    [ -z "$DJANGO_SUPERUSER_EMAIL" ] || say "  admin  /admin/   $DJANGO_SUPERUSER_EMAIL, password in .env"
    say "  logs   sh run.sh -0 logs        stop  sh run.sh -0 stop"
    [ -f "/etc/systemd/system/$PROJECT_NAME.service" ] || say "  boot   start at boot: sudo sh run.sh service install"
    say ""
}
