"""One at a time: who has the lock, who waits for whom, and what is said meanwhile.

In one process, with a session for each; tests/unit/test_postdo_race.py has processes that die.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from projects import Project, make_shop
from snippets import LIGHT, inside

from postdo.base.advisory_lock import LOCK_KEY, WORK_KEY, Holder

PRELUDE = """
from postdo.base import advisory_lock as module
from postdo.base.advisory_lock import LOCK_KEY, WORK_KEY, exclusive, holder, is_held, working

other = connect("the other one", 5)


class Clock:
    # Each pause takes ten seconds; after so many of them `then` is done.
    seconds = 0.0
    pauses = 0
    then = {}

    def __str__(self):
        return f"{self.seconds:.0f} s"

    def sleep(self):
        Clock.pauses += 1
        Clock.seconds += 10
        Clock.then.pop(Clock.pauses, lambda: None)()


module.Stopwatch = Clock
module.Backoff = lambda first, longest: Clock()


def lock(key, shared=""):
    rows(other, f"SELECT pg_advisory_lock{shared}({key})")


def unlock(key, shared=""):
    rows(other, f"SELECT pg_advisory_unlock{shared}({key})")


def held():
    ((keys,),) = rows(session, "SELECT coalesce(string_agg("
        "((classid::bigint << 32) | objid::bigint)::text || mode, ' ' ORDER BY objid), '') "
        "FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    return keys


def end(pid):
    rows(other, f"SELECT pg_terminate_backend({pid}, 5000)")


def pid():
    return rows(session, "SELECT pg_backend_pid()")[0][0]
"""
EXCLUSIVELY = f"{LOCK_KEY}ExclusiveLock"


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database, settings=LIGHT)


def test_who_is_alone_gets_it_at_once_and_gives_it_back(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
rows(session, "SET idle_session_timeout = '10min'")
answer = [is_held(session), str(holder(session, LOCK_KEY))]
with exclusive(run, session) as waited:
    answer += [waited, held(), is_held(session), is_held(other), Clock.pauses]
    who = holder(other, LOCK_KEY)
    answer.append([who.name, who.pid == pid()])
    answer.append(rows(session, "SELECT current_setting('idle_session_timeout')")[0][0])
answer += [held(), is_held(session)]
with working(session):
    answer += [held(), is_held(session)]
answer.append(held())
session.close()
answer.append(is_held(session))
""",
    )
    assert answer.value == [
        *(False, "None"),
        *(False, EXCLUSIVELY, True, False, 0, ["snippet", True], "0"),
        *("", False),
        *(f"{WORK_KEY}ShareLock", False),
        *("", False),
    ]
    assert answer.out == ""


def test_another_database_and_another_key_are_no_lock_of_ours(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
elsewhere = connect("elsewhere", 5, name="postgres")
rows(elsewhere, f"SELECT pg_advisory_lock({LOCK_KEY})")
lock(LOCK_KEY + 7)
answer = [holder(session, LOCK_KEY), holder(session, LOCK_KEY + 7).name]
with exclusive(run, session) as waited:
    answer.append(waited)
""",
    )
    assert answer.value == [None, "the other one", False]


@pytest.mark.parametrize(("key", "shared"), [("LOCK_KEY", ""), ("WORK_KEY", "_shared")])
def test_who_waits_says_for_whom_every_thirty_seconds(shop: Project, key: str, shared: str) -> None:
    answer = inside(
        shop,
        PRELUDE
        + f"""
lock({key}, "{shared}")
Clock.then = {{7: lambda: unlock({key}, "{shared}")}}
with exclusive(run, session) as waited:
    answer = [waited, Clock.pauses, held()]
""",
    )
    *waiting, ended = answer.out.splitlines()
    assert answer.value == [True, 7, EXCLUSIVELY]
    assert len(waiting) == 3, "at once, after 30 s and after 60 s"
    assert all("waiting for the other one (pid " in line for line in waiting)
    assert ended.endswith("after 70 s")


def test_who_waited_for_the_first_key_waited_whatever_came_then(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
lock(LOCK_KEY)
Clock.then = {1: lambda: unlock(LOCK_KEY)}
with exclusive(run, session) as waited:
    answer = [waited, Clock.pauses]
""",
    )
    assert answer.value == [True, 1]


def test_a_session_that_is_lost_while_it_waits_is_connected_anew(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
from django.db import connection

first = pid()
connection.ensure_connection()


def lose():
    end(first)
    end(connection.connection.info.backend_pid)
    unlock(LOCK_KEY)


lock(LOCK_KEY)
Clock.then = {1: lose}
with exclusive(run, session) as waited:
    answer = [waited, held(), pid() != first]
    connection.cursor().execute("SELECT 1")  # which ended too, and is connected anew only if closed
    end(pid())
answer.append(is_held(session))  # and to give it back was no error
""",
    )
    assert answer.value == [True, EXCLUSIVELY, True, False]
    assert "the session ended" in answer.out


def test_an_error_of_a_session_that_answers_is_handed_on(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
module.TRY_LOCK = "SELECT no_such_function(%s)"
try:
    with exclusive(run, session):
        answer = "taken"
except Exception as error:
    answer = type(error).__name__
""",
    )
    assert answer.value == "ProgrammingError"
    assert answer.out == ""


def test_a_holder_is_named_by_what_is_known_of_it() -> None:
    since = datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc)

    assert str(Holder(7, "web", since)) == "web (pid 7, connected since 12:30:00 UTC)"
    assert str(Holder(7, "", None)) == "unnamed session (pid 7)"
