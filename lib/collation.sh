# lib/collation.sh: another C library under PostgreSQL sorts text in another order, and its indexes then miss rows.

run_collation() { # run_collation MODE look|rebuild [LIBC]
    collation_mode=$1
    shift
    collation_verb=$1
    docker exec -i -u postgres "$(container_of "$collation_mode" db)" \
        sh /etc/postdo/collation.sh "$collation_verb" "$POSTGRES_USER" "${2-}" </dev/null
}

# The C library of the image that the next start would take, if that is another one than runs; else nothing.
libc_to_come() { # libc_to_come MODE
    libc_image=$(image_to_come "$1" 2>/dev/null)
    ! has_image "$1" db "$libc_image" && docker image inspect "$libc_image" >/dev/null 2>&1 || return 0
    libc_version=$(docker run --rm --network none --entrypoint getconf "$libc_image" GNU_LIBC_VERSION 2>/dev/null) || libc_version="glibc none"
    printf '%s' "${libc_version#glibc }"
}

collation_changes() { # collation_changes MODE [LIBC]: see db/collation/look.sql; nothing if all is well, or nobody can tell
    run_collation "$1" look "${2-}" 2>>"$LOG_FILE" || true
}

# Before a start: not empty if another C library than before may come with it.
order_to_come() { # order_to_come MODE
    if [ -n "$(container_of "$1" db)" ]; then libc_to_come "$1"; else printf unknown; fi
}

# The site does not serve on indexes that miss rows: stopped by a person, they are rebuilt in a step that the person sees.
# A site that has already served on them starts again with --no-build, as at boot: refusing would not help it.
require_same_order() { # require_same_order MODE [LIBC [not empty if it has just come]]
    order_changes=$(collation_changes "$1" "${2-}")
    [ -n "$order_changes" ] || return 0
    say "$(printf '%s\n' "$order_changes" | show_order)" >&3
    if [ "${build-}" = no ] && [ -z "${2-}${3-}" ]; then
        warn "PostgreSQL's C library has changed, so these indexes may miss rows. At a quiet time, run: sh run.sh $(mode_flag "$1") reindex"
        return 0
    fi
    order_fail=fail
    [ -z "${2-}" ] || order_fail=fail_site # the server that runs was left alone
    "$order_fail" "PostgreSQL's image has another version of the C library, so these indexes may miss rows" \
        "rebuild them (the site is down meanwhile): sh run.sh $(mode_flag "$1") reindex --yes"
}

show_order() { # the lines of look.sql for a person, the first ten indexes of each database
    awk -F '\t' '
        $1 == "changed" { printf "  | database %s: collation %s changed from version %s to %s\n", $2, $3, $4, $5 }
        $1 == "index" && ++seen[$2] <= 10 { printf "  | index %s (%s) may miss rows\n", $3, $4 }
        END { for (name in seen) if (seen[name] > 10) printf "  | and %d more in %s\n", seen[name] - 10, name }
    '
}

show_disorder() { # show_disorder MODE: for who looks at it, in one line; nothing if all is well
    is_running "$1" db || return 0
    disorder=$(collation_changes "$1" "$(libc_to_come "$1")" | awk -F '\t' '$1 == "index" { count++ } $1 == "changed" { changed++ } END { if (changed) print count + 0 }')
    [ -z "$disorder" ] || tell "  --   $(mode_name "$1"): PostgreSQL's C library has changed, so $disorder indexes may miss rows" \
        "       next: list them: sh run.sh $(mode_flag "$1") reindex"
}
