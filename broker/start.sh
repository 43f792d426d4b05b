#!/bin/sh
# broker/start.sh: in the container of Redis: starts it so that it loses nothing that it has acknowledged.
#
# Every write is on the disk before it is acknowledged (appendfsync always), and nothing is evicted: at the limit a new task is
# refused, which its sender sees. The limit is what leaves room for the copy that a rewrite of the file makes.
set -eu

limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || echo max)
case $limit in
max | 9223372036854771712) limit=0 ;; # none
*) limit=$((limit * 3 / 5)) ;;
esac
exec redis-server --dir /data --appendonly yes --appendfsync always --save '' --maxmemory "$limit" --maxmemory-policy noeviction \
    --tcp-keepalive 30 --protected-mode no
