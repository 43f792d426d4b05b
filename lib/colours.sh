# lib/colours.sh: production's two colours: start one, let it serve, stop the other one, take back what was begun.

start_colour() { # start_colour COLOUR: on the image that is tagged "next"
    keep_logs "$1"
    # shellcheck disable=SC2046 # split on purpose: a list of words
    docker tag "$PROJECT_NAME-web:next" "$PROJECT_NAME-web:$1" &&
        compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout "$START_TIMEOUT" $(services_of_colour "$1")
}

# Before the switch nobody uses what this run has started. (An interruption can come between the switch and the end of
# its step.)
undo_release() {
    if [ "$(live_colour)" = "$new" ]; then
        leave_one_colour
        return
    fi
    keep_logs "$new"
    # shellcheck disable=SC2046 # split on purpose: a list of words
    compose prod rm --stop --force $(services_of_colour "$new")
    put_database_back
}

# From the switch on nothing is undone. What is left to do is done also where the terminal goes away, and however the run
# ends, one colour is left running.
finish_alone() {
    trap '' HUP PIPE
    case $UNDO in *run_failed_hook*) UNDO=run_failed_hook ;; *) UNDO= ;; esac
    undo_with leave_one_colour
    ENDING="stopping the version that no longer serves"
}

# If the live one does not run, because the switch back failed, the other one is all there is.
leave_one_colour() {
    case $(state_of prod "web-$(live_colour)") in healthy | running | starting) ;; *) return 0 ;; esac
    leave_colour=$(other_colour "$(live_colour)")
    ! colour_runs "$leave_colour" || stop_colour "$leave_colour"
}

# Without a proxy before, nobody has been let in yet: all of it goes.
stop_what_was_started() {
    # shellcheck disable=SC2046 # split on purpose: a list of words
    compose prod stop proxy $(services_of_colour blue) $(services_of_colour green)
    put_database_back
}

put_database_back() {
    [ "$db_was" != stopped ] || { stop_additions prod && stop_database prod; }
}

# Caddy reads the name at each request; the rename lets it see the old one or the new one, never half of one. A power cut must
# not leave an empty file.
switch_to() { # switch_to COLOUR
    switch_file=$(live_file)
    make_live_folder && tell_of_streams "$1" &&
        printf 'web-%s' "$1" >"$switch_file.new" && chmod 644 "$switch_file.new" && write_out "$switch_file.new" &&
        mv "$switch_file.new" "$switch_file" && write_out "$(live_folder)"
}

# The proxy sends streams to a colour that has a server for them. The file has the name of the colour, so the rename above is
# all that visitors see of a switch.
tell_of_streams() { # tell_of_streams COLOUR: whose services have started
    if is_running prod "live-$1"; then
        : >"$(live_folder)/live-web-$1"
    else
        rm -f "$(live_folder)/live-web-$1"
    fi
}

write_out() { # write_out PATH: to the disk. Where sync(1) takes no path, all is written out.
    sync "$1" 2>/dev/null || sync || true
}

# Whatever else belongs to production: up if it is down, left alone if it is as it should be.
start_proxy_and_database() { # start_proxy_and_database COLOUR
    restart_behind_proxy
    # shellcheck disable=SC2046 # split on purpose: a list of words
    try "Start the proxy and PostgreSQL" start_all_but_web || explain_unhealthy prod db $(services_of_colour "$1") proxy $(additions prod)
    stop_other_colour "$1"
    remove_left_parts prod
    keep_link
    settle_archive
}

# The version that served last, and the services beside it; the proxy and PostgreSQL run.
start_site() {
    # shellcheck disable=SC2046 # split on purpose: lists of words
    compose prod up -d --no-build --no-deps --no-recreate --wait --wait-timeout "$START_TIMEOUT" $(services_of_colour "$(live_colour)") $(additions prod)
}

