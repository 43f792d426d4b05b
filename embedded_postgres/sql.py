"""Queries through psql: this package needs no driver. Read against PostgreSQL 14 to 18."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from .binaries import Binaries
from .errors import EmbeddedPostgresError
from .ports import LOOPBACK

QUERY_SECONDS = 60.0
CONNECT_SECONDS = 10  # libpq's own limit for one connection

# One row: the data folder of the server that answers.
DATA_FOLDER = "SELECT current_setting('data_directory');"

# One row: how many clients are connected, ourselves not counted.
OTHER_CLIENTS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();
"""

# One row, t or f: whether the role that asks has the rights that PROVISION gives, and the database
# each extension of a list with commas.
IS_PROVISIONED = """
SELECT rolsuper = :'superuser'::boolean AND rolcreatedb AND NOT EXISTS (
    SELECT FROM unnest(string_to_array(:'extensions', ',')) wanted
    WHERE wanted NOT IN (SELECT extname FROM pg_extension))
FROM pg_roles WHERE rolname = current_user;
"""

# No row. The role may do what it may in development's container (db/roles.sh): what works here
# (CREATE EXTENSION in a migration, CREATE DATABASE for tests) must work there, and the reverse.
# The backticks run `printf` of an environment variable: a password in -v would show in `ps`.
PROVISION = r"""
\set password `printf %s "$APPLICATION_PASSWORD"`
SELECT format('CREATE ROLE %I', :'user')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
SELECT format('ALTER ROLE %I LOGIN CREATEDB %s PASSWORD %L', :'user',
    CASE WHEN :'superuser'::boolean THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, :'password') \gexec
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0', :'database', :'user')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
"""
# No row. In the site's database, and in template1, from which Django makes its test databases.
EXTENSIONS = r"""
SELECT format('CREATE EXTENSION IF NOT EXISTS %I CASCADE', wanted)
FROM unnest(string_to_array(:'extensions', ',')) wanted \gexec
"""

# One row, t or f: whether the role `user` is there.
ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user');"

CREATE_DATABASE = r"SELECT format('CREATE DATABASE %I TEMPLATE template0', :'database') \gexec"
# FORCE ends the sessions that a test left open.
DROP_DATABASE = r"SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', :'database') \gexec"


@dataclass(frozen=True)
class Connection:
    """How psql connects: always over TCP on loopback, always with a password."""

    port: int
    user: str
    password: str
    database: str

    def environment(self) -> dict[str, str]:
        """Our environment for a libpq client of this connection, without any other PG* variable."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {
            "PGHOST": LOOPBACK,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
            "PGCLIENTENCODING": "UTF8",
        }


def query(
    binaries: Binaries,
    connection: Connection,
    script: str,
    variables: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> str:
    """Run a psql script. Returns what it printed, unaligned, one row a line.

    `variables` are psql's (:'name' quotes), `secrets` environment variables for its backticks.
    Raises EmbeddedPostgresError with psql's own message.
    """
    command = [binaries.program("psql"), "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]
    for name, value in (variables or {}).items():
        command += ["-v", f"{name}={value}"]
    environment = connection.environment() | {"LC_ALL": "C"} | dict(secrets or {})
    try:
        done = subprocess.run(
            command,
            input=script,
            env=environment,
            capture_output=True,
            text=True,
            timeout=QUERY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL on port {connection.port} did not answer within {QUERY_SECONDS:.0f} s",
            "Stop it and start it again: sh run.sh -2 stop; sh run.sh -2",
        ) from error
    if done.returncode != 0:
        words = done.stderr.strip() or f"psql ended with status {done.returncode}"
        raise EmbeddedPostgresError(
            f"PostgreSQL on port {connection.port} refused {connection.user}: {words}",
            "Read the server's log, which has more",
        )
    return done.stdout.strip()
