"""HAZARDS 42 to 48: other processes, other sessions, and what holds the site up."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_pooler import pooler
from projects import open_connection
from waiting import until

from .site import Site, make_site

ADD = 'migrations.AddField("item", "colour", models.CharField(max_length=9, null=True))'
ADD_TO_ORDER = 'migrations.AddField("order", "colour", models.CharField(max_length=9, null=True))'
REWRITE = 'migrations.AlterField("order", "quantity", models.BigIntegerField())'
ENDS_SECONDS = 60


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a started command, and everything that it printed."""
    out, _ = process.communicate(timeout=ENDS_SECONDS)
    return process.returncode, out


@contextmanager
def held(site: Site, statement: str) -> Iterator[Any]:
    """A transaction of the application that has run this, and does not end."""
    session = site.connect()
    try:
        cursor = session.cursor()
        cursor.execute("SET application_name = 'the nightly report'")
        cursor.execute("BEGIN")
        cursor.execute(statement)
        yield session
    finally:
        session.close()


def is_waiting(site: Site) -> bool:
    """Whether a session of postdo waits for a lock."""
    return bool(
        site.sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'postdo%' AND wait_event_type = 'Lock'"
        )
    )


# --- 42: many at once -------------------------------------------------------------------------


def test_ten_containers_that_start_at_once_migrate_once(site: Site) -> None:
    # HAZARDS 42
    site.migration("0002_add", ADD)
    site.migration("0003_add", ADD_TO_ORDER, after="0002_add")
    starting = [site.start("prepare") for _ in range(10)]
    results = [ended(process) for process in starting]
    assert [code for code, _ in results] == [0] * 10, "\n".join(out for _, out in results)
    everything = "".join(out for _, out in results)
    assert everything.count("rehearsing the pending migrations") == 1
    assert everything.count("applied shop.0002_add") == 1
    assert everything.count("applied shop.0003_add") == 1
    assert site.recorded() == ["0001_initial", "0002_add", "0003_add"]
    assert site.sql("SELECT count(*) FROM postdo_journal.run") == [(2,)]
    assert site.scratch_databases() == []


def test_ten_containers_on_an_empty_database_all_start(tmp_path: Path, database: str) -> None:
    # HAZARDS 42
    site = make_site(tmp_path, database)
    for table in ("postdo_journal", "public"):
        site.sql(f"DROP SCHEMA {table} CASCADE")
    site.sql("CREATE SCHEMA public")
    results = [ended(one) for one in [site.start("prepare") for _ in range(10)]]
    assert [code for code, _ in results] == [0] * 10, "\n".join(out for _, out in results)
    assert "".join(out for _, out in results).count("applied shop.0001_initial") == 1


def other_release(site: Site, name: str, operation: str, after: str = "0001_initial") -> Site:
    """The same database with other code: what the site has, and one migration more."""
    root = site.root.parent / f"{site.root.name}-{name}"
    shutil.copytree(site.root, root)
    other = Site(replace(site.project, root=root), {**site.environment, "APP_VERSION": name})
    other.migration(name, operation, after=after)
    return other


def test_two_releases_that_start_at_once_apply_each_migration_once(site: Site) -> None:
    # HAZARDS 42: half of the containers have one migration more than the others
    site.migration("0002_add", ADD)
    newer = other_release(site, "0003_more", ADD_TO_ORDER, after="0002_add")
    starting = [one.start("prepare") for _ in range(3) for one in (site, newer)]
    results = [ended(process) for process in starting]
    assert [code for code, _ in results] == [0] * 6, "\n".join(out for _, out in results)
    everything = "".join(out for _, out in results)
    assert everything.count("applied shop.0002_add") == 1
    assert everything.count("applied shop.0003_more") == 1
    assert site.recorded() == ["0001_initial", "0002_add", "0003_more"]
    newer.ends_done()
    shutil.rmtree(newer.root)


