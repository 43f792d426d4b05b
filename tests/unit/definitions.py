"""Conditions and values in SQL, generated: what people and Django write into definitions."""

from __future__ import annotations

from hypothesis import strategies as st

# ruff: noqa: S608  statements for tests alone

# A table with a column of each type that is often met, and what the conditions below may name.
TABLE = """
CREATE TYPE mood AS ENUM ('new', 'paid', 'sent');
CREATE DOMAIN percent AS integer CHECK (VALUE >= 0 AND VALUE <= 100);
CREATE TABLE made (
    s varchar(10), v varchar, w varchar(10), t text, c char(4), n integer, m smallint, k bigint,
    d numeric(8, 2), f double precision, b boolean, day date, at timestamptz, stamp timestamp,
    span interval, hour time, tags text[], words varchar(10)[], numbers integer[], j jsonb,
    e mood, p percent, u uuid, i inet, raw bytea
);
CREATE TABLE beside (id integer, label varchar(10), note text, mood mood);
"""
LITERALS = {
    "s": ["'a'", "'b, c'", "'it''s'", "''", "'x'::varchar(10)", "'y'::text", "NULL", "v", "w"],
    "v": ["'a'", "'(b'", "'c'::varchar", "s", "lower(t)", "NULL"],
    "t": ["'a'", "'ARRAY[''x'']'", "s", "v || 'x'", "upper(s)", "NULL", "'q'::varchar(3)"],
    "c": ["'ab'", "'cd'::char(4)", "s", "NULL", "'x'::bpchar"],
    "n": ["1", "-1", "n + 1", "m", "length(s)", "NULL", "2::bigint", "'7'", "p", "1 - 2"],
    "m": ["1", "-2", "3::smallint", "n", "m * 2", "NULL"],
    "k": ["1", "9999999999", "n", "k - 1", "-5", "NULL", "'8'::bigint"],
    "d": ["1", "2.5", "-0.1", "n", "d * 2", "NULL", "1e3", "3::numeric(8,2)"],
    "f": ["1", "2.5", "-1e-3", "n", "d", "NULL", "'nan'"],
    "b": ["true", "false", "n > 1", "NULL", "'t'::boolean"],
    "day": ["'2026-01-01'", "current_date", "day + 1", "NULL", "DATE '2026-02-03'", "at::date"],
    "at": ["now()", "'2026-01-01 10:00+02'", "day", "at + interval '1 day'", "NULL", "stamp"],
    "stamp": ["'2026-01-01 10:00'", "day", "at AT TIME ZONE 'UTC'", "NULL"],
    "span": ["'1 day'", "interval '2 h'", "span * 2", "-span", "NULL", "interval '3' year"],
    "hour": ["'10:00'", "hour + interval '1 h'", "NULL", "TIME '11:00'"],
    "e": ["'new'", "'paid'::mood", "e", "NULL"],
    "p": ["1", "n", "5::percent", "NULL"],
    "u": ["'12345678-1234-1234-1234-123456789abc'", "NULL"],
    "i": ["'10.0.0.1'", "'::1'::inet", "NULL"],
    "raw": ["'\\x00'", "NULL"],
    "tags": ["'{a,b}'", "ARRAY['a', t]", "tags || 'x'", "NULL", "'{}'::text[]", "words"],
    "words": ["'{a}'", "ARRAY['a', s]", "words", "NULL", "ARRAY['a','b']::varchar(10)[]"],
    "numbers": ["'{1}'", "ARRAY[1, n]", "numbers", "ARRAY[]::int[]", "NULL"],
    "j": ["'{\"a\": 1}'", "j -> 'x'", "NULL", "to_jsonb(s)"],
}
TYPES = {
    "s": "varchar(10)", "v": "varchar", "t": "text", "c": "char(4)", "n": "integer",
    "m": "smallint", "k": "bigint", "d": "numeric(8,2)", "f": "float8", "day": "date",
    "at": "timestamptz", "e": "mood", "p": "percent", "u": "uuid", "b": "boolean",
}  # fmt: skip
OPERATORS = ["=", "<>", "<", ">=", "!="]
WORDS = ["LIKE", "NOT LIKE", "ILIKE", "~", "!~*", "SIMILAR TO", "^@"]


def _values(column: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*LITERALS[column], column])


@st.composite
def _lists(draw: st.DrawFn, column: str) -> str:
    return ", ".join(draw(st.lists(_values(column), min_size=1, max_size=4)))


@st.composite
def _arrays(draw: st.DrawFn, column: str) -> str:
    items = draw(_lists(column))
    cast = draw(st.sampled_from(["", "", "[]", "text[]", "varchar[]"]))
    if cast == "[]":
        cast = TYPES.get(column, "text") + "[]"
    return f"ARRAY[{items}]" + (f"::{cast}" if cast else "")


