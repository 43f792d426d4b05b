# commands/status.sh: show what runs in each mode, what is wrong with it and how to fix that, and whether visitors get pages.
# usage: sh run.sh [-0|-1|-2] status
#        sh run.sh [-0|-1|-2] status --watch   show it again every 2 s, until Ctrl-C
#        sh run.sh [-0|-1|-2] status --json    for programs: docs/status-json.md
#
# Exits with 0 if the mode is healthy, 1 if it is unhealthy or requests are held, 2 if nothing answers. It asks for the page HEALTH_PATH through
# the proxy, as a visitor does. Without a mode, the worst of those that run counts, and production if it was ever released.

WELL=0
ILL=1
DOWN=2
EVERY=2 # seconds between two pages of --watch

main() {
    status_form=page
    case ${1-} in
    '') ;;
    --json) status_form=json ;;
    --watch)
        status_form=watch
        [ -t 1 ] || usage_error "--watch needs a terminal; for a program: status --json"
        ;;
    *) unknown_argument "$1" ;;
    esac
    [ $# -le 1 ] || unknown_argument "$2"
    read_environment
    [ "$status_form" != watch ] || watch_status
    look_at_modes
    show_facts "$status_form"
    exit "$status_worst"
}

watch_status() {
    trap 'rm -f ${MEMORY_FILE:+"$MEMORY_FILE"}; printf "\n"; exit 0' INT
    printf '\033[2J'
    while :; do
        look_at_modes
        # Each line over the one before, so that nothing flickers; then what is left of the page before is cleared.
        watch_page=$(date '+%H:%M:%S, every '"$EVERY"' s; Ctrl-C ends it' && show_facts page)
        printf '\033[H%s\033[K\n\033[J' "$(printf '%s\n' "$watch_page" | awk 'NR > 1 { printf "\033[K\n" } { printf "%s", $0 }')"
        sleep "$EVERY"
    done
}

show_facts() { # show_facts page|json
    printf '%s\n' "$FACTS" | LC_ALL=C awk -f "$ROOT/lib/$([ "$1" = json ] && printf json || printf status).awk"
}

look_at_modes() {
    FACTS=
    note_number format 1
    status_worst=$WELL
    problem=$(engine_problem) || note_text docker.problem "$problem"
    for status_mode in ${MODE:-prod dev local}; do
        # A mode of which nobody can tell is not there at all.
        [ "$status_mode" = local ] || [ -z "$problem" ] || { count_mode "$status_mode" "$DOWN" && continue; }
        at=$(mode_name "$status_mode")
        PROBLEMS=
        status_code=$WELL
        status_ill=unhealthy
        "look_at_$status_mode" || status_code=$?
        note_problems
        case $status_code in
        "$WELL") note_text "$at.state" healthy ;;
        "$ILL") note_text "$at.state" "$status_ill" ;;
        *) note_text "$at.state" down ;;
        esac
        count_mode "$status_mode" "$status_code"
    done
}

# A mode that nobody has started is not ill.
count_mode() { # count_mode MODE CODE
    if [ -z "$MODE" ]; then
        case $1 in
        prod) [ -n "$(live_colour)" ] || { [ -z "$problem" ] && mode_runs prod; } || return 0 ;;
        local) local_server_runs || return 0 ;;
        *) { [ -z "$problem" ] && mode_runs "$1"; } || return 0 ;;
        esac
    fi
    [ "$2" -le "$status_worst" ] || status_worst=$2
}

