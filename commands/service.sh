# commands/service.sh: start production at boot, its jobs and nightly backup on time, and watch it, with systemd.
# usage: sudo sh run.sh service install|remove|status
#
# install writes a unit that runs `sh run.sh -0 --no-build` at boot and `sh run.sh -0 stop` at shutdown, and timers that run
# `sh run.sh jobs --due` and `sh run.sh -0 watch --minute` every minute. remove deletes them; the site keeps running.

UNIT_FOLDER=/etc/systemd/system

main() {
    [ -z "$MODE" ] || [ "$MODE" = prod ] || usage_error "only production (-0) can start at boot"
    case "$#${1-}" in
    1install | 1remove | 1status) prepare_environment ;;
    1*) usage_error "unknown argument '$1': service takes install, remove or status" ;;
    *) usage_error "service takes one argument: install, remove or status" ;;
    esac
    UNIT="$PROJECT_NAME.service" # of another clone too, if that has this name
    TIMERS="$PROJECT_NAME-jobs.timer $PROJECT_NAME-watch.timer"
    ! engine_answers || require_own_stack prod
    case $1 in
    install) install_unit "$1" ;;
    remove) remove_unit "$1" ;;
    status) show_unit ;;
    esac
}

install_unit() {
    require_systemd
    require_root "$1"
    require_engine
    require_compose_for_root
    docker image inspect "$PROJECT_NAME-web:$(live_colour)" >/dev/null 2>&1 ||
        not_built prod
    write_unit production.service "$UNIT"
    for unit_file in jobs.service jobs.timer watch.service watch.timer; do write_unit "$unit_file" "$PROJECT_NAME-$unit_file"; done
    # One that an older kit has started, which did not note it.
    ! mode_runs prod || note_meant_to_run
    systemctl daemon-reload
    # shellcheck disable=SC2086 # split on purpose: a list of words
    systemctl enable "$UNIT" $TIMERS >/dev/null 2>&1 || fail "systemctl enable $UNIT failed" "find out why: systemctl status $UNIT"
    # Started as well, so that systemd knows that there is something to stop when the machine goes down.
    # shellcheck disable=SC2086
    systemctl start "$UNIT" $TIMERS || fail "systemctl start $UNIT failed" "find out why: journalctl -u $UNIT -n 50"
    say "$UNIT starts production at boot, from $ROOT"
}

write_unit() { # write_unit FILE NAME: one of service/, for this clone
    unit_new=$(mktemp) || cannot_write "a temporary file"
    fill_unit "$1" >"$unit_new"
    install -m 644 "$unit_new" "$UNIT_FOLDER/$2" || cannot_write "$UNIT_FOLDER/$2"
    rm -f "$unit_new"
}

# In a quoted word systemd gives \ " $ and % a meaning, and in a replacement sed gives one to & | and \.
fill_unit() { # fill_unit FILE
    unit_root=$(printf '%s' "$ROOT" | sed 's/[\\"]/\\&/g; s/\$/$$/g; s/%/%%/g; s/[&|\\]/\\&/g')
    sed -e "s|@ROOT@|$unit_root|g" -e "s|@NAME@|$PROJECT_NAME|g" "$ROOT/service/$1"
}

remove_unit() {
    require_systemd
    require_root "$1"
    [ -f "$UNIT_FOLDER/$UNIT" ] || { say "$UNIT is not installed" && return; }
    # Disabled, not stopped: the site keeps serving, and a job that runs goes on.
    systemctl disable "$UNIT" >/dev/null 2>&1 || true
    rm -f "$UNIT_FOLDER/$UNIT"
    for unit_timer in $TIMERS; do
        systemctl disable --now "$unit_timer" >/dev/null 2>&1 || true
        rm -f "$UNIT_FOLDER/$unit_timer" "$UNIT_FOLDER/${unit_timer%.timer}.service"
    done
    systemctl daemon-reload
    say "$UNIT is removed. The site keeps running; to stop it: sh run.sh -0 stop"
}

show_unit() {
    require_systemd
    [ -f "$UNIT_FOLDER/$UNIT" ] || fail "$UNIT is not installed" "install it: sudo sh run.sh service install" 3
    systemctl --no-pager status "$UNIT"
}

require_systemd() {
    [ -d /run/systemd/system ] ||
        fail "this machine was not booted with systemd" "make its init system run this at boot: sh $ROOT/run.sh -0 --no-build; and add this line to the crontab (crontab -e): $(cron_line)"
}

require_root() {
    [ "$(id -u)" -eq 0 ] || fail "only root can $1 the service" "run: sudo sh run.sh service $1"
}

# At boot there is no home folder, so a Compose plugin in one would not be found.
require_compose_for_root() {
    env -i PATH="$PATH" docker compose version >/dev/null 2>&1 ||
        fail "the Compose plugin is in a user's home folder, where it is not found at boot" "install the package docker-compose-plugin for all users"
}
