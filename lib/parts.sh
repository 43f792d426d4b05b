# lib/parts.sh: the optional parts of the kit, which COMPOSE_PROFILES in .env switches on.
#
# What a part has is in files that carry its name, and counts while it is on:
#   docker-compose.PART.prod.yml, docker-compose.PART.dev.yml   its services
#   docker-compose.PART.colours.yml                             as docker-compose.colours.yml, for its companions
#   web/requirements/PART.txt                                   what it needs of packages
#   web/config/settings                                         asks env.part("PART")
# Of its services, NAME-blue and NAME-green are companions of a colour: they run its image, start with it before the switch,
# and stop with it. The others are additions, as those of docker-compose.override.yml (lib/override.sh).

PARTS="api live metrics s3 tasks tasks-db"

has_part() { # has_part NAME
    case ",${COMPOSE_PROFILES-}," in *",$1,"*) ;; *) return 1 ;; esac
}

# A name that is neither a part nor a profile of the user's own would switch nothing on, and nobody would notice.
check_parts() {
    for part in $(printf '%s' "$COMPOSE_PROFILES" | tr ',' ' '); do
        case " $PARTS " in *" $part "*) continue ;; esac
        # As a word of its own, and not in the name of an image, say.
        ! grep -v '^ *#' "$OVERRIDE_FILE" 2>/dev/null | tr "[]{},\"'" '       ' |
            grep -qE "(^|[[:space:]])$(printf '%s' "$part" | sed 's/\./[.]/g')([[:space:]]|\$)" || continue
        # shellcheck disable=SC2086 # split on purpose: a list of words
        part_nearest=$(printf '%s\n' $PARTS | awk -v word="$part" -f "$ROOT/lib/nearest.awk")
        fail "COMPOSE_PROFILES in $(place_of COMPOSE_PROFILES) has '$part', which is neither a part of the kit nor a profile in docker-compose.override.yml" \
            "write ${part_nearest#* } if you meant that, or one of $(printf '%s' "$PARTS" | sed 's/ /, /g'), then start again"
    done
}

# An image has the packages of the parts that it was built with, and runs no others. A rollback and a boot serve one that is
# there already: what it was built without is left out while it serves, so that the site itself is there.
leave_out_parts() { # leave_out_parts IMAGE: of COMPOSE_PROFILES, in this run
    PARTS_LEFT_OUT=$(parts_missing_in "$1")
    for part in $PARTS_LEFT_OUT; do
        COMPOSE_PROFILES=$(printf '%s\n' "$COMPOSE_PROFILES" | tr ',' '\n' | grep -vxF -e "$part" | paste -s -d , -)
        OVERRIDE_MODE= # the file is read anew: it may have a service of that name
    done
}

PARTS_LEFT_OUT= # in one line

parts_missing_in() { # parts_missing_in IMAGE: of those that are on, in one line
    parts_built=not-asked
    parts_space=
    for part in $PARTS; do
        has_part "$part" || continue
        [ "$parts_built" != not-asked ] || parts_built=$(image_label "$1" postdo.parts 2>/dev/null) || return 0
        case ,$parts_built, in *",$part,"*) ;; *) printf '%s%s' "$parts_space" "$part" && parts_space=' ' ;; esac
    done
}

warn_of_parts_left_out() {
    [ -z "$PARTS_LEFT_OUT" ] ||
        warn "COMPOSE_PROFILES has $PARTS_LEFT_OUT, which this image was built without, so it runs without. To have it again: sh run.sh -0"
}

# The Compose files of the parts that are on: their names below the root, a line each.
part_files() { # part_files prod|dev|colours
    for part in $PARTS; do
        part_file="docker-compose.$part.$1.yml"
        ! has_part "$part" || [ ! -f "$ROOT/$part_file" ] || printf '%s\n' "$part_file"
    done
}

