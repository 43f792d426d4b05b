"""db/roles/: what the site's role is given in PostgreSQL. The whole of it: tests/stack."""

from __future__ import annotations

import secrets
import subprocess

import pytest
from programs import needed
from projects import REPOSITORY, need_extensions, query

# As pg_extension_config_dump does it, which only an extension's own script may call.
SETTINGS = """
CREATE EXTENSION hstore;
CREATE SCHEMA "Its own";
CREATE TABLE "Its own"."Some rows" (id serial PRIMARY KEY);
ALTER EXTENSION hstore ADD TABLE "Its own"."Some rows";
SET allow_system_table_mods = on;
UPDATE pg_extension SET extcondition = ARRAY['', ''], extconfig = ARRAY[
    '"Its own"."Some rows"'::regclass, '"Its own"."Some rows_id_seq"'::regclass]::oid[]
WHERE extname = 'hstore'
"""
RESTORED = """
INSERT INTO "Its own"."Some rows" VALUES (7);
SELECT setval('"Its own"."Some rows_id_seq"', 8);
"""


def run_sql(script: str, url: str, **variables: str) -> None:
    """Run a script of db/roles/ as the database's superuser."""
    given = (f"{name}={value}" for name, value in {"ON_ERROR_STOP": "1", **variables}.items())
    options = [word for one in given for word in ("-v", one)]
    file = REPOSITORY / "db/roles" / script
    subprocess.run([needed("psql"), "-X", "-q", *options, "-f", file, url], check=True)


def test_the_role_of_a_release_that_was_killed_cannot_log_in_after_the_next_start(
    database: str,
) -> None:
    needed("psql")
    name = secrets.token_hex(4)
    site, release = f"site_{name}", f"release_{name}"
    query(database, f"CREATE ROLE {release} LOGIN CREATEDB PASSWORD 'of-a-killed-run'")
    names = {"role": site, "mover": f"mover_{name}", "release": release, "database": name}
    try:
        run_sql("settle.sql", database, createdb="NOCREATEDB", **names)
        look = f"SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = '{release}'"  # noqa: S608
        assert query(database, look) == [(False, None)]
        run_sql("settle.sql", database, createdb="NOCREATEDB", **names)
    finally:
        query(database, f"DROP ROLE {release}; DROP ROLE {site}")


def test_a_database_that_a_killed_switch_has_closed_is_open_after_the_next_start(
    database: str,
) -> None:
    name = f"site_{secrets.token_hex(4)}"
    ((site,),) = query(database, "SELECT current_database()")
    names = {"role": name, "mover": f"{name}_m", "release": f"{name}_r", "database": str(site)}
    limits = []
    try:
        for limit in (0, 7):
            query(database, f'ALTER DATABASE "{site}" CONNECTION LIMIT {limit}')
            run_sql("settle.sql", database, createdb="NOCREATEDB", **names)
            look = "SELECT datconnlimit FROM pg_database WHERE datname = current_database()"
            limits += query(database, look)
        assert limits == [(-1,), (7,)]
    finally:
        query(database, f'ALTER DATABASE "{site}" CONNECTION LIMIT -1; DROP ROLE {name}')


def test_the_sites_role_loses_what_an_injection_would_use(database: str) -> None:
    """Also one that an older kit, or somebody by hand, has made a superuser."""
    name = f"site_{secrets.token_hex(4)}"
    query(database, f"CREATE ROLE {name} LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS")
    names = {"role": name, "mover": f"{name}_m", "release": f"{name}_r", "database": "none"}
    try:
        run_sql("settle.sql", database, createdb="NOCREATEDB", **names)
        rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        look = f"SELECT {rights} FROM pg_roles WHERE rolname = '{name}'"  # noqa: S608
        assert query(database, look) == [(False,) * 5]
        with pytest.raises(Exception, match=r"permission denied|must be superuser"):
            query(database, f"SET ROLE {name}; COPY (SELECT 1) TO PROGRAM 'true'")
    finally:
        query(database, f"DROP ROLE {name}")


def test_the_site_can_copy_what_an_extension_keeps_in_tables(database: str) -> None:
    """pg_dump writes such rows whatever is asked of it, and a restore has to be able to."""
    need_extensions(database, "hstore")
    role = f"role_{secrets.token_hex(4)}"
    query(database, f"CREATE ROLE {role}")
    query(database, SETTINGS)
    try:
        for _ in range(2):  # each start does it
            run_sql("extension.sql", database, extension="hstore", role=role)
        query(database, f"SET ROLE {role};" + RESTORED)
        assert query(database, 'SELECT * FROM "Its own"."Some rows"') == [(7,)]
    finally:
        query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
