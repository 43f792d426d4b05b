# lib/log.sh: what the user reads, what the log keeps, and the one way to stop.

# The screen, kept apart: inside a step, 1 and 2 are the log.
exec 3>&2

LOG_FILE=/dev/null

# Each run that changes something keeps its log; a month of them is plenty.
open_log() { # open_log NAME
    make_state_folder "$STATE/log"
    LOG_FILE="$STATE/log/$(date +%Y%m%d-%H%M%S)-$1-$$.log"
    # Not `:`, which ends the shell when what it is to write to cannot be opened.
    true 2>/dev/null >"$LOG_FILE" || {
        LOG_FILE=/dev/null
        cannot_write "$STATE/log"
    }
    find "$STATE/log" -name '*.log' -mtime +30 -exec rm -f {} + 2>/dev/null || true
    # Whoever read the output has gone (an ssh without a terminal, `| tee` after Ctrl-C): dash would end without its EXIT trap.
    trap 'interrupted PIPE 141' PIPE
}

make_state_folder() { # make_state_folder PATH: 0700, since it holds logs, keys and data
    [ -d "$1" ] || (umask 077 && mkdir -p "$1" 2>/dev/null) || cannot_write "$1" "$ROOT"
    for state_part in "$1" "$1"/*/; do
        # The embedded PostgreSQL judges its own data.
        if [ -d "$state_part" ] && [ "$state_part" != "$STATE/postgres/" ]; then
            { [ -w "$state_part" ] && [ -x "$state_part" ]; } || refuse_state "${state_part%/}"
        fi
    done
}

# What another user has made there: root, mostly, in a run that was killed before it could give it back.
refuse_state() { # refuse_state PATH
    # shellcheck disable=SC2012 # only a name is read of it, and stat is another one on each system
    state_owner=$(ls -ld "$1" | awk '{ print $3 }')
    fail "cannot write to $1, which belongs to $state_owner" \
        "make it writable for $(id -un 2>/dev/null || id -u): sudo chown -R $(id -u):$(id -g) $STATE"
}

# As root in a user's clone (sudo): what root has made there becomes the user's, whose next run has to change it. Not
# the embedded PostgreSQL while it runs: it would lose sight of its files.
give_back() {
    [ "$(id -u)" -eq 0 ] || return 0
    # shellcheck disable=SC2012 # only numbers are read of it
    give_to=$(ls -ldn "$ROOT" | awk '{ print $3 ":" $4 }')
    [ "${give_to%%:*}" != 0 ] || return 0
    for give_path in "$ENV_FILE" "$ROOT/backups" "$ROOT/web" "$STATE" "$STATE"/*; do
        case $give_path in
        "$STATE") give_how=-prune ;;
        *) give_how= ;;
        esac
        [ ! -e "$give_path/server/data/postmaster.pid" ] || continue
        # shellcheck disable=SC2086 # split on purpose: a word or none
        [ ! -e "$give_path" ] || find "$give_path" $give_how -user 0 -exec chown -h "$give_to" {} + 2>/dev/null || true
    done
}

# What is said to people is said in their language. Logs, facts and what programs read stay English, and nothing decides
# by a translated text.
MESSAGES= # the catalogue; empty for English
case ${LC_ALL:-${LC_MESSAGES:-${LANG-}}} in pt*) MESSAGES="$ROOT/lib/messages.pt_BR" ;; esac

tell() { # tell LINES...; false if nobody can read them
    if [ -z "$MESSAGES" ]; then
        printf '%s\n' "$@"
    else
        printf '%s\n' "$@" | LC_ALL=C awk -f "$ROOT/lib/translate.awk" "$MESSAGES" - || printf '%s\n' "$@"
    fi
}

say() {
    tell "$*" || write_to_log
}

warn() {
    tell "warning: $*" >&3 || write_to_log
}

# The terminal is gone, and whoever goes on all the same (finish_alone) is read later.
write_to_log() {
    exec >>"$LOG_FILE" 2>&1 3>&1
}

FAIL_AS=lines # or facts: for who catches it in a subshell

FAIL_REASON= # what went wrong, for hooks/deploy-failed

# POSTDO_FAILED: the file in which a run.sh that started this one looks for both (lib/nightly.sh).
fail() { # fail WHAT REMEDY: what went wrong, what to do next, where the log is
    FAIL_REASON=$1
    if [ "$FAIL_AS" = facts ]; then
        printf 'what=%s\nnext=%s\n' "$1" "$2" >&3
        exit "${3-1}"
    fi
    [ -z "${POSTDO_FAILED-}" ] || printf 'what=%s\nnext=%s\n' "$1" "$2" >"$POSTDO_FAILED" 2>/dev/null || true
    tell "error: $1" "  next: $2" >&3
    [ "$LOG_FILE" = /dev/null ] || tell "  log:  $LOG_FILE" >&3
    exit "${3-1}"
}

usage_error() { # usage_error WHAT
    fail "$1" "read the usage: sh run.sh help${COMMAND:+ $COMMAND}" 2
}

unknown_argument() { # unknown_argument WORD
    usage_error "unknown argument '$1'"
}

take_no_arguments() { # take_no_arguments ARGUMENTS...
    [ $# -eq 0 ] || unknown_argument "$1"
}

cannot_write() { # cannot_write PATH [FOLDER: the one whose rights count]
    fail "cannot write to $1 (disk full, or no permission)" "free some disk space, or make ${2-$1} writable for $(id -un 2>/dev/null || id -u)"
}

# Remedies that several messages have.
FIX_LINES="fix what the lines above say"
FIX_ABOVE="$FIX_LINES, then run the command again"
FREE_DISK="free some disk space (docker image prune, docker builder prune)"

# try NAME COMMAND...: one line on the screen, the output in the log; returns the command's status.
try() {
    try_name=$1
    shift
    try_start=$(date +%s)
    try_said=$(tell "$try_name")
    printf '%s ... ' "$try_said" || write_to_log
    printf '\n== %s\n' "$try_name" >>"$LOG_FILE" || true
    LOG_MARK=$(wc -l <"$LOG_FILE")
    start_ticker "$try_said"
    try_status=0
    "$@" >>"$LOG_FILE" 2>&1 || try_status=$?
    stop_ticker
    if [ "$try_status" -eq 0 ]; then
        say "done ($(($(date +%s) - try_start)) s)"
    else
        say "failed"
    fi
    return "$try_status"
}

# step NAME COMMAND...: try, and stop with what the command said last if it fails.
step() {
    try "$@" || step_failed "$1"
}

step_failed() { # step_failed NAME [REMEDY]
    show_tail
    fail "$1 failed" "${2-$FIX_ABOVE}"
}

show_tail() { # the last lines that the running step wrote
    tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | tail -n 20 | indented >&3
}

indented() { # what somebody else said; its last line may have no end
    awk '{ print "  | " $0 }'
}

# On a terminal a long step shows that it lives. A run.sh that was killed cannot end this, so it looks after itself. It is
# ended by KILL: a shell that has just forked forgets a TERM that comes before it has set its own trap (stop_ticker then
# waited for ever), and bash would run the traps of run.sh in it.
TICKER=
start_ticker() {
    [ -t 1 ] || return 0
    (
        while sleep 1 && kill -0 "$$" 2>/dev/null; do
            printf '\r%s ... %s s ' "$1" "$(($(date +%s) - try_start))"
        done
    ) &
    TICKER=$!
}

stop_ticker() {
    [ -n "$TICKER" ] || return 0
    kill -s KILL "$TICKER" 2>/dev/null || true
    wait "$TICKER" 2>/dev/null || true
    TICKER=
}

# UNDO lists the functions that undo what is half-done, the newest first; empty when there is nothing to undo.
UNDO=
ENDING="undoing what was half-done"

undo_with() { # undo_with FUNCTION
    UNDO="$1 $UNDO"
}

handle_signals() {
    trap 'interrupted INT 130' INT
    trap 'interrupted TERM 143' TERM
    trap 'interrupted HUP 129' HUP
    trap finish EXIT
}

# The undoing is not interrupted.
interrupted() { # interrupted SIGNAL STATUS
    trap '' INT TERM HUP PIPE
    FAIL_REASON="interrupted (SIG$1)"
    stop_ticker
    tell "" "interrupted (SIG$1)${UNDO:+, $ENDING}" >&3 || write_to_log
    exit "$2"
}

finish() {
    finish_status=$?
    trap '' INT TERM HUP PIPE
    trap - EXIT
    stop_ticker
    SNAPSHOT=
    for finish_undo in $UNDO; do
        "$finish_undo" >>"$LOG_FILE" 2>&1 || warn "could not undo everything (step $finish_undo failed)$([ "$LOG_FILE" = /dev/null ] || printf '; see %s' "$LOG_FILE")"
    done
    forget_result
    release_locks
    give_back
    exit "$finish_status"
}

# wait_until SECONDS COMMAND...: polls five times a second; false when the time is over.
wait_until() {
    wait_deadline=$(($(date +%s) + $1))
    shift
    SNAPSHOT=
    until "$@"; do
        [ "$(date +%s)" -lt "$wait_deadline" ] || return 1
        sleep 0.2
    done
}

# What a colour wrote goes with its container, and is asked for after it is replaced.
KEPT_LOGS=20         # files; open_log removes those of more than a month
KEPT_LOG_LINES=20000 # of each, the last ones: about 6 MB

keep_logs() { # keep_logs COLOUR
    for kept_service in $(services_of_colour "$1"); do
        kept_container=$(container_of prod "$kept_service")
        [ -n "$kept_container" ] || continue
        kept_file="$STATE/log/released-$(date +%Y%m%d-%H%M%S)-$kept_service.log"
        docker logs --tail "$KEPT_LOG_LINES" "$kept_container" >"$kept_file" 2>&1 || warn "cannot save the log of $kept_service"
        [ -s "$kept_file" ] || rm -f "$kept_file"
    done
    set -- "$STATE"/log/released-*.log
    while [ $# -gt "$KEPT_LOGS" ]; do
        rm -f "$1"
        shift
    done
}
