# lib/compose.sh: one place that knows how Compose is called, and what runs under it.

# Compose reads its whole input, also what a loop around run.sh still needs: so it gets none. A terminal cannot be used up.
COMPOSE_INPUT=none # given: the command at hand may read what run.sh was given
COMPOSE_DRILL=     # drill: production's files are of a drill, in a project of its own (lib/drill.sh)

compose() { # compose prod|dev ARGUMENTS...
    case " $* " in *" --dry-run "* | *" config "*) ;; *) SNAPSHOT= ;; esac
    if [ -t 0 ] || [ "$COMPOSE_INPUT" = given ]; then call_compose "$@"; else call_compose "$@" </dev/null; fi
}

# POSTDO_RUN: docker-compose.yml refuses to be used without run.sh, under another name and with another volume.
call_compose() { # call_compose prod|dev ARGUMENTS...
    compose_mode=$1
    shift
    read_override "$compose_mode"
    # Put in front one by one: the last of them is read first.
    [ -z "$COMPOSE_DRILL" ] || set -- -f "$ROOT/docker-compose.drill.yml" "$@"
    if [ "$compose_mode" = prod ]; then
        ! override_adds_services prod || set -- -f "$ROOT/docker-compose.additions.yml" "$@"
        if override_has web; then
            for compose_file in docker-compose.colours.yml $(part_files colours); do set -- -f "$ROOT/$compose_file" "$@"; done
        fi
    fi
    [ ! -f "$OVERRIDE_FILE" ] || set -- -f "$OVERRIDE_FILE" "$@"
    [ -z "$OWN_GIVEN" ] || set -- -f "$(own_keys_file)" "$@"
    for compose_file in $(part_files "$compose_mode"); do set -- -f "$ROOT/$compose_file" "$@"; done
    if [ "$compose_mode" = dev ]; then
        [ -z "$DEBUG_PORT" ] || set -- -f "$ROOT/docker-compose.debug.yml" "$@"
    else
        [ -z "$PROD_DB_PORT" ] || set -- -f "$ROOT/docker-compose.db-port.yml" "$@"
        ! serves_https || set -- -f "$ROOT/docker-compose.https.yml" "$@"
    fi
    POSTDO_RUN=yes docker compose --project-directory "$ROOT" --env-file "$ENV_FILE" --progress plain -p "$PROJECT_NAME-${COMPOSE_DRILL:-$compose_mode}" \
        -f "$ROOT/docker-compose.yml" -f "$ROOT/docker-compose.$compose_mode.yml" "$@"
}

