"""Which locks are taken, in which order, for how long; who stands in the way; and the retries."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from projects import Project, make_shop
from snippets import LIGHT, inside
from test_postdo_plan_words import run_of

from postdo.apply import lock_timeout
from postdo.apply.lock_timeout import BusyError, LockRetry
from postdo.apply.table_locks import QUERY_LENGTH, QUIET, Blocker, against_vacuum
from postdo.base.errors import Undone
from postdo.base.signals import Stopped
from postdo.rehearsal.trace import Lock

# --- Locks ----------------------------------------------------------------------------------------

PRELUDE = """
from types import SimpleNamespace
from postdo.apply import table_locks as module
from postdo.rehearsal.trace import Lock

worker, said = connect("worker", 5), []
for table in ("a", "b", "weak", '"C d"'):
    rows(worker, f"CREATE TABLE {table} (id int)")
rows(worker, "CREATE VIEW v AS SELECT 1")


def noting(session, sql, *values):
    said.append(sql if sql.startswith("LOCK") else values[0] if sql == module.SET_TIMEOUT else "")
    return rows(session, sql, *values)


def take(milliseconds, *locks):
    said.clear()
    rows(worker, "BEGIN")
    module.rows = noting
    try:
        wanted = tuple(Lock(f"public.{table}", mode, 1.0) for table, mode in locks)
        felt = module.take(worker, wanted, milliseconds)
        return [felt, *filter(None, said)]
    finally:
        module.rows = rows
        rows(worker, "ROLLBACK")
"""
MIXED = """("b", "ACCESS EXCLUSIVE"), ("a", "SHARE"), ("a", "ROW EXCLUSIVE"),
    ("C d", "SHARE UPDATE EXCLUSIVE"), ("weak", "ROW SHARE"), ("gone", "SHARE"), ("v", "SHARE")"""
QUIETLY = [
    f'LOCK TABLE ONLY public."C d" IN {QUIET} MODE',
    f"LOCK TABLE ONLY public.a IN {QUIET} MODE",
    f"LOCK TABLE ONLY public.b IN {QUIET} MODE",
]


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database, settings=LIGHT)


def test_the_quiet_locks_come_first_and_those_that_hold_somebody_up_share_one_time(
    shop: Project,
) -> None:
    answer = inside(
        shop,
        PRELUDE
        + f"""
moments = iter([100.0, 100.0, 100.2])
module.time = SimpleNamespace(monotonic=lambda: next(moments))
answer = [take(300, {MIXED})]
moments = iter([100.0, 100.0, 100.9])
answer.append(take(300, {MIXED})[-3:])
""",
    )
    strong = [
        "300ms",
        "LOCK TABLE ONLY public.a IN SHARE MODE",
        "100ms",
        "LOCK TABLE ONLY public.b IN ACCESS EXCLUSIVE MODE",
    ]
    # As long as an autovacuum takes to give way: PostgreSQL's deadlock_timeout, and half a second.
    assert answer.value[0] == [100.0, "1500ms", *QUIETLY, *strong, "300ms"]
    assert answer.value[1] == ["1ms", strong[-1], "300ms"], "zero would be for ever"


def test_locks_that_nobody_feels_are_taken_with_patience_and_weaker_ones_not_at_all(
    shop: Project,
) -> None:
    answer = inside(
        shop,
        PRELUDE
        + f"""
answer = [
    take(300, ("a", "{QUIET}")),
    take(300, ("weak", "ROW SHARE"), ("v", "SHARE"), ("a", "no such mode")),
    take(300),
    take(2000, ("a", "{QUIET}"))[1],
]
module.DEADLOCK_MS = "SELECT 60000"
answer.append(take(300, ("a", "{QUIET}"))[1])
""",
    )
    assert answer.value == [
        [None, "1500ms", QUIETLY[1], "300ms"],
        [None],
        [None],
        "2000ms",
        "10000ms",
    ]


def test_who_is_in_the_way_is_seen_by_another_session(shop: Project) -> None:
    answer = inside(
        shop,
        PRELUDE
        + """
import threading

holder, waiter, watcher = (connect(name, 5) for name in ("gunicorn shop", "w", "watcher"))
rows(holder, "BEGIN")
rows(holder, "LOCK TABLE a")
((holder_pid,),) = rows(holder, "SELECT pg_backend_pid()")
((pid,),) = rows(waiter, "SELECT pg_backend_pid()")
rows(waiter, "BEGIN")
answer = [module.blockers(session, pid)]
thread = threading.Thread(target=rows, args=(waiter, "LOCK TABLE a"), daemon=True)
with module.watching(watcher, pid, 0.0) as watch:
    answer.append(watch.blockers)
    thread.start()
    while not watch.blockers:
        thread.join(0.02)
    (found,) = watch.blockers
    rows(holder, "ROLLBACK")
    thread.join()
answer.append([found.pid == holder_pid, found.name, found.state, found.vacuum, found.table])
answer.append(threading.active_count())
with module.watching(watcher, pid, 0.0):
    watcher.close()  # the session of who watches is lost
