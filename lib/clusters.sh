# lib/clusters.sh: which PostgreSQL cluster in production's volume is the site's, while upgrade-db moves it to another major.
#
# A file in the volume itself says it (db/clusters.sh), and no container starts another cluster. What is kept here is a copy of
# that file, for the image: until the upgrade is finished, PostgreSQL runs from the image of the live cluster, whatever .env has.
# If the copy is gone, the next start that finds another major in the volume makes it anew.

clusters_file() {
    printf '%s/clusters-%s' "$STATE" "$PROJECT_NAME"
}

cluster_fact() { # cluster_fact KEY
    fact "$1" 2>/dev/null <"$(clusters_file)" || true
}

# copying; linked (one serves, the other one follows it); switched (one serves, the other one is as it was at the switch); left
# (what was interrupted is cleaned up, and .env still names the other image); empty if .env counts.
upgrade_state() {
    cluster_fact state
}

# For Compose, which else would start the image of .env on a cluster of another major.
use_live_image() {
    IMAGE_OF_ENV=$POSTGRES_IMAGE
    live_image=$(cluster_fact live_image)
    [ -n "$live_image" ] || return 0
    if [ "$(upgrade_state)" = left ] && [ -z "$(cluster_fact unlink)" ] && [ "$live_image" = "$POSTGRES_IMAGE" ]; then
        rm -f "$(clusters_file)" # .env was set back
        return 0
    fi
    POSTGRES_IMAGE=$live_image
    DB_IMAGE=
    export POSTGRES_IMAGE
}

IMAGE_OF_ENV=

data_volume() { # data_volume MODE
    printf '%s-%s_%s-data' "$PROJECT_NAME" "$1" "$1"
}

in_volume() { # in_volume MODE IMAGE COMMAND ARGUMENTS...: of db/clusters.sh, whether PostgreSQL runs or not
    volume_name=$(data_volume "$1")
    volume_image=$2
    shift 2
    docker run --rm --network none --user postgres -e PGDATA=/var/lib/postgresql/data -v "$volume_name:/var/lib/postgresql/data" \
        -v "$ROOT/db:/etc/postdo:ro" --entrypoint sh "$volume_image" /etc/postdo/clusters.sh "$@"
}

# What it says is never empty. Docker can lose it, if a container ends at once on a busy machine (in its log: "stream copy
# error: reading from a closed fifo").
ask_volume() { # ask_volume MODE IMAGE COMMAND: prints the answer; false if it cannot be had
    for _ in 1 2 3; do
        ask_answer=$(in_volume "$@") || return 1
        [ -z "$ask_answer" ] || break
    done
    [ -n "$ask_answer" ] && printf '%s\n' "$ask_answer"
}

# The volume first: it decides. With state=done there is nothing to remember here.
write_clusters() { # write_clusters KEY=VALUE...
    in_volume prod "$POSTGRES_IMAGE" write "$@" || return 1
    case " $* " in
    *" state=done "*) rm -f "$(clusters_file)" ;;
    *) keep_clusters "$@" ;;
    esac
}

keep_clusters() { # keep_clusters LINES...
    printf '%s\n' "$@" >"$(clusters_file).new" && mv "$(clusters_file).new" "$(clusters_file)"
}

read_clusters() { # read_clusters IMAGE: what the volume says counts
    clusters_found=$(ask_volume prod "$1" look 2>>"$LOG_FILE") || step_failed "reading the volume $(data_volume prod)"
    clusters_kept=$(printf '%s\n' "$clusters_found" | grep -v -e '^major=' -e '^image_major=' -e '^cluster=' || true)
    if [ -n "$clusters_kept" ] && [ "$(printf '%s\n' "$clusters_kept" | fact state)" != "done" ]; then
        keep_clusters "$clusters_kept" || cannot_write "$(clusters_file)"
    else
        rm -f "$(clusters_file)"
    fi
}