@st.composite
def _simple(draw: st.DrawFn) -> str:
    """A condition on one column."""
    x = draw(st.sampled_from(sorted(LITERALS)))
    y, z = draw(_values(x)), draw(_values(x))
    operator, word = draw(st.sampled_from(OPERATORS)), draw(st.sampled_from(WORDS))
    array, items = draw(_arrays(x)), draw(_lists(x))
    way = draw(st.sampled_from(["ANY", "ALL", "SOME"]))
    no = draw(st.sampled_from(["", "NOT "]))
    cast = draw(st.sampled_from(["text", "varchar", "varchar(5)", TYPES.get(x, "text")]))
    return draw(
        st.sampled_from(
            [
                f"{x} {operator} {y}",
                f"{x} {no}IN ({items})",
                f"{x} {operator} {way} ({array})",
                f"{x}::{cast} {operator} {way} ({array})",
                f"{x}::{cast} {no}IN ({items})",
                f"{x} {no}BETWEEN {y} AND {z}",
                f"{x} {no}BETWEEN SYMMETRIC {y} AND {z}",
                f"{x} IS {no}NULL",
                f"{x} IS {no}DISTINCT FROM {y}",
                f"({x}, n) {operator} ({y}, 1)",
                f"({x}, s) {no}IN (({y}, 'a'), ({z}, 'b'))",
                f"coalesce({x}, {y}) {operator} {z}",
                f"nullif({x}, {y}) IS {no}NULL",
                f"greatest({x}, {y}, {z}) {operator} {x}",
                f"CASE WHEN {x} = {y} THEN {z} ELSE {x} END {operator} {y}",
                f"CASE {x} WHEN {y} THEN true ELSE b END",
                f"s {word} 'a%'",
                f"v {word} {way} (ARRAY['a%', s, t])",
                f"t {word} {way} (ARRAY['a', 'b']::varchar(3)[])",
                f"{x}::{cast} {operator} {y}::{cast}",
                f'{x} COLLATE "C" {operator} {y}',
                f"{x} = {way} (tags)",
                f"{x} {operator} {way} (words)",
                f"{x} = {way} ('{{1,2}}')",
                f"{x} = {way} (numbers || 1)",
                "tags @> ARRAY['a', s]",
                f"words && {array}",
                f"j @> {y}::jsonb",
                "(j ->> 'a')::int IN (1, 2)",
                "j ? 'a' OR j ?| ARRAY['a', 'b']",
                f"extract(year FROM at) {operator} 2026",
                "date_trunc('day', at) = day",
                f"at AT TIME ZONE 'Europe/Rome' {operator} stamp",
                f"substring(s FROM 1 FOR 2) {operator} {y}",
                "trim(BOTH 'x' FROM t) <> ''",
                f"position('a' IN s) {operator} {way} (ARRAY[1, n])",
                "overlay(t PLACING 'x' FROM 1 FOR 2) <> t",
                "(day, day + 1) OVERLAPS (day, day + 2)",
                "made IS NOT NULL",
                f"row({x}, t) IS {no}NULL",
                "b IS NOT TRUE",
                "NOT b",
                f"tags[1] {operator} {y}",
                f"numbers[1:2] = ARRAY[{y}, 2]",
                f"s || n || {y} <> t",
                f"-n {operator} - 1",
                f"n % 2 {operator} (m + -k) * 2",
                "f ^ 2 > |/ d",
                f"day - interval '1 day' {operator} current_timestamp",
                f"e::text {no}IN ('new', s)",
                f"e = {way} (ARRAY['new', 'paid']::mood[])",
                f"lower(s) {no}IN ({items})",
                f"(s || 'x')::varchar(10) {no}IN ({items})",
                f"{x} {no}IN ({items}, {x}::{cast})",
            ]
        )
    )


@st.composite
def _both(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    one, two, three = draw(inner), draw(inner), draw(inner)
    return draw(
        st.sampled_from(
            [
                f"({one}) AND ({two})",
                f"({one}) OR ({two}) OR ({three})",
                f"(({one}) AND ({two})) AND ({three})",
                f"({one}) AND (({two}) OR ({three}))",
                f"NOT ({one})",
                f"({one}) IS NOT TRUE",
                f"coalesce({one}, {two})",
                f"CASE WHEN {one} THEN {two} ELSE {three} END",
            ]
        )
    )


def conditions() -> st.SearchStrategy[str]:
    """Conditions on a row of ``made``; PostgreSQL does not take each of them."""
    return st.recursive(_simple(), _both, max_leaves=4)


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Queries that a view may be made of."""
    where, more = draw(conditions()), draw(_simple())
    x = draw(st.sampled_from(sorted(LITERALS)))
    value, items = draw(_values(x)), draw(_lists(x))
    return draw(
        st.sampled_from(
            [
                f"SELECT {x} FROM made WHERE {where}",
                f"SELECT {value} AS value FROM made WHERE {where}",
                f"SELECT made.{x}, o.id FROM made JOIN beside o ON made.s IN ('a', o.label)"
                f" WHERE {where}",
                f"SELECT id FROM beside o WHERE EXISTS (SELECT FROM made WHERE {more}"
                " AND s IN ('a', o.label) AND o.mood = ANY (ARRAY[e, 'new']))",
                f"SELECT id FROM beside WHERE label IN (SELECT s FROM made WHERE {where})",
                f"SELECT id, ({more}) AS chosen FROM beside, made",
                f"SELECT s, count(*) FILTER (WHERE {more}) FROM made GROUP BY s"
                " HAVING count(*) > 1 ORDER BY s LIMIT 5",
                f"SELECT s FROM made WHERE {more} UNION ALL SELECT label FROM beside",
                f"SELECT {x} IN ({items}) AS chosen, lag({x}) OVER (ORDER BY n) FROM made",
                f"WITH chosen AS (SELECT * FROM made WHERE {where}) SELECT {x} FROM chosen",
                f"SELECT m.{x} FROM made m CROSS JOIN LATERAL"
                " (SELECT label FROM beside WHERE label <> ALL (ARRAY[m.s, m.t])) l",
                f"SELECT CASE WHEN {more} THEN 'a' ELSE s END AS word FROM made",
                f"VALUES ({value}::text), ('a')",
            ]
        )
    )
