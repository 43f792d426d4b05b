"""What to do about a migration that failed on the copy, by the kind of its failure. Pure.

Numbers in comments are rows of HAZARDS; the codes are PostgreSQL's (appendix "Error Codes", the
same in 14 to 18).
"""

from __future__ import annotations

import re

from postdo.base import sqlstates
from postdo.rehearsal import limits
from postdo.rehearsal.trace import Failure

ALREADY_THERE = (
    "it exists already. `{postdo} drift` tells why: made by hand (remove it, or adopt it in the "
    "migration), or made by a migration that is not recorded (drift prints the command that "
    "records it). The same goes for tables from before the project had migrations"
)
NOT_THERE = (
    "something that it needs is missing: `{postdo} drift` shows what was changed by hand; code in "
    "a RunPython must take its models from apps.get_model"
)
DEPENDENT = (
    "something made by hand depends on it (a view, a trigger, a policy): drop that in a migration "
    "before this one, and create it again afterwards; `{postdo} drift` has the SQL for both"
)
NETWORK = (
    "a rehearsal has no network: make the migration work without it, or, if what it calls may be "
    "called twice, set REHEARSE_NETWORK to its host, such as redis:6379{in .env}, or "
    "REHEARSE_NETWORK=allow"
)
PROGRAMS = (
    "a rehearsal runs no other programs: make the migration work without them, or do that by hand "
    "and go with REHEARSE=off{in .env}"
)
FILES = (
    "a rehearsal changes no files: let the migration use os, shutil, pathlib or Django's storages, "
    "whose changes are made aside and asked about; or do it by hand"
)
SERVER = (
    "do this by hand, once, before the release, and take it out of the migration; or go with "
    "REHEARSE=off{in .env}, at your own risk"
)
OTHER_DATABASE = (
    "only the default database is rehearsed, and others can only be read: write to the other one "
    "by a migration of its own, or by hand"
)
OWN_COMMAND = (
    "let that command apply everything on the default database, as Django's own does, or remove it"
)
PAST_DJANGO = (
    "let it use the connection that the migration is given, or read DATABASE_URL when it runs, "
    "which names the copy in the rehearsal"
)
SECONDS = "let it work in batches outside the release, or set REHEARSE_SECONDS higher{in .env}"
MEMORY = (
    "let it go over its rows in batches (.iterator()), or set REHEARSE_MEMORY_MB higher{in .env}"
)
LIVE_MODELS = (
    "a RunPython must take its models from apps.get_model, not import them: they have changed since"
)
SERVER_LOCKS = (
    "set max_locks_per_transaction = 256 on the database server and restart it, or apply fewer "
    "migrations at a time"
)
UNIQUE_DEFAULT = (
    "a default is computed once, for all rows: add the field with null=True, fill it row by row, "
    "then make it unique, in three migrations"
)
GENERATED = (
    "the generated field has to go first: remove it, change the other, and add it again, in one "
    "migration"
)
GENERATED_STATE = (
    "remove the generated field in an operation before this one, and add it again afterwards, over "
    "fields that the models have then: it cannot be changed in place"
)
EXTENSION = (
    "add it to DB_EXTENSIONS in .env and start again; without the kit, have a superuser create it"
)
CAST = "say how values become the new type: RunSQL with ALTER COLUMN ... TYPE ... USING ..."