# A volume that another major of PostgreSQL made is not started on: PostgreSQL would refuse, and keep restarting. A server
# that runs is not stopped for it either.
require_volume_major() { # require_volume_major MODE
    docker volume inspect "$(data_volume "$1")" >/dev/null 2>&1 || return 0
    DB_IMAGE=$(image_to_come "$1")
    ! { is_running "$1" db && has_image "$1" db "$DB_IMAGE"; } || return 0
    require_database_image "$DB_IMAGE"
    volume_facts=$(ask_volume "$1" "$DB_IMAGE" look 2>/dev/null) || return 0
    volume_major=$(printf '%s\n' "$volume_facts" | fact major)
    image_major=$(printf '%s\n' "$volume_facts" | fact image_major)
    [ -n "$volume_major" ] && [ "$volume_major" != "$image_major" ] || return 0
    # The state of an upgrade is gone here, but not there.
    if [ "$1" = prod ] && [ -z "$(upgrade_state)" ]; then
        read_clusters "$DB_IMAGE"
        use_live_image
        [ -z "$(upgrade_state)" ] || return 0
    fi
    if [ "$1" = prod ]; then
        fail "the volume $(data_volume "$1") was created by PostgreSQL $volume_major, but the image is PostgreSQL $image_major" \
            "move the data to the new version: sh run.sh -0 upgrade-db; or set POSTGRES_IMAGE=postgres:$volume_major in .env"
    fi
    fail "the volume $(data_volume "$1") was created by PostgreSQL $volume_major, but the image is PostgreSQL $image_major" \
        "set POSTGRES_IMAGE=postgres:$volume_major in .env, or move the data (\"another PostgreSQL\" in docs/troubleshooting.md)"
}

require_database_image() { # require_database_image IMAGE
    docker image inspect "$1" >/dev/null 2>&1 || try "Download $1" docker pull --quiet "$1" ||
        step_failed "downloading $1" "check that POSTGRES_IMAGE in .env is the name of an image, and that this machine can reach its registry"
}

# A release builds for the PostgreSQL that serves, and not for that of .env, whose data is still to come.
require_data_of_env() {
    [ "$(upgrade_state)" != left ] ||
        fail_site "POSTGRES_IMAGE in .env is $IMAGE_OF_ENV, but the data is still that of $POSTGRES_IMAGE" "move the data: sh run.sh -0 upgrade-db; or set POSTGRES_IMAGE=$POSTGRES_IMAGE in .env"
}

upgrade_is_kept() { # there is a way back
    case $(upgrade_state) in switched | linked) ;; *) return 1 ;; esac
}

# The other version follows the database that the site has now.
require_no_link() {
    [ "$(upgrade_state)" != linked ] ||
        fail "the upgrade of PostgreSQL is not finished" "finish it: sh run.sh -0 upgrade-db --finish; or go back: sh run.sh -0 upgrade-db --back"
}

# The data to which there is a way back does not have them.
require_no_migrations_yet() {
    upgrade_is_kept || return 0
    step "Compare its migrations with the database" list_pending web
    clusters_pending=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | fact pending | paste -s -d , - | sed 's/,/, /g')
    [ -z "$clusters_pending" ] ||
        fail_site "the release has migrations ($clusters_pending), but the upgrade of PostgreSQL is not finished" "finish it: sh run.sh -0 upgrade-db --finish; or go back: sh run.sh -0 upgrade-db --back" 3
}

# Of a run that was killed: the live cluster was not changed. The volume knows whether it came to the switch.
remove_left_upgrade() {
    [ "$(upgrade_state)" = copying ] || return 0
    read_clusters "$(cluster_fact live_image)"
    [ "$(upgrade_state)" = copying ] || return 0
    step "Remove what an interrupted upgrade-db left behind" remove_other
}

