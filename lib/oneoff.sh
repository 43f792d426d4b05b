# lib/oneoff.sh: postdo in a container of its own, of the image that was built last, on production's database.

SWITCH_SECONDS="$STATE/switch-seconds" # from the prepared database to the new version serving

# Whoever owns backups/ works there, so that what is written belongs to them. Made by root, it belongs to the image's own
# user; a rootless engine maps its root to the owner already.
one_off() { # one_off ARGUMENTS...: for `compose run`
    prepare_backups_folder
    [ -t 0 ] && [ -t 1 ] || set -- -T "$@"
    open_release_role
    oneoff_status=0
    run_one_off "$@" || oneoff_status=$?
    ! close_release_role >&2 || UNDO=${UNDO#close_release_role }
    return "$oneoff_status"
}

run_one_off() { # run_one_off ARGUMENTS...: for `compose run`; what came of it: `result`
    # shellcheck disable=SC2012 # only numbers are read of it, and stat is another one on each system
    oneoff_user=$(ls -ldn "$ROOT/backups" | awk '{ print $3 ":" $4 }')
    ! engine_is_rootless || oneoff_user=0:0
    POSTDO_SERVER_FREE_MB=$(free_for_database)
    POSTDO_SERVING=yes
    is_running prod web-blue || is_running prod web-green || POSTDO_SERVING=no
    # What an incompatible change would cost visitors: about what the last release took to take over.
    POSTDO_SWITCH_SECONDS=$(cat "$SWITCH_SECONDS" 2>/dev/null || true)
    POSTDO_COMMANDS=$(job_commands)
    export POSTDO_SERVER_FREE_MB POSTDO_SERVING POSTDO_SWITCH_SECONDS POSTDO_COMMANDS
    make_result_folder
    run_to_its_end prod --user "$oneoff_user" --volume "$RESULT_FOLDER:/result" -e "POSTDO_RESULT=/result/$RESULT" "$@"
}

run_to_its_end() { # run_to_its_end MODE ARGUMENTS...: for `compose run`
    run_mode=$1
    shift
    run_named "$run_mode" "$PROJECT_NAME-$run_mode-once-$(date +%s)-$$" "$@"
}

# Compose lets go of a container that it is interrupted at; that works on.
run_named() { # run_named MODE CONTAINER ARGUMENTS...: for `compose run`
    run_mode=$1
    oneoff_name=$2
    shift 2
    undo_with stop_one_off
    run_status=0
    compose "$run_mode" run --rm --no-deps --name "$oneoff_name" "$@" || run_status=$?
    UNDO=${UNDO#stop_one_off }
    return "$run_status"
}

# On TERM postdo takes back what is not committed and removes its copy. Nothing is to be stopped if Compose has seen to it.
stop_one_off() {
    ! docker inspect "$oneoff_name" >/dev/null 2>&1 || docker stop --time 60 "$oneoff_name" || ! docker inspect "$oneoff_name" >/dev/null 2>&1
}

prepare_backups_folder() {
    [ -d "$ROOT/backups" ] || (umask 077 && mkdir "$ROOT/backups" 2>/dev/null) || cannot_write "$ROOT/backups" "$ROOT"
    # Made by root, which includes Docker when it finds no folder to mount.
    [ -n "$(find "$ROOT/backups" -prune -user 0)" ] && ! engine_is_rootless || return 0
    # In a user's clone to the user, who has to reach them.
    # shellcheck disable=SC2012 # only numbers are read of it
    backups_owner=$(ls -ldn "$ROOT" | awk '{ print $3 == 0 ? "10001:10001" : $3 ":" $4 }')
    { chown "$backups_owner" "$ROOT/backups" && chmod 700 "$ROOT/backups"; } 2>/dev/null ||
        fail "$ROOT/backups belongs to root" "make it yours: sudo chown $(id -u):$(id -g) $ROOT/backups"
}

free_for_database() { # megabytes on the disk of production's volume; empty if nobody can tell
    docker exec "$(container_of prod db)" df -Pk /var/lib/postgresql/data 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }'
}

# What a command can be given, before anything is built. KNOWN names --options: with = a value follows.
check_options() { # check_options KNOWN ARGUMENTS...
    known_options=" $1 "
    shift
    option_name=
    option_wants=nothing
    for option in "$@"; do
        case $option in
        -*)
            [ "$option_wants" != value ] || usage_error "$option_name needs a value"
            option_name=${option%%=*}
            case $known_options in
            *" $option "*) option_wants=nothing ;;
            *" $option= "*) option_wants=value ;;
            *" $option_name= "*) option_wants=nothing ;;
            *) unknown_argument "$option" ;;
            esac
            ;;
        *)
            [ "$option_wants" != nothing ] || unknown_argument "$option"
            option_wants=nothing
            ;;
        esac
    done
    [ "$option_wants" != value ] || usage_error "$option_name needs a value"
}

# A database that does not run is started for as long as the command looks at it.
look_at_production() { # look_at_production build|keep POSTDO_ARGUMENTS...
    look_build=$1
    shift
    case $MODE in '' | prod) MODE=prod ;; *) usage_error "$COMMAND works only on production" ;; esac
    require_engine
    prepare_environment >&2
    require_own_stack prod
    make_state_folder "$STATE"
    take_lock prod
    open_log "$COMMAND"
    remove_left_upgrade >&2
    export_compose_facts
    remove_left_copy >&2
    require_volume_major prod >&2
    if [ "$look_build" = build ]; then
        get_image >&2
    else
        require_image prod web
        leave_out_parts "$PROJECT_NAME-web:next" # which need not have what .env has by now
    fi
    lend_database prod
    case $1 in plan | rehearse) copy_for_rehearsal "$1" >&2 || refuse_without_copy fail ;; esac
    # Who only looks keeps no backup: it would take the place of one from before a release.
    one_off -e POSTDO_BACKUPS= --entrypoint python web -m postdo "$@"
}
