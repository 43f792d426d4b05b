#!/bin/sh
# pgadmin/start.sh: registers the development database, with its password, then becomes the image's own entrypoint.
# Environment: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, PROJECT_NAME, and what the image takes.
# The files are made in the container, for its user alone: the host has no copy of the password but .env.
set -eu
umask 077

export PGPASS_FILE=/tmp/pgpass
export PGADMIN_SERVER_JSON_FILE=/tmp/servers.json
DATA=${POSTDO_PGADMIN_DATA:-/var/lib/pgadmin}

main() {
    printf 'db:5432:*:%s:%s\n' "$(escape : "$POSTGRES_USER")" "$(escape : "$POSTGRES_PASSWORD")" >"$PGPASS_FILE"
    servers >"$PGADMIN_SERVER_JSON_FILE"
    forget_other_settings
    hide_passwords
    exec /entrypoint.sh "$@"
}

# pgAdmin takes its login, the server and the password from the environment only while it has no data of its own. Data
# that was made from other values than today's is given up: what is lost is pgAdmin's own settings and query history.
forget_other_settings() {
    made_from=$({ cat "$PGPASS_FILE" "$PGADMIN_SERVER_JSON_FILE" && env | grep '^PGADMIN_' | sort; } | sha256sum)
    [ "$(cat "$DATA/made-from" 2>/dev/null)" = "$made_from" ] || rm -rf "$DATA/pgadmin4.db" "$DATA/sessions"
    printf '%s\n' "$made_from" >"$DATA/made-from"
}

# What serves has no password in its environment: the image reads its own from a file as well.
hide_passwords() {
    printf '%s' "${PGADMIN_DEFAULT_PASSWORD-}" >/tmp/pgadmin-password
    [ -z "${PGADMIN_DEFAULT_PASSWORD-}" ] || export PGADMIN_DEFAULT_PASSWORD_FILE=/tmp/pgadmin-password
    unset PGADMIN_DEFAULT_PASSWORD POSTGRES_PASSWORD
}

# The image copies PGPASS_FILE to where each mode of pgAdmin looks for it: without a login a path of the system, with
# one a path below the user's own folder.
passfile() {
    case $PGADMIN_CONFIG_SERVER_MODE in
    False) printf /var/lib/pgadmin/.pgpass ;;
    *) printf /.pgpass ;;
    esac
}

servers() {
    cat <<JSON
{
  "Servers": {
    "1": {
      "Group": "Servers",
      "Name": "$(escape '"' "$PROJECT_NAME") (development)",
      "Host": "db",
      "Port": 5432,
      "MaintenanceDB": "$(escape '"' "$POSTGRES_DB")",
      "Username": "$(escape '"' "$POSTGRES_USER")",
      "ConnectionParameters": { "sslmode": "prefer", "passfile": "$(passfile)" }
    }
  }
}
JSON
}

escape() { # escape CHARACTER TEXT: a backslash before each one, and before each backslash
    printf '%s' "$2" | sed "s/[$1\\]/\\\\&/g"
}

main "$@"
