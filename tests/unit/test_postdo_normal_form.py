"""A definition reads the same before and after it was dumped and restored."""

from __future__ import annotations

import secrets
import subprocess

import pytest
from catalogues import connected
from projects import query

from embedded_postgres import Cluster
from embedded_postgres.binaries import choose
from postdo.schema import catalogue
from postdo.schema.normal_form import normal

CHAINS = {
    "(((n >= 1) AND (n <= 9)) AND (k <> 'x'))": "((n >= 1) AND (n <= 9) AND (k <> 'x'))",
    "((((a) AND (b)) AND (c)) AND (d))": "((a) AND (b) AND (c) AND (d))",
    "(((a = 1) OR (a = 2)) OR (b = 3))": "((a = 1) OR (a = 2) OR (b = 3))",
    "(((a = 1) OR (a = 2)) AND (b = 3))": "(((a = 1) OR (a = 2)) AND (b = 3))",
    "((a = 1) AND ((b = 2) AND (c = 3)))": "((a = 1) AND ((b = 2) AND (c = 3)))",
    "((a = ') AND ((b') AND (c = 3))": "((a = ') AND ((b') AND (c = 3))",
    "(((a = ' OR ') AND (b)) OR (c))": "(((a = ' OR ') AND (b)) OR (c))",
    'CHECK (((("a)" > 1) AND (b)) AND (c)))': 'CHECK ((("a)" > 1) AND (b) AND (c)))',
}


@pytest.mark.parametrize(("written", "restored"), CHAINS.items())
def test_chains_of_and_read_as_the_parser_takes_them(written: str, restored: str) -> None:
    assert normal(written) == restored
    assert normal(normal(written)) == normal(written)


BETWEEN = """
CREATE TABLE ranged (n int, m int, kind text,
    CONSTRAINT c CHECK (((n BETWEEN 1 AND 900) AND NOT kind = 'x')));
CREATE INDEX ranged_index ON ranged (m) WHERE ((n BETWEEN 1 AND 9) AND (m > 1)) AND kind <> '(';
CREATE VIEW shown AS SELECT n FROM ranged
    WHERE n BETWEEN 1 AND 9 AND (kind <> 'x' OR n IN (1, 2)) AND (n NOT BETWEEN 3 AND 4 OR m = 1);
CREATE POLICY p ON ranged USING (n BETWEEN 1 AND 9 AND m > 1);
CREATE FUNCTION chosen(i int) RETURNS boolean LANGUAGE SQL
    BEGIN ATOMIC SELECT i BETWEEN 1 AND 9 AND i <> 4; END;
"""


def test_what_was_dumped_and_restored_reads_as_before(database: str, postgres: Cluster) -> None:
    query(database, BETWEEN)
    dump = [choose().program("pg_dump"), "--schema-only", "--no-owner", database]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    with postgres.fresh_database(f"again_{secrets.token_hex(4)}") as again:
        psql = [choose().program("psql"), "-q", "-v", "ON_ERROR_STOP=1", again]
        subprocess.run(psql, input=text, check=True, capture_output=True, text=True)
        with connected(database) as one, connected(again) as other:
            assert catalogue.read(other) == catalogue.read(one)


def test_a_list_of_words_reads_the_same_before_and_after_a_dump() -> None:
    written = (
        "((a)::text = ANY ((ARRAY['x'::character varying, 'y, ''z'::character varying])::text[]))"
    )
    restored = (
        "((a)::text = ANY (ARRAY[('x'::character varying)::text, "
        "('y, ''z'::character varying)::text]))"
    )
    assert normal(written) == normal(restored) == restored