# The project's own keys reach the containers as .env has them. Where the environment has one too, it wins, as for ours:
# Compose takes a key without a value from there.
own_keys_file() { # prints the path of a Compose file that names them
    make_state_folder "$STATE"
    own_file="$STATE/own-keys.yml"
    {
        printf 'services:\n'
        for own_service in web $(part_services "$compose_mode" | awk '$1 == "late" { print $2 }') \
            $([ "$compose_mode" = dev ] || { printf 'web-job ' && services_of_colour blue && printf ' ' && services_of_colour green; }); do
            printf '  %s:\n    environment: [%s]\n' "$own_service" "$(printf '%s' "${OWN_GIVEN# }" | sed 's/ /, /g')"
        done
    } >"$own_file.$$" && mv "$own_file.$$" "$own_file"
    printf '%s' "$own_file"
}

# For a command that may want its input: it gets what was meant for it. What run.sh has in common with the shell that
# called it may be a list that a loop reads, and is left to that; behind a pipe or a < it is the command's own.
# The shell has the same input, for a `< FILE` too (dash opens it before it forks); but of that nobody has
# read anything yet.
input_is_a_loops() {
    # shellcheck disable=SC3013 # POSIX since 2024, in every shell long before
    [ /proc/self/fd/0 -ef "/proc/$PPID/fd/0" ] || return 1
    [ ! -f /proc/self/fd/0 ] || [ "$(awk '/^pos:/ { print $2 }' /proc/self/fdinfo/0)" != 0 ]
}

# What the Compose files ask for besides .env. The same in every command, so that none of them sees a change where
# there is none.
export_compose_facts() {
    read_override "$([ "$MODE" = prod ] && printf prod || printf dev)"
    [ "$MODE" != prod ] || use_live_image
    export_version
    POSTDO_PYTHON_IMAGE=$(python_image)
    # What Caddy serves: plain HTTP under every name, and HTTPS for the domain and the names that are sent on to it.
    SITE_ADDRESS=:80 SITE_URL=
    for facts_name in $(served_names); do SITE_ADDRESS="$SITE_ADDRESS, https://$facts_name"; done
    [ -z "$DOMAIN" ] || SITE_URL=$(production_address)
    SITE_URL=${SITE_URL%/}
    TRUSTED_RANGES=$(trusted_ranges)
    # If a proxy in front has the certificates, other names arrive here by plain HTTP.
    FRONT_NAMES=
    serves_https || FRONT_NAMES=$(own_domains | tail -n +2 | paste -s -d ' ' -)
    # Where the kernel can, connections that nobody has accepted yet are handed on when a Caddy ends: Linux 5.14.
    POSTDO_PROXY_SYSCTL=net.ipv4.ip_unprivileged_port_start=0 # what Docker sets anyway
    [ ! -e /proc/sys/net/ipv4/tcp_migrate_req ] || POSTDO_PROXY_SYSCTL=net.ipv4.tcp_migrate_req=1
    # In the containers other users read these, and the proxy's root may not read what is not for everybody: a clone
    # made under umask 077 has nothing that is.
    chmod -R a+rX "$ROOT/broker" "$ROOT/db" "$ROOT/pgadmin" "$ROOT/proxy" 2>/dev/null || true
    # A project need not know of DOMAIN to answer under it, and to accept forms from its own pages.
    if [ -n "$DOMAIN" ]; then
        # Until the proxy redirects them, the site itself gets requests for the other names too.
        for facts_name in $(own_domains) $(served_names); do ALLOWED_HOSTS=$(with_item "$ALLOWED_HOSTS" "$facts_name"); done
        domain_origin=$(production_address)
        CSRF_TRUSTED_ORIGINS=$(with_item "$CSRF_TRUSTED_ORIGINS" "${domain_origin%/}")
    fi
    # In development the container works as the owner of web/, so that what it writes there is theirs. A rootless
    # engine maps its root to that user already.
    # shellcheck disable=SC2012 # only numbers are read of it, and stat is another one on each system
    HOST_UID=$(ls -ldn "$ROOT/web" | awk '{ print $3 }')
    # shellcheck disable=SC2012
    HOST_GID=$(ls -ldn "$ROOT/web" | awk '{ print $4 }')
    ! engine_is_rootless || HOST_UID=0 HOST_GID=0
    # pgAdmin asks for no login of its own as long as only this machine reaches it.
    case $DEV_BIND in
    127.* | '[::1]') PGADMIN_CONFIG_SERVER_MODE=False ;;
    *) PGADMIN_CONFIG_SERVER_MODE=True ;;
    esac
    export POSTDO_PYTHON_IMAGE ALLOWED_HOSTS CSRF_TRUSTED_ORIGINS SITE_ADDRESS SITE_URL TRUSTED_RANGES FRONT_NAMES POSTDO_PROXY_SYSCTL HOST_UID HOST_GID PGADMIN_CONFIG_SERVER_MODE
}

with_item() { # with_item LIST ITEM: a list with commas that has the item, once
    case ",$1," in
    ,,) printf '%s' "$2" ;;
    *",$2,"*) printf '%s' "$1" ;;
    *) printf '%s,%s' "$1" "$2" ;;
    esac
}

# What git says of the project in web/, whose repository may be the clone's or its own. As root in a user's clone git
# wants to be told that this is meant.
export_version() {
    APP_VERSION=$(git -c safe.directory="*" -C "$ROOT/web" describe --tags --always --dirty 2>/dev/null) || APP_VERSION=unversioned
    APP_REVISION=$(git -c safe.directory="*" -C "$ROOT/web" rev-parse HEAD 2>/dev/null) || APP_REVISION=unversioned
    export APP_VERSION APP_REVISION
}

