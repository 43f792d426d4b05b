"""Decide which column types can replace another without the code noticing. Pure.

``varchar(50)`` can become ``varchar(100)`` or ``text``: all values that the running version reads
and writes still fit. The other direction can break its writes, and a change from text to integer
breaks its reads too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# As format_type prints it: numeric(10,2), timestamp(3) with time zone, public.citext[].
_TYPE = re.compile(
    r"^(?P<base>[^(\[]+)(?:\((?P<arguments>[^)]*)\)(?P<rest>[^(\[]*))?(?P<array>(?:\[\d*\])*)$"
)
_ARRAY = re.compile(r"\[\d*\]")

INTEGERS = ("smallint", "integer", "bigint")
FLOATS = ("real", "double precision")
VARCHAR, CHAR, TEXT, CITEXT, NUMERIC = (
    "character varying",
    "character",
    "text",
    "citext",
    "numeric",
)
# Of what a value is, for the people who are told why two types do not fit.
FAMILIES = ((VARCHAR, CHAR, TEXT), INTEGERS, FLOATS, (NUMERIC,))


@dataclass(frozen=True)
class ColumnType:
    """The parts of a type. ``base``: without its schema. ``dimensions``: 0 if it is no array."""

    base: str
    arguments: tuple[int, ...]
    dimensions: int


def parse(text: str) -> ColumnType:
    """Split a type into its parts; an unknown form becomes a base of its own."""
    found = _TYPE.match(text.strip())
    if found is None:
        return ColumnType(text.strip(), (), 0)
    given = [part.strip() for part in (found["arguments"] or "").split(",") if part.strip()]
    base = f"{found['base'].strip()} {(found['rest'] or '').strip()}".strip()
    if not all(part.lstrip("-").isdigit() for part in given):  # geometry(Point,4326)
        base, given = f"{base}({','.join(given)})", []
    schema, dot, name = base.partition(".")
    return ColumnType(
        base=name if dot and "(" not in schema else base,
        arguments=tuple(int(part) for part in given),
        dimensions=len(_ARRAY.findall(found["array"])),
    )


def fits(old: str, new: str) -> bool:
    """Whether code written for type ``old`` reads and writes a column of type ``new`` unchanged."""
    one, other = parse(old), parse(new)
    if one == other:
        return True
    if bool(one.dimensions) != bool(other.dimensions):
        return False
    return (
        _fits_text(one, other)
        or _wider(one.base, other.base, INTEGERS)
        or _wider(one.base, other.base, FLOATS)
        or _fits_numeric(one, other)
        or (bool(one.dimensions) and (one.base, one.arguments) == (other.base, other.arguments))
    )


def same_kind(old: str, new: str) -> bool:
    """Whether values read from ``new`` are at least of the same kind, so that only writes fail."""
    one, other = parse(old).base, parse(new).base
    return one == other or any(one in family and other in family for family in FAMILIES)


def _fits_text(one: ColumnType, other: ColumnType) -> bool:
    if one.base not in (VARCHAR, CHAR, TEXT):
        return False
    if other.base == CITEXT:
        return True
    unlimited = other.base == TEXT or (other.base == VARCHAR and not other.arguments)
    if unlimited:
        return True
    longer = bool(one.arguments) and other.arguments >= one.arguments
    return one.base != TEXT and other.base == VARCHAR and longer


def _wider(one: str, other: str, ladder: tuple[str, ...]) -> bool:
    return one in ladder and other in ladder and ladder.index(one) < ladder.index(other)


def _fits_numeric(one: ColumnType, other: ColumnType) -> bool:
    if (one.base, other.base) != (NUMERIC, NUMERIC):
        return False
    if not other.arguments:
        return True
    if not one.arguments:
        return False
    (precision, scale), (more, finer) = _digits(one.arguments), _digits(other.arguments)
    return finer >= scale and more - finer >= precision - scale


def _digits(arguments: tuple[int, ...]) -> tuple[int, int]:
    return arguments[0], arguments[1] if len(arguments) > 1 else 0