# Told by the code alone.
BY_CODE = {
    # 31
    sqlstates.NOT_NULL_VIOLATION: (
        "fill the empty values in a migration before it, or give the field a default"
    ),
    # 32
    sqlstates.UNIQUE_VIOLATION: (
        "make the values differ in a migration before it; the rows are examples"
    ),
    # 34
    sqlstates.STRING_DATA_RIGHT_TRUNCATION: (
        "shorten the values that are too long in a migration before it, or allow more"
    ),
    sqlstates.NUMERIC_VALUE_OUT_OF_RANGE: (
        "correct the numbers that are too big in a migration before it, or use a bigger type"
    ),
    sqlstates.INVALID_DATETIME_FORMAT: "correct the dates that are none in a migration before it",
    sqlstates.DATETIME_FIELD_OVERFLOW: (
        "correct the dates that are out of range in a migration before it"
    ),
    sqlstates.INVALID_TEXT_REPRESENTATION: (
        "correct the values that are not of the new type in a migration before it"
    ),
    **dict.fromkeys((sqlstates.DATATYPE_MISMATCH, sqlstates.CANNOT_COERCE), CAST),
    # 35
    sqlstates.FOREIGN_KEY_VIOLATION: (
        "repair or delete the rows that point at nothing in a migration before it"
    ),
    # 36
    sqlstates.CHECK_VIOLATION: "correct the rows that break the rule in a migration before it",
    sqlstates.EXCLUSION_VIOLATION: (
        "correct the rows that exclude each other in a migration before it"
    ),
    # 13, 20
    **dict.fromkeys(
        (
            sqlstates.DUPLICATE_COLUMN,
            sqlstates.DUPLICATE_TABLE,
            sqlstates.DUPLICATE_OBJECT,
            sqlstates.DUPLICATE_SCHEMA,
            sqlstates.DUPLICATE_FUNCTION,
        ),
        ALREADY_THERE,
    ),
    # 21, 23
    **dict.fromkeys(
        (
            sqlstates.UNDEFINED_COLUMN,
            sqlstates.UNDEFINED_TABLE,
            sqlstates.UNDEFINED_OBJECT,
            sqlstates.UNDEFINED_FUNCTION,
            sqlstates.INVALID_SCHEMA_NAME,
        ),
        NOT_THERE,
    ),
    # 27
    sqlstates.DEPENDENT_OBJECTS_STILL_EXIST: DEPENDENT,
    # 37
    sqlstates.OBJECT_IN_USE: (
        "split it: the change of the rows in one migration, that of the schema in the next"
    ),
    # 38
    sqlstates.QUERY_CANCELED: SECONDS,
    # 53
    sqlstates.DISK_FULL: "make room on the disk of the database server",
    sqlstates.OUT_OF_MEMORY: (
        "the database server ran out of memory: let it work in batches, or give it more"
    ),
    sqlstates.TOO_MANY_CONNECTIONS: (
        "the database server has no connection left: set max_connections higher"
    ),
    # 55
    sqlstates.UNDEFINED_FILE: (
        "install the extension on the database server, in the version that it asks for"
    ),
    # 56
    sqlstates.INSUFFICIENT_PRIVILEGE: (
        "make the role of the project the owner, or have an administrator do this step first"
    ),
    # 57
    sqlstates.UNSAFE_NEW_ENUM_VALUE_USAGE: (
        "use the new value in a later migration than the one that adds it"
    ),
    # 58
    sqlstates.LOCK_NOT_AVAILABLE: (
        "it waits for itself: let it use only the connection that the migration is given"
    ),
}

# Told by the words, where there is no code or it says too little; the first that matches counts.
BY_WORDS = (
    # 47
    (re.compile(r"max_locks_per_transaction|out of shared memory", re.I), SERVER_LOCKS),
    # 27
    (re.compile(r"used by a generated column", re.I), GENERATED),
    # 27
    (re.compile(r"used by a (view|rule)|in a (policy|trigger) def", re.I), DEPENDENT),
    # 56
    (re.compile(r"permission denied to create extension", re.I), EXTENSION),
    # 55
    (
        re.compile(r"extension .+ (is not available|has no)", re.I),
        BY_CODE[sqlstates.UNDEFINED_FILE],
    ),
)
# Told by the limit that it met, where no database error says more. 19, 38, 61
BY_LIMIT = {
    limits.MEMORY: MEMORY,
    limits.SECONDS: SECONDS,
    limits.PAST_DJANGO: PAST_DJANGO,
    limits.DATABASE: OTHER_DATABASE,
    limits.SERVER: SERVER,
    limits.FILE: FILES,
    limits.PROGRAM: PROGRAMS,
    limits.NETWORK: NETWORK,
    limits.COMMAND: OWN_COMMAND,
}
# By the words of Python, the C library and Django, under the same condition.
BY_WORDS_OF_PYTHON = (
    (re.compile(r"MemoryError|out of memory", re.I), MEMORY),
    (re.compile(r"name resolution|Name or service", re.I), NETWORK),
    # 18
    (re.compile(r"FieldError|Cannot resolve keyword|unexpected keyword", re.I), LIVE_MODELS),
    (
        re.compile(r"AttributeError|has no attribute|FieldDoesNotExist|has no field", re.I),
        LIVE_MODELS,
    ),
    (re.compile(r"No module named|cannot import name"), "install what it imports, in the image"),
)


def remedy(failure: Failure, outside: tuple[str, ...] = ()) -> str:
    """What to do about it, in one line for ``formatting.spoken``. ``outside``: of the rehearsal."""
    known = _known(failure)
    if known:
        return known
    # A library that was refused the network says so in its own words.
    if not failure.sqlstate and any(place.startswith("network ") for place in outside):
        return NETWORK
    if failure.migration == "post_migrate":
        return "correct the post_migrate handler, or have ready what it needs"  # 60
    return f"correct {failure.migration or 'the cause'}, and make a release of it"


def _known(failure: Failure) -> str:
    code = failure.sqlstate
    if code == sqlstates.UNIQUE_VIOLATION and re.search(
        r"ADD COLUMN.*UNIQUE", failure.statement, re.I | re.S
    ):
        return UNIQUE_DEFAULT  # 33
    if not code and failure.limit:
        return BY_LIMIT[failure.limit]
    if not code and (failure.generated or "GeneratedField" in failure.what):
        return GENERATED_STATE  # 27
    for words, advice in BY_WORDS if code else BY_WORDS + BY_WORDS_OF_PYTHON:
        if words.search(failure.what) and (failure.in_python or advice is not LIVE_MODELS):
            return advice
    if code.startswith(("08", "57P")):
        return "the database server ended the session: read its log, then try again"
    return BY_CODE.get(code, "")
