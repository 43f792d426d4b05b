# lib/checks.sh: what a look (lib/look.sh) notes besides the services: tasks, requests, memory, certificates, backups, jobs, the
# database, the machine. Which of these numbers are problems, lib/checks.awk decides.

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
        note_number "$at.tasks.$tasks_fact" "$(printf '%s\n' "$tasks_facts" | fact "$tasks_fact")"
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
    hold_since=${locked_by#* * }
    hold_since=${hold_since%% (*}
    note_text "$at.visitors" "no answer yet: requests are held"
    note_problem held "requests are held since $hold_since, until process ${locked_by%% *} lets them through" "if that takes too long, stop it: kill ${locked_by%% *}"
}

look_at_requests() {
    requests=$(recent_requests)
    note_number "$at.requests.minutes" "$RECENTLY"
    for requests_fact in answers errors slow logins; do
        note_number "$at.requests.$requests_fact" "$(printf '%s\n' "$requests" | fact "$requests_fact")"
    done
    note_number "$at.requests.open" "$(open_at_proxy)"
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
    note_text "$at.backup.bucket" "$(bucket)"
    if ! has_manifest "$backup_path"; then
        note_nothing empty "$at.backup.verified"
    elif is_verified "$backup_path"; then
        note_text "$at.backup.verified" yes
    else
        note_text "$at.backup.verified" no
    fi
    # Each night verifies what it wrote.
    if [ -n "$BACKUP_AT" ] && [ -n "$(sets_older_than_days 3)" ] && [ -z "$(find "$ROOT/backups" -maxdepth 2 -name verified.json -mtime -3)" ]; then
        note_problem verified "no backup has been verified in the last three days" "verify the newest one: sh run.sh backup verify; how the last nights ended: sh run.sh jobs"
    fi
    # A night may take two hours longer than the one before.
    if [ -n "$BACKUP_AT" ]; then
        [ -z "$(find "$backup_made" -prune -mmin +1560)" ] || note_problem backup "the last backup is more than 26 hours old" "$(backup_remedy)"
    else
        [ -z "$(find "$backup_made" -prune -mtime +1)" ] || note_problem backup "the last backup is more than two days old" "$(backup_remedy)"
    fi
}

sets_older_than_days() { # sets_older_than_days DAYS: of production
    find "$ROOT/backups" -maxdepth 2 -name manifest.json -mtime "+$(($1 - 1))" | grep -v -E -e "$OF_DEVELOPMENT" -e '\.part/'
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
    for archive_key in state sync from base; do
        note_text "$at.archive.$archive_key" "$(printf '%s\n' "$archive_found" | fact "$archive_key")"
    done
    note_number "$at.archive.kept" "$(printf '%s\n' "$archive_found" | fact kept)"
    archive_what=$(printf '%s\n' "$archive_found" | fact what)
    [ -z "$archive_what" ] || note_problem archive "$archive_what" "$(printf '%s\n' "$archive_found" | fact next)"
}

# Until --finish there is a way back, and there are two servers: nobody is to forget that.
look_at_upgrade() {
    if switch_was_killed; then
        note_problem upgrade "upgrade-db was killed during its switch, so the site may be down" "start it on the data that is the site's: sh run.sh -0 --no-build"
    elif [ "$(upgrade_state)" = copying ] && ! is_locked prod; then
        note_problem upgrade "upgrade-db was interrupted, and its copy of the database is left beside the site's" "begin it again: sh run.sh -0 upgrade-db; or remove the copy: sh run.sh -0 --no-build"
    fi
    [ -n "$(upgrade_state)" ] || { note_nothing empty "$at.upgrade" && return; }
    note_text "$at.upgrade.state" "$(upgrade_state)"
    note_text "$at.upgrade.live" "$(cluster_fact live_image)"
    note_text "$at.upgrade.other" "$(cluster_fact other_image)"
    note_text "$at.upgrade.next" "$(upgrade_next)"
}

upgrade_next() {
    upgrade_finish="keep it and remove the other: sh run.sh -0 upgrade-db --finish"
    case $(upgrade_state) in
    linked)
        if [ "$(cluster_fact other_major)" -lt "$(cluster_fact live_major)" ]; then
            printf '%s; go back: sh run.sh -0 upgrade-db --back' "$upgrade_finish"
        else
            printf 'switch to it again: sh run.sh -0 upgrade-db; %s' "$upgrade_finish"
        fi
        ;;
    switched) printf '%s; go back, without what was written since: sh run.sh -0 upgrade-db --back' "$upgrade_finish" ;;
    left) [ "${IMAGE_OF_ENV:-$POSTGRES_IMAGE}" = "$(cluster_fact live_image)" ] || printf 'move the data: sh run.sh -0 upgrade-db; or set POSTGRES_IMAGE=%s in .env' "$(cluster_fact live_image)" ;;
    esac
}