# Read of the files as they are written: a service is indented by 2, its keys by 4.
part_services() { # part_services MODE: "KIND NAME" a line; KIND: companion, early, or late for those of the site's image
    [ -n "${COMPOSE_PROFILES-}" ] || return 0
    part_files "$1" | while IFS= read -r part_file; do
        awk '
            function end_of_service() {
                if (service ~ /-blue$/ && service !~ /^web/) print "companion", substr(service, 1, length(service) - 5)
                else if (service != "" && service !~ /^web/ && service !~ /-green$/) print kind, service
                service = ""
            }
            /^[^ #]/ { end_of_service(); services = $1 == "services:" }
            !services { next }
            /^  [a-z]/ { end_of_service(); service = $1; sub(/:.*/, "", service); kind = "early" }
            /^    image:.*-web:/ { kind = "late" }
            END { end_of_service() }' "$ROOT/$part_file"
    done | awk '!seen[$2]++'
}

companions() { # the companions that a colour has, in one line
    [ -z "${COMPOSE_PROFILES-}" ] || part_services prod | awk '$1 == "companion" { printf "%s ", $2 }'
}

companions_have_started() { # companions_have_started COLOUR: well or not
    for part_companion in $(companions); do
        [ "$(state_of prod "$part_companion-$1")" != starting ] || return 1
    done
}

stop_companions() { # stop_companions COLOUR
    # shellcheck disable=SC2046 # split on purpose: a list of words
    compose prod stop $(for part_companion in $(companions); do printf '%s-%s ' "$part_companion" "$1"; done)
}

services_of_colour() { # services_of_colour COLOUR: the site, then its companions
    printf 'web-%s' "$1"
    for part_companion in $(companions); do printf ' %s-%s' "$part_companion" "$1"; done
}

# Also companions of a part that was switched off meanwhile, which Compose does not know any more.
stop_colour() { # stop_colour COLOUR
    # shellcheck disable=SC2046 # split on purpose: a list of words
    compose prod stop $(services_of_colour "$1") && stop_left_parts prod "-$1"
}

# Of the parts that are on: the companions of the live color, and the rest.
services_beside() { # services_beside MODE: in one line
    part_services "$1" | awk -v colour="$(live_colour)" '{ printf "%s ", $1 == "companion" ? $2 "-" colour : $2 }'
}

# Where nothing serves yet the site comes first: a part that does not start leaves it as it is.
start_parts() { # start_parts COLOUR
    start_services=$(services_beside prod)
    [ -n "$start_services" ] || return 0
    ! has_part tasks || require_port FLOWER_PORT prod
    ! has_part metrics || require_port METRICS_PORT prod
    start_status=0
    # shellcheck disable=SC2086 # split on purpose: a list of words
    try "Start the services beside the site" compose prod up -d --no-build --no-deps --wait --wait-timeout "$START_TIMEOUT" $start_services || start_status=$?
    tell_of_streams "$1"
    # shellcheck disable=SC2086 # split on purpose: a list of words
    [ "$start_status" -eq 0 ] || explain_unhealthy prod $start_services
}

colour_runs() { # colour_runs COLOUR: any service of it
    for part_service in $(services_of_colour "$1"); do
        ! is_running prod "$part_service" || return 0
    done
    return 1
}

additions_run() { # additions_run MODE: all that start with the database
    for part_service in $(additions "$1" early); do
        is_running "$1" "$part_service" || return 1
    done
}

# What parts that are off have left. Their volumes stay.
stop_left_parts() { # stop_left_parts MODE [END: of the names of the services, such as -blue]
    for part_left in $(left_of_parts "$@"); do
        part_container=$(container_of "$1" "$part_left")
        { docker stop "$part_container" && docker rm "$part_container"; } || return 1
    done
}

remove_left_parts() { # remove_left_parts MODE
    [ -z "$(left_of_parts "$1")" ] || step "Stop the parts that are no longer in COMPOSE_PROFILES" stop_left_parts "$1"
}

# In a subshell, which the snapshot ends with.
left_of_parts() { # left_of_parts MODE [END]: the names of such services
    has_snapshot "$1" || take_snapshot "$1"
    part_now=" $(services_of_colour blue) $(services_of_colour green) $(additions "$1") $(manual_services "$1") "
    (COMPOSE_PROFILES=$(printf '%s' "$PARTS" | tr ' ' ',') && part_services "$1") |
        awk '{ if ($1 == "companion") print $2 "-blue\n" $2 "-green"; else print $2 }' |
        while IFS= read -r part_service; do
            case $part_service in *"${2-}") ;; *) continue ;; esac
            case $part_now in *" $part_service "*) continue ;; esac
            [ -z "$(container_of "$1" "$part_service")" ] || printf '%s\n' "$part_service"
        done
}

part_requirements() { # of the parts that are on: the paths below web/, a line each
    for part in $PARTS; do
        part_file="requirements/$part.txt"
        ! has_part "$part" || [ ! -f "$ROOT/web/$part_file" ] || printf '%s\n' "$part_file"
    done
}
