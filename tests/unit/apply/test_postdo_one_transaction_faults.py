"""Processes, servers and connections that die while migrations are applied: all stays, or nothing.

The places are messages of the session that migrates, counted by a proxy before the server; which
ones is random, and the seed is printed.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pgproxy import DROP, DROP_ANSWER, PASS, SWALLOW, Judge, Proxy, proxy_to
from projects import Project, make_shop, query
from waiting import until

from embedded_postgres import Cluster, temporary_cluster

from .applying import (
    ADD_ORDER,
    ADD_STOCK,
    FILL_STOCK,
    UNDONE,
    UNIQUE,
    Server,
    add,
    contents,
    copied,
    function,
    make_base,
    name_of,
    recorded,
    start,
)

PLACES = 20
SERVER_PLACES = 20
SIGNALS = 10
LATE_SECONDS = 3.0  # by then a killed server is down for certain
WORKER = 2  # of the proxy's connections; the first one holds the lock
ADD_TWIN = """
migrations.AddField("Order", "twin", models.ForeignKey("shop.Item", models.CASCADE,
                    null=True, related_name="twins"))
"""
STEPS = (
    ADD_STOCK,
    FILL_STOCK,
    ADD_ORDER,
    ADD_TWIN,
    "migrations.RunSQL('UPDATE shop_order SET twin_id = item_id')",
    UNIQUE,
    "migrations.RunSQL('DELETE FROM shop_order WHERE item_id > 300')",
    function(
        "connection.cursor().execute('UPDATE shop_item SET stock = stock + id'); "
        "connection.on_commit(lambda: print('after the commit'))"
    ),
    "migrations.RunSQL('CREATE INDEX CONCURRENTLY by_stock ON shop_item (stock)')",
)
ALL = [f"{number:04d}_{'initial' if number == 1 else 'step'}" for number in range(1, 11)]
INSIDE = ["CREATE TABLE IF NOT EXISTS journal AS SELECT 1 AS run"]


@dataclass
class Site:
    """A server, a proxy before it, and a base that pending migrations wait for."""

    cluster: Cluster
    base: str
    port: int
    proxy: Proxy
    driver: Server
    project: Project


def make_site(root: Path, cluster: Cluster, proxy: Proxy, base: str) -> Site:
    """The migrations are written, and the driver is up. `base` is made here."""
    url = cluster.url(base)
    (root / "first").mkdir()
    make_base(root / "first", url)
    project = make_shop(root, url)
    add(project, *STEPS)
    process = start(project, {"LOCK_RETRY_SECONDS": "20"}, serve=True, inside=INSIDE)
    return Site(cluster, base, proxy.server, proxy, Server(process), project)


def closed(site: Site) -> None:
    assert site.driver.process.stdin is not None
    site.driver.process.stdin.close()
    site.driver.process.wait(timeout=20)


@pytest.fixture(scope="module")
def site(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = f"faults_{secrets.token_hex(4)}"
    with postgres.fresh_database(base) as url, proxy_to(urlsplit(url).port or 0) as proxy:
        one = make_site(tmp_path_factory.mktemp("faults"), postgres, proxy, base)
        yield one
        closed(one)


@pytest.fixture
def copy(site: Site) -> Iterator[str]:
    with copied(site.cluster, site.base) as url:
        yield url


def undisturbed(site: Site, url: str) -> tuple[int, dict[str, Any]]:
    """How many messages a run sends, and what it leaves."""
    site.proxy.begin()
    code, printed = site.driver.run(site.proxy.port, name_of(url))
    assert code == 0, printed
    assert recorded(url) == ALL
    return site.proxy.counts[WORKER], contents(url)


def chosen(messages: int, places: int) -> list[tuple[int, bool]]:
    """Random messages, the last two (COMMIT among them) for certain; and before or after each."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311  to be repeated
    some = [dice.randint(1, messages) for _ in range(places - 2)]
    return [(place, dice.random() < 0.5) for place in [*some, messages - 1, messages]]


def essence(found: dict[str, Any]) -> dict[str, Any]:
    """What two successful runs have in common.

    Of Django's own tables only how many rows: they have times, and numbers from sequences, which
    no rollback sets back.
    """
    own = ("django_", "auth_")
    return {name: [rows[0][0]] if name.startswith(own) else rows for name, rows in found.items()}