# The live cluster may have been followed: that is ended on it, now or as soon as it runs.
remove_other() { # the cluster that is not the site's
    set -- "$(cluster_fact live)" "$(cluster_fact live_image)" "$(cluster_fact other)"
    remove_other_server && in_volume prod "$2" remove "$3" && write_clusters "live=$1" "live_image=$2" state=left unlink=yes || return 1
    ! is_well prod db || end_left_link
}

# By each start of the database (lib/roles.sh).
end_left_link() {
    [ "$(cluster_fact unlink)" = yes ] || return 0
    POSTDO_SUPERUSER=$(superuser_of prod)
    run_upgrade db unlink && write_clusters "live=$(cluster_fact live)" "live_image=$(cluster_fact live_image)" state=left
}

remove_other_server() {
    other_container=$(container_of prod db-other)
    [ -z "$other_container" ] || { docker stop --time 120 "$other_container" && docker rm --force "$other_container"; }
}

# Before the database, whose network it shares.
stop_other_server() {
    ! is_running prod db-other || compose prod stop db-other
}

# --- A switch that was killed -----------------------------------------------------------------------------------------

# There from the moment in which upgrade-db closes the database until the site has it again. If everything is killed in between,
# the file stays, and the next start, a boot or `watch` starts what the volume names, which also opens it (db/roles/settle.sql).
switch_mark() {
    printf '%s/switching-%s' "$STATE" "$PROJECT_NAME"
}

begin_switch() {
    : >"$(switch_mark)" || cannot_write "$(switch_mark)"
}

end_switch() {
    ! switch_was_begun || ! is_running prod db || rm -f "$(switch_mark)"
}

switch_was_begun() {
    [ -e "$(switch_mark)" ]
}

switch_was_killed() {
    switch_was_begun && ! is_locked prod
}

# For who would begin something else: a run of its own, which takes the lock.
settle_switch() {
    switch_was_killed || return 0
    say "upgrade-db was killed during its switch, so the site is started first"
    (forget_environment && sh "$ROOT/run.sh" -0 --no-build) || fail "the site does not start after a switch that was killed" "$FIX_ABOVE"
}

# In the network of the database that runs now, whose container may be another one than before.
start_other() { # start_other [IMAGE CLUSTER]: of the facts
    POSTDO_OTHER_IMAGE=${1-$(cluster_fact other_image)} POSTDO_OTHER_CLUSTER=${2-$(cluster_fact other)} POSTDO_SUPERUSER=$(superuser_of prod)
    export POSTDO_OTHER_IMAGE POSTDO_OTHER_CLUSTER POSTDO_SUPERUSER
    compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout "$START_TIMEOUT" db-other
}

keep_link() {
    settle_link >>"$LOG_FILE" 2>&1 || warn "the other PostgreSQL does not follow, so there is no way back yet; see $LOG_FILE, then run: sh run.sh -0 --no-build"
}

# The cluster to which there is a way back follows the one that serves. Can be repeated, and is by each start.
settle_link() {
    [ "$(upgrade_state)" = linked ] || return 0
    other_container=$(container_of prod db-other)
    if [ -z "$other_container" ] || ! is_well prod db-other ||
        [ "$(docker inspect --format '{{.HostConfig.NetworkMode}}' "$other_container")" != "container:$(docker inspect --format '{{.Id}}' "$(container_of prod db)")" ]; then
        start_other || return 1
    fi
    POSTDO_SUPERUSER=$(superuser_of prod)
    # After a restart of that container the network is another one.
    in_other relink || { start_other && in_other relink; }
}

in_other() { # in_other COMMAND...: of db/upgrade.sh
    run_upgrade db-other "$@"
}

run_upgrade() { # run_upgrade SERVICE COMMAND [ARGUMENT]
    upgrade_service=$1
    upgrade_command=$2
    shift 2
    docker exec -u postgres "$(container_of prod "$upgrade_service")" sh /etc/postdo/upgrade.sh "$upgrade_command" "$POSTDO_SUPERUSER" "$@" </dev/null
}