build_image() { # build_image prod|dev: in the log, or the lines that name the cause and what our Dockerfile says of them
    project_requirements "$1" >/dev/null
    require_python_image
    ! try "Build the image" compose "$1" build web || return 0
    build_log=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE")
    build_cause=$(printf '%s\n' "$build_log" | awk -v want=cause -f "$ROOT/lib/build.awk")
    printf '%s\n' "$build_log" | awk -v want=lines -f "$ROOT/lib/build.awk" | indented >&3
    # Our own scripts (image/) end with facts. What is known of the cause says more than their remedy.
    build_reason=$(printf '%s\n' "$build_log" | fact '#[0-9]* [0-9.]* what' | tail -n 1)
    build_remedy=$(build_hint "$build_cause")
    build_remedy=${build_remedy:-$(printf '%s\n' "$build_log" | fact '#[0-9]* [0-9.]* next' | tail -n 1)}
    build_reason="${build_reason:+: $build_reason}${build_cause:+: $build_cause}"
    fail_site "the image could not be built$build_reason" \
        "${build_remedy:-$FIX_LINES}, then run: sh run.sh $(mode_flag "$1")"
}

# fail, and say what visitors get meanwhile, or how to bring back the version that served last.
fail_site() { # fail_site WHAT REMEDY [STATUS]
    site_mode=$([ "$MODE" = prod ] && printf prod || printf dev)
    ! site_is_well "$site_mode" || fail "$1. The previous version is still serving." "$2" "${3-1}"
    [ "$MODE" = prod ] || fail "$1" "$2" "${3-1}"
    if is_running prod proxy || is_running prod "$(web_service prod)"; then
        fail "$1. The site may be down." "$2; to check the site: sh run.sh -0 status" "${3-1}"
    elif [ "${build-}" != no ] && last_version_is_left; then
        fail "$1" "$2; to serve the previous version meanwhile: sh run.sh -0 --no-build$([ -z "$(result applied)" ] || printf ' (the database was migrated for the new one)')" "${3-1}"
    fi
    fail "$1" "$2" "${3-1}"
}

last_version_is_left() {
    [ -n "$(live_colour)" ] && docker image inspect "$PROJECT_NAME-web:$(live_colour)" >/dev/null 2>&1
}

site_is_well() { # site_is_well MODE: all that a visitor's request goes through
    for well_service in db "$(web_service "$1")" $([ "$1" = dev ] || printf proxy); do
        is_well "$1" "$well_service" || return 1
    done
}

is_well() { # is_well MODE SERVICE
    case $(state_of "$1" "$2") in healthy | running) ;; *) return 1 ;; esac
}

health_says() { # health_says CONTAINER: the last answer of its health check
    docker inspect --format '{{with .State.Health}}{{range .Log}}{{println .Output}}{{end}}{{end}}' "$1" |
        awk 'NF { last = $0 } END { if (last != "") print "health check: " last }'
}

# Why a step that should have started services failed: what the engine says, or else the first of the services that is
# not healthy, with the lines that it logged in this start.
explain_unhealthy() { # explain_unhealthy MODE SERVICE...
    explain_mode=$1
    shift
    explain_end="then run: sh run.sh $(mode_flag "$MODE")"
    explain_words=$(engine_words)
    [ -z "$explain_words" ] || explain_engine "$explain_words" "$explain_end"
    for explain_service in "$@"; do
        ! is_well "$explain_mode" "$explain_service" || continue
        explain_container=$(container_of "$explain_mode" "$explain_service")
        [ -z "$explain_container" ] || { docker logs --since "$try_start" --tail 200 "$explain_container" 2>&1 | last_lines && health_says "$explain_container"; } 2>&1 | indented >&3
        ! was_killed_for_memory "$explain_container" || explain_memory "${explain_service%%-*}"
        fail_site "$explain_service did not become healthy; its last log lines are above" "$FIX_LINES, $explain_end"
    done
    step_failed "starting $(mode_name "$explain_mode")"
}

