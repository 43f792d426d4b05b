"""What to do about a migration that failed in the rehearsal, by the kind of its failure. Pure.

The kind is told by PostgreSQL's error code (appendix "Error Codes", the same in 14 to 18), by the
limit of the sandbox that was met, or, where neither says enough, by the words of the error. Numbers
in comments are rows of docs/hazards.md.
"""

from __future__ import annotations

import re

from postdo.base import sqlstates
from postdo.rehearsal import limits
from postdo.rehearsal.trace import Failure

ALREADY_THERE = (
    "the object already exists: run `{postdo} drift` to see whether it was made by hand (remove "
    "it, or adopt it in the migration) or by a migration that is not recorded (record it with the "
    "command that drift prints)"
)
NOT_THERE = (
    "an object that the migration needs is missing: run `{postdo} drift` to see what was changed "
    "by hand. In a RunPython, get models from apps.get_model"
)
DEPENDENT = (
    "a view, trigger or policy made by hand depends on this: drop it in an earlier migration and "
    "create it again in a later one (`{postdo} drift` prints the SQL for both)"
)
NETWORK = (
    "a rehearsal has no network access: make the migration work without it; or, if these calls "
    "may be repeated, set REHEARSE_NETWORK to the host, such as redis:6379{in .env}, or "
    "REHEARSE_NETWORK=allow"
)
PROGRAMS = (
    "a rehearsal runs no other programs: make the migration work without them, or run them by "
    "hand and set REHEARSE=off{in .env}"
)
FILES = (
    "a rehearsal changes no files: use os, shutil, pathlib or Django's storages in the migration, "
    "so that postdo can rehearse the change on copies of the files; or change them by hand"
)
SERVER = (
    "do this once by hand before the release and remove it from the migration; or set "
    "REHEARSE=off{in .env}, at your own risk"
)
OTHER_DATABASE = (
    "a rehearsal copies only the default database, and can only read the others: write to the "
    "other database in a separate migration, or by hand"
)
OWN_COMMAND = (
    "make the project's own migrate command apply all migrations to the default database, as "
    "Django's does; or remove that command"
)
PAST_DJANGO = (
    "in the migration, use the connection that Django passes to it, or read DATABASE_URL when it "
    "runs: in a rehearsal it names the copy"
)
SECONDS = "do this work in batches outside the release, or raise REHEARSE_SECONDS{in .env}"
MEMORY = "process the rows in batches (.iterator()), or raise REHEARSE_MEMORY_MB{in .env}"
LIVE_MODELS = (
    "in a RunPython, get models from apps.get_model instead of importing them: the imported "
    "models have changed since"
)
SERVER_LOCKS = (
    "set max_locks_per_transaction = 256 on the database server and restart it, or apply fewer "
    "migrations per release"
)
UNIQUE_DEFAULT = (
    "Django computes a default once for all rows: add the field with null=True, fill each row, "
    "then make the field unique, in three migrations"
)
GENERATED = (
    "in one migration, remove the generated field, change the other field, and add the generated "
    "field again"
)
GENERATED_STATE = (
    "a generated field cannot be changed in place: remove it in an earlier operation and add it "
    "again in a later one, using only fields that exist then"
)
EXTENSION = (
    "add the extension to DB_EXTENSIONS in .env and release again; without the kit, create it as "
    "a superuser"
)
CAST = "tell PostgreSQL how to convert the values: RunSQL with ALTER COLUMN ... TYPE ... USING ..."

# Told by the code alone.
BY_CODE = {
    # 31
    sqlstates.NOT_NULL_VIOLATION: (
        "in an earlier migration, fill the NULL values; or give the field a default"
    ),
    # 32
    sqlstates.UNIQUE_VIOLATION: (
        "in an earlier migration, make the values unique; the rows are examples"
    ),
    # 34
    sqlstates.STRING_DATA_RIGHT_TRUNCATION: (
        "in an earlier migration, shorten the values that are too long; or allow longer ones"
    ),
    sqlstates.NUMERIC_VALUE_OUT_OF_RANGE: (
        "in an earlier migration, correct the numbers that are too large; or use a larger type"
    ),
    sqlstates.INVALID_DATETIME_FORMAT: (
        "in an earlier migration, correct the values that are not dates"
    ),
    sqlstates.DATETIME_FIELD_OVERFLOW: (
        "in an earlier migration, correct the dates that are out of range"
    ),
    sqlstates.INVALID_TEXT_REPRESENTATION: (
        "in an earlier migration, correct the values that do not fit the new type"
    ),
    **dict.fromkeys((sqlstates.DATATYPE_MISMATCH, sqlstates.CANNOT_COERCE), CAST),
    # 35
    sqlstates.FOREIGN_KEY_VIOLATION: (
        "in an earlier migration, repair or delete the rows that refer to missing rows"
    ),
    # 36
    sqlstates.CHECK_VIOLATION: (
        "in an earlier migration, correct the rows that violate the constraint"
    ),
    sqlstates.EXCLUSION_VIOLATION: (
        "in an earlier migration, correct the rows that conflict with each other"
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
        "split the migration: change the rows in one migration and the schema in the next"
    ),
    # 38
    sqlstates.QUERY_CANCELED: SECONDS,
    # 53
    sqlstates.DISK_FULL: "free some disk space on the database server",
    sqlstates.OUT_OF_MEMORY: (
        "the database server ran out of memory: work in batches, or give the server more memory"
    ),
    sqlstates.TOO_MANY_CONNECTIONS: (
        "the database server has no free connections: raise max_connections"
    ),
    # 55
    sqlstates.UNDEFINED_FILE: (
        "install the extension on the database server, in the version that the migration needs"
    ),
    # 56
    sqlstates.INSUFFICIENT_PRIVILEGE: (
        "make the project's role the owner of the object, or have a superuser do this step first"
    ),
    # 57
    sqlstates.UNSAFE_NEW_ENUM_VALUE_USAGE: (
        "use the new enum value in a later migration than the one that adds it"
    ),
    # 58
    sqlstates.LOCK_NOT_AVAILABLE: (
        "the migration waits for its own lock: use only the connection that Django passes to it"
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
    (re.compile(r"No module named|cannot import name"), "install the missing package in the image"),
)


def remedy(failure: Failure, outside: tuple[str, ...] = ()) -> str:
    """What to do about a failure, in one line for ``formatting.spoken``.

    ``outside``: what the rehearsal tried to reach beyond the database.
    """
    known = _known(failure)
    if known:
        return known
    # A library that was refused the network says so in its own words.
    if not failure.sqlstate and any(place.startswith("network ") for place in outside):
        return NETWORK
    if failure.migration == "post_migrate":
        return "fix the post_migrate handler, or provide what it needs"  # 60
    return f"fix {failure.migration or 'the cause'} and release again"


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
