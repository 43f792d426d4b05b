# lib/facts.sh: what is known of what runs, noted as facts, of which status makes a page or JSON.

# TYPE KEY VALUE, a line each, with tabs between them. TYPE is text, number, empty (null) or list (an empty one). A number in
# a key, as in production.problems.0.what, is the place in a list. What belongs to one object is noted in one go.
FACTS=
TAB=$(printf '\t')

note_text() { # note_text KEY VALUE: its first line
    note_line=${2%%"
"*}
    case $note_line in *"$TAB"*) note_line=$(printf '%s' "$note_line" | tr '\t' ' ') ;; esac
    FACTS="$FACTS${FACTS:+
}text$TAB$1$TAB$note_line"
}

note_number() { # note_number KEY VALUE: null if it is none
    case $2 in
    '' | *[!0-9-]*) note_nothing empty "$1" ;;
    *) FACTS="$FACTS${FACTS:+
}number$TAB$1$TAB$2" ;;
    esac
}

note_nothing() { # note_nothing empty|list KEY
    FACTS="$FACTS${FACTS:+
}$1$TAB$2$TAB"
}

show_facts() { # show_facts page|json
    printf '%s\n' "$FACTS" | LC_ALL=C awk -f "$ROOT/lib/$([ "$1" = json ] && printf json || printf status).awk"
}

# --- What production uses, and what it has done ---------------------------------------------------------------------

RECENTLY=5 # minutes

# What visitors got, from both colours, and from the proxy where it got nothing from them: KEY=VALUE. An answer is slow from 2 s
# on. A login that failed is known by the starter's log, or by the answer to a form of login, which Django's admin shows again.
recent_requests() {
    {
        for recent_colour in blue green; do
            recent_container=$(container_of prod "web-$recent_colour")
            [ -z "$recent_container" ] || docker logs --tail "$WATCHED_LINES" --since "${RECENTLY}m" "$recent_container" 2>&1 || true
        done
        recent_container=$(container_of prod proxy)
        [ -z "$recent_container" ] || docker logs --tail "$WATCHED_LINES" --since "${RECENTLY}m" "$recent_container" 2>&1 || true
    } | LC_ALL=C awk '
        /"logger":"http.log.error/ && /"status":5[0-9][0-9]/ { answers++; errors++ }
        /"message": "Login (failed|not tried)/ { told++ }
        !/"logger": "gunicorn.access"/ || !/"status": [1-5][0-9][0-9]/ { next }
        { answers++ }
        /"status": 5[0-9][0-9]/ { errors++ }
        match($0, /"seconds": [0-9.]+/) { if (substr($0, RSTART + 11, RLENGTH - 11) + 0 >= 2) slow++ }
        /"method": "POST"/ && (/"path": "[^"]*login/ && /"status": 4(00|01|03|29)/ || /"path": "[^"]*admin\/login\/[^"]*"/ && /"status": 200/) { seen++ }
        END {
            if (told > seen) seen = told
            printf "answers=%d\nerrors=%d\nslow=%d\nlogins=%d\n", answers, errors, slow, seen
        }'
}

# What the proxy has passed on to the site, and has no answer to yet; nothing if Caddy cannot tell. (It names a busy address
# twice, and those to which a hold tries to connect, at another port; none before 2.11, or if nobody has asked lately.)
open_at_proxy() {
    is_running prod proxy || return 0
    in_time docker exec "$(container_of prod proxy)" sh "$PROXY_SCRIPT" upstreams 2>/dev/null |
        tr '}' '\n' | awk -F '"' '
            $4 ~ /:8000$/ && !seen[$4]++ { known = 1; open += substr($7, 2) }
            END { if (known) print open }'
}

# Docker measures for a second or two, so it begins before the rest is asked for.
begin_memory() { # begin_memory MODE SERVICE...
    memory_mode=$1
    shift
    memory_containers=$(for memory_service; do is_running "$memory_mode" "$memory_service" && container_of "$memory_mode" "$memory_service"; done)
    MEMORY_FILE=$(mktemp 2>/dev/null) || MEMORY_FILE=
    [ -n "$MEMORY_FILE" ] && [ -n "$memory_containers" ] || return 0
    # shellcheck disable=SC2086 # split on purpose: a list of words
    in_time docker stats --no-stream --no-trunc --format '{{.ID}} {{.MemUsage}}' $memory_containers >"$MEMORY_FILE" 2>/dev/null &
    MEMORY_PROCESS=$!
}

MEMORY_FILE=
MEMORY_PROCESS=
MEMORY=

end_memory() {
    [ -z "$MEMORY_PROCESS" ] || wait "$MEMORY_PROCESS" || true
    [ -z "$MEMORY_FILE" ] || MEMORY=$(cat "$MEMORY_FILE")
    [ -z "$MEMORY_FILE" ] || rm -f "$MEMORY_FILE"
    MEMORY_FILE='' MEMORY_PROCESS=''
}

memory_of() { # memory_of MODE SERVICE: "BYTES LIMIT"; nothing if it is not known
    printf '%s\n' "$MEMORY" | awk -v id="$(container_of "$1" "$2")" '
        function bytes(text) {
            if (text ~ /KiB$/) return text * 1024
            if (text ~ /MiB$/) return text * 1048576
            if (text ~ /GiB$/) return text * 1073741824
            if (text ~ /TiB$/) return text * 1099511627776
            return text + 0
        }
        id != "" && index($1, id) == 1 { printf "%.0f %.0f\n", bytes($2), bytes($4) }'
}

# Of the two that a release needs, the disk with less room: "FREE SIZE PATH", in bytes.
scarcest_disk() {
    for scarce_path in "${ENGINE_INFO% \[*}" "$ROOT"; do
        [ ! -d "$scarce_path" ] || df -Pk "$scarce_path" | awk -v path="$scarce_path" 'NR == 2 { printf "%.0f %.0f %s\n", $4 * 1024, $2 * 1024, path }'
    done | sort -n | head -n 1
}

last_backup() { # of production, the path of its manifest; of an older kit, the file or a folder's toc.dat
    # shellcheck disable=SC2010,SC2012 # names of the kit's own, and by their time
    ls -dt "$ROOT"/backups/*/manifest.json "$ROOT"/backups/*.dump "$ROOT"/backups/*/toc.dat 2>/dev/null |
        grep -v -E -e "$OF_DEVELOPMENT" -e '\.part/' | head -n 1
}