# The last twenty, and before them the last one that names a cause: of a container that is restarted over and over, the
# last lines may be the beginning of the next try.
last_lines() {
    awk '
        { line[NR] = $0 }
        /FATAL|PANIC|No space left|[Ee]rror: / { cause = NR }
        END {
            first = NR > 20 ? NR - 19 : 1
            if (cause && cause < first) print line[cause] "\n..."
            for (i = first; i <= NR; i++) print line[i]
        }'
}

# The kernel's doing: what it kills has no time to write a line.
explain_memory() { # explain_memory db|web|proxy|pgadmin, which has no limit, or live, which has that of web
    explain_key=$(printf '%s_MEMORY' "$1" | tr '[:lower:]' '[:upper:]')
    [ "$1" != live ] || explain_key=WEB_MEMORY
    eval "explain_limit=\${$explain_key-0}"
    if [ "$explain_limit" = 0 ]; then
        fail_site "$explain_service was killed because this machine ran out of memory" "free or add memory, $explain_end"
    fi
    fail_site "$explain_service was killed because it needs more memory than $explain_key ($explain_limit)" "raise $explain_key in $(place_of "$explain_key"), $explain_end"
}

# Its first process, or another one in it. Once it is started again, only the events tell. Docker cuts a time that is
# given as a duration to whole seconds: `--until 0s` would leave out the second that the kill is in.
was_killed_for_memory() { # was_killed_for_memory CONTAINER
    [ -n "$1" ] || return 1
    [ "$(docker inspect --format '{{.State.OOMKilled}}' "$1" 2>/dev/null)" = true ] ||
        [ -n "$(in_time docker events --since 1m --until=-2s --filter "container=$1" --filter event=oom 2>/dev/null)" ]
}

# A look and a release ask for the same containers dozens of times, and each call of docker costs more than all else that they
# do: so they ask once, and what they say is of one moment. "MODE SERVICE CONTAINER STATE", a line each; empty otherwise. It ends
# with whatever may change a container or takes its time: a call of Compose, a hook, a wait.
SNAPSHOT=

take_snapshot() { # take_snapshot MODE
    SNAPSHOT=$(containers_of "$1" | sed "s/^/$1 /") || SNAPSHOT=
    [ -z "$SNAPSHOT" ] || SNAPSHOT="
$SNAPSHOT
"
}

has_snapshot() { # has_snapshot MODE
    case $SNAPSHOT in "
$1 "*) ;; *) return 1 ;; esac
}

containers_of() { # containers_of MODE [SERVICE]: SERVICE CONTAINER STATE, a line each; STATE as state_of
    in_time docker ps -a --no-trunc --filter "label=com.docker.compose.project=$PROJECT_NAME-$1" ${2:+--filter "label=com.docker.compose.service=$2"} \
        --filter label=com.docker.compose.oneoff=False \
        --format '{{.Label "com.docker.compose.service"}} {{.ID}} {{.State}} {{.Status}}' 2>/dev/null | awk '
        $3 == "restarting" { state = $3 }
        $3 == "running" || $3 == "paused" { state = /\(unhealthy\)/ ? "unhealthy" : /\(healthy\)/ ? "healthy" : /\(health: starting\)/ ? "starting" : "running" }
        $3 !~ /^(restarting|running|paused)$/ { state = "stopped" }
        { print $1, $2, state }'
}

container_of() { # container_of MODE SERVICE: its id, also when it is stopped; empty if there is none
    if has_snapshot "$1"; then
        in_snapshot "$1 $2" && printf '%s' "${snapshot_found%% *}"
        return 0
    fi
    docker ps -aq --filter "label=com.docker.compose.project=$PROJECT_NAME-$1" \
        --filter "label=com.docker.compose.service=$2" --filter label=com.docker.compose.oneoff=False | head -n 1
}

is_running() { # is_running MODE SERVICE
    [ "$(state_of "$1" "$2")" != stopped ]
}

