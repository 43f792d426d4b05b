# lib/engine.sh: is there a Docker engine that will do? Each way in which there is not has its own remedy.

# Engine 25: start_interval in health checks. Compose 2.24: env_file with `required`.
ENGINE_FLOOR=25
COMPOSE_FLOOR=2.24

require_engine() {
    problem=$(engine_problem) || fail "$(printf '%s\n' "$problem" | head -n 1)" "$(printf '%s\n' "$problem" | tail -n 1)"
}

engine_answers() {
    engine_problem >/dev/null
}

# Prints what is wrong and the remedy, a line each, and is false; or prints nothing and is true.
engine_problem() {
    command -v docker >/dev/null 2>&1 ||
        { printf '%s\n' "Docker is not installed" "install Docker Engine $ENGINE_FLOOR or newer (docs.docker.com/engine/install), or use sh run.sh -2" && return 1; }
    if ! engine_version=$(in_time docker version --format '{{.Server.Version}}' 2>&1); then
        explain_silence "$engine_version"
        return 1
    fi
    engine_version=$(printf '%s\n' "$engine_version" | tail -n 1)
    version_at_least "$engine_version" "$ENGINE_FLOOR" ||
        { printf '%s\n' "Docker Engine $engine_version is too old" "upgrade it to $ENGINE_FLOOR or newer (docs.docker.com/engine/install)" && return 1; }
    compose_version=$(docker compose version --short 2>/dev/null) ||
        { printf '%s\n' "Docker has no Compose plugin" "install the package docker-compose-plugin (Compose $COMPOSE_FLOOR or newer)" && return 1; }
    version_at_least "$compose_version" "$COMPOSE_FLOOR" ||
        { printf '%s\n' "Docker Compose $compose_version is too old" "upgrade docker-compose-plugin to $COMPOSE_FLOOR or newer" && return 1; }
}

explain_silence() { # explain_silence WHAT_DOCKER_SAID
    case $1 in
    *[Pp]"ermission denied"*)
        printf '%s\n' "no permission to talk to Docker" "run: sudo usermod -aG docker $(id -un), and log in again; or run this command with sudo"
        ;;
    *"annot connect"* | *"no such file"* | *"onnection refused"*)
        printf '%s\n' "the Docker engine is not running$(engine_asked)" "$(other_engine "start it: sudo systemctl start docker (Docker Desktop: open it), or use sh run.sh -2")"
        ;;
    *)
        printf '%s\n' "the Docker engine does not answer$(engine_asked): $(printf '%s\n' "$1" | tail -n 1)" "$(other_engine "find out why: docker version; sudo journalctl -u docker -n 50")"
        ;;
    esac
}

# Left over from something else, these lead to an engine that is not this machine's.
engine_asked() { # which engine was asked, if it is not the default one
    if [ -n "${DOCKER_HOST-}" ]; then
        printf ' at %s (from DOCKER_HOST)' "$DOCKER_HOST"
    elif engine_context=$(chosen_context); then
        printf ' at %s (Docker context %s)' "$(docker context inspect --format '{{.Endpoints.docker.Host}}' "$engine_context" 2>/dev/null)" "$engine_context"
    fi
}

other_engine() { # other_engine REMEDY: what to do if that was not meant, and if it was
    if [ -n "${DOCKER_HOST-}" ]; then
        printf "to use this machine's own engine: unset DOCKER_HOST; otherwise %s" "$1"
    elif [ -n "${DOCKER_CONTEXT-}" ] && chosen_context >/dev/null; then
        printf "to use this machine's own engine: unset DOCKER_CONTEXT; otherwise %s" "$1"
    elif chosen_context >/dev/null; then
        printf "to use this machine's own engine: docker context use default; otherwise %s" "$1"
    else
        printf '%s' "$1"
    fi
}

chosen_context() { # its name; false for the default one
    context_name=${DOCKER_CONTEXT:-$(docker context show 2>/dev/null)}
    case $context_name in '' | default) return 1 ;; esac
    printf '%s' "$context_name"
}

# An engine that hangs is not waited for without end. timeout(1) is no POSIX tool, but every Linux has it.
in_time() { # in_time COMMAND...
    if command -v timeout >/dev/null 2>&1; then timeout 30 "$@"; else "$@"; fi
}

version_at_least() { # version_at_least VERSION FLOOR: both like 25.0.3 or v2.24, compared by the first two numbers
    awk -v have="$1" -v want="$2" 'BEGIN {
        sub(/^v/, "", have); split(have, h, "."); split(want, w, ".")
        exit !(h[1] + 0 > w[1] + 0 || h[1] + 0 == w[1] + 0 && h[2] + 0 >= w[2] + 0)
    }'
}

ENGINE_INFO= # the folder of its data and its security options, once somebody has asked

# Once, for `docker info` starts every plugin, and takes as long as Compose itself.
ask_engine() {
    [ -n "$ENGINE_INFO" ] || ENGINE_INFO=$(docker info --format '{{.DockerRootDir}} {{.SecurityOptions}}' 2>/dev/null) || true
}

engine_is_rootless() {
    ask_engine
    case $ENGINE_INFO in *name=rootless*) ;; *) return 1 ;; esac
}

require_disk() { # require_disk MEGABYTES: where Docker keeps its images and volumes, and where the clone is
    ask_engine
    for disk_path in "${ENGINE_INFO% \[*}" "$ROOT"; do
        [ -d "$disk_path" ] || continue # the engine may be on another machine, or the folder out of our sight
        disk_free=$(df -Pk "$disk_path" | awk 'NR == 2 { print int($4 / 1024) }')
        [ "$disk_free" -ge "$1" ] ||
            fail "the disk of $disk_path has $disk_free MB left, but $1 MB are needed" "$FREE_DISK"
    done
}
