# lib/watch.sh: what a watch does with what a look finds: it starts what has ended, makes room on a full disk, and tells of what is
# wrong.
#
# What it remembers is in .postdo/watch: tries (lib/bring_back.awk), samples (lib/checks.awk), troubles (lib/alerts.awk), looked
# (when it last looked), starts (of the machine and of Docker), made-room (when it last did) and reserve, which is given up when the
# disk is full, so that the rest can still be written.

WATCH="$STATE/watch"
KEPT_SAMPLES=21600 # seconds: 6 hours
RESERVE_KB=1024
BACK_SECONDS=60 # in which what was started again is waited for

prepare_watch() {
    make_state_folder "$WATCH"
    if printf '%4096s\n' '' 2>/dev/null >"$WATCH/probe"; then
        [ -e "$WATCH/reserve" ] || dd if=/dev/zero of="$WATCH/reserve" bs=1024 count="$RESERVE_KB" 2>/dev/null || rm -f "$WATCH/reserve"
    else
        rm -f "$WATCH/reserve"
    fi
    rm -f "$WATCH/probe"
    for watch_file in tries samples troubles; do [ -e "$WATCH/$watch_file" ] || : >"$WATCH/$watch_file" || cannot_write "$WATCH"; done
}

# --- What was up comes back -----------------------------------------------------------------------------------------

BACK=     # what was started: NAME, WHAT and NEXT, with tabs between them, a line each
GIVEN_UP= # the same, of what is not tried any more

# Containers that are there are started as they were made: never another color, and nothing of a .env that was changed
# meanwhile. Not while somebody is at work on production. (docs/decisions/alerts.md)
bring_back() {
    BACK='' GIVEN_UP=''
    is_ours_to_watch || return 0
    if switch_was_killed; then
        bring_back_switched
        return
    fi
    back_states=$(containers_of prod)
    back_plan=$(printf '%s\n' "$back_states" | awk -v kept="$(services_to_keep)" -v now="$(date +%s)" '
        BEGIN { count = split(kept, order, " ") }
        !states { split($0, field, "\t"); if (field[1] ~ /^service-/) first[substr(field[1], 9)] = field[2]; next }
        { state[$1] = $3 }
        END { for (i = 1; i <= count; i++) if (order[i] in state) print order[i], state[order[i]], order[i] in first ? now - first[order[i]] : 0 }
    ' "$WATCH/troubles" states=yes - | awk -v now="$(date +%s)" -f "$ROOT/lib/bring_back.awk" "$WATCH/tries" services=yes -)
    [ -n "$back_plan" ] || return 0
    # Who holds it now leaves the containers alone, and lets no release begin.
    back_locked=
    is_locked prod || { take_lock prod && back_locked=yes; }
    back_began=$(date +%s)
    back_done=
    while read -r back_verb back_service; do
        bring_back_one "$back_verb" "$back_service" "$(printf '%s\n' "$back_states" | awk -v name="$back_service" '$1 == name { print $2; exit }')" </dev/null
    done <<LINES
$back_plan
LINES
    [ -z "$back_locked" ] || release_lock prod
    [ -n "$back_done" ] || return 0
    wait_until "$BACK_SECONDS" need_not_wait || true
    BACK=$(printf '%s\n' "$back_done" | while IFS="$TAB" read -r back_service back_what; do
        printf 'back-%s-%s\t%s %s; it is %s after %s s\tfind out why: sh run.sh -0 logs %s\n' "$back_service" "$back_began" "$back_service" \
            "$back_what" "$(state_of prod "$back_service")" "$(($(date +%s) - back_began))" "${back_service%%-*}"
    done)
}

# PostgreSQL's container may be of the data that is no longer the site's, so it is what a boot does, as often as for any other.
bring_back_switched() {
    back_began=$(date +%s)
    case $(printf 'upgrade-db stopped 0\n' | awk -v now="$back_began" -f "$ROOT/lib/bring_back.awk" "$WATCH/tries" services=yes -) in "start "*) ;; *) return 0 ;; esac
    printf '%s upgrade-db\n' "$back_began" >>"$WATCH/tries" || return 0
    if back_said=$(forget_environment && sh "$ROOT/run.sh" -0 --no-build 2>&1); then
        BACK="back-upgrade-db-$back_began${TAB}upgrade-db was killed during its switch, and the site was started again after $(($(date +%s) - back_began)) s${TAB}see where it is: sh run.sh -0 status"
    else
        warn "the site does not start after a switch that was killed: $(printf '%s\n' "$back_said" | tail -n 1)"
    fi
}

