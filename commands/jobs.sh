# commands/jobs.sh: list production's scheduled jobs (SCHEDULE_... and BACKUP_AT in .env) and how they ended, or run one now.
# usage: sh run.sh jobs          list them
#        sh run.sh jobs NAME     run this one now, in the version that serves
#        sh run.sh jobs --due    run those that are due, one after another: for a timer, which calls it every minute
#
# `service install` sets up the timer; docs/jobs.md explains schedules. The output of a job is in .postdo/log/.

main() {
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "jobs run only in production: sh run.sh jobs" ;; esac
    [ $# -le 1 ] || unknown_argument "$2"
    case ${1-} in
    '') list_jobs ;;
    --due) run_due_jobs ;;
    -*) unknown_argument "$1" ;;
    *) run_job_by_hand "$1" ;;
    esac
}

list_jobs() {
    require_engine
    read_environment
    require_own_stack prod
    [ -n "$(job_names)" ] || { say "no job is scheduled; add one to .env: docs/jobs.md" && return; }
    for list_name in $(job_names); do
        printf '%-20s %-16s %s\n' "$list_name" "$(job_when "$list_name")" "$(job_command "$list_name")"
        printf '%-20s %s\n' "" "$(last_run_of "$list_name")"
    done
    ! nothing_starts_jobs || warn "nothing starts these jobs; $(timer_remedy)"
}

last_run_of() { # last_run_of NAME
    case $(job_state "$1") in
    new) tell "has not run yet" ;;
    running) tell "running since $(job_fact "$1" began)" ;;
    done) tell "done in $(job_fact "$1" seconds) s ($(job_fact "$1" began))" ;;
    *) tell "$(job_problem "$1" | head -n 1)" ;;
    esac
}

run_job_by_hand() { # run_job_by_hand NAME
    require_engine
    prepare_environment
    require_own_stack prod
    hand_name=$(printf '%s' "$1" | tr '[:upper:]' '[:lower:]')
    case "
$(job_names)
" in *"
$hand_name
"*) ;; *) fail "there is no job $hand_name" "list the jobs: sh run.sh jobs; add one to .env: docs/jobs.md" ;; esac
    jobs_can_run || fail "the site is not running, and a job runs in the version that serves" "start it: sh run.sh -0"
    ! job_runs "$hand_name" || fail "the job $hand_name is running already" "wait until it ends, or stop it: docker stop $(job_container "$hand_name")"
    export_compose_facts
    hand_status=0
    if [ "$hand_name" = "$NIGHTLY" ]; then
        run_nightly || hand_status=$?
    else
        run_job "$hand_name" || hand_status=$?
    fi
    [ "$hand_status" -ne 0 ] || return 0
    [ "$hand_name" = "$NIGHTLY" ] || show_tail
    hand_problem=$(job_problem "$hand_name")
    fail "$(printf '%s\n' "$hand_problem" | head -n 1)" "$(printf '%s\n' "$hand_problem" | tail -n 1)"
}

# By a timer: what is not to be said each minute is not said.
run_due_jobs() {
    WARN_OF_KEYS=no
    read_environment
    [ -n "$(job_names)" ] && [ -n "$(live_colour)" ] || return 0
    make_state_folder "$JOBS"
    date +%s >"$JOBS_CHECKED" || cannot_write "$JOBS"
    note_schedules
    due_found=$(due_jobs)
    [ -n "$due_found" ] || return 0
    require_engine
    require_own_stack prod
    jobs_can_run || return 0
    # It takes long, and the other jobs go on meanwhile: beside this call, or at its end, when the next one can begin.
    due_at_end=
    if nightly_is_due; then start_nightly_beside || due_at_end=yes; fi
    # An earlier call is at work, which a timer of cron does not wait for.
    is_locked jobs || run_due_own_jobs
    [ -z "$due_at_end" ] || ! nightly_is_due || start_nightly_here
}

run_due_own_jobs() {
    take_lock jobs
    export_compose_facts
    for due_job in $due_found; do
        if [ "$due_job" = "$NIGHTLY" ] || job_runs "$due_job"; then continue; fi
        run_job "$due_job" || {
            show_tail
            warn "$(job_problem "$due_job" | head -n 1)"
        }
    done
    release_lock jobs
}

# While the site is stopped, or its database only starting, they wait.
jobs_can_run() {
    is_well prod db && is_running prod "$(web_service prod)"
}
