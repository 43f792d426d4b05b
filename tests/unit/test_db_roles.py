"""db/roles/: what the site's role is given in PostgreSQL. The whole of it: tests/stack."""

from __future__ import annotations

import secrets
import subprocess

from programs import needed
from projects import REPOSITORY, query

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


def test_the_site_can_copy_what_an_extension_keeps_in_tables(database: str) -> None:
    """pg_dump writes such rows whatever is asked of it, and a restore has to be able to."""
    role, psql = f"role_{secrets.token_hex(4)}", needed("psql")
    query(database, f"CREATE ROLE {role}")
    query(database, SETTINGS)
    script = REPOSITORY / "db/roles/extension.sql"
    options = ["-v", "ON_ERROR_STOP=1", "-v", "extension=hstore", "-v", f"role={role}"]
    try:
        for _ in range(2):  # each start does it
            subprocess.run([psql, "-X", "-q", *options, "-f", script, database], check=True)
        query(database, f"SET ROLE {role};" + RESTORED)
        assert query(database, 'SELECT * FROM "Its own"."Some rows"') == [(7,)]
    finally:
        query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