look_at_prod() {
    begin_in_docker prod || return "$DOWN"
    web=$(web_service prod)
    leave_out_parts "$PROJECT_NAME-web:$(live_colour)"
    beside=$(services_beside prod)
    # shellcheck disable=SC2086 # split on purpose: a list of words
    begin_memory prod proxy "$web" db $beside
    ask_engine
    note_text "$at.live" "$(live_colour)"
    note_text "$at.since" "$(docker inspect --format '{{.State.StartedAt}}' "$(container_of prod "$web")" 2>/dev/null | sed 's/\.[0-9]*Z$/Z/')"
    status_held=
    ! requests_are_held || status_held=yes
    if [ -n "$status_held" ] || maintenance_is_on; then
        # Through the proxy there is the page alone, or nothing until the end of the hold.
        ANSWER=$(ask_as_visitor prod "$web" 127.0.0.1 8000)
    else
        # shellcheck disable=SC2046 # split on purpose: a port, and a name if there is one
        ANSWER=$(ask_as_visitor prod "$web" proxy $(if serves_https; then printf '443 %s' "$DOMAIN"; else printf 80; fi))
    fi
    # What is most urgent is noted first.
    look_at_service prod proxy "$(production_address)"
    look_at_service prod "$web" live
    look_at_service prod db ""
    for beside_service in $beside; do look_at_service prod "$beside_service" "$(where_is prod "$beside_service")"; done
    prod_code=0
    if [ -n "$status_held" ]; then
        status_ill=held
        prod_code=$ILL
        look_at_hold
    else
        # shellcheck disable=SC2086 # split on purpose: a list of words
        judge prod proxy "$web" db $beside || prod_code=$?
    fi
    look_at_maintenance
    look_at_order prod
    look_at_requests
    [ -z "$PARTS_LEFT_OUT" ] ||
        note_problem "COMPOSE_PROFILES has $PARTS_LEFT_OUT, which the version that serves was built without" "release web/ to have it: sh run.sh -0; or take it out of COMPOSE_PROFILES"
    look_at_tasks prod
    look_at_disk
    look_at_certificates
    look_at_release
    look_at_backup
    look_at_jobs
    end_memory
    for memory_service in proxy "$web" db $beside; do look_at_memory "$memory_service"; done
    return "$prod_code"
}

look_at_dev() {
    begin_in_docker dev || return "$DOWN"
    ANSWER=$(ask_as_visitor dev web 127.0.0.1 8000)
    look_at_service dev web "http://127.0.0.1:$DEV_PORT/"
    look_at_service dev pgadmin "http://127.0.0.1:$PGADMIN_PORT/"
    look_at_service dev db "127.0.0.1:$DEV_DB_PORT"
    beside=$(services_beside dev)
    for beside_service in $beside; do look_at_service dev "$beside_service" "$(where_is dev "$beside_service")"; done
    look_at_tasks dev
    look_at_order dev
    # shellcheck disable=SC2086 # split on purpose: a list of words
    judge dev web db $beside
}

look_at_local() {
    if ! local_server_runs; then
        note_text "$at.summary" "stopped   (start: sh run.sh -2)"
        return "$DOWN"
    fi
    note_text "$at.summary" "process $(cut -d ' ' -f 1 "$SERVER_PID_FILE")"
    local_code=$WELL
    ANSWER=$("$VENV/bin/python" -I -S "$ROOT/healthcheck.py" "$HEALTH_PATH" 127.0.0.1 "$LOCAL_PORT" 2>&1) || local_code=$ILL
    case $ANSWER in [1-5][0-9][0-9]" "*) ;; *) local_code=$DOWN ;; esac
    note_text "$at.visitors" "$ANSWER"
    note_service web "$([ "$local_code" = "$WELL" ] && printf running || printf unhealthy)" "http://127.0.0.1:$LOCAL_PORT/"
    choose_local_database
    case $LOCAL_DATABASE in
    docker) note_service db "$(state_of dev db)" "127.0.0.1:$DEV_DB_PORT" ;;
    embedded) note_service db "$(case $(embedded status --json --data "$EMBEDDED" 2>&1) in *'"state": "running"'*) printf running ;; *) printf stopped ;; esac)" "127.0.0.1:$DEV_DB_PORT" ;;
    esac
    return "$local_code"
}

# The head of a mode. False if nobody can be served: another folder's, stopped.
begin_in_docker() { # begin_in_docker prod|dev
    status_owner=$(other_owners "$1" | head -n 1)
    if [ -n "$status_owner" ]; then
        note_text "$at.summary" "belongs to the clone in $status_owner (PROJECT_NAME $PROJECT_NAME)"
        return 1
    fi
    if mode_runs "$1"; then
        status_version=$(version_of "$1")
        note_text "$at.summary" "version $status_version"
        note_text "$at.version" "$status_version"
        return
    fi
    if is_running "$1" db; then
        note_text "$at.summary" "only its database runs"
        note_service db "$(state_of "$1" db)" "$([ "$1" = prod ] || printf '127.0.0.1:%s' "$DEV_DB_PORT")"
    else
        note_text "$at.summary" "stopped   (start: sh run.sh $(mode_flag "$1"))"
    fi
    return 1
}

