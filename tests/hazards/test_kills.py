"""HAZARDS 51: kill -9 of the client and of the server, and signals, wherever they come."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from embedded_support import wait_until

from embedded_postgres import Cluster, temporary_cluster
from embedded_postgres.application import Application

from .site import Site, make_site
from .steps import ALL, ALLOWED, ENDS_SECONDS, PLACES, all_or_nothing, start_and_wait, three

AGAIN = {**ALLOWED, "ON_DRIFT": "allow"}  # what is taken back by hand is drift


def go_back(site: Site) -> None:
    """To the state before the three migrations; the journal stays."""
    site.sql("DROP INDEX IF EXISTS by_quantity")
    site.sql("ALTER TABLE shop_item DROP COLUMN IF EXISTS colour")
    site.sql("DELETE FROM django_migrations WHERE app = 'shop' AND name <> '0001_initial'")


@pytest.mark.parametrize("part", range(4))
def test_kill_9_leaves_all_or_nothing_wherever_it_comes(site: Site, part: int) -> None:
    # HAZARDS 51: five random places in each quarter of a whole run, twenty in all
    three(site)
    began = time.monotonic()
    site.ends_done(**AGAIN)
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)  # noqa: S311
    whole = (time.monotonic() - began) * 0.7  # the rest is the second, empty run
    for _ in range(5):
        go_back(site)
        before = site.snapshot()
        delay = generator.uniform(part, part + 1) / 4 * whole
        process = site.start("migrate", **AGAIN)
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.kill()
        process.communicate(timeout=ENDS_SECONDS)
        all_or_nothing(site, before)
        print(f"killed after {delay:.2f} s: {site.recorded()[-1]}")
    site.ends_done(**AGAIN)
    assert site.recorded() == ALL


@pytest.mark.parametrize("words", PLACES.values(), ids=list(PLACES))
def test_sigterm_in_each_phase_leaves_all_or_nothing(site: Site, words: str) -> None:
    # HAZARDS 51
    three(site)
    before = site.snapshot()
    process = start_and_wait(site, words)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=ENDS_SECONDS)
    all_or_nothing(site, before)
    ended = process.returncode == 0 and site.recorded() == ALL
    assert process.returncode == 128 + signal.SIGTERM or ended, out
    assert site.scratch_databases() == []
    site.ends_done(**ALLOWED)
    assert site.recorded() == ALL


SLOW = 'migrations.RunSQL("SELECT pg_sleep(1)", "")'
AT_WORK = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()
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
        before = site.snapshot()
        process = site.start("migrate", **ALLOWED)
        wait_until(lambda: bool(site.sql(AT_WORK)), "the last migration")
        ((worker,),) = site.sql(AT_WORK)
        status = cluster.status()
        assert status.data is not None
        postmaster = int((status.data / "postmaster.pid").read_text().split()[0])
        if how == "the session":
            os.kill(worker, signal.SIGKILL)
        else:
            os.kill(postmaster, signal.SIGQUIT)  # the immediate stop
            wait_until(lambda: not Path(f"/proc/{postmaster}").exists(), "the server's end")
        restart(cluster, site)
        out, _ = process.communicate(timeout=ENDS_SECONDS)
        assert process.returncode == 4, out
        assert "Traceback" not in out
        assert site.snapshot() == before
        site.ends_done(**ALLOWED)


def restart(cluster: Cluster, site: Site) -> None:
    """Have the server answer again, on the same port."""
    parts = urlsplit(site.project.url)
    if cluster.status().state != "running":
        assert parts.username
        assert parts.password
        assert parts.port
        cluster.start(parts.port, Application(parts.username, "tester", parts.password))

    def answers() -> bool:
        try:
            return bool(site.sql("SELECT 1"))
        except Exception:  # noqa: BLE001  whichever driver is installed
            return False

    wait_until(answers, "the server's answer")
