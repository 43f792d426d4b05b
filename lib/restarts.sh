# lib/restarts.sh: what a changed .env will restart in production. The new settings are checked first, and the user is told.

# Measured on two busy CPUs with a small database (docs/decisions/changed-env.md): PostgreSQL is away for 0.5 to 1.8 s, and
# before that requests wait for those that are under way, for a second or two; the proxy is away for 1.1 to 2.0 s.
DATABASE_RESTART_SECONDS=4
PROXY_RESTART_SECONDS=2
TO_RESTART= # of what_restarts, at the end

# Whose restart visitors notice. Redis is asked by requests that send a task.
what_restarts() {
    printf 'db '
    ! has_part tasks || printf 'redis '
    printf 'proxy'
}

# So the new values are first checked in a container beside each, and the user is
# told what will restart.
try_what_restarts() {
    mode_runs prod || return 0
    # Where the program of a newer image cannot take over, the container has to make room for another one.
    ! is_well prod proxy || bring_program >>"$LOG_FILE" 2>&1 || tag_proxy_image
    for restart_service in $(what_restarts); do
        is_well prod "$restart_service" || continue
        if [ "$(planned_for "$restart_service")" = replace ]; then
            "try_new_$restart_service"
            tell_restart "$restart_service"
            TO_RESTART="$TO_RESTART $restart_service"
        elif [ "$restart_service" = proxy ] && proxy_will_change; then
            try "Check the proxy's new settings" in_proxy validate "$NEW_SETTINGS" || refuse_configuration "the proxy" proxy/Caddyfile
            tell_exchange
        fi
    done
}

try_new_db() {
    try "Check PostgreSQL's new settings" run_to_its_end prod -T --entrypoint sh db /etc/postdo/start.sh --check ||
        refuse_configuration PostgreSQL db/postgresql.conf
}

# Its only setting is REDIS_MEMORY. With less than its tasks take it would be killed at the start, again and again.
try_new_redis() {
    restart_used=$(docker exec "$(container_of prod redis)" redis-cli info memory 2>>"$LOG_FILE" | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
    [ "${restart_used:-0}" -lt "$(($(in_bytes "$REDIS_MEMORY") * 3 / 5))" ] ||
        fail "Redis was not restarted, because the tasks in it need more than three fifths of REDIS_MEMORY ($REDIS_MEMORY)" \
            "raise REDIS_MEMORY in $(place_of REDIS_MEMORY), then run: sh run.sh -0"
}

try_new_proxy() {
    write_proxy_settings "$NEW_SETTINGS"
    try "Check the proxy's new settings" run_to_its_end prod -T --entrypoint sh proxy "$PROXY_SCRIPT" validate "$NEW_SETTINGS" ||
        refuse_configuration "the proxy" proxy/Caddyfile
}

refuse_configuration() { # refuse_configuration WHOSE FILE
    show_tail
    fail "$1 was not restarted, because it would not start with this configuration; its last log lines are above" \
        "correct the setting that they name, in .env or $2, then run: sh run.sh -0"
}

tell_restart() { # tell_restart db|redis|proxy
    restart_keys=$(changed_keys "$1")
    restart_reason="its image or its definition has changed"
    [ -z "$restart_keys" ] || restart_reason="changed in .env:$restart_keys"
    case $1 in
    db) say "PostgreSQL will restart at the end ($restart_reason): requests will wait for about $DATABASE_RESTART_SECONDS s" ;;
    redis) say "Redis will restart at the end ($restart_reason): requests will wait for about $DATABASE_RESTART_SECONDS s" ;;
    proxy) say "The proxy will restart at the end ($restart_reason): visitors will be unable to connect for about $PROXY_RESTART_SECONDS s" ;;
    esac
}

# What Compose would do with a container. A dry run tells: `config --hash` does not see what env_file brings in.
planned_for() { # planned_for SERVICE: keep, replace or start
    case $(compose prod up -d --no-build --no-deps --dry-run "$1" 2>&1) in
    *ecreate*) printf replace ;;
    *" Running"*) printf keep ;;
    *) printf start ;;
    esac
}

# Names alone: the values may be secrets.
changed_keys() { # changed_keys SERVICE: the keys of .env whose values are not those that its container was made with
    changed_container=$(container_of prod "$1")
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$changed_container" | grep '=' |
        while IFS='=' read -r changed_name changed_value; do
            case $changed_name in
            POSTGRES_USER) continue ;; # the superuser there (docker-compose.yml)
            POSTDO_SITE_ROLE) changed_name=POSTGRES_USER ;;
            esac
            case $env_known in *" $changed_name "*) ;; *) continue ;; esac
            eval "changed_now=\${$changed_name-}"
            [ "$changed_value" = "$changed_now" ] || printf ' %s' "$changed_name"
        done
    changed_limit=
    case $1 in db) changed_limit=DB_MEMORY ;; redis) changed_limit=REDIS_MEMORY ;; esac
    [ -n "$changed_limit" ] || return 0
    eval "changed_now=\${$changed_limit-}"
    [ "$(docker inspect --format '{{.HostConfig.Memory}}' "$changed_container")" = "$(in_bytes "$changed_now")" ] || printf ' %s' "$changed_limit"
}
