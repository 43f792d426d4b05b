# lib/checks.sh: what a look (lib/look.sh) checks besides the services: tasks, requests, memory, certificates, backups, jobs, disk.

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
                note_problem tasks-waiting "a task has been waiting for $tasks_value s" "find out what the worker does: sh run.sh $(mode_flag "$1") logs worker; for more at once, raise TASKS_CONCURRENCY in .env"
            ;;
        failed-*) note_problem tasks-failed "$tasks_value tasks failed in the last 24 hours" "find out why: sh run.sh $(mode_flag "$1") logs worker" ;;
        unknown-*) note_problem tasks-unknown "$tasks_value tasks are kept that no worker knows by name" "release the code that has them: sh run.sh $(mode_flag "$1") (docs/tasks.md)" ;;
        esac
    done
}

look_at_maintenance() {
    if maintenance_is_on; then
        note_text "$at.maintenance" "$(maintenance_since)"
        note_problem maintenance "maintenance is on since $(maintenance_since): visitors get its page" "end it: sh run.sh maintenance off"
    else
        note_nothing empty "$at.maintenance"
    fi
}

look_at_hold() {
    hold_since=${locked_by#* }
    note_text "$at.visitors" "no answer yet: requests are held"
    note_problem held "requests are held since ${hold_since#* }, until process ${locked_by%% *} lets them through" "if that takes too long, stop it: kill ${locked_by%% *}"
}

look_at_requests() {
    requests=$(recent_answers)
    note_number "$at.requests.minutes" "$RECENTLY"
    note_number "$at.requests.answers" "${requests% *}"
    note_number "$at.requests.errors" "${requests#* }"
    note_number "$at.requests.open" "$(open_at_proxy)"
    [ "${requests#* }" -lt 5 ] || [ "$((${requests#* } * 100))" -le "${requests% *}" ] ||
        note_problem errors "${requests#* } of ${requests% *} requests failed in the last $RECENTLY minutes" "find out why: sh run.sh -0 logs web"
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
        note_problem "memory-$1" "$1 uses more than 95 % of its memory" "$(memory_remedy "$1")"
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
        [ -z "$certificate_found" ] || note_problem "certificate-$certificate_of" "$certificate_found" "$(printf '%s\n' "$certificate_found" | tail -n 1)"
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
        note_problem release "the last release ($release_last, of $(release_fact "$release_last" began)) ended as $release_outcome" "fix what its log says (.postdo/log), then release again: sh run.sh -0"
}

look_at_backup() {
    backup_made=$(last_backup)
    if [ -z "$backup_made" ]; then
        note_nothing empty "$at.backup"
        note_problem backup "there is no backup in backups/" "$(backup_remedy)"
        return
    fi
    backup_path=${backup_made%/manifest.json}
    backup_path=${backup_path%/toc.dat}
    note_text "$at.backup.path" "${backup_path#"$ROOT"/}"
    note_text "$at.backup.time" "$(date -r "$backup_made" '+%Y-%m-%d %H:%M' 2>/dev/null)"
    note_number "$at.backup.size" "$(du -sk "$backup_path" 2>/dev/null | awk '{ printf "%.0f", $1 * 1024 }')"
    # A night may take two hours longer than the one before.
    if [ -n "$BACKUP_AT" ]; then
        [ -z "$(find "$backup_made" -prune -mmin +1560)" ] || note_problem backup "the last backup is more than 26 hours old" "$(backup_remedy)"
    else
        [ -z "$(find "$backup_made" -prune -mtime +1)" ] || note_problem backup "the last backup is more than two days old" "$(backup_remedy)"
    fi
}

backup_remedy() {
    if [ -n "$BACKUP_AT" ]; then
        printf 'take one now: sh run.sh -0 backup; how the nightly one ended: sh run.sh jobs'
    else
        printf 'take one now: sh run.sh -0 backup; to have one every night, set BACKUP_AT=03:30 in .env (docs/backups.md)'
    fi
}

look_at_archive() {
    archive_found=$(archive_facts)
    for archive_key in state from base; do
        note_text "$at.archive.$archive_key" "$(printf '%s\n' "$archive_found" | fact "$archive_key")"
    done
    note_number "$at.archive.kept" "$(printf '%s\n' "$archive_found" | fact kept)"
    archive_what=$(printf '%s\n' "$archive_found" | fact what)
    [ -z "$archive_what" ] || note_problem archive "$archive_what" "$(printf '%s\n' "$archive_found" | fact next)"
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
        [ -z "$job_found" ] || note_problem "job-$job_seen" "$job_found" "$(printf '%s\n' "$job_found" | tail -n 1)"
    done
    ! nothing_starts_jobs ||
        note_problem jobs "nothing starts the scheduled jobs$([ -z "$BACKUP_AT" ] || printf ' and the nightly backup')" "$(timer_remedy)"
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
    [ "${disk_free:-0}" -ge 1048576000 ] || note_problem disk "the disk of ${disk#* } has less than 1000 MB left, which a release needs" "$FREE_DISK"
}

look_at_order() { # look_at_order MODE
    order_lines=$(LC_ALL=C MESSAGES='' show_disorder "$1" | sed 's/^ *-- *[a-z]*: *//; s/^ *next: *//')
    [ -z "$order_lines" ] || note_problem order "$order_lines" "$(printf '%s\n' "$order_lines" | tail -n 1)"
}
