#!/bin/sh
# .ci/machine/engine.sh: a Docker engine on a bare Debian 12 that has no init system.
# usage: sh .ci/machine/engine.sh [start|stop]
#
# Debian 12's own engine (20.10) is older than the kit's floor, so the engine
# comes from Debian 13 (trixie.sh made that possible). Root only. Where an
# engine answers already, it does nothing.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

# dockerd and iptables are there, which is not on everyone's PATH.
PATH=$PATH:/usr/sbin:/sbin
STATE=${POSTDO_CI_STATE:-/var/lib/postdo-ci}
START_SECONDS=60
STOP_SECONDS=60

main() {
    case ${1:-start} in
    start) start ;;
    stop) stop ;;
    *) fail "unknown word '$1'" "sh .ci/machine/engine.sh [start|stop]" ;;
    esac
}

start() {
    if ! engine_answers; then
        command -v dockerd >/dev/null || install_engine
        start_dockerd
        wait_for_engine
        echo "Started; log in $STATE/dockerd.log."
    fi
    docker compose version >/dev/null 2>&1 || link_plugins
    echo "Engine $(docker version --format '{{.Server.Version}}'), Compose $(docker compose version --short)."
}

# Ends the dockerd that `start` started, and only that one.
stop() {
    pid=$(our_dockerd) || return 0
    kill -TERM "$pid"
    # Each container has its own grace; this is the limit for all of them.
    timeout "$STOP_SECONDS" tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
    rm -f "$STATE/dockerd.pid"
}

# Its process id, if it lives. The number may have gone to another process since.
our_dockerd() {
    pid=$(cat "$STATE/dockerd.pid" 2>/dev/null) &&
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] &&
        echo "$pid"
}

engine_answers() {
    docker info >/dev/null 2>&1
}

install_engine() {
    forbid_service_starts
    # In a subshell, so that a failure does not leave the ban behind.
    # docker.io is the package's name. runc and tini stay Debian 12's: Debian 13's
    # need a newer libc.
    status=0
    (install_packages docker.io/trixie docker-cli/trixie docker-compose/trixie \
        docker-buildx/trixie containerd/trixie runc tini iptables) || status=$?
    allow_service_starts
    return "$status"
}

# A service that starts by itself would take the socket, with another data folder.
forbid_service_starts() {
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\n# written by postdo\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
}

allow_service_starts() {
    if grep -q 'written by postdo' /usr/sbin/policy-rc.d; then
        rm /usr/sbin/policy-rc.d
    fi
}

# A client from elsewhere, first on the PATH, may not look where Debian puts
# the plugins; every client looks in the home folder.
link_plugins() {
    mkdir -p "$HOME/.docker/cli-plugins"
    for name in docker-compose docker-buildx; do
        for folder in /usr/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins; do
            if [ -x "$folder/$name" ]; then
                ln -sf "$folder/$name" "$HOME/.docker/cli-plugins/$name"
            fi
        done
    done
}

start_dockerd() {
    mkdir -p "$STATE"
    # It is starting, or hangs: waiting tells.
    our_dockerd >/dev/null && return
    # A number left by a killed one would stop the new one, if someone has it now.
    rm -f "$STATE/dockerd.pid"
    setsid dockerd --data-root "$STATE/docker" --pidfile "$STATE/dockerd.pid" \
        >"$STATE/dockerd.log" 2>&1 </dev/null &
}

wait_for_engine() {
    tries=0
    until engine_answers; do
        tries=$((tries + 1))
        if [ "$tries" -gt $((START_SECONDS * 5)) ]; then
            tail -n 20 "$STATE/dockerd.log" >&2
            fail "dockerd did not answer in $START_SECONDS s" "read $STATE/dockerd.log"
        fi
        sleep 0.2
    done
}

main "$@"
