"""Find what a role that is not a superuser cannot copy.

Managed servers have event triggers, untrusted extensions, functions in C, and tables that the role
may not read. The copy omits them, and everything that depends on them; a table that the role owns
is never omitted.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.base.errors import Refused
from postdo.base.formatting import table
from postdo.copy.pg_programs import Programs

SHOWN = 10  # names in a line
# What only a superuser can make, as pg_restore lists it. PostgreSQL 14 to 18.
SUPERUSERS = frozenset(
    {"EVENT TRIGGER", "FOREIGN DATA WRAPPER", "OPERATOR CLASS", "OPERATOR FAMILY", "ACCESS METHOD"}
)
HOLDS_ROWS = frozenset({"TABLE", "TABLE DATA", "MATERIALIZED VIEW"})
# What only describes another entry.
BESIDE = frozenset({"COMMENT", "ACL", "SECURITY LABEL", "TABLE DATA", "SEQUENCE SET"})

# Tables, views and sequences that the role may not read, are not its own, and have no foreign key
# from or to one of its own: quoted names. PostgreSQL 14 to 18.
UNREADABLE = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
  AND NOT pg_has_role(c.relowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_constraint k JOIN pg_class o
                  ON o.oid = CASE k.conrelid WHEN c.oid THEN k.confrelid ELSE k.conrelid END
                  WHERE c.oid IN (k.conrelid, k.confrelid) AND k.contype = 'f'
                    AND pg_has_role(o.relowner, 'USAGE'))
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'
                  AND e.classid = 'pg_class'::regclass AND e.objid = c.oid)
ORDER BY 1
"""
# Schemas of others with nothing of ours in them that the role may not enter. PostgreSQL 14 to 18.
CLOSED = """
SELECT quote_ident(n.nspname) FROM pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT has_schema_privilege(n.oid, 'USAGE') AND NOT pg_has_role(n.nspowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid
                  AND pg_has_role(c.relowner, 'USAGE'))
ORDER BY 1
"""
# Functions of others in a language that is not for everybody: their ids. PostgreSQL 14 to 18.
UNTRUSTED = """
SELECT f.oid FROM pg_proc f JOIN pg_language l ON l.oid = f.prolang
JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE NOT l.lanpltrusted AND f.prokind <> 'a' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'
                  AND e.classid = 'pg_proc'::regclass AND e.objid = f.oid)
"""
EVENT_TRIGGERS = "SELECT count(*) > 0 FROM pg_event_trigger"

_ENTRY = re.compile(r"^(\d+); (\d+) (\d+) (.+)$")
_DEPENDS = re.compile(r"^;\s+depends on: ([\d ]+)$")
# The kinds that are two words or more, before the schema.
_KIND = re.compile(r"^([A-Z][A-Z ]*[A-Z])(?= )")


