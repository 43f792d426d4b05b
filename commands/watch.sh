# commands/watch.sh: look at production once: start again what has ended, and tell of what is wrong (docs/alerts.md).
# usage: sh run.sh -0 watch            look once
#        sh run.sh -0 watch --minute   for a timer: look, and until the minute is over start again at once what ends
#
# `service install` sets up the timer. It says what it found, what it started and whom it told (ALERT_WEBHOOKS and ALERT_EMAIL
# in .env, hooks/alert), and its exit code is that of status. It starts nothing that `stop` has stopped, nor during a release.

# Seconds: a timer comes once a minute, and the looks take some too; between two looks at what runs; after which what may be over in
# a moment is looked at again.
MINUTE=50
POLL=5
SECOND_LOOK=25

main() {
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "watch is for production: sh run.sh -0 watch" ;; esac
    watch_began=$(date +%s)
    WARN_OF_KEYS=no
    read_environment
    prepare_watch
    case ${1-} in
    '') watch_by_hand ;;
    --minute) watch_for_a_minute ;;
    *) unknown_argument "$1" ;;
    esac
    exit "$status_worst"
}

watch_by_hand() {
    wait_until "$BACK_SECONDS" watch_is_free || true # the timer's looks take seconds
    take_lock watch
    leave_out_parts "$PROJECT_NAME-web:$(live_colour)"
    bring_back
    watch_once
    show_watch
    [ -n "$ALERT_WEBHOOKS$ALERT_EMAIL" ] || has_hook alert || say "nobody is told: set ALERT_WEBHOOKS or ALERT_EMAIL in .env (docs/alerts.md)"
}

watch_is_free() {
    ! is_locked watch
}

show_watch() {
    show_facts page | sed '/^  [^- ]/d' # its first lines: what is wrong
    printf '%s\n' "$BACK" | awk -F '\t' 'NF { print "  back      " $2 }'
    [ "${MADE_ROOM:-0}" -le 0 ] || printf '  room      removed %s MB of old build cache and images of this kit\n' "$MADE_ROOM"
    show_told
}

# The container of a service that ends is started within seconds, and not after up to a minute. What is said goes to the journal, so
# nothing is said when all is well.
watch_for_a_minute() {
    status_worst=$WELL
    # An earlier one is at work, for which cron does not wait.
    ! is_locked watch-minute || return 0
    take_lock watch-minute
    leave_out_parts "$PROJECT_NAME-web:$(live_colour)"
    watch_look
    while [ "$(date +%s)" -lt "$((watch_began + MINUTE))" ]; do
        sleep "$POLL"
        bring_back
        if [ -n "$BACK" ] || is_unsure; then watch_look; fi
    done
}

watch_look() {
    watch_is_free || return 0 # somebody takes a look by hand
    take_lock watch
    [ -n "$BACK" ] || bring_back
    watch_once
    case $BACK$TOLD in '' | told=heartbeat*) ;; *) show_watch ;; esac
    BACK=
    watch_last=$(date +%s)
    release_lock watch
}

# Something was seen that may be over in a moment, and is told if a second look finds it too.
is_unsure() {
    [ "$(($(date +%s) - watch_last))" -ge "$SECOND_LOOK" ] && awk -F '\t' '$5 == 0 && $4 == 1 { found = 1 } END { exit !found }' "$WATCH/troubles"
}