# --- The parts ------------------------------------------------------------------------------------------------------

PROBLEMS= # WHAT and NEXT of each, two lines

note_problem() { # note_problem WHAT NEXT
    PROBLEMS="$PROBLEMS${PROBLEMS:+
}$(printf '%s\n' "$1" | head -n 1)
$(printf '%s\n' "$2" | head -n 1)"
}

note_problems() {
    [ -n "$PROBLEMS" ] || { note_nothing list "$at.problems" && return; }
    problem_number=0
    while IFS= read -r problem_what && IFS= read -r problem_next; do
        note_text "$at.problems.$problem_number.what" "$problem_what"
        note_text "$at.problems.$problem_number.next" "$problem_next"
        problem_number=$((problem_number + 1))
    done <<LINES
$PROBLEMS
LINES
}

where_is() { # where_is MODE SERVICE: what it publishes, if anything
    case $1-$2 in
    prod-flower) printf 'http://127.0.0.1:%s/' "$FLOWER_PORT" ;;
    dev-flower) printf 'http://127.0.0.1:%s/' "$DEV_FLOWER_PORT" ;;
    esac
}

LONG_WAIT=600 # seconds that a task waits before it is a problem

# Of the parts tasks and tasks-db: the queues, as Redis or PostgreSQL has them.
look_at_tasks() { # look_at_tasks prod|dev
    if has_part tasks && is_running "$1" redis; then
        tasks_facts=$(in_time docker exec "$(container_of "$1" redis)" redis-cli --raw eval "$(cat "$ROOT/broker/tasks.lua")" 0 2>/dev/null) || return 0
    elif has_part tasks-db && is_running "$1" db; then
        tasks_facts=$(in_time docker exec -u postgres "$(container_of "$1" db)" \
            psql -XqAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /etc/postdo/tasks.sql </dev/null 2>/dev/null) || return 0
    else
        return 0
    fi
    for tasks_fact in waiting running oldest failed unknown; do
        tasks_value=$(printf '%s\n' "$tasks_facts" | fact "$tasks_fact")
        note_number "$at.tasks.$tasks_fact" "$tasks_value"
        case $tasks_fact-$tasks_value in
        *- | *-0) ;;
        oldest-*)
            [ "$tasks_value" -le "$LONG_WAIT" ] ||
                note_problem "a task has been waiting for $tasks_value s" "find out what the worker does: sh run.sh $(mode_flag "$1") logs worker; for more at once, raise TASKS_CONCURRENCY in .env"
            ;;
        failed-*) note_problem "$tasks_value tasks failed in the last 24 hours" "find out why: sh run.sh $(mode_flag "$1") logs worker" ;;
        unknown-*) note_problem "$tasks_value tasks are kept that no worker knows by name" "release the code that has them: sh run.sh $(mode_flag "$1") (docs/tasks.md)" ;;
        esac
    done
}

# A site that gives no visitor the page is not healthy, whatever Docker has last seen.
look_at_service() { # look_at_service MODE SERVICE WHERE
    service_state=$(state_of "$1" "$2")
    case $service_state in
    healthy | running | starting) ;;
    stopped) note_problem "$2 is stopped" "start it: sh run.sh $(mode_flag "$1"); why it stopped: sh run.sh $(mode_flag "$1") logs ${2%%-*}" ;;
    *) note_problem "$2 is $service_state" "find out why: sh run.sh $(mode_flag "$1") logs ${2%%-*}" ;;
    esac
    case $2-$service_state in web*-healthy) is_a_page "$ANSWER" || service_state=unhealthy ;; esac
    note_service "$2" "$service_state" "$3"
}

note_service() { # note_service SERVICE STATE WHERE
    note_text "$at.services.$1.state" "$2"
    note_text "$at.services.$1.where" "$3"
}

look_at_maintenance() {
    if maintenance_is_on; then
        note_text "$at.maintenance" "$(maintenance_since)"
        note_problem "maintenance is on since $(maintenance_since): visitors get its page" "end it: sh run.sh maintenance off"
    else
        note_nothing empty "$at.maintenance"
    fi
}