# What was started is well, or something has ended, which is more urgent.
need_not_wait() {
    containers_of prod | awk -v started="$(printf '%s\n' "$back_done" | cut -f 1)" -v kept="$(services_to_keep)" '
        BEGIN {
            count = split(started, name)
            for (i = 1; i <= count; i++) is_started[name[i]]
            count = split(kept, name)
            for (i = 1; i <= count; i++) is_kept[name[i]]
        }
        $1 in is_kept && $3 == "stopped" { ended = 1 }
        $1 in is_started && $3 !~ /^(healthy|running)$/ { waits = 1 }
        END { exit waits && !ended }'
}

bring_back_one() { # bring_back_one start|restart|give-up SERVICE CONTAINER
    if [ "$1" = give-up ]; then
        GIVEN_UP="$GIVEN_UP${GIVEN_UP:+
}given-up-$2$TAB$2 does not stay up, and was started too often in an hour to be started again${TAB}find out why it ends: sh run.sh -0 logs ${2%%-*}; then start it: sh run.sh -0 --no-build"
        return 0
    fi
    # One of the user's own that is to run once has ended as it should.
    case $(docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' "$3" 2>/dev/null) in always | unless-stopped) ;; *) return 0 ;; esac
    printf '%s %s\n' "$back_began" "$2" >>"$WATCH/tries" || return 0 # else nothing would bound the tries
    if [ "$1" = start ]; then
        back_what="had stopped ($(how_it_ended "$3")) and was started again"
        back_said=$(in_time docker start "$3" 2>&1) || back_what=
    else
        # Whoever is unhealthy for minutes has had its time to end.
        back_what="was unhealthy for too long and was restarted"
        back_said=$(in_time docker restart --time 10 "$3" 2>&1) || back_what=
    fi
    [ -n "$back_what" ] || { warn "$2 could not be started: $(printf '%s\n' "$back_said" | tail -n 1)" && return 0; }
    back_done="$back_done${back_done:+
}$2$TAB$back_what"
}

how_it_ended() { # how_it_ended CONTAINER
    docker inspect --format '{{if .State.OOMKilled}}killed because its memory was used up{{else}}exit code {{.State.ExitCode}}{{end}}' "$1" 2>/dev/null
}

# `sh run.sh -0` has started it here, and nobody has stopped it since. Nobody is at work on it now.
is_ours_to_watch() {
    [ -n "$(live_colour)" ] && is_meant_to_run && ! maintenance_is_on && ! somebody_is_at_work && [ -z "$(other_owners prod)" ]
}

LOOKING_COMMANDS=" backup dump plan rehearse drift sources " # they have the lock of production, and leave its containers as they are

somebody_is_at_work() {
    ! is_locked hold || return 0
    is_locked prod || return 1
    case $LOOKING_COMMANDS in *" $(command_of "$locked_by") "*) return 1 ;; esac
}

SERVICES_TO_KEEP= # once somebody has asked

services_to_keep() { # those that others need first, in one line
    [ -n "$SERVICES_TO_KEEP" ] || SERVICES_TO_KEEP="db $(additions prod early) $(services_of_colour "$(live_colour)") $(additions prod late) proxy archive"
    printf '%s' "$SERVICES_TO_KEEP"
}

# --- Room on the disk -----------------------------------------------------------------------------------------------

MADE_ROOM= # how many MB

# What the kit itself can make anew: its build cache, and its images without a name. A build that runs has used its own just now.
# What else fills the disk is the operator's.
make_room() {
    MADE_ROOM=
    printf '%s\n' "$watch_problems" | grep -q "^disk$TAB" || return 0
    is_ours_to_watch && [ -z "$(find "$WATCH/made-room" -mmin -60 2>/dev/null)" ] || return 0
    touch "$WATCH/made-room" 2>/dev/null || return 0 # else it would try each minute
    room_before=$(free_disk_mb)
    {
        docker image prune --force --filter "label=com.docker.compose.project=$PROJECT_NAME-prod"
        if cache_records=$(docker buildx du --verbose); then
            remove_build_cache replaced 0 1h
            remove_build_cache others 0 1h
        fi
    } >/dev/null 2>&1 || true
    MADE_ROOM=$(($(free_disk_mb) - room_before))
}

free_disk_mb() {
    scarcest_disk | awk '{ printf "%.0f\n", $1 / 1048576 }'
}

# --- Who is told of what --------------------------------------------------------------------------------------------

TOLD= # what was told to whom, for the one who watches, a line each

