# lib/ports.sh: who listens on a port of this machine? Said before Docker fails on it half-way.

require_port() { # require_port KEY [MODE]: the port named by that key is free, or that mode has it already
    eval "port=\$$1"
    port_is_taken "$port" || return 0
    [ -z "${2-}" ] || ! mode_has_port "$2" "$port" || return 0
    fail "port $port ($1) is taken by $(port_owner "$port")" "stop it, or set $1 in $(place_of "$1") to a free port"
}

mode_has_port() { # mode_has_port MODE PORT: also in a container that ends and is restarted, whose ports come and go
    mode_label="label=com.docker.compose.project=$PROJECT_NAME-$1"
    [ -n "$(container_on_port "$2" --filter "$mode_label")" ] ||
        [ -n "$(in_time docker ps -q --filter "$mode_label" --filter status=restarting 2>/dev/null)" ] ||
        [ -n "$(container_on_port "$2" --filter "$mode_label")" ] # it was restarted between the two questions
}

# Ports that Docker publishes need not show in /proc/net (userland-proxy off), so both are asked.
port_is_taken() { # port_is_taken PORT
    [ -n "$(listening_inodes "$1")" ] || [ -n "$(container_on_port "$1")" ]
}

port_owner() { # port_owner PORT
    owner_container=$(container_on_port "$1")
    [ -z "$owner_container" ] || { printf 'the container %s' "$owner_container" && return; }
    for owner_inode in $(listening_inodes "$1"); do
        owner_pid=$(process_of_socket "$owner_inode")
        [ -n "$owner_pid" ] || continue
        printf 'process %s (%s)' "$owner_pid" "$(tr '\000\n' '  ' 2>/dev/null <"/proc/$owner_pid/cmdline" | cut -c 1-60 | sed 's/ *$//')"
        return
    done
    printf 'a process of another user (sudo ss -ltnp shows it)'
}

# One `ls` for all processes: a readlink for each of their files would take seconds.
process_of_socket() { # process_of_socket INODE: its pid; empty if it is another user's
    # shellcheck disable=SC2012 # find has no portable way to print where a link points
    LC_ALL=C ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v target="socket:[$1]" '
        /^\/proc\// { split($1, path, "/") }
        $NF == target { print path[3]; exit }'
}

# /proc/net/tcp (proc(5)): local address as HEX:PORT, state 0A is LISTEN, column 10 the socket's inode.
listening_inodes() { # listening_inodes PORT
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }'
}

container_on_port() { # container_on_port PORT [DOCKER PS ARGUMENTS...]
    command -v docker >/dev/null 2>&1 || return 0
    container_port=$1
    shift
    in_time docker ps --filter "publish=$container_port" "$@" --format '{{.Names}}' 2>/dev/null | head -n 1
}
