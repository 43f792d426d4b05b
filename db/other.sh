#!/bin/sh
# db/other.sh: the cluster in the volume that is not the site's, at port 5433 of db's network; a new one is made first.
# usage, in a container of the other major that shares the network of db's: sh other.sh
# Environment: POSTDO_CLUSTER (its folder in the volume), POSTGRES_USER (the superuser), PGDATA (the volume).
set -eu

SQL=${0%/*}/upgrade
CLUSTER=$PGDATA/$POSTDO_CLUSTER

main() {
    # Two servers on one cluster would destroy it, and in two containers PostgreSQL itself does not notice.
    live=$(sed -n 's/^live=//p' "$PGDATA/postdo-clusters" 2>/dev/null || true)
    if [ "$POSTDO_CLUSTER" = "${live:-.}" ]; then
        printf 'db/other.sh: FATAL: %s is the cluster that serves the site\n' "$POSTDO_CLUSTER" >&2
        exit 1
    fi
    [ -s "$CLUSTER/PG_VERSION" ] || make_cluster "$PGDATA/${live:-.}"
    # Nobody receives its WAL (PITR_SYNC), and when it serves that is settled anew: lib/pitr.sh.
    sed -i '/^synchronous_standby_names /d' "$CLUSTER/postgresql.auto.conf"
    # The memory is for the one that serves.
    exec sh /etc/postdo/start.sh -p 5433 -c unix_socket_directories=/tmp -c shared_buffers=256MB
}

# With the superuser, the encoding and the language of the one that serves, and with the settings that ALTER SYSTEM and a
# person made there. Under another name until it is whole.
make_cluster() { # make_cluster FOLDER: of the live one
    rm -rf "$CLUSTER" "$CLUSTER.new"
    ask_live initdb.sql | xargs -0 initdb --pgdata="$CLUSTER.new" --username="$POSTGRES_USER" --auth=trust --no-instructions
    cp "$1/pg_hba.conf" "$1/pg_ident.conf" "$1/postgresql.auto.conf" "$CLUSTER.new/"
    mv "$CLUSTER.new" "$CLUSTER"
}

ask_live() { # ask_live FILE
    psql --host=127.0.0.1 --port=5432 --username="$POSTGRES_USER" --dbname=postgres --no-password \
        -XqAt -0 -v ON_ERROR_STOP=1 -f "$SQL/$1"
}

main "$@"