look_at_hold() {
    hold_since=${locked_by#* }
    note_text "$at.visitors" "no answer yet: requests are held"
    note_problem "requests are held since ${hold_since#* }, until process ${locked_by%% *} lets them through" "if that takes too long, stop it: kill ${locked_by%% *}"
}

look_at_requests() {
    requests=$(recent_answers)
    note_number "$at.requests.minutes" "$RECENTLY"
    note_number "$at.requests.answers" "${requests% *}"
    note_number "$at.requests.errors" "${requests#* }"
    note_number "$at.requests.open" "$(open_at_proxy)"
    [ "${requests#* }" -lt 5 ] || [ "$((${requests#* } * 100))" -le "${requests% *}" ] ||
        note_problem "${requests#* } of ${requests% *} requests failed in the last $RECENTLY minutes" "find out why: sh run.sh -0 logs web"
}

look_at_memory() { # look_at_memory SERVICE
    memory=$(memory_of prod "$1")
    [ -n "$memory" ] || return 0
    memory_used=${memory% *}
    memory_limit=${memory#* }
    [ "$memory_limit" -gt 0 ] || return 0 # Docker knows none: no memory cgroup, or it ends at this moment
    note_number "$at.memory.$1.used" "$memory_used"
    note_number "$at.memory.$1.limit" "$memory_limit"
    [ "$((memory_used / 95))" -lt "$((memory_limit / 100))" ] ||
        note_problem "$1 uses more than 95 % of its memory" "$(memory_remedy "$1")"
}

memory_remedy() { # memory_remedy SERVICE: by what its limit is set
    memory_key=$(printf '%s' "${1%%-*}" | tr '[:lower:]' '[:upper:]')_MEMORY
    [ "$memory_key" != LIVE_MEMORY ] || memory_key=WEB_MEMORY
    case $env_known in
    *" $memory_key "*) printf 'raise %s in .env, then run: sh run.sh -0' "$memory_key" ;;
    *) printf 'give it more with mem_limit of %s in docker-compose.override.yml, then run: sh run.sh -0' "$1" ;;
    esac
}

look_at_certificates() {
    serves_https || { note_nothing list "$at.certificates" && return; }
    certificate_number=0
    for certificate_of in $(own_domains); do
        certificate_at="$at.certificates.$certificate_number"
        certificate_number=$((certificate_number + 1))
        certificate_left=$(certificate_days "$certificate_of")
        note_text "$certificate_at.name" "$certificate_of"
        note_text "$certificate_at.issuer" "$([ -z "$certificate_left" ] || certificate_issuer "$certificate_of")"
        # Caddy's own live for hours.
        if caddy_is_authority "$certificate_of"; then certificate_left=; fi
        note_number "$certificate_at.days" "$certificate_left"
        certificate_found=$(certificate_problem "$certificate_of")
        [ -z "$certificate_found" ] || note_problem "$certificate_found" "$(printf '%s\n' "$certificate_found" | tail -n 1)"
    done
}

look_at_release() {
    release_last=$(release_numbers | head -n 1)
    release_now=$(live_release)
    if [ -z "$release_now" ]; then
        note_nothing empty "$at.release"
    else
        note_number "$at.release.number" "$release_now"
        for release_key in began by version; do
            note_text "$at.release.$release_key" "$(release_fact "$release_now" "$release_key")"
        done
    fi
    [ -n "$release_last" ] && [ "$release_last" != "$release_now" ] && ! is_locked prod || return 0
    release_outcome=$(release_fact "$release_last" outcome)
    [ "$release_outcome" = live ] ||
        note_problem "the last release ($release_last, of $(release_fact "$release_last" began)) ended as $release_outcome" "fix what its log says (.postdo/log), then release again: sh run.sh -0"
}

look_at_backup() {
    backup_path=$(last_backup)
    if [ -z "$backup_path" ]; then
        note_nothing empty "$at.backup"
        note_problem "there is no backup in backups/" "take one now, and one every night (docs/day-two.md): sh run.sh -0 backup"
        return
    fi
    note_text "$at.backup.path" "${backup_path#"$ROOT"/}"
    note_text "$at.backup.time" "$(date -r "$backup_path" '+%Y-%m-%d %H:%M' 2>/dev/null)"
    note_number "$at.backup.size" "$(du -sk "$backup_path" 2>/dev/null | awk '{ printf "%.0f", $1 * 1024 }')"
    [ -z "$(find "$backup_path" -prune -mtime +1)" ] ||
        note_problem "the last backup is more than two days old" "take one now, and one every night (docs/day-two.md): sh run.sh -0 backup"
}