# One look, and all that follows from it. status_worst is then as after `status`.
watch_once() {
    look_at_modes
    note_sample
    watch_problems=$({ problems_of_production && problems_of_the_watch; } | awk 'NF')
    make_room
    TOLD=
    watch_messages=$(judge_alerts no | sed -n '/^state/!p')
    watch_delivered=yes
    if [ -n "$watch_messages$HEARTBEAT_URL" ]; then
        tell_alert "$(printf '%s\n' "$watch_messages" | state_of_alert)" "$(printf '%s\n' "$watch_messages" | subject_of_alert)" \
            "$(printf '%s\n' "$watch_messages" | text_of_alert)" "$HEARTBEAT_URL" || watch_delivered=no
    fi
    judge_alerts "$watch_delivered" | sed -n "s/^state$TAB//p" | keep_for_watch troubles || cannot_write "$WATCH"
    date +%s | keep_for_watch looked || cannot_write "$WATCH"
}

keep_for_watch() { # keep_for_watch FILE: its input, whole or not at all
    cat >"$WATCH/$1.new" && mv "$WATCH/$1.new" "$WATCH/$1"
}

judge_alerts() { # judge_alerts yes|no: delivered
    printf '%s\n' "$watch_problems" | LC_ALL=C awk -v now="$(date +%s)" -v frozen="$(frozen_problems)" -v delivered="$1" -f "$ROOT/lib/alerts.awk" "$WATCH/troubles" problems=yes -
}

problems_of_production() { # NAME, WHAT and NEXT with tabs between them
    printf '%s\n' "$FACTS" | awk -F '\t' '
        $2 ~ /^production[.]problems[.][0-9]+[.]name$/ { name = $3 }
        $2 ~ /^production[.]problems[.][0-9]+[.]what$/ { what = $3 }
        $2 ~ /^production[.]problems[.][0-9]+[.]next$/ { print name "\t" what "\t" $3 }'
}

problems_of_the_watch() {
    printf '%s\n' "$BACK" "$GIVEN_UP"
    is_ours_to_watch || return 0
    tell_of_starts
    watch_engine=$(printf '%s\n' "$FACTS" | awk -F '\t' '$2 == "docker.problem" { print $3 }')
    if [ -n "$watch_engine" ]; then
        printf 'docker\t%s\t%s\n' "$watch_engine" "start it: sudo systemctl start docker; why it stopped: journalctl -u docker -n 50"
    elif ! was_looked_at; then
        printf 'down\t%s\t%s\n' "nothing of production is running" "start it: sh run.sh -0 --no-build"
    fi
}

# What came back with the machine, or with Docker, without a hand: told once visitors get pages again, and not at the first look.
tell_of_starts() {
    { was_looked_at && is_a_page "$ANSWER"; } || return 0
    starts_machine=$(boot_of_machine)
    starts_docker=$(start_of_docker)
    starts_before=$(cat "$WATCH/starts" 2>/dev/null) || true
    printf 'machine=%s\ndocker=%s\n' "$starts_machine" "$starts_docker" | keep_for_watch starts || return 0 # else each look would tell of it
    if is_another machine "$starts_machine"; then
        printf 'back-machine-%s\t%s\t%s\n' "$(date +%s)" "this machine was started again, and visitors get $ANSWER" \
            "find out why, unless you did it: journalctl -b -1 -n 50"
    elif is_another docker "$starts_docker"; then
        printf 'back-docker-%s\t%s\t%s\n' "$(date +%s)" "Docker was started again, and visitors get $ANSWER" \
            "find out why, unless you did it: journalctl -u docker -n 50"
    fi
}

is_another() { # is_another KEY START: than the one before; not where one of them is not known
    another_before=$(printf '%s\n' "$starts_before" | fact "$1")
    [ -n "$another_before" ] && [ -n "$2" ] && [ "$another_before" != "$2" ]
}

start_of_docker() { # in seconds; empty if its engine is elsewhere
    for start_folder in "${XDG_RUNTIME_DIR:-/run}" /run; do
        [ ! -e "$start_folder/docker.pid" ] || { date -r "$start_folder/docker.pid" +%s 2>/dev/null && return; }
    done
}

was_looked_at() { # production runs: there is more than its first line
    case $FACTS in *"production.disk.free$TAB"*) ;; *) return 1 ;; esac
}

frozen_problems() { # what is neither new nor over now, whatever was seen of it
    if ! was_looked_at; then
        printf all
    elif somebody_is_at_work || maintenance_is_on; then
        printf services
    else
        printf none
    fi
}

# For the trend of the disk, the restarts in ten minutes, the jumps of the clock.
note_sample() {
    was_looked_at || return 0
    note_now=$(date +%s)
    # Where it cannot be written, the trend has a gap.
    {
        awk -v from="$((note_now - KEPT_SAMPLES))" '$1 >= from' "$WATCH/samples"
        printf '%s\n' "$FACTS" | awk -F '\t' -v now="$note_now" '
            $2 == "production.disk.free" { line = line " disk=" $3 }
            $2 == "production.machine.started" { started = " started=" $3 }
            $2 == "production.machine.boot" { boot = " boot=" $3 }
            $2 ~ /^production[.]restarts[.]/ { line = line " " substr($2, 12) "=" $3 }
            END { print now line boot started }'
    } | keep_for_watch samples || rm -f "$WATCH/samples.new"
}

