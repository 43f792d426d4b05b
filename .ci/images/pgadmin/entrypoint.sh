#!/bin/sh
# Starts pgAdmin as the official image does: same variables, same files.
# Written anew. Left out: the mail server, TLS and the external configuration
# database, which this project does not use.
set -eu

DATA=/var/lib/pgadmin
CONFIG=${PGADMIN_CUSTOM_CONFIG_DISTRO_FILE:-/pgadmin4/config_distro.py}
SERVERS=${PGADMIN_SERVER_JSON_FILE:-/pgadmin4/servers.json}
PREFERENCES=${PGADMIN_PREFERENCES_JSON_FILE:-/pgadmin4/preferences.json}

main() {
    read_password
    [ -s "$CONFIG" ] || write_config
    if [ ! -f "$DATA/pgadmin4.db" ]; then
        require_login
        create_configuration_database
        load_servers
        load_preferences
        copy_pgpass
    elif [ "${PGADMIN_REPLACE_SERVERS_ON_STARTUP:-}" = True ]; then
        load_servers --replace
    fi
    serve
}

read_password() {
    [ -n "${PGADMIN_DEFAULT_PASSWORD_FILE:-}" ] || return 0
    if [ -n "${PGADMIN_DEFAULT_PASSWORD:-}" ]; then
        echo 'error: both PGADMIN_DEFAULT_PASSWORD and PGADMIN_DEFAULT_PASSWORD_FILE are set (but are exclusive)' >&2
        exit 1
    fi
    PGADMIN_DEFAULT_PASSWORD=$(cat "$PGADMIN_DEFAULT_PASSWORD_FILE")
}

# Each PGADMIN_CONFIG_NAME is a Python expression, the value of NAME.
write_config() {
    {
        echo "CA_FILE = '/etc/ssl/certs/ca-certificates.crt'"
        echo "LOG_FILE = '/dev/null'"
        echo "HELP_PATH = '../../docs'"
        echo "DEFAULT_BINARY_PATHS = {'pg': '/usr/local/pgsql-17', 'pg-17': '/usr/local/pgsql-17'}"
        env | sed -n 's/^PGADMIN_CONFIG_\([A-Za-z0-9_]*\)=/\1 = /p'
    } >"$CONFIG"
}

require_login() {
    if [ -z "${PGADMIN_DEFAULT_EMAIL:-}" ] || [ -z "${PGADMIN_DEFAULT_PASSWORD:-}" ]; then
        echo 'You need to define the PGADMIN_DEFAULT_EMAIL and PGADMIN_DEFAULT_PASSWORD or PGADMIN_DEFAULT_PASSWORD_FILE environment variables.'
        exit 1
    fi
    # Last on the path: that folder has an html.py too.
    /venv/bin/python3 -c '
import sys
sys.path.append("/pgadmin4/pgadmin/utils")
from validation_utils import validate_email
sys.exit(not validate_email(sys.argv[1]))' "$PGADMIN_DEFAULT_EMAIL" || {
        echo "'$PGADMIN_DEFAULT_EMAIL' does not appear to be a valid email address. Please reset the PGADMIN_DEFAULT_EMAIL environment variable and try again."
        exit 1
    }
}

# Importing is enough.
create_configuration_database() {
    PGADMIN_SETUP_EMAIL=$PGADMIN_DEFAULT_EMAIL PGADMIN_SETUP_PASSWORD=$PGADMIN_DEFAULT_PASSWORD \
        /venv/bin/python3 -c 'import pgAdmin4'
}

# In desktop mode (SERVER_MODE False) there is no user to whom they belong.
load_servers() {
    [ -f "$SERVERS" ] || return 0
    is_desktop || set -- "$@" --user "$PGADMIN_DEFAULT_EMAIL"
    /venv/bin/python3 setup.py load-servers "$SERVERS" "$@"
}

load_preferences() {
    [ -f "$PREFERENCES" ] || return 0
    if is_desktop; then
        user=$(/venv/bin/python3 -c 'import config; print(config.DESKTOP_USER)')
    else
        user=$PGADMIN_DEFAULT_EMAIL
    fi
    /venv/bin/python3 setup.py set-prefs "$user" --input-file "$PREFERENCES"
}

copy_pgpass() {
    [ -f "${PGPASS_FILE:-}" ] || return 0
    folder=$DATA
    is_desktop || folder=$DATA/storage/$(echo "$PGADMIN_DEFAULT_EMAIL" | sed 's/@/_/g')
    mkdir -p "$folder"
    cp "$PGPASS_FILE" "$folder/.pgpass"
    chmod 600 "$folder/.pgpass"
}

is_desktop() {
    [ "${PGADMIN_CONFIG_SERVER_MODE:-}" = False ]
}

# One worker: pgAdmin's sessions are kept in the process.
serve() {
    timeout=$(/venv/bin/python3 -c 'import config; print(config.SESSION_EXPIRATION_TIME * 60 * 60 * 24)')
    exec /venv/bin/gunicorn --limit-request-line "${GUNICORN_LIMIT_REQUEST_LINE:-8190}" --timeout "$timeout" \
        --bind "${PGADMIN_LISTEN_ADDRESS:-[::]}:${PGADMIN_LISTEN_PORT:-80}" -w 1 \
        --threads "${GUNICORN_THREADS:-25}" --access-logfile "${GUNICORN_ACCESS_LOGFILE:--}" \
        pgAdmin4:app
}

main "$@"