look_at_jobs() {
    [ -n "$(job_names)" ] || { note_nothing list "$at.jobs" && return; }
    job_number=0
    for job_seen in $(job_names); do
        job_at="$at.jobs.$job_number"
        job_number=$((job_number + 1))
        note_text "$job_at.name" "$job_seen"
        note_text "$job_at.when" "$(job_when "$job_seen")"
        note_text "$job_at.command" "$(job_command "$job_seen")"
        note_text "$job_at.state" "$(job_state "$job_seen")"
        job_text began
        job_text log
        [ -z "$(job_fact "$job_seen" exit)" ] || {
            note_number "$job_at.seconds" "$(job_fact "$job_seen" seconds)"
            note_number "$job_at.exit" "$(job_fact "$job_seen" exit)"
        }
        job_found=$(job_problem "$job_seen")
        [ -z "$job_found" ] || note_problem "$job_found" "$(printf '%s\n' "$job_found" | tail -n 1)"
    done
    ! nothing_starts_jobs ||
        note_problem "nothing starts the jobs that .env schedules" "set up the timer: sudo sh run.sh service install; without systemd: docs/jobs.md"
}

job_text() { # job_text KEY: of job_seen, if it is known
    [ -z "$(job_fact "$job_seen" "$1")" ] || note_text "$job_at.$1" "$(job_fact "$job_seen" "$1")"
}

look_at_disk() {
    disk=$(scarcest_disk)
    disk_free=${disk%% *}
    disk=${disk#* }
    note_number "$at.disk.free" "$disk_free"
    note_number "$at.disk.size" "${disk%% *}"
    note_text "$at.disk.path" "${disk#* }"
    [ "${disk_free:-0}" -ge 1048576000 ] || note_problem "the disk of ${disk#* } has less than 1000 MB left, which a release needs" "$FREE_DISK"
}

look_at_order() { # look_at_order MODE
    order_lines=$(LC_ALL=C MESSAGES='' show_disorder "$1" | sed 's/^ *-- *[a-z]*: *//; s/^ *next: *//')
    [ -z "$order_lines" ] || note_problem "$order_lines" "$(printf '%s\n' "$order_lines" | tail -n 1)"
}

# Asked now, by this clone's own script in the site's container: Docker's check is half a minute behind.
ask_as_visitor() { # ask_as_visitor MODE SERVICE HOST PORT [DOMAIN]: prints what a visitor gets, such as "200 for /readyz"
    is_running "$1" "$2" || { printf 'no page: %s is not running' "$2" && return; }
    visitor_container=$(container_of "$1" "$2")
    shift 2
    in_time docker exec -i "$visitor_container" python -I -S - "$HEALTH_PATH" "$@" <"$ROOT/healthcheck.py" 2>&1 | tail -n 1
}

is_a_page() { # is_a_page ANSWER
    case $1 in [1-4][0-9][0-9]" "*) ;; *) return 1 ;; esac
}

judge() { # judge MODE SERVICE...: those that have to be well besides
    judge_mode=$1
    shift
    note_text "$at.visitors" "$ANSWER"
    judge_code=$DOWN
    is_a_page "$ANSWER" || note_problem "visitors get ${ANSWER:-no answer}" "find out why: sh run.sh $(mode_flag "$judge_mode") logs $([ "$judge_mode" = prod ] && [ -z "${ANSWER##no *}" ] && printf proxy || printf web)"
    case $ANSWER in 5[0-9][0-9]" "*) judge_code=$ILL ;; esac
    ! is_a_page "$ANSWER" || judge_code=$WELL
    for judge_service in "$@"; do
        [ "$judge_code" -ne "$WELL" ] || is_well "$judge_mode" "$judge_service" || judge_code=$ILL
    done
    return "$judge_code"
}

version_of() { # version_of MODE: what the serving container was told of itself
    version_container=$(container_of "$1" "$(web_service "$1")")
    [ -n "$version_container" ] || { printf 'none' && return; }
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$version_container" | sed -n 's/^APP_VERSION=//p'
}
