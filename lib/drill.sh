# lib/drill.sh: a set of `backup` counts when it has been used. It is restored into a PostgreSQL that is thrown away, and the
# image of its release starts on it, with the set's own settings.
#
# All of it is a Compose project of its own, PROJECT-drill: production's files and docker-compose.drill.yml, in a network that
# leads nowhere. By that label a later run finds what a killed one has left. It takes no lock of production's, for a
# release need not wait for it.

DRILL="$STATE/drill" # the settings of the set, for as long as a drill runs
DRILL_ROOM=500       # megabytes that have to stay free beside the restored database
DRILL_IMAGE=         # of the site that starts on the set
DRILL_SITE=          # release, or live: the release's own image no longer exists

run_drill() { # run_drill SET: its folder. Writes verified.json there
    drill_set=$1
    drill_name=${1##*/}
    USE_PROJECT=$PROJECT_NAME-drill
    # A release may be at work, and has its own.
    RESULT_FOLDER="$DRILL/result"
    [ -z "$(left_of_drill)" ] || step "Remove what an earlier drill left behind" remove_drill
    undo_with remove_drill
    make_state_folder "$DRILL"
    make_state_folder "$RESULT_FOLDER"
    require_good_set "$drill_set"
    [ "$(set_fact mode)" = prod ] || fail "$drill_name is not a set of $(mode_name prod)" "name another one: ls backups"
    choose_drill_database
    choose_drill_site
    require_drill_room
    step "Read its settings" use_set none "$DRILL:/target" extract "$drill_set" /target env override
    [ -f "$DRILL/env" ] || drill_fails "$drill_name has no .env"

    drill_began=$(date +%s)
    try "Start PostgreSQL for the drill" in_settings_of_set start_drill_database || drill_cannot_start
    in_settings_of_set restore_in_drill || exit "$?"
    in_settings_of_set start_drill_site || exit "$?"
    drill_seconds=$(($(date +%s) - drill_began))
    step "Record the verification" use_set none '' verified "$drill_set" --seconds "$drill_seconds" --site "$DRILL_SITE" --image-id "$DRILL_IMAGE"
    step "Remove the drill" remove_drill
    UNDO=${UNDO#remove_drill }
    say "verified: $drill_name restores ($(set_fact tables) tables, $(set_fact rows) rows), and $(drill_version) starts on it. Recovery time: $drill_seconds s"
}

# --- What it needs --------------------------------------------------------------------------------------------------

# The very image that the set was taken from; if it is gone, the one of that name, if it is of that major.
choose_drill_database() {
    POSTDO_DRILL_DB_IMAGE=$(set_fact postgresql-image-id)
    docker image inspect "$POSTDO_DRILL_DB_IMAGE" >/dev/null 2>&1 || {
        POSTDO_DRILL_DB_IMAGE=$(set_fact postgresql-image)
        say "the PostgreSQL image of $drill_name no longer exists, so what is $POSTDO_DRILL_DB_IMAGE now takes its place"
        docker image inspect "$POSTDO_DRILL_DB_IMAGE" >/dev/null 2>&1 ||
            step "Download $POSTDO_DRILL_DB_IMAGE" docker pull --quiet "$POSTDO_DRILL_DB_IMAGE"
    }
    drill_major=$(docker image inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$POSTDO_DRILL_DB_IMAGE" | fact PG_MAJOR)
    [ "$drill_major" = "$(set_fact postgresql-major)" ] ||
        drill_fails "$drill_name is of PostgreSQL $(set_fact postgresql-major), but the image that it names is of ${drill_major:-none}"
    export POSTDO_DRILL_DB_IMAGE
}

choose_drill_site() {
    DRILL_SITE=release
    DRILL_IMAGE=$(set_fact release-image-id)
    if [ -n "$DRILL_IMAGE" ] && docker image inspect "$DRILL_IMAGE" >/dev/null 2>&1; then
        [ "$(image_label "$DRILL_IMAGE" postdo.image)" = production ] &&
            [ "$(image_label "$DRILL_IMAGE" org.opencontainers.image.revision)" = "$(set_fact release-revision)" ] ||
            drill_fails "the image in $drill_name is not that of its release"
    else
        [ -n "$(live_colour)" ] || fail "the image of the release of $drill_name no longer exists, and no version is live" "build the site: sh run.sh -0"
        DRILL_SITE=live
        DRILL_IMAGE=$(docker image inspect --format '{{.Id}}' "$PROJECT_NAME-web:$(live_colour)")
        warn "the image of the release of $drill_name no longer exists, so the live version will start on it"
    fi
    POSTDO_DRILL_IMAGE=$DRILL_IMAGE
    export POSTDO_DRILL_IMAGE
}

# It must not fill the disk on which production writes. What a dump becomes is not known before: the live database tells, or
# else four times its size.
require_drill_room() {
    drill_needs=$(($(set_fact dump-bytes) / 262144))
    ! is_well prod db || drill_live=$(docker exec -u postgres "$(container_of prod db)" \
        psql -XqAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /etc/postdo/size.sql </dev/null 2>>"$LOG_FILE") || drill_live=
    [ "${drill_live:-0}" -le "$drill_needs" ] || drill_needs=$drill_live
    require_disk $((drill_needs + DRILL_ROOM))
}

# --- The steps ------------------------------------------------------------------------------------------------------

start_drill_database() {
    compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" db
}

drill_cannot_start() {
    show_tail
    docker logs --tail 200 "$(container_of drill db)" 2>&1 | last_lines | indented >&3
    fail "PostgreSQL did not start for the drill" "$FIX_ABOVE"
}

restore_in_drill() {
    lend_programs "$(image_for_backup "$USE_MODE")" "$(container_of drill db)"
    ! try "Restore $drill_name, and compare every table" use_set "container:$(container_of drill db)" '' restore "$drill_set" --roles \
        --server postgresql://postdo_superuser@127.0.0.1 --database "$POSTGRES_DB" --owner "$POSTGRES_USER" || return 0
    drill_what=$(result what)
    [ -n "$drill_what" ] || step_failed "Restore $drill_name, and compare every table"
    result detail | indented >&3
    # A full disk, or a server that was killed, says nothing of the set.
    [ "$(result damaged)" = yes ] || fail "$drill_name could not be verified: $drill_what" "$(result next)"
    drill_fails "$drill_what"
}

# In the settings of the set. Its entrypoint would apply what is pending.
start_drill_site() {
    try "Run manage.py check on it" compose prod run --rm --no-deps -T --entrypoint python web-job manage.py check || {
        show_tail
        drill_fails "manage.py check fails on $drill_name"
    }
    step "Compare its migrations with the database" drill_pending
    drill_missing=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | fact pending | paste -s -d , - | sed 's/,/, /g')
    [ -z "$drill_missing" ] || drill_fails "the database in $drill_name lacks migrations of $(drill_version): $drill_missing"
    try "Start $(drill_version) on it" start_and_wait_in_drill || {
        show_tail
        docker logs --tail 200 "$(container_of drill web-job)" 2>&1 | as_a_person_reads_it | last_lines | indented >&3
        drill_fails "$(drill_version) does not start on $drill_name"
    }
    try "Ask for its pages" drill_smoke_test || {
        show_tail
        drill_fails "$(drill_version) does not answer as it should on $drill_name"
    }
}

drill_pending() {
    COMPOSE_INPUT=given
    compose prod run --rm --no-deps -T --entrypoint python web-job - <"$ROOT/lib/pending.py"
}

start_and_wait_in_drill() {
    compose prod up -d --no-build --no-deps web-job || return 1
    drill_ended=
    wait_until "$START_TIMEOUT" drill_answers_or_ended && [ -z "$drill_ended" ]
}

drill_answers_or_ended() {
    drill_container=$(container_of drill web-job)
    ! docker exec "$drill_container" python -I -S /opt/kit/healthcheck.py || return 0
    [ "$(docker inspect --format '{{.State.Running}}' "$drill_container")" != true ] && drill_ended=yes
}

# The pages of a release, and the admin's login also where SMOKE_PATHS has others.
drill_smoke_test() {
    drill_container=$(container_of drill web-job)
    smoke_container "$drill_container" &&
        { [ -z "$SMOKE_PATHS" ] || (SMOKE_PATHS='' && smoke_container "$drill_container"); }
}

drill_version() {
    if [ "$DRILL_SITE" = live ]; then
        printf 'the live version'
    elif [ -n "$(set_fact release-number)" ]; then
        printf 'release %s' "$(set_fact release-number)"
    else
        printf 'its release'
    fi
}

# The set itself is no good: it does not count as verified any more.
drill_fails() { # drill_fails WHAT
    rm -f "$drill_set/verified.json"
    fail "$1" "make another set (sh run.sh -0 backup) and verify it; until then, keep the newest one that is verified"
}

# --- The project of the drill ---------------------------------------------------------------------------------------

# A subshell, in which .env and the override file of the set count in place of this clone's. The clone's name stays.
in_settings_of_set() { # in_settings_of_set COMMAND...
    # shellcheck disable=SC2030,SC2031 # nothing of it is to be left
    (
        drill_project=$PROJECT_NAME
        forget_environment
        ENV_FILE="$DRILL/env"
        OVERRIDE_FILE="$DRILL/override"
        OWN='' OVERRIDE='' OVERRIDE_MODE='' POSTDO_OTHER_NAMES='' WARN_OF_KEYS=no
        load_env_file
        OWN_GIVEN= # env_file has them
        PROJECT_NAME=$drill_project
        POSTDO_DRILL_ENV=$ENV_FILE
        POSTDO_OVERRIDE=$OVERRIDE_FILE
        COMPOSE_DRILL=drill
        export POSTDO_DRILL_ENV POSTDO_OVERRIDE
        leave_out_parts "$DRILL_IMAGE"
        export_compose_facts
        "$@"
    )
}

# By their label, so also those of a run that was killed. Its volumes have no other user, and none is production's.
remove_drill() {
    left_of_drill | while read -r drill_kind drill_id; do
        case $drill_kind in
        container) docker rm --force --volumes "$drill_id" ;;
        *) docker "$drill_kind" rm "$drill_id" ;;
        esac || return
    done && rm -rf "$DRILL"
}

left_of_drill() { # KIND ID, a line each
    # shellcheck disable=SC2031 # it is the same there
    drill_label="label=com.docker.compose.project=$PROJECT_NAME-drill"
    docker ps -a --filter "$drill_label" --format 'container {{.ID}}' &&
        docker network ls --filter "$drill_label" --format 'network {{.ID}}' &&
        docker volume ls --filter "$drill_label" --format 'volume {{.Name}}'
}
