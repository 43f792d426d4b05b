# commands/doctor.sh: check what each mode needs on this machine, and how to fix what is missing.
# usage: sh run.sh doctor
#
# Changes nothing. Exits with 1 if no mode can run here.

main() {
    take_no_arguments "$@"
    engine_trouble=$(engine_problem) || true
    python_trouble=$(python_problem)
    say "this machine"
    report "Docker $(in_time docker version --format '{{.Server.Version}}' 2>/dev/null) with Compose $(docker compose version --short 2>/dev/null)" "$engine_trouble"
    report "Python: $(find_python || true)" "$python_trouble"
    report "git: versions in status and labels" "$(command -v git >/dev/null 2>&1 || printf '%s\n' 'git is not installed, so versions read "unversioned"' "install git")"
    report "disk: $(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1024) }') MB free" "$(disk_problem)"
    report "memory: $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null) MB" ""
    check_configuration
    for doctor_mode in prod dev; do
        [ -n "$engine_trouble$configuration_trouble" ] || [ ! -e "$ENV_FILE" ] || [ -n "$(other_owners "$doctor_mode")" ] || show_disorder "$doctor_mode"
    done
    say ""
    say "what can run here"
    mode_report "-0 production" "$engine_trouble$configuration_trouble"
    mode_report "-1 development" "$engine_trouble$configuration_trouble"
    mode_report "-2 local" "$python_trouble$configuration_trouble"
    [ -z "$engine_trouble$configuration_trouble" ] || [ -z "$python_trouble$configuration_trouble" ] ||
        fail "no mode can run here" "follow one of the steps above"
}

report() { # report GOOD TROUBLE: TROUBLE is empty, or WHAT and REMEDY, a line each
    if [ -z "$2" ]; then
        say "  ok   $1"
    else
        tell "  --   $(printf '%s\n' "$2" | head -n 1)" "       next: $(printf '%s\n' "$2" | tail -n 1)"
    fi
}

mode_report() { # mode_report MODE TROUBLE
    if [ -z "$2" ]; then say "  ok   $1"; else say "  --   $1"; fi
}

python_problem() {
    doctor_python=$(find_python) || {
        printf '%s\n' "Python $PYTHON_FLOOR or newer is not installed (-2 and the tests need it)" "install it: sudo apt install python3 python3-venv"
        return
    }
    "$doctor_python" -c 'import ensurepip, venv' 2>/dev/null ||
        printf '%s\n' "$doctor_python cannot create virtual environments (-2 and the tests need them)" "install the package: sudo apt install python3-venv"
}

disk_problem() {
    [ "$(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1024) }')" -ge 1000 ] ||
        printf '%s\n' "less than 1000 MB of disk space left" "$FREE_DISK"
}

# Without .env there is nothing wrong yet: the first start writes it.
check_configuration() {
    configuration_trouble=
    if [ ! -e "$ENV_FILE" ]; then
        report ".env: the first start creates it" ""
        return
    fi
    if configuration_said=$( (FAIL_AS=facts && load_env_file && check_environment) 3>&1 >/dev/null 2>&1); then
        [ -z "$configuration_said" ] || printf '       %s\n' "$configuration_said" # warnings
        report ".env" ""
        load_env_file 3>/dev/null
        check_own_ports
        check_certificate
    else
        configuration_trouble=$(for configuration_fact in what next; do printf '%s\n' "$configuration_said" | fact "$configuration_fact"; done)
        report ".env" "$configuration_trouble"
    fi
}

check_certificate() { # of the site that runs here
    if ! serves_https || [ -n "$engine_trouble" ] || ! mode_runs prod || [ -n "$(other_owners prod)" ]; then return 0; fi
    for doctor_name in $(own_domains); do
        report "certificate: $(describe_certificate "$doctor_name")" "$(certificate_problem "$doctor_name")"
    done
}

check_own_ports() {
    for doctor_key in HTTP_PORT $(! serves_https || printf HTTPS_PORT) DEV_PORT LOCAL_PORT PGADMIN_PORT DEV_DB_PORT ${PROD_DB_PORT:+PROD_DB_PORT} ${DEBUG_PORT:+DEBUG_PORT} $(! has_part tasks || printf 'FLOWER_PORT DEV_FLOWER_PORT') $(! has_part metrics || printf METRICS_PORT); do
        eval "doctor_port=\$$doctor_key"
        if port_is_taken "$doctor_port"; then
            say "  i    port $doctor_port ($doctor_key) is in use by $(port_owner "$doctor_port")"
        fi
    done
}
