"""The same schema somewhere else, or under other names, reads as the same."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import forkserver
import pytest
from catalogues import SHOP, connected, undone
from projects import make, query

from embedded_postgres import Cluster
from postdo.base.database import rows
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue
from postdo.schema.diff import compare
from postdo.schema.normalize import worded

# Gives every constraint, every other index and every sequence of a schema a name of no meaning.
RENAME = """
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT conrelid::regclass AS place, conname AS name FROM pg_constraint
               WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conparentid = 0
                 AND contype <> 'n' -- NOT NULL (18): a partition has its parent's
    LOOP EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I',
                        one.place, one.name, 'r' || md5(one.name)); END LOOP;
    FOR one IN SELECT oid::regclass AS place, relname AS name, relkind FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('i', 'S')
                 AND relname !~ '^r[0-9a-f]{32}$' AND relname <> 'shop_ticket'
    LOOP EXECUTE format('ALTER %s %s RENAME TO %I',
                        CASE one.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END,
                        one.place, 'r' || md5(one.name)); END LOOP;
END $$
"""
GENERATED_NAMES = """
SELECT count(*) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('i', 'S')
  AND relname ~ '^r[0-9a-f]{32}$'
"""


@pytest.fixture(scope="module")
def shop(postgres: Cluster) -> Iterator[str]:
    """The URL of a database with the shop in it; tests leave it as it is."""
    with postgres.fresh_database(f"test_{secrets.token_hex(6)}") as url:
        query(url, SHOP)
        yield url


def read(url: str, wording: Catalogue | None = None) -> Catalogue:
    """What is there; in the words of another one, where PostgreSQL takes them for the same."""
    with connected(url) as session:
        found = catalogue.read(session)
        return worded(session, found, wording) if wording else found


def restore(cluster: Cluster, source: str, target: str) -> None:
    """Copy the schema as a backup would."""
    programs = cluster.status().programs
    assert programs is not None
    dump = subprocess.run(
        [programs / "pg_dump", "--schema-only", source], capture_output=True, check=True
    )
    subprocess.run(
        [programs / "psql", "--quiet", "--set=ON_ERROR_STOP=1", target],
        input=dump.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def test_a_restored_dump_has_the_same_checksum(shop: str, database: str, postgres: Cluster) -> None:
    restore(postgres, shop, database)
    before = read(shop)
    after = read(database, before)
    assert compare(before, after) == ()
    assert after.checksum == before.checksum
    assert len(after.entries) > 50


CONDITIONS = (
    "shade IN ('red', 'it''s, \"blue\"')",
    "shade NOT IN ('red', '])::text[]')",
    "shade IN ('red', NULL)",
    "shade IN ('red'::text, 'blue')",
    "lower(shade) IN ('red', 'blue')",
    "(shade IN ('red', 'blue') AND note = 'x') OR shade IN ('green', 'grey')",
    "note IN ('x', 'y')",
    "price IN (1, 2.5)",
    "price BETWEEN -1.5 AND 10",
    "made > '2026-01-01 00:00+00'",
    "words && ARRAY['a', 'b']::varchar[]",
    "CASE WHEN price = 1 THEN shade = 'red' ELSE true END",
    "shade::varchar(3) = 'red' AND shade IS DISTINCT FROM note",
)


def test_conditions_of_many_forms_are_the_same_in_a_restored_dump(
    database: str, postgres: Cluster
) -> None:
    query(
        database,
        "CREATE TABLE odd (shade varchar(10), note text, price numeric(8, 2), made timestamptz,"
        " words varchar(10)[] DEFAULT ARRAY['a', 'b'])",
    )
    for condition in CONDITIONS:
        query(database, f"ALTER TABLE odd ADD CHECK ({condition})")
        query(database, f"CREATE INDEX ON odd (price) WHERE {condition}")
        view = f"v_{secrets.token_hex(4)}"
        query(database, f"CREATE VIEW {view} AS SELECT ({condition}) AS yes FROM odd")  # noqa: S608
    with postgres.fresh_database(f"test_{secrets.token_hex(6)}") as copy:
        restore(postgres, database, copy)
        before = read(database)
        after = read(copy, before)
    assert len(before.of("constraint")) == len(before.of("index")) == len(CONDITIONS)
    assert compare(before, after) == ()
    assert after.checksum == before.checksum


def test_other_names_of_constraints_indexes_and_sequences_are_no_difference(
    shop: str,
) -> None:
    before = read(shop)
    with connected(shop) as session, undone(session):
        rows(session, RENAME)
        ((renamed,),) = rows(session, GENERATED_NAMES)
        after = catalogue.read(session)
    assert renamed >= 9
    assert compare(before, after) == ()
    assert after.checksum == before.checksum


def test_a_project_of_django_is_the_same_under_other_names(tmp_path: Path, database: str) -> None:
    apps = ("django.contrib.sessions", "django.contrib.sites", "django.contrib.redirects")
    project = make(tmp_path, database, apps=apps)
    forkserver.run(
        [sys.executable, "-m", "django", "migrate"],
        cwd=tmp_path,
        env=project.variables(),
        check=True,
        capture_output=True,
    )
    before = read(database)
    query(database, RENAME)
    after = read(database)
    assert "public.auth_user" in after.tables
    assert {entry.name for entry in before.of("constraint")}.isdisjoint(
        entry.name for entry in after.of("constraint")
    )
    assert compare(before, after) == ()
    assert after.checksum == before.checksum
