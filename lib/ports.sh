# lib/ports.sh: who listens on a port of this machine? Said before Docker fails on it half-way.

require_port() { # require_port KEY: the port named by that key is free
    eval "port=\$$1"
    port_is_taken "$port" || return 0
    fail "port $port ($1) is taken by $(port_owner "$port")" "stop that, or set $1 in .env to a free port"
}

# Ports that Docker publishes need not show in /proc/net (userland-proxy off), so both are asked.
port_is_taken() { # port_is_taken PORT
    [ -n "$(listening_inodes "$1")" ] || [ -n "$(container_on_port "$1")" ]
}

port_owner() { # port_owner PORT
    owner_container=$(container_on_port "$1")
    [ -z "$owner_container" ] || { printf 'the container %s' "$owner_container" && return; }
    for owner_inode in $(listening_inodes "$1"); do
        for owner_fd in /proc/[0-9]*/fd/*; do
            [ "$(readlink "$owner_fd" 2>/dev/null)" = "socket:[$owner_inode]" ] || continue
            owner_pid=${owner_fd#/proc/}
            owner_pid=${owner_pid%%/*}
            printf 'process %s (%s)' "$owner_pid" "$(tr '\000' ' ' <"/proc/$owner_pid/cmdline" | cut -c 1-60)"
            return
        done
    done
    printf 'a process of another user (sudo ss -ltnp shows it)'
}

# /proc/net/tcp (proc(5)): local address as HEX:PORT, state 0A is LISTEN, column 10 the socket's inode.
listening_inodes() { # listening_inodes PORT
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }'
}

container_on_port() { # container_on_port PORT
    command -v docker >/dev/null 2>&1 || return 0
    in_time docker ps --filter "publish=$1" --format '{{.Names}}' 2>/dev/null | head -n 1
}
