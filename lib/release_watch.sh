# lib/release_watch.sh: whether a new version may serve: a smoke test before the switch, a watch after it.

# In the container of the new version, before any visitor reaches it.
smoke_test() { # smoke_test COLOUR
    smoke_container "$(container_of prod "web-$1")"
}

smoke_container() { # smoke_container ID
    smoke_limit=400
    # A project without an admin answers 404 there.
    [ -n "$SMOKE_PATHS" ] || smoke_limit=500
    smoke_address=$(production_address)
    smoke_host=${smoke_address#*://}
    # shellcheck disable=SC2086 # split on purpose: a list of paths; a ? in one is no pattern
    (set -f && docker exec -i "$1" python -I -S - "${smoke_host%/}" "${smoke_address%%://*}" "$smoke_limit" ${SMOKE_PATHS:-"$HEALTH_PATH" / /admin/login/}) \
        <"$ROOT/lib/smoke.py"
}

require_smoke_test() { # require_smoke_test COLOUR REMEDY
    ! try "Smoke-test $1" smoke_test "$1" || return 0
    show_tail
    logged_errors "$1" "$try_start" | indented >&3
    fail_site "web-$1 failed its smoke test" "$2"
}

# --- After the switch -----------------------------------------------------------------------------------------------

WATCHED_LINES=20000 # of a log, the last ones: 200 seconds at 100 requests a second

# False once the new version is worse than the old one, which runs until then. Ctrl-C ends it as if the time were over, and
# so does a `kill`.
watch_new_version() { # watch_new_version NEW OLD
    watch_enough=
    trap 'watch_enough=yes' INT TERM
    watch_began=$(date +%s)
    watch_until=$((watch_began + WATCH_SECONDS))
    watch_before=$(answers_before "$2")
    watch_beside=$(starts_beside)
    watch_disturbed=
    watch_reason=
    until [ -n "$watch_enough$watch_reason" ] || [ "$(date +%s)" -ge "$watch_until" ]; do
        sleep 1 || true # Ctrl-C ends it too, and whatever is asked meanwhile
        watch_reason=$(worse_than_before "$1" "$2" "$watch_before")
        # One that is about to stop looks well for a moment.
        [ -z "$watch_reason" ] || [ -z "$watch_beside" ] || sleep 2 || true
        watch_was=$watch_beside
        watch_beside=$(starts_beside)
        case $watch_beside in *ill=*) ;; "$watch_was") continue ;; esac
        watch_disturbed=yes
        watch_reason=
        watch_began=$(date +%s)
    done
    trap 'interrupted INT 130' INT
    trap 'interrupted TERM 143' TERM
    [ -n "$watch_enough" ] || [ -z "$watch_reason" ]
}

# Both versions use these services, such as Redis. What came of a stop or a restart of one says nothing of the new version.
starts_beside() { # when each was started, or that one is not well: a line each
    for beside_service in $(additions prod early); do
        is_well prod "$beside_service" || printf 'ill=%s\n' "$beside_service"
        docker inspect --format '{{.Name}} {{.State.StartedAt}}' "$(container_of prod "$beside_service")" 2>/dev/null || true
    done
}

# What keeps both from working (the database, the machine) is no reason to go back. In a subshell, which the snapshot ends with.
worse_than_before() { # worse_than_before NEW OLD "ANSWERS ERRORS": the reason; empty if it is not worse
    take_snapshot prod
    # A worker ends when it hears nothing from Redis any more, and comes back.
    [ -n "${watch_disturbed-}" ] || for worse_companion in $(companions); do
        ! is_well prod "$worse_companion-$2" || keeps_running "$worse_companion-$1" ||
            { printf 'its %s stopped or is unhealthy' "$worse_companion" && return; }
    done
    is_well prod "web-$2" || return 0
    worse_state=$(state_of prod "web-$1")
    case $worse_state in
    healthy | running | starting) ;;
    stopped | restarting) printf 'it stopped' && return ;;
    *) printf 'it is %s' "$worse_state" && return ;;
    esac
    worse_restarts=$(docker inspect --format '{{.RestartCount}}' "$(container_of prod "web-$1")")
    [ "$worse_restarts" -eq 0 ] || { printf 'it stopped and was started again' && return; }
    { count_answers "$1" --since "$watch_began" && count_proxy_errors "$watch_began" && printf '%s\n' "$3"; } | awk '
        { answers[NR] = $1; errors[NR] = $2 }
        END {
            all = answers[1] + answers[2]
            bad = errors[1] + errors[2]
            share = all ? bad / all : 0
            before = answers[3] ? errors[3] / answers[3] : 0
            # A handful is bad luck; twice as many and half a percent more is not.
            if (bad >= 5 && share > 2 * before + 0.005)
                printf "%d of %d requests failed (%.1f %%; of the previous version %.1f %%)", bad, all, 100 * share, 100 * before
        }'
}