""",
    )
    seen = [True, "gunicorn shop", "idle in transaction", False, "public.a"]
    assert answer.value[:2] == [[], []]
    assert answer.value[2] == seen
    assert answer.value[3] == 1


# --- Who stands in the way ------------------------------------------------------------------------

SINCE = datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc)
BLOCKER = Blocker(
    7, "gunicorn shop", "idle in transaction", SINCE, "SELECT\n  1", False, "public.shop_item"
)


@pytest.mark.parametrize(
    ("blocker", "shown"),
    [
        (BLOCKER, "gunicorn shop (pid 7, idle in transaction since 12:30:00 UTC): SELECT 1"),
        (replace(BLOCKER, since=None), "gunicorn shop (pid 7, idle in transaction): SELECT 1"),
        (
            replace(BLOCKER, query=""),
            "gunicorn shop (pid 7, idle in transaction since 12:30:00 UTC)",
        ),
        (
            replace(BLOCKER, name="", vacuum=True, query="", since=None),
            "VACUUM (pid 7, idle in transaction)",
        ),
        (
            replace(BLOCKER, name="", query="", since=None),
            "unnamed session (pid 7, idle in transaction)",
        ),
        (Blocker(7, "", "", None, "", False, ""), "session of another role (pid 7)"),
    ],
)
def test_a_session_is_described_by_what_is_known_of_it(blocker: Blocker, shown: str) -> None:
    assert str(blocker) == shown


def test_a_long_statement_is_shown_by_its_beginning() -> None:
    shown = str(replace(BLOCKER, query="x" * 200))

    assert shown.endswith(f": {'x' * QUERY_LENGTH}")


def test_what_to_do_depends_on_who_it_is() -> None:
    prepared = replace(BLOCKER, pid=0)
    needed = replace(BLOCKER, vacuum=True, query="autovacuum: VACUUM a (to prevent wraparound)")
    remedies = {one.remedy for one in (prepared, needed, BLOCKER)}

    assert "pg_prepared_xacts" in str(prepared)
    assert "prepared transaction" in prepared.remedy
    assert "pg_terminate_backend" not in needed.remedy
    assert "pg_terminate_backend(7)" in BLOCKER.remedy
    assert "pg_terminate_backend(7)" in replace(BLOCKER, vacuum=True).remedy
    assert "pg_terminate_backend(7)" in replace(needed, vacuum=False).remedy
    assert len(remedies) == 3


def test_what_is_waited_for_is_a_table_or_a_row() -> None:
    assert BLOCKER.place == "shop_item"
    assert replace(BLOCKER, table="").place == "a row"


def test_only_against_a_vacuum_of_a_known_table_a_lock_is_taken_first() -> None:
    vacuum = replace(BLOCKER, vacuum=True)

    assert against_vacuum((BLOCKER, vacuum, replace(vacuum, table=""))) == (
        Lock("public.shop_item", QUIET, 0.0),
    )


# --- Retries --------------------------------------------------------------------------------------


class Clock:
    """Goes on by four seconds with each pause."""

    seconds = 0.0

    def __init__(self) -> None:
        self.pauses: list[tuple[float, bool]] = []

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s"

    def sleep(self, most: float, *, jitter: bool) -> None:
        self.pauses.append((most, jitter))
        self.seconds += 4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(lock_timeout, "Stopwatch", lambda: one)
    monkeypatch.setattr(lock_timeout, "Backoff", lambda first, longest: one)
    return one


BUSY = BusyError("shop_item was locked")


def test_it_is_tried_again_until_the_time_is_over_and_said_every_ten_seconds(clock: Clock) -> None:
    run, out = run_of(LOCK_RETRY_SECONDS="20")
    retry = LockRetry(run)
    for _ in range(5):
        retry.wait(BUSY, (BLOCKER,))
    with pytest.raises(Undone) as undone:
        retry.wait(BUSY, (BLOCKER,))

    assert clock.pauses == [(20.0 - seconds, True) for seconds in (0, 4, 8, 12, 16)]
    assert undone.value.what == "shop_item was locked; tried 6 times in 20 s"
    assert undone.value.next_step == BLOCKER.remedy
    assert undone.value.details[0] == f"shop_item is locked by {BLOCKER}"
    lines = out.getvalue().splitlines()
    assert len(lines) == 2, "at once, and after 12 s"
    assert all(f": {BUSY}; shop_item is locked by {BLOCKER}" in line for line in lines)


def test_ten_seconds_are_long_enough_to_say_it_again(clock: Clock) -> None:
    run, out = run_of(LOCK_RETRY_SECONDS="60")
    retry = LockRetry(run)
    for clock.seconds in (0.0, 9.9, 10.0, 19.9, 20.0):
        retry.wait(BUSY, ())

    assert len(out.getvalue().splitlines()) == 3
    assert out.getvalue().splitlines()[0].endswith(f": {BUSY}")


@pytest.mark.usefixtures("clock")
def test_where_nobody_was_seen_in_the_way_a_quieter_time_is_the_remedy() -> None:
    run, _ = run_of(LOCK_RETRY_SECONDS="0")
    with pytest.raises(Undone) as undone:
        LockRetry(run).wait(BUSY, ())

    assert "LOCK_RETRY_SECONDS" in undone.value.next_step
    assert len(undone.value.details) == 1
    assert "tried 1 times" in undone.value.what


@pytest.mark.usefixtures("clock")
def test_the_next_attempt_begins_with_every_table_that_a_vacuum_was_at() -> None:
    retry = LockRetry(run_of()[0])
    for table in ("public.a", "public.b"):
        retry.wait(BUSY, (replace(BLOCKER, vacuum=True, table=table),))

    assert [lock.table for lock in retry.first] == ["public.a", "public.b"]


def test_a_signal_ends_the_waiting(clock: Clock) -> None:
    run, _ = run_of()
    run.stop._pending = 15
    with pytest.raises(Stopped):
        LockRetry(run).wait(BUSY, ())

    assert not clock.pauses
