"""Which types can take another's place while code that knows only the old one is serving."""

from __future__ import annotations

import pytest

from postdo.compatibility.column_types import fits


@pytest.mark.parametrize(
    ("old", "new", "well"),
    [
        ("character varying(50)", "character varying(80)", True),
        ("character varying(50)", "character varying", True),
        ("character varying(50)", "text", True),
        ("character varying(50)", "public.citext", True),
        ("character(3)", "character varying(3)", True),
        ("character(3)", "text", True),
        ("text", "character varying", True),
        ("public.citext", "citext", True),
        ("smallint", "bigint", True),
        ("integer", "bigint", True),
        ("numeric(10,2)", "numeric(12,2)", True),
        ("numeric(10,2)", "numeric(12,4)", True),
        ("numeric(10,2)", "numeric", True),
        ("real", "double precision", True),
        ("character varying(9)[]", "character varying(20)[]", True),
        ("integer[]", "bigint[]", True),
        ("character varying(50)", "character varying(20)", False),
        ("character varying", "character varying(50)", False),
        ("text", "character varying(50)", False),
        ("text", "character(50)", False),
        ("citext", "text", False),
        ("bigint", "integer", False),
        ("numeric(10,2)", "numeric(10,4)", False),
        ("numeric(10,2)", "numeric(9,2)", False),
        ("numeric", "numeric(10,2)", False),
        ("double precision", "real", False),
        ("integer", "numeric", False),
        ("integer", "character varying(50)", False),
        ("date", "timestamp with time zone", False),
        ("timestamp without time zone", "timestamp with time zone", False),
        ("text", "text[]", False),
        ("integer[]", "integer", False),
        ("uuid", "text", False),
        ("geometry(Point,4326)", "geometry(Point,3857)", False),
        ("other.mood", "text", False),
    ],
)
def test_a_type_that_holds_as_much_may_take_another_types_place(
    old: str, new: str, well: bool
) -> None:
    assert fits(old, new) is well
    assert fits(old, old)