@dataclass(frozen=True)
class Foreign:
    """What a role that is no superuser cannot copy.

    ``extensions`` and ``functions``: names and ids. ``relations`` and ``schemas``: quoted names.
    ``provided``: extensions that the copy has already, and that belong to a superuser there too.
    """

    extensions: tuple[str, ...] = ()
    functions: frozenset[str] = frozenset()
    relations: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    event_triggers: bool = False
    provided: tuple[str, ...] = ()

    @property
    def flags(self) -> list[str]:
        """Options that keep pg_dump from reading what it may not."""
        return [
            *(f"--exclude-table={name}" for name in self.relations),
            *(f"--exclude-schema={name}" for name in self.schemas),
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """What the dump leaves out, in words."""
        return (
            *(f"schema {name}" for name in self.schemas),
            *map(table, self.relations),
        )

    @property
    def unwanted(self) -> bool:
        """Whether the dump contains something that a restore by this role cannot create."""
        return bool(self.extensions or self.functions or self.event_triggers or self.provided)


def foreign(
    session: BaseDatabaseWrapper, extensions: tuple[str, ...], provided: tuple[str, ...]
) -> Foreign:
    """Find what this role cannot copy. ``extensions``: those that it cannot create."""
    schemas = tuple(name for (name,) in rows(session, CLOSED))
    closed = tuple(f"{name}." for name in schemas)
    relations = (name for (name,) in rows(session, UNREADABLE))
    return Foreign(
        extensions,
        frozenset(str(oid) for (oid,) in rows(session, UNTRUSTED)),
        tuple(name for name in relations if not name.startswith(closed)),
        schemas,
        bool(rows(session, EVENT_TRIGGERS)[0][0]),
        provided,
    )


@dataclass(frozen=True)
class _Entry:
    """One line of a dump's table of contents. ``needs``: the numbers of what it is made after."""

    number: str
    oid: str
    text: str
    line: str
    needs: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        found = _KIND.match(self.text)
        return found.group(1) if found else ""


@dataclass(frozen=True)
class Contents:
    """``wanted``: lines for pg_restore's list. ``left_out``: what is not restored, in words."""

    wanted: tuple[str, ...]
    left_out: tuple[str, ...]

    @contextmanager
    def flags(self) -> Iterator[tuple[str, ...]]:
        """Yield the options that make pg_restore use this list."""
        with tempfile.NamedTemporaryFile("w", suffix=".list") as file:
            file.write("\n".join(self.wanted) + "\n")
            file.flush()
            yield (f"--use-list={file.name}",)


def contents(found: Programs, dump: Path, without: Foreign, *, in_kit: bool) -> Contents:
    """What a dump contains that this role can restore.

    Raises ``Refused`` if a table would be missing.

    ``in_kit``: whether extensions can be listed in ``.env``, for the remedy.
    """
    listed = subprocess.run(
        [found.pg_restore, "--list", "--verbose", dump], capture_output=True, text=True, check=True
    )
    entries = _entries(listed.stdout.splitlines())
    gone = {one.number for one in entries.values() if _is_unwanted(one, without)}
    before = 0
    while len(gone) > before:
        before = len(gone)
        gone |= {one.number for one in entries.values() if not gone.isdisjoint(one.needs)}
    lost = [one for one in entries.values() if one.number in gone]
    for one in lost:
        if one.kind in HOLDS_ROWS:
            causes = _first(lost, without)
            remedy = "migrate as a superuser, or set REHEARSE=off to skip the copy"
            if in_kit and all(cause.kind == "EXTENSION" for cause in causes):
                remedy = listing(without.extensions)
            raise Refused(
                f"the database cannot be copied: {_words(one)} needs "
                f"{', '.join(map(_words, causes))}, which only a superuser can create",
                remedy,
            )
    # There to be used, and not ours to comment on.
    theirs = tuple(f"COMMENT - EXTENSION {name} " for name in without.provided)
    kept = (one for one in entries.values() if one.number not in gone)
    return Contents(
        tuple(one.line for one in kept if not f"{one.text} ".startswith(theirs)),
        tuple(_words(one) for one in lost if one.kind not in ("EXTENSION", *BESIDE)),
    )


def listing(extensions: Sequence[str]) -> str:
    """The remedy in the kit: DB_EXTENSIONS, which the superuser creates (``db/roles.sh``)."""
    return f"add to DB_EXTENSIONS in .env: {','.join(extensions)}"


def _first(lost: Sequence[_Entry], without: Foreign) -> list[_Entry]:
    return [one for one in lost if _is_unwanted(one, without)][:SHOWN]


def _entries(lines: Sequence[str]) -> Mapping[str, _Entry]:
    entries: dict[str, _Entry] = {}
    last = ""
    for line in lines:
        if found := _ENTRY.match(line):
            last, _, oid, text = found.groups()
            entries[last] = _Entry(last, oid, text, line)
        elif (found := _DEPENDS.match(line)) and last:
            one = entries[last]
            needs = tuple(found.group(1).split())
            entries[last] = _Entry(one.number, one.oid, one.text, one.line, needs)
    return entries


def _is_unwanted(one: _Entry, without: Foreign) -> bool:
    if one.kind in SUPERUSERS:
        return True
    if one.kind == "EXTENSION":
        return one.text.split()[2] in without.extensions
    return one.kind in ("FUNCTION", "PROCEDURE", "AGGREGATE") and one.oid in without.functions


def _words(one: _Entry) -> str:
    """``index shop_item by_name``: kind and name, without the schema and the owner."""
    rest = one.text[len(one.kind) :].split()
    if one.kind == "EXTENSION":  # of no schema, and of no owner
        return f"extension {rest[1]}"
    names = rest[1:-1] if len(rest) > 2 else rest[:1]  # noqa: PLR2004  schema, name, owner
    return f"{one.kind.lower()} {' '.join(names)}"
