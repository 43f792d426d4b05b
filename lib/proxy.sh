# lib/proxy.sh: production's proxy: its settings, its limit, and how another Caddy takes over from one that serves.
#
# The container stays, with its ports: within it another Caddy is started beside the one that serves (proxy/start.sh), with
# the Caddyfile and the settings of now. No request is lost by that (docs/decisions/proxy-exchange.md).

PROXY_SCRIPT=/etc/caddy/site/start.sh # in the container, as are these
SETTINGS=/etc/caddy/live/settings
NEW_SETTINGS=$SETTINGS.new # to be tried

start_proxy() { # start_proxy [SERVICE...]: and these
    settle_proxy_image &&
        write_proxy_settings "$SETTINGS" &&
        compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" "$@" proxy &&
        take_snapshot prod &&
        limit_proxy_memory 1 &&
        in_proxy leave "$DRAIN_SECONDS" && # what a run that was interrupted has left
        { in_proxy current "$SETTINGS" || exchange_proxy; } &&
        remove_left_programs
}

in_proxy() { # in_proxy COMMAND...: of proxy/start.sh
    docker exec "$(container_of prod proxy)" sh "$PROXY_SCRIPT" "$@"
}

write_proxy_settings() { # write_proxy_settings PATH: in the container, of the live folder
    settings_path="$(live_folder)/${1##*/}"
    make_live_folder &&
        proxy_settings >"$settings_path.$$" && chmod 644 "$settings_path.$$" && mv "$settings_path.$$" "$settings_path"
}

# For the shell in the container. What is in .env is a name of it; the others are made of it (export_compose_facts). Caddy
# would take GOMEMLIMIT from the limit of the container, which is another one while there are two of it.
proxy_settings() {
    printf 'GOMEMLIMIT=%s\nCADDY=%s\n' $(($(proxy_memory) * 9 / 10)) "$(proxy_program)"
    ! has_part metrics || printf 'METRICS=on\n'
    for settings_name in SITE_ADDRESS SITE_URL DOMAIN ACME_EMAIL WEB_TIMEOUT MAX_REQUEST_BODY ACCESS_LOG TRUSTED_PROXIES TRUSTED_RANGES FRONT_NAMES PROXY_MEMORY; do
        eval "settings_value=\${$settings_name-}"
        case $settings_name in DOMAIN | FRONT_NAMES) settings_value=${settings_value:-none} ;; esac
        case $settings_value in *"'"*) settings_value=$(printf '%s' "$settings_value" | sed "s/'/'\\\\''/g") ;; esac
        printf "%s='%s'\n" "$settings_name" "$settings_value"
    done
}

# The limit of a container can be changed while it runs. Swap as Docker has it by default: as much again.
limit_proxy_memory() { # limit_proxy_memory FACTOR
    limit_bytes=$(($(proxy_memory) * $1))
    docker update --memory "$limit_bytes" --memory-swap $((limit_bytes * 2)) "$(container_of prod proxy)" ||
        printf 'PROXY_MEMORY has no effect: the engine has not set the limit\n'
}

# No limit (0) is the memory of the machine: `docker update` takes a 0 for "as it was", and Go one for "never enough".
proxy_memory() { # in bytes
    memory_bytes=$(in_bytes "$PROXY_MEMORY")
    [ "$memory_bytes" -gt 0 ] || memory_bytes=$(in_bytes "$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)k")
    printf '%s' "$memory_bytes"
}

# Browsers that speak HTTP/3 would send to both, so the first one to take over has none, and is itself taken over from
# when the old one is gone.
exchange_proxy() {
    ! serves_https || take_over_proxy "h1 h2" || return
    take_over_proxy
}

take_over_proxy() {      # take_over_proxy [PROTOCOLS]
    limit_proxy_memory 2 # there are two for a while
    in_proxy next ${1:+"$1"} || {
        docker logs --tail 20 "$(container_of prod proxy)" 2>&1
        return 1
    }
    stop_accepting "$(in_proxy old)" ||
        printf 'connections that were being opened may have been lost: the old Caddy accepted until its end\n'
    in_proxy leave "$DRAIN_SECONDS"
    limit_proxy_memory 1
}

# In a container of its own, which sees the processes of the proxy's: for Python, and for the right to do this.
stop_accepting() { # stop_accepting PID
    docker run --rm -i --network none --pid "container:$(container_of prod proxy)" --user 0 --read-only \
        --cap-drop ALL --cap-add SYS_PTRACE --entrypoint python "$PROJECT_NAME-web:$(live_colour)" -I -S - "$1" <"$ROOT/lib/stop_accepting.py"
}

