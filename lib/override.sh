# lib/override.sh: docker-compose.override.yml, the one place for what a site adds to the kit (docs/additions.md).

OVERRIDE_FILE="$ROOT/docker-compose.override.yml"
OVERRIDE=      # what lib/override.awk says of it
OVERRIDE_MODE= # for this mode

# Read once for a mode. What cannot be is refused by name, before Compose meets it half-way.
read_override() { # read_override prod|dev
    [ -f "$OVERRIDE_FILE" ] || return 0
    [ "$OVERRIDE_MODE" != "$1" ] || return 0
    override_text=$(POSTDO_RUN=yes docker compose --project-directory "$ROOT" --env-file "$ENV_FILE" -f "$OVERRIDE_FILE" \
        --profile "*" config --no-normalize --no-consistency 2>&1) ||
        fail "docker-compose.override.yml cannot be used: $(printf '%s\n' "$override_text" | tail -n 1)" "correct it (docs/additions.md has examples)"
    OVERRIDE=$(printf '%s\n' "$override_text" |
        awk -v mode="$1" -v kit="$(kit_services)" -v image="$PROJECT_NAME-web:" -v on=",$COMPOSE_PROFILES," -f "$ROOT/lib/override.awk")
    OVERRIDE_MODE=$1
    override_bad=$(printf '%s\n' "$OVERRIDE" | sed -n 's/^bad //p' | head -n 1)
    [ -z "$override_bad" ] ||
        fail "docker-compose.override.yml ${override_bad%% \[*}" "$(printf '%s\n' "$override_bad" | sed 's/.* \[//; s/\]$//')"
}

override_has() { # override_has FACT
    case "
$OVERRIDE
" in *"
$1
"*) ;; *) return 1 ;; esac
}

kit_services() { # the services that the kit itself has, in one mode or the other
    # shellcheck disable=SC2046 # split on purpose: a list of files
    (cd "$ROOT" && awk '/^[^ #]/ { services = $1 == "services:" }
        services && /^  [a-z0-9-]+:/ { sub(/:.*/, "", $1); names = names " " $1 }
        END { print names " " }' docker-compose.yml docker-compose.dev.yml docker-compose.prod.yml $(part_files dev) $(part_files prod))
}

# What starts and stops with the mode beside the site: the services of parts (lib/parts.sh), and those of the override file.
# Those of a profile that is not on are the user's to start, as in Compose.
additions() { # additions MODE [early|late]: their names, in one line
    read_override "$1"
    [ -n "$OVERRIDE$COMPOSE_PROFILES" ] || return 0
    { part_services "$1" && printf '%s\n' "$OVERRIDE"; } |
        awk -v when="${2-}" '/^(early|late) / && (when == "" || $1 == when) { printf "%s ", $2 }'
}

override_adds_services() { # override_adds_services MODE
    read_override "$1"
    case $OVERRIDE in *'early '* | *'late '*) ;; *) return 1 ;; esac
}

manual_services() { # manual_services MODE: those that are the user's to start and stop, in one line
    read_override "$1"
    [ -z "$OVERRIDE" ] || printf '%s\n' "$OVERRIDE" | awk '/^manual / { printf "%s ", $2 }'
}

own_additions() { # own_additions MODE: those of the override file, in one line
    read_override "$1"
    [ -z "$OVERRIDE" ] || printf '%s\n' "$OVERRIDE" | awk '/^(early|late) / { printf "%s ", $2 }'
}

# With the database, since preparing it may need them; those of the site's own image when it is prepared. What will restart for
# the new .env while requests wait (lib/restarts.sh) is left as it is.
start_additions() { # start_additions MODE [late]
    start_added=
    for start_service in $(additions "$1" "${2-early}"); do
        case "${TO_RESTART-} " in *" $start_service "*) ;; *) start_added="$start_added $start_service" ;; esac
    done
    [ -n "$start_added" ] || return 0
    # shellcheck disable=SC2086 # split on purpose: a list of words
    try "Start the services beside the site" compose "$1" up -d --no-deps --wait --wait-timeout "$START_TIMEOUT" $start_added ||
        explain_unhealthy "$1" $start_added
}

stop_additions() { # stop_additions MODE
    stop_added=$(additions "$1")
    # shellcheck disable=SC2086 # split on purpose: a list of words
    [ -z "$stop_added" ] || compose "$1" stop $stop_added
}

# Who had a volume for uploads before the kit had one, and whose settings take MEDIA_ROOT from the environment, would find
# none of them.
warn_of_other_uploads() {
    override_media=$(printf '%s\n' "$OVERRIDE" | sed -n 's/^media //p')
    [ -z "$override_media" ] || is_set MEDIA_ROOT ||
        warn "docker-compose.override.yml mounts $override_media, but MEDIA_ROOT is the kit's own volume now. If your uploads are in $override_media, set MEDIA_ROOT=$override_media in .env."
}
