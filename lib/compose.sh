# lib/compose.sh: one place that knows how Compose is called, and what runs under it.

compose() { # compose prod|dev ARGUMENTS...
    compose_mode=$1
    shift
    [ ! -f "$ROOT/docker-compose.override.yml" ] || set -- -f "$ROOT/docker-compose.override.yml" "$@"
    [ "$compose_mode" != prod ] || [ -z "$DOMAIN" ] || set -- -f "$ROOT/docker-compose.https.yml" "$@"
    docker compose --project-directory "$ROOT" --env-file "$ENV_FILE" --progress plain -p "$PROJECT_NAME-$compose_mode" \
        -f "$ROOT/docker-compose.yml" -f "$ROOT/docker-compose.$compose_mode.yml" "$@"
}

# What the Compose files ask for besides .env. The same in every command, so that none of them sees a change where
# there is none.
export_compose_facts() {
    export_version
    # What Caddy serves: the domain, with HTTPS by itself, or plain HTTP under every name.
    SITE_ADDRESS=${DOMAIN:-:80}
    # In development the container works as the owner of web/, so that what it writes there is theirs. A rootless
    # engine maps its root to that user already.
    HOST_UID=$(ls -ldn "$ROOT/web" | awk '{ print $3 }')
    HOST_GID=$(ls -ldn "$ROOT/web" | awk '{ print $4 }')
    ! engine_is_rootless || HOST_UID=0 HOST_GID=0
    # pgAdmin asks for no login of its own as long as only this machine reaches it.
    case $DEV_BIND in
    127.* | '[::1]') PGADMIN_CONFIG_SERVER_MODE=False ;;
    *) PGADMIN_CONFIG_SERVER_MODE=True ;;
    esac
    export SITE_ADDRESS HOST_UID HOST_GID PGADMIN_CONFIG_SERVER_MODE
}

# What git says of the project in web/, whose repository may be the clone's or its own. As root in a user's clone git
# wants to be told that this is meant.
export_version() {
    APP_VERSION=$(git -c safe.directory="*" -C "$ROOT/web" describe --tags --always --dirty 2>/dev/null) || APP_VERSION=unversioned
    APP_REVISION=$(git -c safe.directory="*" -C "$ROOT/web" rev-parse HEAD 2>/dev/null) || APP_REVISION=unversioned
    export APP_VERSION APP_REVISION
}

container_of() { # container_of MODE SERVICE: its id, also when it is stopped; empty if there is none
    docker ps -aq --filter "label=com.docker.compose.project=$PROJECT_NAME-$1" \
        --filter "label=com.docker.compose.service=$2" --filter label=com.docker.compose.oneoff=False | head -n 1
}

is_running() { # is_running MODE SERVICE
    [ "$(state_of "$1" "$2")" != stopped ]
}

state_of() { # state_of MODE SERVICE: healthy, starting, unhealthy, running (no check) or stopped
    state_container=$(container_of "$1" "$2")
    [ -n "$state_container" ] || { printf stopped && return; }
    docker inspect --format '{{if not .State.Running}}stopped{{else if .State.Health}}{{.State.Health.Status}}{{else}}running{{end}}' "$state_container"
}

# A volume that another major of PostgreSQL made is not started on: PostgreSQL would refuse, and keep restarting.
require_volume_major() { # require_volume_major MODE
    volume="$PROJECT_NAME-$1_$1-data"
    docker volume inspect "$volume" >/dev/null 2>&1 || return 0
    is_running "$1" db && return 0
    volume_image=$(compose "$1" config --images db | head -n 1)
    volume_majors=$(docker run --rm --network none -v "$volume:/volume:ro" --entrypoint sh "$volume_image" \
        -c 'cat /volume/PG_VERSION 2>/dev/null && printf "%s\n" "$PG_MAJOR"' 2>/dev/null) || return 0
    volume_major=$(printf '%s\n' "$volume_majors" | head -n 1)
    image_major=$(printf '%s\n' "$volume_majors" | tail -n 1)
    [ "$volume_major" = "$image_major" ] ||
        fail "the volume $volume was made by PostgreSQL $volume_major, and the image is PostgreSQL $image_major" \
            "set the image of db to postgres:$volume_major in docker-compose.override.yml (README, Troubleshooting: another PostgreSQL)"
}

production_address() {
    if [ -n "$DOMAIN" ]; then
        printf 'https://%s%s/' "$DOMAIN" "$([ "$HTTPS_PORT" = 443 ] || printf ':%s' "$HTTPS_PORT")"
    else
        printf 'http://localhost%s/' "$([ "$HTTP_PORT" = 80 ] || printf ':%s' "$HTTP_PORT")"
    fi
}
