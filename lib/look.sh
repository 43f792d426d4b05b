# lib/look.sh: a look at what runs: the state of each mode and of its services, what a visitor gets, and what is wrong. It ends
# in facts (lib/facts.sh), which status shows and watch judges.

WELL=0
ILL=1
DOWN=2

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
        [ "$status_mode" = local ] || take_snapshot "$status_mode"
        status_code=$WELL
        status_ill=unhealthy
        "look_at_$status_mode" || status_code=$?
        SNAPSHOT=
        judge_numbers
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
        note_problem parts "COMPOSE_PROFILES has $PARTS_LEFT_OUT, which the version that serves was built without" "release web/ to have it: sh run.sh -0; or take it out of COMPOSE_PROFILES"
    look_at_tasks prod
    look_at_disk
    look_at_machine
    look_at_database
    # shellcheck disable=SC2086 # split on purpose: a list of words
    look_at_restarts proxy "$web" db $beside
    look_at_images
    look_at_certificates
    look_at_release
    look_at_backup
    look_at_archive
    look_at_upgrade
    look_at_offsite
    look_at_jobs
    look_at_watch
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

PROBLEMS= # NAME, WHAT and NEXT of each, three lines

# NAME stays the same while the problem lasts, whatever WHAT has to say of it.
note_problem() { # note_problem NAME WHAT NEXT
    PROBLEMS="$PROBLEMS${PROBLEMS:+
}$1
${2%%"
"*}
${3%%"
"*}"
}

SAMPLES="$STATE/watch/samples" # of the looks of `watch` (lib/watch.sh)

judge_numbers() { # of this mode
    judge_samples=/dev/null
    [ ! -r "$SAMPLES" ] || judge_samples=$SAMPLES
    judge_found=$(printf '%s\n' "$FACTS" | LC_ALL=C awk -v at="$at" -v flag="$(mode_flag "$status_mode")" -v now="$(date +%s)" -v limits="$ALERT_LIMITS" \
        -f "$ROOT/lib/limits.awk" -f "$ROOT/lib/checks.awk" "$judge_samples" facts=yes -)
    [ -z "$judge_found" ] || PROBLEMS="$PROBLEMS${PROBLEMS:+
}$judge_found"
}

note_problems() {
    [ -n "$PROBLEMS" ] || { note_nothing list "$at.problems" && return; }
    problem_number=0
    while IFS= read -r problem_name && IFS= read -r problem_what && IFS= read -r problem_next; do
        note_text "$at.problems.$problem_number.name" "$problem_name"
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
    prod-metrics) printf 'http://127.0.0.1:%s/metrics' "$METRICS_PORT" ;;
    dev-flower) printf 'http://127.0.0.1:%s/' "$DEV_FLOWER_PORT" ;;
    esac
}

# A site that gives no visitor the page is not healthy, whatever Docker has last seen.
look_at_service() { # look_at_service MODE SERVICE WHERE
    service_state=$(state_of "$1" "$2")
    case $service_state in
    healthy | running | starting) ;;
    stopped) note_problem "service-$2" "$2 is stopped" "start it: sh run.sh $(mode_flag "$1"); why it stopped: sh run.sh $(mode_flag "$1") logs ${2%%-*}" ;;
    *) note_problem "service-$2" "$2 is $service_state" "find out why: sh run.sh $(mode_flag "$1") logs ${2%%-*}" ;;
    esac
    case $2-$service_state in web*-healthy) is_a_page "$ANSWER" || service_state=unhealthy ;; esac
    note_service "$2" "$service_state" "$3"
}

note_service() { # note_service SERVICE STATE WHERE
    note_text "$at.services.$1.state" "$2"
    note_text "$at.services.$1.where" "$3"
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
    is_a_page "$ANSWER" || note_problem visitors "visitors get ${ANSWER:-no answer}" "find out why: sh run.sh $(mode_flag "$judge_mode") logs $([ "$judge_mode" = prod ] && [ -z "${ANSWER##no *}" ] && printf proxy || printf web)"
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
