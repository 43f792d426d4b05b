# lib/jobs.sh: production's jobs: manage.py commands on a schedule, SCHEDULE_NAME=WHEN COMMAND in .env (docs/jobs.md), and
# one of the kit's own, the nightly backup (lib/nightly.sh).
#
# What is kept of a job is .postdo/jobs/NAME, KEY=VALUE a line: schedule (its value in .env), counted (up to when its times
# are done: lib/schedule.awk), and of its last run began, log, seconds and exit. The last two are missing while it runs.

JOBS="$STATE/jobs"
JOBS_CHECKED="$JOBS/.checked" # when the timer last looked, in seconds since 1970
UNCHECKED=600                 # after as many seconds there is no timer
KEPT_JOB_LOGS=20              # of each job
STOP_JOB_SECONDS=30           # from SIGTERM to SIGKILL
TIMED_OUT=124                 # as timeout(1) says it

job_names() {
    [ -z "$BACKUP_AT" ] || printf '%s\n' "$NIGHTLY"
    own_job_names
}

own_job_names() { # those that .env schedules
    for job_key in $OWN $OWN_GIVEN; do
        case $job_key in
        SCHEDULE_*[[:lower:]]*) ;; # the project's own
        SCHEDULE_?*)
            eval "job_value=\$$job_key"
            [ -z "$job_value" ] || printf '%s\n' "${job_key#SCHEDULE_}"
            ;;
        esac
    done | tr '[:upper:]' '[:lower:]'
}

job_key() { # job_key NAME
    printf 'SCHEDULE_%s' "$1" | tr '[:lower:]' '[:upper:]'
}

job_schedule() { # job_schedule NAME: with one space between its words
    [ "$1" != "$NIGHTLY" ] || { printf 'daily %s backup' "$BACKUP_AT" && return; }
    eval "job_value=\$$(job_key "$1")"
    # shellcheck disable=SC2086 # split on purpose: lib/check.awk lets no other sign in
    set -- $job_value
    printf '%s' "$*"
}

job_command() { # job_command NAME: and its arguments
    # shellcheck disable=SC2046 # split on purpose: a list of words
    set -- $(job_schedule "$1")
    job_first=$1
    shift
    case $job_first-$1 in every-* | weekly-mon | weekly-tue | weekly-wed | weekly-thu | weekly-fri | weekly-sat | weekly-sun) shift ;; esac
    case $1 in *:*) shift ;; esac
    printf '%s' "$*"
}

job_when() { # job_when NAME
    job_value=$(job_schedule "$1")
    printf '%s' "${job_value%" $(job_command "$1")"}"
}

job_commands() { # the commands that a release has to have: KEY=COMMAND, in one line
    for job_name in $(own_job_names); do
        job_words=$(job_command "$job_name")
        printf '%s=%s ' "$(job_key "$job_name")" "${job_words%% *}"
    done
}

# --- What is kept of them -------------------------------------------------------------------------------------------

job_fact() { # job_fact NAME KEY
    fact "$2" 2>/dev/null <"$JOBS/$1" || true
}

keep_job() { # keep_job NAME KEY=VALUE...: in place of what these keys had; an empty value removes one
    keep_file="$JOBS/$1"
    shift
    make_state_folder "$JOBS"
    keep_others=
    for keep_pair; do keep_others="$keep_others/^${keep_pair%%=*}=/d;"; done
    {
        sed "$keep_others" "$keep_file" 2>/dev/null || true
        for keep_pair; do [ -z "${keep_pair#*=}" ] || printf '%s\n' "$keep_pair"; done
    } >"$keep_file.$$" || cannot_write "$JOBS"
    mv "$keep_file.$$" "$keep_file"
}

now() {
    date '+%s %Y-%m-%d %H:%M'
}

# A schedule that is new or was changed counts from now on: its times before are no times that were missed.
note_schedules() {
    note_names=" $(job_names | tr '\n' ' ') "
    for note_file in "$JOBS"/*; do
        case $note_names in *" ${note_file##*/} "*) ;; *) rm -f "$note_file" ;; esac
    done
    for note_name in $note_names; do
        [ "$(job_fact "$note_name" schedule)" = "$(job_schedule "$note_name")" ] ||
            keep_job "$note_name" "schedule=$(job_schedule "$note_name")" "counted=$(now)"
    done
}

due_jobs() { # their names, a line each
    for due_name in $(job_names); do
        printf '%s\t%s\t%s\n' "$due_name" "$(job_when "$due_name")" "$(job_fact "$due_name" counted)"
    done | awk -F '\t' -v now="$(now)" -f "$ROOT/lib/schedule.awk"
}

job_state() { # job_state NAME: new, running, done or failed
    if [ -n "$(job_fact "$1" exit)" ]; then
        if [ "$(job_fact "$1" exit)" = 0 ]; then printf 'done'; else printf failed; fi
    elif [ -z "$(job_fact "$1" began)" ]; then
        printf new
    elif job_runs "$1"; then
        printf running
    else
        printf failed # with the machine, or by kill -9
    fi
}

