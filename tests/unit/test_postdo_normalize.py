"""A definition is the same before and after it was dumped and restored, whatever its words."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from catalogues import connected, undone
from definitions import TABLE, conditions, queries
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from projects import open_connection, query

from embedded_postgres import Cluster
from embedded_postgres.binaries import choose
from postdo.base.database import rows
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue
from postdo.schema.diff import compare
from postdo.schema.normalize import worded


@contextmanager
def restored(url: str, postgres: Cluster) -> Iterator[str]:
    """A database that was restored from a dump of this one."""
    dump = [choose().program("pg_dump"), "--schema-only", "--no-owner", url]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    with postgres.fresh_database(f"again_{secrets.token_hex(4)}") as again:
        psql = [choose().program("psql"), "-q", "-v", "ON_ERROR_STOP=1", again]
        subprocess.run(psql, input=text, check=True, capture_output=True, text=True)
        yield again


def differ(session: BaseDatabaseWrapper, one: Catalogue, other: Catalogue) -> list[str]:
    """What is left of their differences, whichever of them is put into the words of the other."""
    found = [*compare(worded(session, one, other), other)]
    found += compare(one, worded(session, other, one))
    return [difference.what for difference in found]


WRITTEN = (
    "(s IN ('a', 'b'))",
    "(s NOT IN ('a', 'b'))",
    "(s = ANY (ARRAY['a', 'b']::varchar(10)[]))",
    "(s <> ALL (ARRAY['a', 'b']::varchar(10)[]))",
    "(s = ANY (ARRAY['a', v]))",
    "(s IN ('a', lower(t), v))",
    "(d = ANY (ARRAY[1.5, 2]::numeric(8,2)[]))",
    "(d IN (1, 2.5, n))",
    "(n BETWEEN 1 AND 9 AND s <> 'x' AND b)",
    "(c IN ('ab', 'cd'))",
    "(s LIKE ANY (ARRAY['a%', 'b%']))",
    "(made IS NOT NULL AND n > 1)",
)
# Those that PostgreSQL shows in other words after a dump and a restore, among others.
CHANGING = (
    *("c0 on", "c2 on", "c3 on", "c8 on", "policy p0", "type d0", "view shown"),
    *("view kept", "on_kept", "function chosen", "made.b has"),
)


def test_what_people_write_reads_as_before_after_a_dump(database: str, postgres: Cluster) -> None:
    query(database, TABLE)
    for number, condition in enumerate(WRITTEN):
        query(database, f"ALTER TABLE made ADD CONSTRAINT c{number} CHECK {condition}")
        query(database, f"CREATE INDEX i{number} ON made (n) WHERE {condition}")
        query(database, f"CREATE POLICY p{number} ON made USING {condition}")
        query(database, f"CREATE DOMAIN d{number} AS varchar(10) CHECK (VALUE IN ('a', 'b'))")
    query(
        database,
        """
        CREATE VIEW shown AS SELECT id FROM beside o
            WHERE EXISTS (SELECT FROM made WHERE s IN ('a', o.label));
        CREATE MATERIALIZED VIEW kept AS SELECT s IN ('a', 'b') AS chosen, n FROM made;
        CREATE INDEX on_kept ON kept ((n BETWEEN 1 AND 9 AND chosen AND n > 2));
        CREATE FUNCTION chosen(w varchar(10) DEFAULT 'a') RETURNS boolean LANGUAGE SQL
            BEGIN ATOMIC SELECT w IN ('a', 'b') AND w BETWEEN 'a' AND 'c' AND w <> 'b'; END;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER touched BEFORE UPDATE ON made FOR EACH ROW
            WHEN (NEW.s IN ('a', OLD.v)) EXECUTE FUNCTION touch();
        ALTER TABLE made ADD computed boolean GENERATED ALWAYS AS (s IN ('a', v)) STORED;
        ALTER TABLE made ALTER b SET DEFAULT ('a'::varchar(10) IN ('a', 'b'));
        CREATE TABLE parted (n int, s varchar(10)) PARTITION BY LIST ((s IN ('a', 'b')));
        """,
    )
    with restored(database, postgres) as again, connected(database) as session:
        one = catalogue.read(session)
        with connected(again) as there:
            other = catalogue.read(there)
            in_other_words = " ".join(difference.what for difference in compare(one, other))
            assert [name for name in CHANGING if name not in in_other_words] == []
            assert differ(there, one, other) == []
        assert differ(session, one, other) == []
        with undone(session):  # as in the transaction of a migration
            assert differ(session, one, other) == []
            rows(session, "SELECT 1")


CHANGED = {
    "constraint": ("CHECK (s IN ('a', 'b'))", "CHECK (s IN ('a', 'c'))"),
    "order of a list": ("CHECK (s IN ('a', 'b'))", "CHECK (s IN ('b', 'a'))"),
    "type": ("CHECK (s = 'a')", "CHECK (s::char(4) = 'a')"),
    "and, or": ("CHECK (n > 1 AND (b OR n < 9))", "CHECK ((n > 1 AND b) OR n < 9)"),
    "any, all": ("CHECK (s <> ALL ('{a}'))", "CHECK (s <> ANY ('{a}'))"),
}


@pytest.mark.parametrize(("one", "other"), CHANGED.values(), ids=CHANGED)
def test_another_definition_stays_another_one(database: str, one: str, other: str) -> None:
    query(database, TABLE)
    found = []
    with connected(database) as session:
        for definition in (one, other):
            with undone(session):
                rows(session, f"ALTER TABLE made ADD CONSTRAINT made_check {definition}")
                found.append(catalogue.read(session))
        assert len(differ(session, *found)) == 2


def test_what_cannot_be_read_again_keeps_its_words_and_breaks_nothing(database: str) -> None:
    query(
        database,
        f"{TABLE}; CREATE FUNCTION good(w text) RETURNS boolean IMMUTABLE LANGUAGE sql"
        " AS 'SELECT true'; ALTER TABLE made ADD CONSTRAINT c CHECK (good(s))",
    )
    with connected(database) as session:
        one = catalogue.read(session)
        query(database, "DROP FUNCTION good CASCADE; ALTER TABLE made ADD CONSTRAINT c CHECK (b)")
        with undone(session):
            rows(session, "INSERT INTO beside VALUES (1)")
            assert len(differ(session, one, catalogue.read(session))) == 4
            assert rows(session, "SELECT count(*) FROM beside") == [(1,)]


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # an example is a database, and says which definition it is
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(conditions(), min_size=16, max_size=20, unique=True),
    st.lists(queries(), min_size=6, max_size=8, unique=True),
)
def test_no_generated_definition_is_another_one_after_a_dump(
    postgres: Cluster, wanted: list[str], views: list[str]
) -> None:
    with postgres.fresh_database(f"made_{secrets.token_hex(4)}") as url:
        connection = open_connection(url)
        cursor = connection.cursor()
        cursor.execute(TABLE)
        for number, condition in enumerate(wanted):
            form = (
                "ALTER TABLE made ADD CONSTRAINT c{n} CHECK ({c})",
                "CREATE INDEX i{n} ON made (({c}), lower(s)) WHERE {c}",
                "CREATE POLICY p{n} ON made USING ({c}) WITH CHECK ({c})",
                "ALTER TABLE made ADD g{n} boolean GENERATED ALWAYS AS ({c}) STORED",
            )[number % 4]
            _try(cursor, form.format(n=number, c=condition))
        for number, select in enumerate(views):
            _try(cursor, f"CREATE VIEW v{number} AS {select}")
        connection.close()
        with restored(url, postgres) as again, connected(url) as one, connected(again) as other:
            assert differ(other, catalogue.read(one), catalogue.read(other)) == []


def _try(cursor: Any, statement: str) -> None:
    """PostgreSQL does not take each of them; the errors are those of whichever driver."""
    with suppress(Exception):
        cursor.execute(statement)
