# lib/prepare.sh: postdo prepares production's database, and what came of it is told.

# The entrypoint prepares, then becomes `true`.
prepare_database() {
    one_off web true
}

# The migrations of a service's image that the database does not have, into the log: pending=app.name, a line each.
list_pending() { # list_pending SERVICE
    COMPOSE_INPUT=given
    pending_status=0
    run_to_its_end prod -T --entrypoint python "$1" - <"$ROOT/lib/pending.py" || pending_status=$?
    COMPOSE_INPUT=none
    return "$pending_status"
}

# By which plan, how many, and what to know of it; nothing if nothing was pending.
tell_migrated() {
    result said | sed 's/^/  /'
    result warning | sed 's/^/  warning: /'
}

# How postdo ended, with its exit code: a caller can tell refused from undone.
explain_preparation() { # explain_preparation STATUS
    what=$(result what)
    [ -n "$what" ] || explain_no_result "$1"
    result detail | indented >&3
    remedy=$(result next)
    case $(result outcome) in
    refused) fail_site "preparing the database was refused: $what" "$remedy" 3 ;;
    undone) fail_site "preparing the database failed and was undone: $what" "$remedy" 4 ;;
    # Perhaps no version fits the database now.
    not-undone) fail "preparing the database failed and was not undone: $what" "$remedy" 5 ;;
    *) fail_site "preparing the database failed: $what" "$remedy" ;;
    esac
}

# It was killed, or its container was never started.
explain_no_result() { # explain_no_result STATUS
    prepare_words=$(tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | sed -n 's/^Error response from daemon: //p' | tail -n 1)
    prepare_remedy=$(engine_hint "$prepare_words")
    show_tail
    [ "$1" -ne 137 ] || fail_site "preparing the database was killed; it may need more memory than WEB_MEMORY ($WEB_MEMORY)" \
        "raise WEB_MEMORY in .env, then run: sh run.sh -0"
    [ -z "$prepare_words" ] || fail_site "preparing the database failed: the Docker engine says: $prepare_words" \
        "${prepare_remedy:-$FIX_LINES}, then run: sh run.sh -0"
    fail_site "preparing the database ended with status $1 and left no result" "$FIX_LINES, then run: sh run.sh -0"
}