# --- A run ----------------------------------------------------------------------------------------------------------

# Its name is the lock that outlives a run.sh that is killed: the engine gives it to one container only.
job_container() { # job_container NAME
    printf '%s-prod-job-%s' "$PROJECT_NAME" "$1"
}

job_runs() { # job_runs NAME
    is_locked "job-$1" || [ "$(docker inspect --format '{{.State.Running}}' "$(job_container "$1")" 2>/dev/null)" = true ]
}

# In a container of its own, of the version that serves: what it takes is not taken from the site, and it goes on if a
# release replaces that version meanwhile. timeout(1) is the image's, so that a job also ends if run.sh is killed.
run_job() { # run_job NAME: returns its exit code
    take_lock "job-$1"
    # What a power cut has left, which holds the name.
    docker rm --force "$(job_container "$1")" >/dev/null 2>&1 || true
    begin_job "$1"
    POSTDO_JOB_COLOUR=$(live_colour)
    export POSTDO_JOB_COLOUR
    leave_out_parts "$PROJECT_NAME-web:$POSTDO_JOB_COLOUR" # .env may be newer than the version that serves
    job_status=0
    # shellcheck disable=SC2046 # split on purpose: a list of words
    try "Run the job $1" run_named prod "$(job_container "$1")" -T --entrypoint timeout web-job \
        -k "$STOP_JOB_SECONDS" "$JOB_TIMEOUT" python manage.py $(job_command "$1") || job_status=$?
    end_job "$1" "$job_status"
    release_lock "job-$1"
    return "$job_status"
}

begin_job() { # begin_job NAME, whose lock is taken
    job_running=$1
    open_log "job-$1"
    remove_old_job_logs "$1"
    job_second=$(date +%s)
    keep_job "$1" "schedule=$(job_schedule "$1")" "counted=$(now)" "began=$(date '+%Y-%m-%d %H:%M:%S')" "log=${LOG_FILE#"$ROOT"/}" \
        seconds= exit= what= next=
    undo_with note_interrupted_job
}

end_job() { # end_job NAME STATUS
    UNDO=${UNDO#note_interrupted_job }
    keep_job "$1" "seconds=$(($(date +%s) - job_second))" "exit=$2"
}

note_interrupted_job() {
    end_job "$job_running" "$finish_status"
}

remove_old_job_logs() { # remove_old_job_logs NAME: a job of each minute would leave 43,200 in a month
    job_name=$1
    set -- "$STATE/log/"*"-job-$job_name-"[0-9]*.log
    while [ $# -gt "$KEPT_JOB_LOGS" ]; do
        rm -f "$1"
        shift
    done
}

# With the site, which they belong to.
stop_jobs() {
    stop_ids=$(docker ps -q --filter "name=^$(job_container '')")
    # shellcheck disable=SC2086 # split on purpose: a list of words
    [ -z "$stop_ids" ] || step "Stop the jobs" docker stop --time "$STOP_JOB_SECONDS" $stop_ids
}

# --- What is wrong with them ----------------------------------------------------------------------------------------

job_problem() { # job_problem NAME: WHAT and NEXT, a line each; nothing if there is none
    [ "$(job_state "$1")" = failed ] || return 0
    [ "$1" != "$NIGHTLY" ] || { nightly_problem && return; }
    job_exit=$(job_fact "$1" exit)
    job_began=$(job_fact "$1" began)
    job_next="fix what its log says, $(job_fact "$1" log), then run it again: sh run.sh jobs $1"
    case $job_exit in
    "$TIMED_OUT")
        job_what="the job $1 did not end within $JOB_TIMEOUT s ($job_began)"
        job_next="raise JOB_TIMEOUT in .env, or let it do less at a time; then run it again: sh run.sh jobs $1"
        ;;
    '') job_what="the job $1 was interrupted ($job_began)" ;;
    *) job_what="the job $1 failed with exit code $job_exit ($job_began)" ;;
    esac
    printf '%s\n' "$job_what" "$job_next"
}

nothing_starts_jobs() {
    [ -n "$(job_names)" ] || return 1
    jobs_checked=$(cat "$JOBS_CHECKED" 2>/dev/null || true)
    [ "$(($(date +%s) - ${jobs_checked:-0}))" -gt "$UNCHECKED" ]
}

timer_remedy() {
    if [ -d /run/systemd/system ]; then
        printf 'set up the timer: sudo sh run.sh service install'
    else
        printf 'add this line to the crontab (crontab -e): %s' "$(cron_line)"
    fi
}

cron_line() { # for a machine without systemd
    printf '* * * * * cd %s && { sh run.sh jobs --due & sh run.sh -0 watch --minute; } >/dev/null' "'$ROOT'"
}