in_snapshot() { # in_snapshot "MODE SERVICE": sets snapshot_found, its container and its state
    case $SNAPSHOT in *"
$1 "*) ;; *) return 1 ;; esac
    snapshot_found=${SNAPSHOT#*"
$1 "}
    snapshot_found=${snapshot_found%%"
"*}
}

state_of() { # state_of MODE SERVICE: healthy, starting, unhealthy, restarting, running (no check) or stopped
    if has_snapshot "$1"; then
        if in_snapshot "$1 $2"; then printf '%s' "${snapshot_found#* }"; else printf stopped; fi
        return
    fi
    state_found=$(containers_of "$1" "$2" | head -n 1)
    state_found=${state_found##* }
    printf '%s' "${state_found:-stopped}"
}

# The first start of a volume is a script, which hears no signal; killed half-way it leaves a volume that is no good. It is
# let finish, which takes seconds.
stop_database() { # stop_database MODE
    [ "$1" != prod ] || stop_other_server
    wait_until 60 database_hears "$1" || true
    compose "$1" stop db
}

database_hears() { # database_hears MODE: its first process is PostgreSQL itself, or there is none
    case $(docker exec "$(container_of "$1" db)" cat /proc/1/comm 2>/dev/null) in
    '' | postgres) ;;
    *) return 1 ;;
    esac
}

# Who has started a database, for a look or beside it, is not always the last one to need it.
stop_unused_database() { # stop_unused_database MODE
    mode_runs "$1" || one_off_runs "$1" || { [ "$1" = dev ] && local_is_at_work; } || { stop_additions "$1" && stop_database "$1"; }
}

one_off_runs() { # one_off_runs MODE: a manage command in a container of its own
    [ -n "$(docker ps -q --filter "label=com.docker.compose.project=$PROJECT_NAME-$1" --filter label=com.docker.compose.oneoff=True)" ]
}

DB_IMAGE= # of the mode of this run, once require_volume_major has asked

# An override file can name another one. To ask Compose takes a part of a second.
image_to_come() { # image_to_come MODE: the name of the image of PostgreSQL that the next start would take
    if [ -n "$DB_IMAGE" ]; then
        printf '%s' "$DB_IMAGE"
    elif [ -f "$OVERRIDE_FILE" ] || [ -n "$COMPOSE_DRILL" ] || [ -z "$POSTGRES_IMAGE" ]; then
        compose "$1" config --images db | head -n 1
    else
        printf '%s' "$POSTGRES_IMAGE"
    fi
}

image_id() { # image_id IMAGE: empty if it is not here
    docker image inspect --format '{{.Id}}' "$1" 2>/dev/null || true
}

has_image() { # has_image MODE SERVICE IMAGE: its container was made of what that name stands for now
    [ "$(docker inspect --format '{{.Image}}' "$(container_of "$1" "$2")")" = "$(image_id "$3")" ]
}

# The site is HTTPS with every DOMAIN. Without an HTTPS_PORT a proxy in front has the certificate, and asks by plain HTTP.
serves_https() {
    [ -n "$DOMAIN" ] && [ -n "$HTTPS_PORT" ]
}

production_address() {
    if [ -n "$DOMAIN" ]; then
        case $HTTPS_PORT in
        '' | 443) printf 'https://%s/' "$DOMAIN" ;;
        *) printf 'https://%s:%s/' "$DOMAIN" "$HTTPS_PORT" ;;
        esac
    else
        # shellcheck disable=SC2153 # both ports are what they say
        printf 'http://%s%s/' "$(known_address)" "$([ "$HTTP_PORT" = 80 ] || printf ':%s' "$HTTP_PORT")"
    fi
}

# Of the names that production answers to, the one that a browser elsewhere can use: an address or a full name of this
# machine, which the first start has written there. Else the domain of a .example.com, which Django answers to as well.
known_address() {
    printf '%s\n' "$ALLOWED_HOSTS" | tr ',' '\n' | awk '
        /^\../ { if (domain == "") domain = substr($0, 2) }
        /^localhost$|^127\.|^\[|^[*.]/ { next }
        /^[0-9.]+$/ { if (address == "") address = $0; next }
        /\./ { if (name == "") name = $0 }
        END { print name != "" ? name : address != "" ? address : domain != "" ? domain : "localhost" }'
}