state_of_alert() {
    awk -F '\t' '$1 == "begin" { state = $2 ~ /^back-/ ? (state == "" || state == "ended" ? "done" : state) : "problem" } $1 == "end" && state == "" { state = "ended" } END { print state }'
}

subject_of_alert() {
    awk -F '\t' -v site="$(site_of_alert)" '
        NF { count++ }
        $1 == "begin" && (first == "" || first ~ /^over: /) { first = $3 }
        $1 == "end" && first == "" { first = "over: " $3 }
        END {
            if (count > 1) first = first " (and " count - 1 " more)"
            if (count) print site ": " first
        }'
}

text_of_alert() {
    awk -F '\t' '
        $1 == "begin" { print $3 "\n  next: " $4 }
        $1 == "end" { print "over after " $4 " min: " $3 }'
}

site_of_alert() {
    printf '%s' "${DOMAIN:-$PROJECT_NAME}"
}

# --- How they are told ----------------------------------------------------------------------------------------------

# False if there was something to tell, and nobody took it.
tell_alert() { # tell_alert STATE SUBJECT TEXT HEARTBEAT
    alert_answers='' alert_webhooks='' alert_recipients=''
    if [ -n "$2" ]; then
        ! has_hook alert || alert_answers=$(answer_of_hook "$2" "$3")
        alert_recipients=$ALERT_EMAIL
        # shellcheck disable=SC2153 # of .env
        alert_webhooks=$ALERT_WEBHOOKS
    fi
    # Who waits for the ping is to notice that nobody could be told.
    alert_heartbeat=$4
    case $2:$alert_webhooks$alert_recipients:$alert_answers in :*:* | *:?*:* | *::told=*) ;; *) alert_heartbeat= ;; esac
    if [ -n "$alert_webhooks$alert_recipients$alert_heartbeat" ]; then
        alert_answers="$alert_answers${alert_answers:+
}$(printf 'site=%s\nstate=%s\nsubject=%s\nwebhooks=%s\nrecipients=%s\nmail=%s\nsender=%s\nheartbeat=%s\n\n%s\n' \
            "$(site_of_alert)" "$1" "$2" "$(printf '%s' "$alert_webhooks" | tr ',' ' ')" "$alert_recipients" "$EMAIL_URL" "$DEFAULT_FROM_EMAIL" "$alert_heartbeat" "$3" |
            send_alert)"
    fi
    TOLD=$(printf '%s\n' "$alert_answers" | awk 'NF')
    [ -n "$2" ] || return 0
    printf '%s\n' "$TOLD" | grep -v '^told=heartbeat ' | grep -q '^told='
}

answer_of_hook() { # answer_of_hook SUBJECT TEXT
    hook_status=0
    (cd "$ROOT" && in_hook_time env POSTDO_HOOK=alert POSTDO_SITE="$(production_address)" POSTDO_SUBJECT="$1" POSTDO_TEXT="$2" "$HOOKS/alert") \
        </dev/null >/dev/null 2>&1 3>&- || hook_status=$?
    if [ "$hook_status" -eq 0 ]; then printf 'told=hooks/alert: status 0'; else printf 'failed=hooks/alert: status %s' "$hook_status"; fi
}

# By the Python of this machine, which needs nothing that may be broken; else by that of an image that is here.
send_alert() { # the request is its input
    send_program=$(cat "$ROOT/lib/send_alert.py")
    send_request=$(cat)
    send_answers=$(printf '%s\n' "$send_request" | in_time python3 -I -S -c "$send_program" 2>/dev/null) || true
    [ -n "$send_answers" ] || send_answers=$(printf '%s\n' "$send_request" | send_from_image 2>/dev/null) || true
    printf '%s\n' "${send_answers:-failed=sender: neither this machine has Python 3.9 or newer, nor can Docker start one}"
}

send_from_image() {
    send_image="$PROJECT_NAME-web:$(live_colour)"
    docker image inspect "$send_image" >/dev/null 2>&1 || send_image=$(python_image)
    in_time docker run --rm -i --network host --pull never --read-only --cap-drop ALL --security-opt no-new-privileges --user 65534:65534 \
        --entrypoint python "$send_image" -I -S -c "$send_program"
}

show_told() { # to whom, and what they answered
    printf '%s\n' "$TOLD" | while IFS='=' read -r told_how told_answer; do
        case $told_how in
        told) say "  told      $told_answer" ;;
        failed) say "  not told  $told_answer" ;;
        esac
    done
}
