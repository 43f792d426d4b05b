"""Write definitions of two databases in the same words, so that they can be compared as text.

PostgreSQL prints an expression from its parsed form, and parses its own output slightly
differently: ``s IN ('a', 'b')`` on a varchar prints as another text after a dump and a restore.
Only PostgreSQL knows whether two texts mean the same. So it is asked to parse each of them in a
temporary object, which is removed at once, until the text it prints does not change any more.
PostgreSQL 14 to 18.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.schema.catalogue import Catalogue, Entry, in_transaction, our_settings
from postdo.schema.quoting import quote
from postdo.schema.repair_tables import column_definition
from postdo.schema.repair_views import create_policy

ROUNDS = 5  # a text settles in the first or the second one
LOCK_TIMEOUT_MS = 1_000  # for the tables that a view reads: nobody waits for us longer than that

# What the definition of each probe is by now. PostgreSQL 14 to 18.
CONSTRAINT = """
SELECT regexp_replace(pg_get_constraintdef(oid), ' NOT VALID$', '') FROM pg_constraint
WHERE conrelid = %s::regclass AND conname = 'probe'
"""
INDEX = """
SELECT pg_get_indexdef(i.indexrelid),
       (SELECT string_agg(coalesce(a.attname::text,
                                   pg_get_indexdef(i.indexrelid, k.place::int, false)),
                          ',' ORDER BY k.place)
        FROM unnest(i.indkey) WITH ORDINALITY k(number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                                AND k.number <> 0
        WHERE k.place <= i.indnkeyatts),
       coalesce(pg_get_expr(i.indpred, i.indrelid), '')
FROM pg_index i WHERE i.indexrelid = 'pg_temp.probe'::regclass
"""
VIEW = "SELECT rtrim(pg_get_viewdef('pg_temp.probe'::regclass), '; ')"
DEFAULT = """
SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = %s::regclass AND a.attname = %s
"""
POLICY = """
SELECT coalesce(pg_get_expr(polqual, polrelid), ''),
       coalesce(pg_get_expr(polwithcheck, polrelid), '')
FROM pg_policy WHERE polrelid = %s::regclass
"""
TRIGGER = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass"
DOMAIN = """
SELECT coalesce(t.typdefault, ''), coalesce(string_agg(pg_get_constraintdef(k.oid), ' '
                                            ORDER BY pg_get_constraintdef(k.oid)), '')
FROM pg_type t LEFT JOIN pg_constraint k ON k.contypid = t.oid AND k.contype = 'c'
WHERE t.oid = 'pg_temp.probe'::regtype GROUP BY t.typdefault
"""
FUNCTION = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()"
PARTITIONS = "SELECT pg_get_partkeydef('pg_temp.probe'::regclass)"

# Names as PostgreSQL prints them: schema and relation (or routine). PostgreSQL 14 to 18.
PRINTED = "SELECT format('%%I.%%I', %s::text, %s::text)"

_TEMPORARY = re.compile(r'\bpg_temp(?:_\d+)?\.(?:\w+|"(?:""|[^"])*")')

Texts = Mapping[str, str]


def worded(session: BaseDatabaseWrapper, mine: Catalogue, theirs: Catalogue) -> Catalogue:
    """``mine`` in the words of ``theirs``, where PostgreSQL takes both for the same definition.

    PostgreSQL prints an expression much as it was written, so two equal ones can read differently.
    Here the server parses both texts, and where the results are equal, the text of ``theirs`` is
    used.

    ``session``: on a database with the types, functions and (for views) tables that the texts name.
    Nothing of it stays changed: its transaction is used, or one of our own. A text that cannot be
    read there is left as it is.
    """
    mine_only, theirs_only = _beyond(mine, theirs), _beyond(theirs, mine)
    pairs = [(one, [two for two in theirs_only if _may_be(one, two)]) for one in mine_only]
    pairs = [(one, others) for one, others in pairs if others]
    if not pairs:
        return mine
    found: dict[int, Texts] = {}
    with _nothing_stays(session):
        settle = _Settle(session)
        taken: set[int] = set()
        for one, others in pairs:
            # Of several, the one with the same name first.
            for other in sorted(others, key=lambda two: two.name != one.name):
                if id(other) not in taken and settle(mine, one) == settle(theirs, other):
                    taken.add(id(other))
                    found[id(one)] = _texts(other)
                    break
    return replace(
        mine,
        entries=tuple(
            replace(entry, facts={**entry.facts, **found.get(id(entry), {})})
            for entry in mine.entries
        ),
    )


def _beyond(one: Catalogue, other: Catalogue) -> list[Entry]:
    """What the first has and the second has not, of the kinds with expressions in them."""
    there = Counter(entry.identity for entry in other.entries)
    found = []
    for entry in one.entries:
        if there[entry.identity] > 0:
            there[entry.identity] -= 1
        elif _texts(entry):
            found.append(entry)
    return found


def _may_be(one: Entry, other: Entry) -> bool:
    same_name = not one.named or one.name == other.name
    same_place = (one.kind, one.table) == (other.kind, other.table) and same_name
    return same_place and _texts(one) != _texts(other)


def _texts(entry: Entry) -> Texts:
    """The facts that are expressions; none where there is nothing to read differently."""
    facts = {fact: entry.facts[fact] for fact in _EXPRESSIONS.get(entry.kind, ())}
    if entry.kind == "constraint" and entry.facts["type"] not in ("c", "x"):
        return {}
    if entry.kind == "type" and entry.facts["form"] != "domain":
        return {}
    if entry.kind == "function" and entry.facts["form"] == "aggregate":
        return {}
    return facts if any(facts.values()) else {}


class _Settle:
    """Asks PostgreSQL again and again, until a definition stays as it is."""

    def __init__(self, session: BaseDatabaseWrapper) -> None:
        self._session = session
        self._known: dict[int, Texts] = {}

    def __call__(self, catalogue: Catalogue, entry: Entry) -> Texts:
        """The texts that stay; those of the entry if PostgreSQL cannot read them here."""
        if id(entry) not in self._known:
            self._known[id(entry)] = self._settled(catalogue, entry)
        return self._known[id(entry)]

    def _settled(self, catalogue: Catalogue, entry: Entry) -> Texts:
        texts = _texts(entry)
        for _ in range(ROUNDS):
            again = self._read_again(catalogue, replace(entry, facts={**entry.facts, **texts}))
            if again is None or again == texts:
                break
            texts = again
        return texts

    def _read_again(self, catalogue: Catalogue, entry: Entry) -> Texts | None:
        session = self._session
        rows(session, "SAVEPOINT postdo_probe")
        try:
            return _PROBES[entry.kind](session, catalogue, entry)
        except DatabaseError:
            return None
        finally:
            rows(session, "ROLLBACK TO SAVEPOINT postdo_probe")


@contextmanager
def _nothing_stays(session: BaseDatabaseWrapper) -> Iterator[None]:
    session.ensure_connection()
    inside = in_transaction(session)
    rows(session, "SAVEPOINT postdo_reread" if inside else "BEGIN READ WRITE")
    try:
        with our_settings(session):
            rows(session, f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            rows(session, "SET LOCAL check_function_bodies = off")
            yield
    finally:
        # A lost connection has ended it already.
        with suppress(DatabaseError, InterfaceError):
            rows(session, "ROLLBACK TO SAVEPOINT postdo_reread" if inside else "ROLLBACK")
            if inside:
                rows(session, "RELEASE SAVEPOINT postdo_reread")


def _relation(entry: Entry) -> str:
    """The temporary table that stands for the entry's: of the same name, as rows are named so."""
    return f"pg_temp.{quote(entry.table.partition('.')[2])}"


def _create(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> str:
    """Make it, with the columns that the catalogue has of it; none is computed or has a default."""
    rows(session, f"CREATE TEMPORARY TABLE {_relation(entry)} ({_columns(catalogue, entry)})")
    return _relation(entry)


def _columns(catalogue: Catalogue, entry: Entry) -> str:
    bare = {"default": "", "generated": "", "identity": "", "nullable": "yes"}
    columns = sorted(
        (one for one in catalogue.of("column") if one.table == entry.table),
        key=lambda one: int(one.facts["position"]),
    )
    plain = (replace(one, facts={**one.facts, **bare}) for one in columns)
    return ", ".join(map(column_definition, plain))


def _constraint(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> Texts:
    table = _create(session, catalogue, entry)
    rows(session, f"ALTER TABLE {table} ADD CONSTRAINT probe {entry.facts['definition']}")
    ((definition,),) = rows(session, CONSTRAINT, table)
    return {"definition": definition}


def _index(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> Texts:
    table = _create(session, catalogue, entry)
    head, using, tail = entry.facts["definition"].partition(" USING ")
    unique = "UNIQUE " if entry.facts["unique"] == "yes" else ""
    rows(session, f"CREATE {unique}INDEX probe ON {table}{using}{tail}")
    ((definition, columns, predicate),) = rows(session, INDEX)
    tail = definition.partition(" USING ")[2]
    return {"definition": f"{head}{using}{tail}", "columns": columns, "predicate": predicate}


def _view(session: BaseDatabaseWrapper, _: Catalogue, entry: Entry) -> Texts:
    rows(session, f"CREATE TEMPORARY VIEW probe AS {entry.facts['definition']}")
    ((definition,),) = rows(session, VIEW)
    return {"definition": definition}


def _default(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> Texts:
    table, name, default = _create(session, catalogue, entry), entry.name, entry.facts["default"]
    change = f"ALTER COLUMN {quote(name)} SET DEFAULT {default}"
    if entry.facts["generated"]:
        name = "postdo probe"
        type_ = entry.facts["type"]
        change = f"ADD COLUMN {quote(name)} {type_} GENERATED ALWAYS AS ({default}) STORED"
    rows(session, f"ALTER TABLE {table} {change}")
    ((again,),) = rows(session, DEFAULT, table, name)
    return {"default": again}


def _policy(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> Texts:
    table = _create(session, catalogue, entry)
    bare = entry.table.partition(".")[2]
    for statement in create_policy(replace(entry, table=f"pg_temp.{bare}")):
        rows(session, statement)
    ((using, check),) = rows(session, POLICY, table)
    return {"using": using, "with check": check}


def _trigger(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> Texts:
    table, definition = _create(session, catalogue, entry), entry.facts["definition"]
    printed = _printed(session, entry.table)
    rows(session, definition.replace(f" ON {printed} ", f" ON {table} ", 1))
    ((again,),) = rows(session, TRIGGER, table)
    return {"definition": _TEMPORARY.sub(lambda _: printed, again, count=1)}


def _domain(session: BaseDatabaseWrapper, _: Catalogue, entry: Entry) -> Texts:
    facts = entry.facts
    default = f"DEFAULT {facts['default']}" if facts["default"] else ""
    rows(
        session, f"CREATE DOMAIN pg_temp.probe AS {facts['base']} {default} {facts['constraints']}"
    )
    ((default, constraints),) = rows(session, DOMAIN)
    return {"default": default, "constraints": constraints}


def _function(session: BaseDatabaseWrapper, _: Catalogue, entry: Entry) -> Texts:
    printed = _printed(session, entry.name.partition("(")[0])
    rows(session, entry.facts["definition"].replace(f" {printed}(", " pg_temp.probe(", 1))
    ((again,),) = rows(session, FUNCTION)
    return {"definition": _TEMPORARY.sub(lambda _: printed, again, count=1)}


def _partition_key(session: BaseDatabaseWrapper, catalogue: Catalogue, entry: Entry) -> Texts:
    columns, key = _columns(catalogue, entry), entry.facts["partition key"]
    rows(session, f"CREATE TEMPORARY TABLE probe ({columns}) PARTITION BY {key}")
    ((again,),) = rows(session, PARTITIONS)
    return {"partition key": again}


def _printed(session: BaseDatabaseWrapper, name: str) -> str:
    schema, _, bare = name.partition(".")
    ((printed,),) = rows(session, PRINTED, schema, bare)
    return str(printed)


_PROBES: dict[str, Callable[[BaseDatabaseWrapper, Catalogue, Entry], Texts]] = {
    "constraint": _constraint,
    "index": _index,
    "view": _view,
    "column": _default,
    "policy": _policy,
    "trigger": _trigger,
    "type": _domain,
    "function": _function,
    "table": _partition_key,
}
# The facts of each kind that are expressions, which its probe reads again.
_EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "constraint": ("definition",),
    "index": ("definition", "columns", "predicate"),
    "view": ("definition",),
    "column": ("default",),
    "policy": ("using", "with check"),
    "trigger": ("definition",),
    "type": ("default", "constraints"),
    "function": ("definition",),
    "table": ("partition key",),
}