in_bytes() { # in_bytes SIZE: 512m or 2g, as lib/check.awk lets through
    awk -v size="$1" 'BEGIN { printf "%.0f\n", (size + 0) * (size ~ /k$/ ? 1024 : size ~ /m$/ ? 1048576 : size ~ /g$/ ? 1073741824 : 1) }'
}

# --- Its image --------------------------------------------------------------------------------------------------------
#
# A container of another image is another container, and visitors could not connect while one takes the place of the other.
# So the image has a tag of its own, which is moved only where the container is made anew. Until then the program is copied
# out of the newer image, and takes over as with new settings.

proxy_image() {
    printf '%s-proxy:live' "$PROJECT_NAME"
}

# A boot needs no network: it takes what there was.
require_proxy_image() {
    [ -z "$(image_id "$CADDY_IMAGE")" ] || return 0
    [ "$build" = yes ] || [ -z "$(image_id "$(proxy_image)")" ] || return 0
    try "Download $CADDY_IMAGE" docker pull --quiet "$CADDY_IMAGE" ||
        step_failed "downloading $CADDY_IMAGE" "check that CADDY_IMAGE in .env is the name of an image, and that this machine can reach its registry"
}

settle_proxy_image() {
    case "$TO_RESTART " in *" proxy "*) ;; *) ! is_running prod proxy || { bring_program && return; } ;; esac
    tag_proxy_image
}

tag_proxy_image() {
    [ -z "$(image_id "$CADDY_IMAGE")" ] || docker tag "$CADDY_IMAGE" "$(proxy_image)"
}

# As a value of the settings: a newer program is a change of them.
proxy_program() { # prints `caddy`, which is that of the container's image, or the path of a newer one in the container
    program_id=$(image_id "$CADDY_IMAGE")
    if [ -z "$program_id" ] || [ "$program_id" = "$(image_id "$(proxy_image)")" ]; then
        printf caddy
    else
        printf '%s/caddy-%.12s' "${SETTINGS%/*}" "${program_id#sha256:}"
    fi
}

# False if it cannot run in that container: a folder from which no program may be started, or one that needs libraries.
bring_program() {
    bring_path=$(proxy_program)
    [ "$bring_path" != caddy ] || return 0
    make_live_folder
    bring_file="$(live_folder)/${bring_path##*/}"
    [ -e "$bring_file" ] || copy_program "$bring_file" || return 1
    docker exec "$(container_of prod proxy)" "$bring_path" version
}

copy_program() { # copy_program PATH
    copy_from=$(docker create "$CADDY_IMAGE") || return 1
    copy_status=0
    docker cp --quiet "$copy_from:/usr/bin/caddy" "$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1" || copy_status=$?
    docker rm "$copy_from" >/dev/null
    return "$copy_status"
}

remove_left_programs() {
    for left_program in "$(live_folder)"/caddy-*; do
        [ -e "$left_program" ] || continue # usually there is none
        [ "${left_program##*/}" = "$(basename "$(proxy_program)")" ] || rm -f "$left_program"
    done
}

# --- What a changed .env or Caddyfile means for it ------------------------------------------------------------------

proxy_will_change() {
    write_proxy_settings "$NEW_SETTINGS"
    ! in_proxy current "$NEW_SETTINGS"
}

tell_exchange() {
    exchange_keys=$(changed_settings)
    exchange_reason="proxy/Caddyfile has changed"
    grep -qx "CADDY=$(proxy_program)" "$(live_folder)/settings" 2>/dev/null || exchange_reason="CADDY_IMAGE is another image now"
    [ -z "$exchange_keys" ] || exchange_reason="changed in .env:$exchange_keys"
    say "The proxy will take on its new settings at the end ($exchange_reason): no request will be lost"
}

changed_settings() { # the keys of .env of which the proxy has another value now
    lines_not_in "$(cat "$(live_folder)/settings" 2>/dev/null)" <"$(live_folder)/settings.new" | while IFS='=' read -r changed_name _; do
        case $env_known in *" $changed_name "*) printf ' %s' "$changed_name" ;; esac
    done
}

# A proxy that an older kit started does not do what this one's Caddyfile says. One that does not run will have read it when
# it does.
require_proxy_knows() { # require_proxy_knows WORD: its configuration has it
    { engine_answers && is_running prod proxy; } || return 0
    # shellcheck disable=SC2016 # for the shell in the container
    docker exec "$(container_of prod proxy)" sh -c 'grep -qF -e "$1" "/tmp/config-$(cat /tmp/slot)"' sh "$1" >/dev/null 2>&1 ||
        fail "the proxy was started by an older version of this kit and cannot do this yet" "release once, which updates it: sh run.sh -0"
}
