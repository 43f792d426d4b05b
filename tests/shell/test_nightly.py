"""The nightly backup: when it runs, what is kept of it, and what status says. (For real: stack.)"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import Clone, start_of
from .test_jobs import kept, make_due
from .test_starts import make_live

NIGHTLY = "nightly-backup"
NIGHT = ["prod backup --why schedule", " backup verify"]
# Stands in for commands/backup.sh, and notes how it was called.
BACKUP = """main() {
    printf '%s\\n' "$MODE backup $*" >>"$ROOT/made"
    [ "${1-}" != verify ] || [ ! -e "$ROOT/no-use" ] || fail "it lacks a row" "take a new one"
    until [ ! -e "$ROOT/hangs" ]; do sleep 0.1; done
    [ ! -e "$ROOT/fails" ] || fail "the disk is full" "free some disk space"
}"""
SYSTEMD_RUN = """#!/bin/sh
printf '%s\\n' "$*" >>"${0%/*}/systemd-run-calls"
"""
SYSTEMCTL = """#!/bin/sh
exit 3
"""


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A production that serves and backs itself up every night, as a new .env says."""
    dash_clone.has_started()
    dash_clone.set_in_env(SCHEDULE_CLEARSESSIONS="")
    dash_clone.add_command("backup", BACKUP)
    make_live(dash_clone, "web-blue")
    for service in ("proxy", "web-blue", "db"):
        docker.has_container(service)
    return dash_clone


def made(clone: Clone) -> list[str]:
    """The steps that were made, in order."""
    path = clone.root / "made"
    return path.read_text().splitlines() if path.exists() else []


def problems(clone: Clone) -> dict[str, str]:
    """What is wrong with production as status sees it, with the remedies."""
    found = json.loads(clone.run("-0", "status", "--json").out)["production"]["problems"]
    return {one["what"]: one["next"] for one in found}


def test_a_new_site_is_backed_up_every_night(shop: Clone) -> None:
    make_due(shop, NIGHTLY)

    first, second = shop.run("jobs").assert_ok().out.splitlines()
    assert first.split() == [NIGHTLY, "daily", "03:30", "backup"]
    assert second.strip() == "has not run yet"

    for _ in range(2):
        shop.run("jobs", "--due").assert_ok()

    assert made(shop) == NIGHT
    record = kept(shop, NIGHTLY)
    assert (record["exit"], record["schedule"]) == ("0", "daily 03:30 backup")
    assert "Back up" in (shop.root / record["log"]).read_text()
    assert [one for one in problems(shop) if "nightly" in one] == []


@pytest.mark.parametrize("at", ["", "04:15"])
def test_the_time_is_a_key_and_none_means_never(shop: Clone, at: str) -> None:
    shop.set_in_env(BACKUP_AT=at)
    make_due(shop, *([NIGHTLY] if at else []))

    shop.run("jobs", "--due").assert_ok()

    assert made(shop) == (NIGHT if at else [])


@pytest.mark.parametrize("here", [True, False])
def test_where_the_key_is_elsewhere_no_night_fails_for_it(shop: Clone, here: bool) -> None:
    shop.set_in_env(BACKUP_RECIPIENT="age1abc")
    if here:
        (shop.state / "backup-key").write_text("AGE-SECRET-KEY-1XYZ\n")
    make_due(shop, NIGHTLY)

    shop.run("jobs", "--due").assert_ok()

    assert made(shop) == (NIGHT if here else NIGHT[:1])
    assert kept(shop, NIGHTLY)["exit"] == "0"


def test_it_waits_for_the_end_of_a_release(shop: Clone) -> None:
    make_due(shop, NIGHTLY)
    lock = shop.state / "lock-prod"
    lock.write_text(f"{os.getpid()} {start_of(os.getpid())} 2026-11-30 03:29:00\n")
    assert shop.run("jobs", "--due").assert_ok().text == ""
    assert made(shop) == []

    lock.unlink()
    shop.run("jobs", "--due").assert_ok()

    assert made(shop) == NIGHT


def test_other_jobs_go_on_beside_it_and_it_never_runs_twice_at_once(
    shop: Clone, docker: FakeDocker
) -> None:
    """As cron calls it: each minute, whether or not the call before has ended."""
    shop.set_in_env(SCHEDULE_REPORT="every 15m report")
    make_due(shop, NIGHTLY, "report")
    (shop.root / "hangs").touch()
    with shop.start("jobs", "--due") as night:
        until(lambda: made(shop), "the backup to run")
        assert kept(shop, "report")["exit"] == "0", "what is due at once comes first"
        for name in (NIGHTLY, "report"):
            path = shop.state / "jobs" / name
            ago = "counted=1793000000 2026-10-26 06:13"
            path.write_text(re.sub("(?m)^counted=.*", ago, path.read_text()))
        shop.run("jobs", "--due").assert_ok()
        refused = shop.run("jobs", NIGHTLY)
        (shop.root / "hangs").unlink()
        night.wait(60)

    refused.assert_refused(f"the job {NIGHTLY} is running already", "wait until it ends")
    assert len([call for call in docker.compose_calls() if "report" in call]) == 2
    assert made(shop) == NIGHT