def all_or_nothing(url: str, before: dict[str, Any], after: dict[str, Any], said: str) -> bool:
    """Whether all is there; fails if it is neither all nor nothing."""
    if recorded(url) == ALL:
        assert essence(contents(url)) == essence(after), said
        return True
    assert contents(url) == before, said
    return False


def test_a_client_killed_anywhere_leaves_all_or_nothing_and_the_next_one_finishes(
    site: Site, copy: str
) -> None:
    before = contents(copy)
    messages, after = undisturbed(site, copy)
    assert messages > 100
    results = []
    for place, handed_on in chosen(messages, PLACES):
        with copied(site.cluster, site.base) as url:

            def judge(
                connection: int, message: int, _: bytes, at: tuple[int, bool] = (place, handed_on)
            ) -> str:
                if (connection, message) != (WORKER, at[0]):
                    return PASS
                os.kill(site.driver.pid, signal.SIGKILL)
                return DROP_ANSWER if at[1] else DROP

            site.proxy.begin(judge)
            code, printed = site.driver.run(site.proxy.port, name_of(url))
            where = f"message {place} of {messages}, handed on: {handed_on}\n{printed}"
            # The last message says goodbye and waits for no answer: it may have ended by then.
            assert code == -signal.SIGKILL or (code, place) == (0, messages), where
            unless_at_work(url)
            results.append(all_or_nothing(url, before, after, where))
            code, printed = site.driver.run(site.port, name_of(url))
            assert code == 0, where + printed
            assert all_or_nothing(url, before, after, where + printed)
    assert False in results


def unless_at_work(url: str) -> None:
    """Waits until no session of ours is left."""
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postdo %' "
    mine += "AND datname = current_database()"
    until(lambda: query(url, mine) == [(0,)], "the end of the killed client's sessions")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on a server of its own, which may be killed."""
    with (
        temporary_cluster() as cluster,
        cluster.fresh_database("base") as url,
        proxy_to(urlsplit(url).port or 0) as proxy,
    ):
        one = make_site(tmp_path_factory.mktemp("own"), cluster, proxy, "base")
        yield one
        closed(one)


def checkpointer(site: Site) -> int | None:
    """The pid of the server's checkpointer, a new one after each crash; none while it is down."""
    question = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
    with suppress(Exception):
        found = query(site.cluster.url("postgres"), question)
        return int(found[0][0]) if found else None
    return None


def recovered(site: Site, before: int | None) -> None:
    """Wait until the server is back; one that was killed on its way out never went away."""
    end = time.monotonic() + LATE_SECONDS
    until(
        lambda: (
            checkpointer(site) not in (None, before)
            or (checkpointer(site) == before and time.monotonic() > end)
        ),
        "the server",
    )


def crash(url: str) -> None:
    """Kill one of the server's processes; PostgreSQL ends all others, and recovers."""
    with suppress(Exception):  # it may be on its way down already
        backends = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        backends += "AND pid <> pg_backend_pid()"
        for (pid,) in query(url, backends):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_server_killed_anywhere_leaves_all_or_nothing_and_the_outcome_says_which(
    own: Site,
) -> None:
    with copied(own.cluster, own.base) as url:
        before = contents(url)
        messages, after = undisturbed(own, url)
    killers: list[threading.Thread] = []
    for place, handed_on in chosen(messages - 1, SERVER_PLACES):  # the last says goodbye
        with copied(own.cluster, own.base) as url:

            def judge(
                connection: int,
                message: int,
                _: bytes,
                at: tuple[int, bool, str] = (place, handed_on, url),
            ) -> str:
                if (connection, message) == (WORKER, at[0]):
                    killers.append(threading.Thread(target=crash, args=(at[2],)))
                    killers[-1].start()
                    if not at[1]:
                        killers[-1].join()
                return PASS

            was = checkpointer(own)
            own.proxy.begin(judge)
            code, printed = own.driver.run(own.proxy.port, name_of(url))
            killers[-1].join()
            where = f"message {place} of {messages}, handed on: {handed_on}\n{printed}"
            recovered(own, was)
            assert code in (0, UNDONE), where
            assert all_or_nothing(url, before, after, where) == (code == 0), where
            own.proxy.begin()
            code, printed = own.driver.run(own.port, name_of(url))
            assert code == 0, where + printed
            assert all_or_nothing(url, before, after, where + printed)