look_at_offsite() {
    [ -n "$OFFSITE" ] || { note_nothing empty "$at.offsite" && return; }
    note_text "$at.offsite.place" "$OFFSITE"
    note_number "$at.offsite.sets" "$(offsite_fact set | grep -c .)"
    for offsite_key in copied checked restored; do
        note_text "$at.offsite.$offsite_key" "$(offsite_fact "$offsite_key")"
    done
    if [ -z "$(offsite_fact copied)" ]; then
        note_problem offsite "no backup was copied to $OFFSITE yet" "copy them: sh run.sh backup offsite"
    elif [ -n "$(find "$OFFSITE_FACTS" -mmin +3000)" ]; then
        note_problem offsite "the last copy to $OFFSITE was made more than two days ago" "copy the backups: sh run.sh backup offsite"
    fi
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

# Not a problem of the site; but who wants to be told has to have a timer that looks.
look_at_watch() {
    watch_looked=$(cat "$WATCH/looked" 2>/dev/null) || true
    if [ -n "$watch_looked" ]; then
        note_text "$at.watch.looked" "$(date -r "$WATCH/looked" '+%Y-%m-%d %H:%M:%S')"
    else
        note_nothing empty "$at.watch.looked"
    fi
    note_text "$at.watch.tells" "$(tells_whom)"
    [ -z "$ALERT_WEBHOOKS$ALERT_EMAIL$HEARTBEAT_URL" ] || [ "$(($(date +%s) - ${watch_looked:-0}))" -le "$UNCHECKED" ] || [ "$COMMAND" = watch ] ||
        note_problem watch "nothing looks after production, so nobody is told of anything" "set up the timer: sudo sh run.sh service install; without systemd: docs/alerts.md"
}

tells_whom() {
    tells=$(
        [ -z "$ALERT_WEBHOOKS" ] || printf ', webhooks'
        [ -z "$ALERT_EMAIL" ] || printf ', mail'
        ! has_hook alert || printf ', hooks/alert'
    )
    printf '%s' "${tells:-, nobody}" | sed 's/^, //'
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
}

look_at_machine() {
    note_number "$at.machine.memory" "$(of_meminfo MemTotal)"
    note_number "$at.machine.available" "$(of_meminfo MemAvailable)"
    note_number "$at.machine.started" "$(awk -v now="$(date +%s)" '{ printf "%.0f\n", now - $1 }' /proc/uptime 2>/dev/null)"
    note_text "$at.machine.boot" "$(boot_of_machine)"
    note_text "$at.machine.clock" "$(case $(timedatectl show -p NTPSynchronized --value 2>/dev/null) in yes) printf synchronized ;; no) printf unsynchronized ;; *) printf unknown ;; esac)"
    note_text "$at.machine.reboot" "$([ -e "$REBOOT_REQUIRED" ] && printf required || printf no)"
}

REBOOT_REQUIRED=/run/reboot-required # Debian's and Ubuntu's updates make it

boot_of_machine() { # another word after each boot
    cat /proc/sys/kernel/random/boot_id 2>/dev/null || true
}

of_meminfo() { # of_meminfo NAME: in bytes
    awk -v name="$1:" '$1 == name { printf "%.0f\n", $2 * 1024 }' /proc/meminfo 2>/dev/null
}

look_at_database() {
    is_well prod db || return 0
    # Where all connections are in use, those that PostgreSQL keeps for the superuser are left.
    database_facts=$(facts_of_database "$POSTGRES_USER") || database_facts=$(facts_of_database postdo_superuser) || return 0
    [ -n "$database_facts" ] || return 0
    for database_fact in connections connections_limit transaction wraparound read_only; do
        note_number "$at.database.$database_fact" "$(printf '%s\n' "$database_facts" | fact "$database_fact")"
    done
}

facts_of_database() { # facts_of_database ROLE
    in_time docker exec -u postgres "$(container_of prod db)" psql -XqAt -U "$1" -d "$POSTGRES_DB" -f /etc/postdo/facts.sql </dev/null 2>/dev/null
}

# How often Docker has started each again, since it was made or started by hand.
look_at_restarts() { # look_at_restarts SERVICE...
    restarts_services=" $* "
    restarts_ids=$(docker ps -aq --filter label=com.docker.compose.oneoff=False --filter "label=com.docker.compose.project=$PROJECT_NAME-prod")
    [ -n "$restarts_ids" ] || return 0
    # shellcheck disable=SC2086 # split on purpose: a list of words
    restarts_counts=$(docker inspect --format '{{.RestartCount}} {{index .Config.Labels "com.docker.compose.service"}}' $restarts_ids 2>/dev/null) || return 0
    while read -r restarts_count restarts_service; do
        case $restarts_services in *" $restarts_service "*) note_number "$at.restarts.$restarts_service" "$restarts_count" ;; esac
    done <<LINES
$restarts_counts
LINES
}

# Of the base images that run; that of Python is in the site's own, as long as nobody has removed it.
look_at_images() {
    for images_service in db proxy; do
        images_container=$(container_of prod "$images_service")
        [ -z "$images_container" ] || note_image "$images_service" "$(docker inspect --format '{{.Image}}' "$images_container" 2>/dev/null)"
    done
    note_image python "$(python_image)"
}

note_image() { # note_image NAME IMAGE
    images_made=$(docker image inspect --format '{{.Created}}' "$2" 2>/dev/null | cut -c 1-10) || return 0
    # Without a time of its own an image says that it is of 1970, or of the year 1.
    case $images_made in 20[0-9][0-9]-*) ;; *) return 0 ;; esac
    images_second=$(date -u -d "$images_made" +%s 2>/dev/null) || return 0
    note_number "$at.images.$1.days" "$((($(date +%s) - images_second) / 86400))"
}

look_at_order() { # look_at_order MODE
    order_lines=$(LC_ALL=C MESSAGES='' show_disorder "$1" | sed 's/^ *-- *[a-z]*: *//; s/^ *next: *//')
    [ -z "$order_lines" ] || note_problem order "$order_lines" "$(printf '%s\n' "$order_lines" | tail -n 1)"
}
