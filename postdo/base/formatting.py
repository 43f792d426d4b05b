"""How names, numbers and times are written for people: the same in every report. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

DEFAULT_SCHEMA = "public."
APPROVE = "--approve"  # the option of the command line that names an approved plan
MOST_DETAILS = 5  # of one reason, before the whole report
MOST_LISTED = 3  # in one sentence; more are counted
# In a text: our name as a command, and where a key of the environment is set; see ``spoken``.
COMMAND, IN_ENV = "{postdo}", "{in .env}"

MINUTE, HOUR = 60, 3600
KIB = 1024
MB = KIB * KIB
UNITS = ("bytes", "kB", "MB", "GB", "TB")

# What a lock does to the site (PostgreSQL's documentation, "Explicit Locking", 14 to 18): modes
# that stop a SELECT, and those that stop INSERT, UPDATE and DELETE.
BLOCKS_READS = frozenset({"ACCESS EXCLUSIVE"})
BLOCKS_WRITES = frozenset({"SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE"}) | BLOCKS_READS


def table(name: str) -> str:
    """A table without the schema that everybody has: ``shop_item``, but ``archive.item``."""
    return name.removeprefix(DEFAULT_SCHEMA)


def spoken(text: str, *, in_kit: bool) -> str:
    """Replace the placeholders of commands by what a person types: ``sh run.sh`` or ``postdo``."""
    command, in_env = ("sh run.sh", " in .env") if in_kit else ("postdo", "")
    return text.replace(COMMAND, command).replace(IN_ENV, in_env)


def identifier(name: str) -> str:
    """A name as SQL takes it: in double quotes where it has to be."""
    plain = re.fullmatch("[a-z_][a-z0-9_]*", name)
    return name if plain else '"' + name.replace('"', '""') + '"'


def number(value: int) -> str:
    """A number with thousands separators: 1204 becomes ``1,204``."""
    return f"{value:,}"


def several(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun, such as ``1,204 migrations``. ``plural``: if it is not noun + "s"."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Seconds as ``under 0.1 s``, ``1.2 s``, ``45 s``, ``12 min`` or ``3.2 h``."""
    if seconds < 0.05:  # noqa: PLR2004  what would be written as 0.0 s
        return "under 0.1 s"
    if seconds < 9.95:  # noqa: PLR2004  what would be written as 10.0 s
        return f"{seconds:.1f} s"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"


def size(count: int) -> str:
    """Bytes in the largest fitting unit, such as ``906 MB``."""
    value, unit = float(count), 0
    while value >= KIB and unit < len(UNITS) - 1:
        value, unit = value / KIB, unit + 1
    return f"{value:.1f} {UNITS[unit]}" if unit and value < 10 else f"{value:.0f} {UNITS[unit]}"  # noqa: PLR2004


def megabytes(count: int) -> str:
    """Bytes as ``1906 MB``, rounded up: for what is compared with a limit in megabytes."""
    return f"{-(-count // MB)} MB"


def listed(items: Sequence[str], most: int = MOST_LISTED) -> str:
    """The first ``most`` items and how many more there are: ``a, b, c and 4 more``."""
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most:,} more" if len(items) > most else shown


def shortened(items: Sequence[str], where: str) -> tuple[str, ...]:
    """The first lines of many, and a last one that says how many more there are ``where``."""
    more = len(items) - MOST_DETAILS
    if more <= 1:  # a line that says so takes as much room
        return tuple(items)
    return (*items[:MOST_DETAILS], f"and {number(more)} more: {where}")


def line(text: str) -> str:
    """The text on one line, without control characters, which a terminal would obey."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """The text with each unprintable character replaced by a space."""
    return "".join(c if c.isprintable() else " " for c in text)


def blocked(mode: str) -> str:
    """What a table lock of this ``mode`` does to the site, such as ``blocks reads and writes``."""
    if mode in BLOCKS_READS:
        return "blocks reads and writes"
    return "blocks writes" if mode in BLOCKS_WRITES else "blocks nobody"
