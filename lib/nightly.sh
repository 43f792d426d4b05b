# lib/nightly.sh: the nightly backup (BACKUP_AT in .env), a job of the kit's own beside those of lib/jobs.sh.
#
# Its steps are commands that anybody can give, each a run.sh of its own. What the first one that fails has to say is kept
# with the job, as what and next, and the steps that do not need it are made all the same.

NIGHTLY=nightly-backup # no SCHEDULE_ key has such a name

# Not in the middle of a release: the next minute looks again.
nightly_is_due() {
    due_jobs | grep -qx "$NIGHTLY" && ! is_locked prod && ! job_runs "$NIGHTLY"
}

# systemd starts no second call of the timer's service while one runs, so the night gets a unit of its own, for this once.
start_nightly_beside() { # false if it has to run here
    [ -n "${INVOCATION_ID-}" ] && [ "$(id -u)" -eq 0 ] && command -v systemd-run >/dev/null 2>&1 || return 1
    ! systemctl is-active --quiet "$PROJECT_NAME-$NIGHTLY.service" || return 0
    systemd-run --quiet --collect --no-block --unit="$PROJECT_NAME-$NIGHTLY" --description="$PROJECT_NAME: the nightly backup" \
        -p After=docker.service -p Nice=10 -p CPUWeight=20 -p IOWeight=20 /bin/sh "$ROOT/run.sh" jobs "$NIGHTLY"
}

start_nightly_here() {
    nice -n 10 sh "$ROOT/run.sh" jobs "$NIGHTLY"
}

run_nightly() { # false if a step failed
    take_lock "job-$NIGHTLY"
    NIGHTLY_FAILED="$JOBS/.failed"
    begin_job "$NIGHTLY"
    nightly_what='' nightly_next='' nightly_status=0
    if try "Back up" by_run_sh -0 backup --why schedule; then
        ! can_read_sets || try "Verify the backup" by_run_sh backup verify || nightly_failed
    else
        nightly_failed
    fi
    ! is_running prod archive || try "Take a base backup" base_backup_by_night || nightly_failed
    [ -z "$OFFSITE" ] || try "Copy the sets off the machine" by_run_sh backup offsite || nightly_failed
    keep_job "$NIGHTLY" "what=$nightly_what" "next=$nightly_next"
    end_job "$NIGHTLY" "$nightly_status"
    release_lock "job-$NIGHTLY"
    return "$nightly_status"
}

# It takes the lock of a release, and one may have begun meanwhile.
base_backup_by_night() {
    wait_until "$RELEASE_SECONDS" no_release_is_at_work || true
    by_run_sh -0 backup base
}

RELEASE_SECONDS=3600 # for which the night waits

no_release_is_at_work() {
    ! is_locked prod
}

by_run_sh() { # by_run_sh ARGUMENTS...
    nightly_words=$*
    rm -f "$NIGHTLY_FAILED"
    LC_ALL=C POSTDO_FAILED="$NIGHTLY_FAILED" sh "$ROOT/run.sh" "$@"
}

nightly_failed() { # the step that by_run_sh made last
    show_tail
    [ "$nightly_status" -eq 0 ] || return 0
    nightly_status=1
    nightly_what=$(fact what <"$NIGHTLY_FAILED" 2>/dev/null) || true
    nightly_next=$(fact next <"$NIGHTLY_FAILED" 2>/dev/null) || true
    [ -n "$nightly_what" ] || nightly_what="sh run.sh $nightly_words ended without a word"
    [ -n "$nightly_next" ] || nightly_next="find the reason in $(job_fact "$NIGHTLY" log)"
}

nightly_problem() { # WHAT and NEXT, a line each, of a night that failed
    nightly_began=$(job_fact "$NIGHTLY" began)
    nightly_next=$(job_fact "$NIGHTLY" next)
    if [ -n "$(job_fact "$NIGHTLY" exit)" ] && [ -n "$nightly_next" ]; then
        printf '%s\n' "the nightly backup failed ($nightly_began): $(job_fact "$NIGHTLY" what)" "$nightly_next; then: sh run.sh jobs $NIGHTLY"
    else
        printf '%s\n' "the nightly backup was interrupted ($nightly_began)" "run it again: sh run.sh jobs $NIGHTLY"
    fi
}
