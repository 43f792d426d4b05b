# lib/modes.sh: which modes run, and which one a command means.

require_command() { # require_command NAME: there is a file commands/NAME.sh
    case $1 in
    '' | *[!a-z-]*) ;;
    *) [ ! -f "$ROOT/commands/$1.sh" ] || return 0 ;;
    esac
    command_nearest=$(find "$ROOT/commands" -name '*.sh' | sed 's/.*\///; s/\.sh$//' | sort | awk -v word="$1" -f "$ROOT/lib/nearest.awk")
    COMMAND=
    usage_error "unknown command '$1'; did you mean ${command_nearest#* }?"
}

mode_flag() { # mode_flag MODE
    case $1 in prod) printf -- '-0' ;; dev) printf -- '-1' ;; local) printf -- '-2' ;; esac
}

mode_name() { # mode_name MODE
    case $1 in prod) printf production ;; dev) printf development ;; local) printf local ;; esac
}

not_built() { # not_built MODE
    fail "$(mode_name "$1") has not been built here yet" "build and start it first: sh run.sh $(mode_flag "$1")"
}

mode_runs() { # mode_runs MODE
    case $1 in
    prod) is_running prod proxy || is_running prod web-blue || is_running prod web-green ;;
    dev) is_running dev web ;;
    local) local_server_runs ;;
    esac
}

# All of a mode that uses its database. The proxy first, so that no visitor meets a site without its database.
stop_site_prod() {
    rm -f "$(live_folder)/meant-to-run"
    step "Stop the proxy" compose prod stop proxy
    # shellcheck disable=SC2046 # split on purpose: a list of words
    step "Stop the site" compose prod stop $(services_of_colour blue) $(services_of_colour green)
    stop_jobs # once the site is stopped, no further one is started
    [ -z "$(additions prod)" ] || step "Stop the services beside the site" stop_additions prod
    remove_left_parts prod
}

stop_site_dev() {
    step "Stop the site and pgAdmin" compose dev stop web pgadmin
    local_is_at_work || [ -z "$(additions dev)" ] || step "Stop the services beside the site" stop_additions dev
    remove_left_parts dev
}

running_modes() { # the modes that run, in one line
    for running_mode in $(possible_modes); do
        ! mode_runs "$running_mode" || printf '%s ' "$running_mode"
    done
}

possible_modes() {
    ! engine_answers || printf 'prod dev '
    printf local
}

# The configuration, and the mode that a command is about. Where the mode has to be asked for, no .env is written yet.
enter_mode() {
    if [ ! -e "$ENV_FILE" ]; then
        (read_environment && require_mode) || exit "$?"
    fi
    prepare_environment
    require_mode
}

# The flag says it; else the one mode that runs. None or several: a question, and nothing is done.
require_mode() {
    [ -z "$MODE" ] || return 0
    running=$(running_modes)
    # shellcheck disable=SC2086 # split on purpose: a list of words
    set -- $running
    case $# in
    0) fail "no mode was given, and none is running" "choose a mode: sh run.sh -0 $COMMAND (production), -1 (development) or -2 (local)" 2 ;;
    1) MODE=$1 ;;
    *) fail "no mode was given, and several are running: $(for running_mode in "$@"; do printf '%s ' "$(mode_name "$running_mode")"; done)" \
        "choose a mode: $(for running_mode in "$@"; do printf 'sh run.sh %s %s   ' "$(mode_flag "$running_mode")" "$COMMAND"; done)" 2 ;;
    esac
}

# --- Production's two colours ---------------------------------------------------------------------------------------

# What Caddy reads: the name of the live service.
live_file() {
    printf '%s/upstream' "$(live_folder)"
}

live_folder() {
    printf '%s/live/%s' "$STATE" "$PROJECT_NAME"
}

# While this file is there, production is meant to run, and `watch` brings back what ends: from a start that went well, or the
# one at boot, until `stop`.
note_meant_to_run() {
    { make_live_folder && : >"$(live_folder)/meant-to-run"; } || cannot_write "$(live_folder)"
}

is_meant_to_run() {
    [ -e "$(live_folder)/meant-to-run" ]
}

make_live_folder() { # the proxy's own user reads it
    mkdir -p "$(live_folder)" && chmod 755 "$(live_folder)"
}

live_colour() { # blue or green; empty before the first release
    case $(cat "$(live_file)" 2>/dev/null) in
    web-blue) printf blue ;;
    web-green) printf green ;;
    esac
}

other_colour() { # other_colour COLOUR
    case $1 in blue) printf green ;; *) printf blue ;; esac
}

# The service that serves the site in a mode.
web_service() { # web_service prod|dev
    case $1 in prod) printf 'web-%s' "$(live_colour)" ;; *) printf web ;; esac
}