def at_commit(what: str, then: Callable[[], None] = lambda: None) -> Judge:
    """Does this with the COMMIT of the session that migrates."""

    def judge(connection: int, _: int, data: bytes) -> str:
        if connection != WORKER or b"COMMIT\0" not in data:
            return PASS
        then()
        return what

    return judge


def test_a_commit_whose_answer_is_lost_is_done_if_the_server_carried_it_out(
    site: Site, copy: str
) -> None:
    site.proxy.begin(at_commit(DROP_ANSWER))
    code, printed = site.driver.run(site.proxy.port, name_of(copy))
    assert code == 0, printed
    assert "the answer to COMMIT was lost, but the server confirms that it committed" in printed
    assert recorded(copy) == ALL


@pytest.mark.parametrize("lost", [DROP, SWALLOW])
def test_a_commit_that_never_arrived_is_undone_and_leaves_no_session(
    site: Site, copy: str, lost: str
) -> None:
    """Where the server still waits for the client, its transaction is ended."""
    before = contents(copy)
    site.proxy.begin(at_commit(lost))
    code, printed = site.driver.run(site.proxy.port, name_of(copy))
    assert code == UNDONE, printed
    assert "COMMIT failed" in printed
    unless_at_work(copy)
    assert contents(copy) == before


def test_a_commit_of_which_nothing_is_heard_any_more_says_how_to_find_out(
    site: Site, copy: str
) -> None:
    def gone() -> None:
        site.proxy.refuse = True

    site.proxy.begin(at_commit(DROP_ANSWER, gone))
    code, printed = site.driver.run(site.proxy.port, name_of(copy), DB_WAIT_SECONDS="1")
    assert code == 5, printed
    assert "it is unknown whether the server carried out the COMMIT" in printed
    question = re.search(r"SELECT pg_xact_status\('\d+'\)", printed)
    assert question, printed
    assert query(copy, question.group()) == [("committed",)]


def test_a_server_that_stays_away_before_the_commit_is_undone(site: Site, copy: str) -> None:
    before = contents(copy)

    def judge(connection: int, message: int, _: bytes) -> str:
        if (connection, message) != (WORKER, 60):
            return PASS
        site.proxy.refuse = True
        return DROP

    site.proxy.begin(judge)
    code, printed = site.driver.run(site.proxy.port, name_of(copy), DB_WAIT_SECONDS="1")
    assert code == UNDONE, printed
    assert "COMMIT was never sent" in printed
    unless_at_work(copy)
    assert contents(copy) == before


def test_a_signal_anywhere_ends_it_with_nothing_or_with_all(site: Site, copy: str) -> None:
    before = contents(copy)
    messages, after = undisturbed(site, copy)
    for place, _ in chosen(messages - 1, SIGNALS):  # the last one only says goodbye
        with copied(site.cluster, site.base) as url:

            def judge(connection: int, message: int, _: bytes, at: int = place) -> str:
                if (connection, message) == (WORKER, at):
                    os.kill(site.driver.pid, signal.SIGTERM)
                return PASS

            site.proxy.begin(judge)
            code, printed = site.driver.run(site.proxy.port, name_of(url))
            where = f"message {place} of {messages}\n{printed}"
            assert code == 128 + signal.SIGTERM, where
            unless_at_work(url)
            kept = all_or_nothing(url, before, after, where)
            assert ("all migrations are applied" in printed) == kept, where


def test_a_signal_during_the_commit_waits_for_its_answer_and_what_follows_it(
    site: Site, copy: str
) -> None:
    def stop() -> None:
        os.kill(site.driver.pid, signal.SIGTERM)

    site.proxy.begin(at_commit(PASS, stop))
    code, printed = site.driver.run(site.proxy.port, name_of(copy))
    assert code == 128 + signal.SIGTERM
    assert "the signal came too late: all migrations are applied" in printed
    assert "after the commit" in printed
    assert recorded(copy) == ALL


@pytest.mark.parametrize(
    "long", ["migrations.RunSQL('SELECT pg_sleep(60)')", function("import time; time.sleep(60)")]
)
def test_a_signal_in_a_long_step_takes_everything_back_at_once(
    site: Site, copy: str, tmp_path: Path, long: str
) -> None:
    project = make_shop(tmp_path, copy)
    add(project, ADD_STOCK, FILL_STOCK, long)
    before = contents(copy)
    process = start(project)
    assert process.stdout is not None
    while "applied shop.0003_step" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert "stopped: everything is rolled back" in printed
    unless_at_work(copy)
    assert contents(copy) == before