keeps_running() { # keeps_running SERVICE: since it was started
    case $(state_of prod "$1") in healthy | running | starting) ;; *) return 1 ;; esac
    [ "$(docker inspect --format '{{.RestartCount}}' "$(container_of prod "$1")")" -eq 0 ]
}

answers_before() { # answers_before OLD: "ANSWERS ERRORS" of what visitors got from it
    { count_answers "$1" && count_proxy_errors "$(first_time_of "$1")"; } | awk '{ all += $1; bad += $2 } END { print all, bad }'
}

# Only Gunicorn's lines: a project may log a "status" of its own.
count_answers() { # count_answers COLOUR [OPTIONS]: "ANSWERS ERRORS" of its log; an error is a 5xx
    answers_of=$(container_of prod "web-$1")
    shift
    docker logs --tail "$WATCHED_LINES" "$@" "$answers_of" 2>/dev/null | awk '
        !/"logger": "gunicorn.access"/ { next }
        /"status": [1-5][0-9][0-9]/ { all++ }
        /"status": 5[0-9][0-9]/ { bad++ }
        END { print all + 0, bad + 0 }'
}

# What the proxy had to answer itself, because the site gave no answer.
count_proxy_errors() { # count_proxy_errors SINCE
    docker logs --tail "$WATCHED_LINES" --since "$1" "$(container_of prod proxy)" 2>&1 | awk '/"logger":"http.log.error/ && /"status":5[0-9][0-9]/ { bad++ } END { print bad + 0, bad + 0 }'
}

first_time_of() { # first_time_of COLOUR: of the lines that count_answers reads; of none, the present
    first_time=$(docker logs --timestamps --tail "$WATCHED_LINES" "$(container_of prod "web-$1")" 2>/dev/null | sed -n '1s/ .*//p')
    printf '%s' "${first_time:-$watch_began}"
}

# Visitors come first: what is told of the new version is looked up when the old one serves again.
take_back() { # take_back NEW OLD: let the version before it serve again, and stop
    step "Switch back to $2" switch_to "$2"
    untag_release_image
    end_release taken-back
    take_back_lines=$(logged_errors "$1" "$watch_began")
    [ -n "$take_back_lines" ] || take_back_lines=$(logged "$1" "$watch_began" | tail -n 5 | as_a_person_reads_it) # it may just have ended
    keep_logs "$1"
    stop_old_version "$1"
    [ -z "$take_back_lines" ] || printf '%s\n' "$take_back_lines" | indented >&3
    fail "the new version was replaced by the previous one, because $watch_reason" \
        "fix it and release again: sh run.sh -0. The previous version is serving$([ -z "$(result applied)" ] || printf ', on the migrated database')"
}

logged_errors() { # logged_errors COLOUR SINCE: the last of them
    logged "$1" "$2" | awk '/"level": "(ERROR|CRITICAL)"/' | tail -n 3 | as_a_person_reads_it
}

logged() { # logged COLOUR SINCE: nothing where it cannot be read
    docker logs --since "$2" "$(container_of prod "web-$1")" 2>&1 || true
}

as_a_person_reads_it() {
    LC_ALL=C awk -f "$ROOT/lib/logs.awk" | tail -n 20
}
