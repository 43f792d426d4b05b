"""HAZARDS 51 and 52: kill -9 of the client and of the server, signals, and a lost connection."""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pgproxy import DROP, DROP_ANSWER, PASS, SWALLOW, Judge, Proxy, let_all_pass, proxy_to
from projects import Outcome
from waiting import until

from embedded_postgres import temporary_cluster

from .site import Site, make_site
from .steps import (
    ALL,
    ALLOWED,
    ENDS_SECONDS,
    PLACES,
    all_or_nothing,
    restart,
    sessions,
    start_and_wait,
    three,
)

AGAIN = {**ALLOWED, "ON_DRIFT": "allow"}  # what is taken back by hand is drift
# Elsewhere each time, so that many runs find what one does not.
KILLS = 20 if os.environ.get("POSTDO_SEARCH") else 1
TRIES = 3 * KILLS


def go_back(site: Site) -> None:
    """To the state before the three migrations; the journal stays."""
    site.sql("DROP INDEX IF EXISTS by_quantity")
    site.sql("ALTER TABLE shop_item DROP COLUMN IF EXISTS colour")
    site.sql("DELETE FROM django_migrations WHERE app = 'shop' AND name <> '0001_initial'")


@pytest.mark.parametrize("part", range(4))
def test_kill_9_leaves_all_or_nothing_wherever_it_comes(site: Site, part: int) -> None:
    # HAZARDS 51: random places in each quarter of a whole run
    three(site)
    counted = messages(site)
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}, messages of each session: {counted}")
    generator = random.Random(seed)  # noqa: S311
    met = 0
    for _ in range(TRIES):  # no two runs are quite the same: one may end before it gets there
        go_back(site)
        before = site.untouched()
        where = generator.uniform(part, part + 1) / 4 * len(counted)
        session, count = list(counted.items())[int(where)]
        place = session, 1 + int(where % 1 * count)
        lived = killed_at(site, place, handed_on=generator.random() < 0.5)
        all_or_nothing(site, before)
        print(f"at message {place[1]} of session {place[0]}: {lived}, {site.recorded()[-1]}")
        met += lived
        if met == KILLS:
            break
    assert met == KILLS, "too many of them met no living process"
    site.ends_done(**AGAIN)
    assert site.recorded() == ALL


def messages(site: Site) -> dict[int, int]:
    """How many messages each session of a whole run sends, by its number.

    Each one counts the same below, though a copy sends one for every row.
    """
    with proxied(site) as (proxy, url):
        done = site.run("migrate", DATABASE_URL=url, **AGAIN)
        assert done.code == 0, done.out + done.err
        return {session: count for session, count in sorted(proxy.counts.items()) if count}


def killed_at(site: Site, place: tuple[int, int], *, handed_on: bool) -> bool:
    """Kill a run when a session sends a message, before or after the server gets it.

    Returns whether it still lived. Its children are left to themselves.
    """
    reached, killed = threading.Event(), threading.Event()

    def judge(session: int, message: int, _: bytes) -> str:
        if (session, message) != place:
            return PASS
        reached.set()
        killed.wait(ENDS_SECONDS)
        return PASS if handed_on else DROP

    with proxied(site, judge) as (_, url):
        process = site.start("migrate", DATABASE_URL=url, **AGAIN)
        until(lambda: reached.is_set() or process.poll() is not None, f"message {place}")
        process.kill()
        process.wait(ENDS_SECONDS)
        killed.set()
        process.communicate(timeout=ENDS_SECONDS)
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["kill-9", "sigterm"])
@pytest.mark.parametrize("words", PLACES.values(), ids=list(PLACES))
def test_a_signal_in_each_phase_leaves_all_or_nothing(
    site: Site, words: str, ending: signal.Signals
) -> None:
    # HAZARDS 51
    three(site)
    before = site.untouched()
    process = start_and_wait(site, words)
    process.send_signal(ending)
    out, _ = process.communicate(timeout=ENDS_SECONDS)
    all_or_nothing(site, before)
    if ending is signal.SIGTERM:
        ended = process.returncode == 0 and site.recorded() == ALL
        assert process.returncode == 128 + signal.SIGTERM or ended, out
        assert site.scratch_databases() == []
    site.ends_done(**ALLOWED)
    assert site.recorded() == ALL


SLOW = 'migrations.RunSQL("SELECT pg_sleep(1)", "")'
AT_WORK = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'PgSleep'
"""


@pytest.mark.parametrize("how", ["the session", "the server"])
def test_a_server_that_is_killed_while_it_applies_undoes_everything(
    tmp_path: Path, how: str
) -> None:
    # HAZARDS 51
    with temporary_cluster() as cluster, cluster.fresh_database("shop") as url:
        site = make_site(tmp_path, url)
        three(site)
        site.migration("0005_slow", SLOW, after="0004_index")
        before = site.untouched()
        process = site.start("migrate", **ALLOWED)
        until(lambda: bool(site.sql(AT_WORK)), "the last migration")
        ((worker,),) = site.sql(AT_WORK)
        status = cluster.status()
        assert status.data is not None
        postmaster = int((status.data / "postmaster.pid").read_text().split()[0])
        if how == "the session":
            os.kill(worker, signal.SIGKILL)
        else:
            os.kill(postmaster, signal.SIGQUIT)  # the immediate stop
            until(lambda: not Path(f"/proc/{postmaster}").exists(), "the server's end")
        restart(cluster, site.project.url)
        out, _ = process.communicate(timeout=ENDS_SECONDS)
        assert process.returncode == 4, out
        assert "Traceback" not in out
        assert site.untouched() == before
        site.ends_done(**ALLOWED)


# --- 52: the answer to COMMIT -----------------------------------------------------------------


def at_the_commit(what: str) -> Judge:
    """Does this with the COMMIT of the session that migrates: that which asks for its number."""
    migrating: set[int] = set()

    def judge(connection: int, _: int, data: bytes) -> str:
        if b"pg_current_xact_id" in data:
            migrating.add(connection)
        if connection not in migrating or b"COMMIT\0" not in data:
            return PASS
        return what

    return judge


@contextmanager
def proxied(site: Site, judge: Judge = let_all_pass) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server, and the URL of the site's database through it."""
    parts = urlsplit(site.project.url)
    with proxy_to(parts.port or 0) as proxy:
        proxy.begin(judge)
        place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
        yield proxy, parts._replace(netloc=place).geturl()


def through(site: Site, judge: Judge) -> Outcome:
    """``migrate`` with a proxy before the server."""
    with proxied(site, judge) as (_, url):
        return site.run("migrate", DATABASE_URL=url, **ALLOWED)


def test_a_commit_whose_answer_is_lost_is_done_if_the_server_carried_it_out(site: Site) -> None:
    # HAZARDS 52
    three(site)
    ended = through(site, at_the_commit(DROP_ANSWER))
    assert ended.code == 0, ended.out + ended.err
    assert "the answer to COMMIT was lost, but the server confirms that it committed" in ended.out
    assert site.recorded() == ALL
    site.ends_done(**ALLOWED)


@pytest.mark.parametrize("lost", [DROP, SWALLOW])
def test_a_commit_that_never_arrived_is_undone(site: Site, lost: str) -> None:
    # HAZARDS 52: also where the server still waits for the client, with all its locks
    three(site)
    before = site.untouched()
    ended = through(site, at_the_commit(lost))
    assert ended.code == 4, ended.out + ended.err
    assert "COMMIT failed" in ended.err
    until(lambda: sessions(site) == 0, "the end of the lost session")
    assert site.untouched() == before
    assert site.scratch_databases() == []
    site.ends_done(**ALLOWED)
