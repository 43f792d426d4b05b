"""Which SQL would end the transaction, and what became of one of which no answer came."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, make_shop
from snippets import LIGHT, inside

from postdo.executor.commit_status import Identity, transaction_control


@pytest.mark.parametrize(
    "sql",
    [
        "SAVEPOINT a",
        "ROLLBACK TO SAVEPOINT a",
        "ROLLBACK WORK TO a",
        "PREPARE find AS SELECT 1",
        "INSERT INTO notes VALUES ('do it; COMMIT; now')",
        "INSERT INTO notes VALUES (E'it''s \\'; COMMIT; ')",
        'SELECT "a;COMMIT" FROM t',
        "DO $body$ BEGIN PERFORM 1; END; $body$",
        "DO $$ BEGIN PERFORM 1; END $$; SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC "
        "SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
        "SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 1 -- ; COMMIT",
        "/* ; COMMIT; */ SELECT 'end'",
        "COMMENT ON TABLE t IS 'begin'",
        "SET LOCAL work_mem = '1MB'",
        "/* one /* two */ COMMIT",
        "/* /* a */ /* b */ ; COMMIT",
        "DO $$ BEGIN ; COMMIT; END",
        "DO $a$ $b$ ; COMMIT",
        "SELECT a$b$ FROM t WHERE c = '; COMMIT' OR a$b$ = 1",
        "ALTER TABLE t ALTER COLUMN start SET NOT NULL",
        "PREPARE begin AS SELECT 1",
        "ROLLBACK TRANSACTION TO SAVEPOINT a",
        "SET autocommitted = 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC "
        "SELECT CASE WHEN true THEN CASE WHEN true THEN 1 END END; SELECT 2; END",
    ],
)
def test_sql_that_only_looks_like_the_end_of_a_transaction_is_let_through(sql: str) -> None:
    assert transaction_control(sql) == ""


@pytest.mark.parametrize(
    "sql",
    [
        "begin",
        " \n start  transaction isolation level serializable",
        "SELECT 'a;'';b'; COMMIT",
        "DO $a$ $b$ ; $a$; ABORT",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; COMMIT",
        "ROLLBACK WORK",
        "ROLLBACK",
        "SET AUTOCOMMIT = on",
        "(SELECT 1); end transaction",
        "PREPARE TRANSACTION 'mine'",
        "SELECT 1; /* now; /* really */ */ commit and chain; SELECT 2",
        "/* one /* two */ */ COMMIT",
        "SELECT 1 /* a */ /* b */; COMMIT",
        "-- the end\n END",
        "SELECT E'\\'; '; COMMIT",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC "
        "SELECT CASE WHEN true THEN 1 END; SELECT 2; END; COMMIT",
    ],
)
def test_sql_that_ends_or_begins_a_transaction_is_recognised(sql: str) -> None:
    assert transaction_control(sql) != ""


def test_the_words_that_would_end_it_are_shown() -> None:
    assert transaction_control("SELECT 1; commit and chain no; SELECT 2") == "COMMIT AND CHAIN"


def test_a_person_can_ask_the_server_what_became_of_it() -> None:
    assert Identity(1, "now", "4711").question == "SELECT pg_xact_status('4711')"


PRELUDE = """
from dataclasses import replace
from django.db import OperationalError
from postdo.executor import commit_status as module
from postdo.executor.commit_status import commit_status, identity, status

run = replace(run, config=replace(run.config, wait_seconds=0.5))
worker = connect("worker", 5)


def begun():
    rows(worker, "BEGIN")
    return identity(worker)


def became(which, recorded=True, run=run):
    return commit_status(run, which, lambda session: recorded).value
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database, settings=LIGHT)


def test_a_transaction_that_has_ended_is_known(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
done = begun()
rows(worker, "COMMIT")
undone = begun()
rows(worker, "ROLLBACK")
never = replace(done, xid=str(int(undone.xid) + 1_000_000))
answer = [became(done), became(done, recorded=False), became(undone), became(never)]
module.STATUS = "SELECT CASE WHEN %s IS NULL THEN '' END"  # as of one that is too old
answer.append(became(done))
""",
    )
    assert answer.value == ["committed", "aborted", "aborted", "aborted", "unknown"]


def test_a_transaction_whose_client_is_gone_is_ended_after_its_grace(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
def is_open(which):
    return status(session, which) == "in progress"


other = connect("other", 5)
rows(other, "BEGIN")
left_alone, which = identity(other), begun()
answer = [became(which), is_open(which)]  # within its grace
module.GRACE_SECONDS = 0.2
reused = replace(which, began="2001-01-01 00:00:00+00")  # another session with this pid
answer += [became(reused), is_open(which), became(which), is_open(which), is_open(left_alone)]
""",
    )
    assert answer.value == ["unknown", True, "unknown", True, "aborted", False, True]


def test_a_server_that_does_not_answer_is_asked_again_until_the_time_is_over(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
which = begun()
rows(worker, "COMMIT")
real, timeouts = module.connect, []


def away(times):
    def connect(name, seconds):
        timeouts.append(seconds)
        if len(timeouts) <= times:
            raise OperationalError("the database system is starting up")
        return real(name, seconds)

    timeouts.clear()
    module.connect = connect


away(2)
answer = [became(which), len(timeouts)]
away(10**9)
answer += [became(which), 1 < len(timeouts) < 20, all(one <= 0.5 for one in timeouts)]
run.stop._pending = 15
away(10**9)
answer += [became(which), len(timeouts)]
away(0)
answer.append(became(which, run=replace(run, config=replace(run.config, wait_seconds=60.0))))
answer.append(timeouts)
""",
    )
    assert answer.value == [
        *("committed", 3),
        *("unknown", True, True),
        *("unknown", 1),
        *("committed", [5.0]),
    ]


def test_whatever_form_the_sql_has_nobody_else_ends_the_transaction(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
from postdo.executor.commit_status import TransactionControlError, nobody_else_ends_it
from django.db import transaction
from psycopg2 import sql

answer = []
with nobody_else_ends_it(worker), worker.cursor() as cursor:
    for text in ("SELECT 1", b"SELECT 2", sql.SQL("SELECT {}").format(sql.Literal(3))):
        cursor.execute(text)
        answer.append(cursor.fetchall())
    for text in ("COMMIT", b"COMMIT", sql.SQL("COMMIT")):
        try:
            cursor.execute(text)
        except TransactionControlError as error:
            answer.append("COMMIT" in str(error))
rows(worker, "BEGIN")
rows(worker, "COMMIT")
""",
    )
    assert answer.value == [[[1]], [[2]], [[3]], True, True, True]