def test_under_systemd_it_gets_a_unit_of_its_own(shop: Clone, tmp_path: Path) -> None:
    """The timer starts no second call of its service while the first one runs."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as systemd has")
    folder = tmp_path / "systemd"
    folder.mkdir()
    for name, text in {"systemd-run": SYSTEMD_RUN, "systemctl": SYSTEMCTL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    shop.first.append(folder)
    make_due(shop, NIGHTLY)

    shop.run("jobs", "--due", INVOCATION_ID="1").assert_ok()

    (call,) = (folder / "systemd-run-calls").read_text().splitlines()
    name = shop.environment["PROJECT_NAME"]
    assert f"--unit={name}-{NIGHTLY} " in call
    assert call.endswith(f" /bin/sh {shop.root}/run.sh jobs {NIGHTLY}")
    assert made(shop) == []


def test_a_failure_is_what_is_wrong_until_it_goes_well(shop: Clone) -> None:
    make_due(shop, NIGHTLY)
    (shop.root / "fails").touch()

    told = shop.run("jobs", "--due")

    began = kept(shop, NIGHTLY)["began"]
    what = f"the nightly backup failed ({began}): the disk is full"
    assert f"error: {what}\n" in told.err, "for cron's mail"
    remedy = f"free some disk space; then: sh run.sh jobs {NIGHTLY}"
    assert problems(shop)[what] == remedy

    (shop.root / "fails").unlink()
    shop.run("jobs", NIGHTLY).assert_ok()

    assert [one for one in problems(shop) if "nightly" in one] == []


def test_where_there_is_an_archive_it_gets_a_base_backup(shop: Clone, docker: FakeDocker) -> None:
    docker.has_container("archive")
    make_due(shop, NIGHTLY)

    shop.run("jobs", "--due").assert_ok()

    assert made(shop) == [*NIGHT, "prod backup base"]


def test_a_backup_that_cannot_be_used_is_told(shop: Clone) -> None:
    make_due(shop, NIGHTLY)
    (shop.root / "no-use").touch()

    assert "it lacks a row" in shop.run("jobs", "--due").err

    assert made(shop) == NIGHT
    (told,) = [one for one in problems(shop) if "nightly" in one]
    assert told.endswith(": it lacks a row")


def test_one_that_ended_with_the_machine_is_told_and_made_up_for_by_the_next(shop: Clone) -> None:
    make_due(shop, NIGHTLY)
    (shop.root / "hangs").touch()
    with shop.start("jobs", NIGHTLY) as night:
        until(lambda: made(shop), "the backup to run")
        os.killpg(night.pid, signal.SIGKILL)
    (shop.root / "hangs").unlink()
    began = kept(shop, NIGHTLY)["began"]
    assert problems(shop)[f"the nightly backup was interrupted ({began})"] == (
        f"run it again: sh run.sh jobs {NIGHTLY}"
    )

    shop.run("jobs", NIGHTLY).assert_ok()

    assert [one for one in problems(shop) if "nightly" in one] == []


@pytest.mark.parametrize(
    ("at", "hours", "what"),
    [
        ("03:30", 25, ""),
        ("03:30", 27, "the last backup is more than 26 hours old"),
        ("", 27, ""),
        ("", 51, "the last backup is more than two days old"),
    ],
)
def test_a_night_without_a_backup_is_told(shop: Clone, at: str, hours: int, what: str) -> None:
    shop.set_in_env(BACKUP_AT=at)
    (shop.root / "backups").mkdir()
    (shop.root / "backups/shop.dump").touch()
    ago = time.time() - hours * 3600
    os.utime(shop.root / "backups/shop.dump", (ago, ago))

    found: dict[str, Any] = {one: next_ for one, next_ in problems(shop).items() if "last" in one}

    assert list(found) == ([what] if what else [])
    assert all("sh run.sh -0 backup" in remedy for remedy in found.values())


def test_without_a_timer_status_says_so(shop: Clone) -> None:
    (what,) = [one for one in problems(shop) if "nothing starts" in one]
    assert what == "nothing starts the scheduled jobs and the nightly backup"