def test_of_two_releases_that_went_apart_one_is_done_and_the_other_refused(site: Site) -> None:
    # HAZARDS 42, 11
    releases = [
        other_release(site, "0002_add", ADD),
        other_release(site, "0002_other", ADD_TO_ORDER),
    ]
    results = [ended(process) for process in [one.start("migrate") for one in releases]]
    assert sorted(code for code, _ in results) == [0, 3], "\n".join(out for _, out in results)
    done, refused = sorted(zip(results, releases, strict=True), key=lambda pair: pair[0][0])
    (name,) = site.recorded()[1:]
    assert (done[1].root / f"shop/migrations/{name}.py").exists()
    assert (
        f"the database is ahead of this code: a newer release applied shop.{name}" in refused[0][1]
    )
    done[1].ends_done()
    for release in releases:
        shutil.rmtree(release.root)


def test_the_one_that_waits_says_for_whom_and_does_nothing_twice(site: Site) -> None:
    # HAZARDS 42
    site.migration("0002_add", ADD)
    with held(site, "SELECT * FROM shop_item"):
        first = site.start("migrate")
        until(lambda: is_waiting(site), "the first one's wait for the table")
        second = site.start("migrate")
        said = said_until(second, "another process holds the lock; waiting for postdo")
    code, out = ended(first)
    assert code == 0, out
    assert "applied shop.0002_add" in out
    code, out = ended(second)
    assert code == 0, said + out
    assert "applied shop.0002_add" not in said + out
    assert "nothing to migrate" in out


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """What a started command prints, up to the line with these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it ended without {words!r}:\n{said}")


# --- 43: a long transaction of the application ------------------------------------------------


def test_a_table_in_use_is_waited_for_in_turns_that_let_the_site_pass(site: Site) -> None:
    # HAZARDS 43: the queue behind an ALTER TABLE froze a site for 4.5 s
    site.migration("0002_add", ADD)
    worst, requests = 0.0, 0
    with held(site, "SELECT * FROM shop_item"):
        process = site.start("migrate", LOCK_TIMEOUT_MS="200")
        until(lambda: is_waiting(site), "the wait for the table")
        visitor = open_connection(site.project.url)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            began = time.monotonic()
            visitor.cursor().execute("SELECT count(*) FROM shop_item")
            worst, requests = max(worst, time.monotonic() - began), requests + 1
        visitor.close()
        assert process.poll() is None
    code, out = ended(process)
    assert code == 0, out
    assert requests > 20
    assert worst < 1.5, f"a request took {worst:.1f} s"
    assert "rolled back, trying again" in out
    assert "the nightly report" in out
    assert site.recorded() == ["0001_initial", "0002_add"]
    assert site.scratch_databases() == []


def test_a_table_that_stays_in_use_ends_undone_and_names_who_holds_it(site: Site) -> None:
    # HAZARDS 43
    site.migration("0002_add", ADD)
    with held(site, "SELECT * FROM shop_item"):
        ended = site.ends_undone(
            "shop_item", "the nightly report", "pg_terminate_backend", LOCK_RETRY_SECONDS="2"
        )
    assert "tried " in ended.err
    site.ends_done()


def test_an_open_transaction_elsewhere_does_not_hold_the_change_up(site: Site) -> None:
    # HAZARDS 43
    site.migration("0002_add", ADD)
    with held(site, "SELECT * FROM shop_order"):
        site.ends_done(LOCK_RETRY_SECONDS="0")


def test_a_statement_of_the_application_that_takes_long_is_waited_for(site: Site) -> None:
    # HAZARDS 43: not a lock that is held, but a report that is running
    site.migration("0002_add", ADD)
    with held(site, "SELECT pg_advisory_lock(7)") as keeper:
        report = site.connect()
        running = threading.Thread(
            target=lambda: report.cursor().execute(
                "SELECT pg_advisory_lock(7) FROM shop_item LIMIT 1"
            )
        )
        running.start()
        until(lambda: bool(site.sql(REPORT)), "the report")
        process = site.start("migrate", LOCK_TIMEOUT_MS="200")
        said = said_until(process, "rolled back, trying again")
        keeper.cursor().execute("SELECT pg_advisory_unlock(7)")
        running.join()
        report.close()
        code, out = ended(process)
    assert code == 0, said + out
    assert "SELECT pg_advisory_lock(7) FROM shop_item" in said
    assert site.recorded() == ["0001_initial", "0002_add"]


# The report, waiting for what keeps it running.
REPORT = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"


def trace(site: Site, **environment: str) -> dict[str, Any]:
    """What the rehearsal saw."""
    seen = site.plan(**environment)["rehearsal"]["trace"]
    assert isinstance(seen, dict)
    return seen


# --- 44, 45: locks that are too long ----------------------------------------------------------


def test_a_table_that_is_written_anew_is_seen_and_asked_about(site: Site) -> None:
    # HAZARDS 44
    site.migration("0002_big", REWRITE)
    site.ends_refused(
        "would block reads and writes of shop_order",
        "LOCK_SECONDS allows 0 s",
        "--approve ",
        LOCK_SECONDS="0",
    )
    step = trace(site, LOCK_SECONDS="0")["steps"][0]
    assert step["rewrites"] == ["public.shop_order"]


def test_a_widened_varchar_is_not_taken_for_a_rewrite(site: Site) -> None:
    # HAZARDS 44
    wider = 'migrations.AlterField("item", "name", models.CharField(max_length=80))'
    site.migration("0002_wide", wider)
    assert trace(site, ON_INCOMPATIBLE="allow")["steps"][0]["rewrites"] == []
    site.ends_done(ON_INCOMPATIBLE="allow")


SLEEP = 'migrations.RunSQL("SELECT pg_sleep(0.4)", "")'


def test_locks_add_up_over_the_migrations_that_follow(site: Site) -> None:
    # HAZARDS 45: the first lock is held until the last migration has ended
    site.migration("0002_add", ADD)
    previous = "0002_add"
    for number in (3, 4, 5):
        site.migration(f"000{number}_slow", SLEEP, after=previous)
        previous = f"000{number}_slow"
    site.ends_refused("shop_item for 1.", "LOCK_SECONDS allows 1 s", LOCK_SECONDS="1")
    site.ends_done(LOCK_SECONDS="5")


def test_an_approval_lets_a_long_lock_pass(site: Site) -> None:
    # HAZARDS 44, 45
    site.migration("0002_big", REWRITE)
    refused = site.ends_refused("LOCK_SECONDS", LOCK_SECONDS="0")
    checksum = refused.err.split("--approve ")[1].split()[0].strip("`.,;)")
    site.ends_done("migrate", "--approve", checksum, LOCK_SECONDS="0")


# --- 46: a deadlock with the application ------------------------------------------------------


def test_tables_in_another_order_than_the_applications_end_done(site: Site) -> None:
    # HAZARDS 46: the application locks item, then order; the migrations order, then item
    site.migration("0002_order", ADD_TO_ORDER)
    site.migration("0003_item", ADD, after="0002_order")
    stop = threading.Event()
    failures: list[str] = []

    def application() -> None:
        session = open_connection(site.project.url)
        cursor = session.cursor()
        while not stop.is_set():
            try:
                cursor.execute("BEGIN")
                cursor.execute("UPDATE shop_item SET price = price + 1 WHERE id = 1")
                cursor.execute("UPDATE shop_order SET quantity = quantity WHERE id = 1")
                cursor.execute("COMMIT")
            except Exception as error:  # noqa: BLE001  of either driver
                failures.append(str(error))
                cursor.execute("ROLLBACK")
        session.close()

    visitors = [threading.Thread(target=application) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    try:
        outcome = site.run("migrate")
    finally:
        stop.set()
        for visitor in visitors:
            visitor.join()
    assert outcome.code == 0, outcome.err
    assert failures == []
    assert site.recorded() == ["0001_initial", "0002_order", "0003_item"]


# --- 48 -----------------------------------------------------------------------------------


def test_a_pooler_that_changes_sessions_is_refused_before_any_lock(site: Site) -> None:
    # HAZARDS 48
    site.migration("0002_add", ADD)
    before = site.untouched()
    with pooler(site.project.url, "transaction") as url:
        outcome = site.run("migrate", DATABASE_URL=url)
        assert outcome.code == 3, outcome.err
        assert "postdo: refused: " in outcome.err
        assert "pooler" in outcome.err.lower()
        assert site.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []
    assert site.untouched() == before
    site.ends_done()