# For a changed .env, which was announced (lib/restarts.sh): while requests wait.
restart_behind_proxy() {
    restart_services=${TO_RESTART% proxy}
    case $restart_services in
    '') return 0 ;;
    *db*redis) restart_names="PostgreSQL and Redis" ;;
    *redis) restart_names=Redis ;;
    *) restart_names=PostgreSQL ;;
    esac
    # shellcheck disable=SC2086 # split on purpose: a list of words
    try "Restart $restart_names while requests wait" while_held compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" $restart_services ||
        explain_unhealthy prod $restart_services
}

# Of the two only the live one runs, also when an earlier run was interrupted after its switch, and when Docker has started
# both again after a power cut.
stop_other_colour() { # stop_other_colour LIVE
    stop_colour=$(other_colour "$1")
    ! colour_runs "$stop_colour" || stop_old_version "$stop_colour"
}

start_all_but_web() {
    # shellcheck disable=SC2046 # split on purpose: a list of words
    start_proxy db $(additions prod) && lead_to_https
}

# With this file Caddy sends plain HTTP on to HTTPS, and other names to DOMAIN (proxy/Caddyfile).
lead_to_https() {
    serves_https || { rm -f "$(live_folder)/https-$DOMAIN" && return; }
    has_certificate "$DOMAIN" || return 0
    note_name "$DOMAIN"
    : >"$(live_folder)/https-$DOMAIN"
}

# A new request goes to the new colour from the switch on. SIGTERM comes when the old one has answered what it had, and lets
# end what is open even then. It is kept, stopped.
stop_old_version() { # stop_old_version COLOUR
    drain_began=$(date +%s)
    drain_open=0
    step "Drain $1" drain "$1"
    [ "$drain_open" -eq 0 ] ||
        warn "requests still open on $1 after $DRAIN_SECONDS s (DRAIN_SECONDS): $drain_open. They have $WEB_TIMEOUT s more to end."
    ! has_part live || ! is_running prod "live-$1" || let_streams_end "$1"
    step "Stop $1" stop_colour "$1"
}

# WebSockets and server-sent events seldom end by themselves. They stay for what is left of DRAIN_SECONDS; then their server
# is stopped, which closes them with code 1012, and the pages come back to the new one.
let_streams_end() { # let_streams_end COLOUR
    drain_open=0
    step "Let streams on $1 end" drain "$1" "$((drain_began + DRAIN_SECONDS - $(date +%s)))" open_streams
    [ "$drain_open" -eq 0 ] || say "closing $drain_open streams on $1 with code 1012, upon which pages reconnect"
}

# Until it has no request left, or the time is over. Two looks: at the first one a request may be on its way to it.
drain() { # drain COLOUR [SECONDS [COUNT]]: of DRAIN_SECONDS, if they are not given; COUNT: open_requests or open_streams
    drain_until=$(($(date +%s) + ${2-$DRAIN_SECONDS}))
    drain_quiet=0
    while :; do
        drain_open=$("${3-open_requests}" "$1")
        if [ "$drain_open" -eq 0 ]; then drain_quiet=$((drain_quiet + 1)); else drain_quiet=0; fi
        [ "$drain_quiet" -lt 2 ] && [ "$(date +%s)" -lt "$drain_until" ] || return 0
        sleep 0.2
    done
}

# Each open connection to port 8000 (1F40) is one: the proxy closes an idle one after a second. Those from its own container
# are not a visitor's. State 08: the visitor has left, and the site still works for them; 04: the site has ended, and its
# last bytes are on their way. (docs/decisions/releases.md)
open_requests() { # open_requests COLOUR: how many; 0 if it does not run
    open_connections "web-$1"
}

open_streams() { # open_streams COLOUR
    open_connections "live-$1"
}

open_connections() { # open_connections SERVICE
    docker exec "$(container_of prod "$1")" cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk '$2 ~ /:1F40$/ && $3 !~ /0100007F:/ && $4 ~ /^0[148]$/ { open++ } END { print open + 0 }'
}
