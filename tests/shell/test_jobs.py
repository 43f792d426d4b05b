"""Scheduled jobs: when they are due, how one runs, and what is kept. (For real: tests/stack.)"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import PROJECT, Clone, Toolbox
from .test_starts import make_live

SUNDAY = "2026-11-29"
MONDAY = "2026-11-30"
RUN = "run --rm --no-deps --name {name}-prod-job-{job} -T --entrypoint timeout web-job -k 30 3600 "


# --- When they are due ----------------------------------------------------------------------------


def due(awk: Path | str, when: str, counted: str, now: str) -> bool:
    """Whether a job is due; each time is "DATE TIME", in UTC."""

    def stamp(time: str) -> str:
        shown = ["date", "-u", "-d", time, "+%s %Y-%m-%d %H:%M"]
        return subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip()

    found = subprocess.run(
        [awk, "-F", "\t", "-v", f"now={stamp(now)}", "-f", PROJECT / "lib/schedule.awk"],
        input=f"report\t{when}\t{stamp(counted)}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert (found.stdout, found.stderr) in {("report\n", ""), ("", "")}
    return found.stdout == "report\n"


@pytest.mark.parametrize(
    ("when", "counted", "last", "first"),
    [
        ("daily 03:30", f"{SUNDAY} 03:30", f"{MONDAY} 03:29", f"{MONDAY} 03:30"),
        ("daily 03:30", f"{SUNDAY} 12:00", f"{MONDAY} 03:29", f"{MONDAY} 03:30"),
        ("daily", f"{SUNDAY} 00:00", f"{SUNDAY} 23:59", f"{MONDAY} 00:00"),
        ("daily 23:59", f"{SUNDAY} 23:58", f"{SUNDAY} 23:58", f"{MONDAY} 00:10"),
        ("daily 12:00", "2028-02-28 12:00", "2028-02-29 11:59", "2028-02-29 12:00"),
        ("daily 12:00", "2028-02-29 12:00", "2028-03-01 11:59", "2028-03-01 12:00"),
        ("daily 12:00", "2027-12-31 12:00", "2028-01-01 11:59", "2028-01-01 12:00"),
        ("weekly", f"{MONDAY} 00:00", "2026-12-06 23:59", "2026-12-07 00:00"),
        ("weekly 06:00", f"{SUNDAY} 12:00", f"{MONDAY} 05:59", f"{MONDAY} 06:00"),
        ("weekly sun 03:30", f"{SUNDAY} 03:29", f"{SUNDAY} 03:29", f"{SUNDAY} 03:30"),
        ("weekly sun", f"{SUNDAY} 00:00", "2026-12-05 23:59", "2026-12-06 00:00"),
        ("hourly", f"{MONDAY} 09:01", f"{MONDAY} 09:59", f"{MONDAY} 10:00"),
        ("every 15m", f"{MONDAY} 09:01", f"{MONDAY} 09:14", f"{MONDAY} 09:15"),
        ("every 2h", f"{MONDAY} 08:00", f"{MONDAY} 09:59", f"{MONDAY} 10:00"),
    ],
)
def test_a_job_is_due_from_its_time_on_also_long_after(
    toolbox: Toolbox, when: str, counted: str, last: str, first: str
) -> None:
    for awk in toolbox.awks().values():
        assert not due(awk, when, counted, last)
        for now in (first, f"{first} 6 minutes", f"{first} 40 days"):
            assert due(awk, when, counted, now), (awk, now)


def test_when_the_clocks_go_back_nothing_runs_twice(toolbox: Toolbox) -> None:
    """At the second 02:30 of that night: an hour has passed, and the time is the same."""
    for awk in toolbox.awks().values():
        assert not due(awk, "daily 02:30", "2026-10-25 02:30", "2026-10-25 02:30")
        assert not due(awk, "daily 01:30", "2026-10-25 01:30", "2026-10-25 02:10")


def test_a_clock_that_was_wrong_stops_no_job_for_years(toolbox: Toolbox) -> None:
    for awk in toolbox.awks().values():
        assert due(awk, "daily", "2036-01-01 00:00", f"{MONDAY} 09:00")
        assert not due(awk, "daily", f"{MONDAY} 09:05", f"{MONDAY} 09:00"), "set right a little"


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A production that serves, whose schedule is that of a new .env."""
    dash_clone.has_started()
    dash_clone.set_in_env(BACKUP_AT="")  # tests/shell/test_nightly.py
    make_live(dash_clone, "web-blue")
    for service in ("proxy", "web-blue", "db"):
        docker.has_container(service)
    return dash_clone


def kept(clone: Clone, job: str) -> dict[str, str]:
    """What is kept of a job."""
    lines = (clone.state / "jobs" / job).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def make_due(clone: Clone, *jobs: str) -> None:
    """Let these jobs have been looked at last a month ago."""
    clone.run("jobs", "--due").assert_ok()
    for job in jobs:
        path = clone.state / "jobs" / job
        ago = "counted=1793000000 2026-10-26 06:13"
        path.write_text(re.sub("(?m)^counted=.*", ago, path.read_text()))


def ran(clone: Clone, docker: FakeDocker) -> list[str]:
    """The commands that were run as jobs, in order."""
    calls = [call for call in docker.compose_calls() if call.startswith("run ")]
    found = []
    for call in calls:
        job = call.split("-prod-job-")[1].split()[0]
        before = RUN.format(name=clone.environment["PROJECT_NAME"], job=job)
        assert call.startswith(before)
        found.append(call.removeprefix(before))
    return found


def test_a_new_site_deletes_expired_sessions_every_night(shop: Clone) -> None:
    make_due(shop)
    first, second = shop.run("jobs").assert_ok().out.splitlines()
    assert first.split() == ["clearsessions", "daily", "03:30", "clearsessions"]
    assert second.strip() == "has not run yet"


def test_a_job_that_env_does_not_have_is_none(shop: Clone, docker: FakeDocker) -> None:
    """Whatever .env.example has, from which other keys get their defaults."""
    path = shop.root / ".env"
    path.write_text(re.sub("(?m)^SCHEDULE_.*\n", "", path.read_text()))

    assert "no job is scheduled" in shop.run("jobs").assert_ok().out
    assert shop.run("jobs", "--due").assert_ok().text == ""
    assert docker.compose_calls() == []


def test_a_job_that_is_due_runs_once_and_its_result_is_kept(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.set_in_env(SCHEDULE_REPORT="every 15m report --mail ops@example.com", SCHEDULE_OFF="")
    docker.answer("compose *manage.py report*", out="sent 3 mails")
    make_due(shop, "report")
    assert ran(shop, docker) == [], "a schedule that is new is not due"

    for _ in range(2):
        shop.run("jobs", "--due").assert_ok()

    assert ran(shop, docker) == ["python manage.py report --mail ops@example.com"]
    report = kept(shop, "report")
    assert report["exit"] == "0"
    assert report["seconds"].isdecimal()
    assert "sent 3 mails" in (shop.root / report["log"]).read_text()
    assert "began" not in kept(shop, "clearsessions")


def test_the_version_that_serves_runs_it(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("compose *manage.py*", status=0)
    (shop.state / "live" / shop.environment["PROJECT_NAME"] / "upstream").write_text("web-green")
    docker.has_container("web-green")
    compose = docker.folder / "docker"
    compose.write_text(
        compose.read_text().replace(
            "here=${0%/*}", 'here=${0%/*}\necho "$POSTDO_JOB_COLOUR" >>"$here/colours"', 1
        )
    )

    shop.run("jobs", "clearsessions").assert_ok()

    assert "green" in (docker.folder / "colours").read_text().split()
    prod = (PROJECT / "docker-compose.prod.yml").read_text()
    assert "image: ${PROJECT_NAME:-postdo}-web:${POSTDO_JOB_COLOUR:-blue}" in prod


def test_it_runs_without_a_part_that_was_not_released_yet(shop: Clone, docker: FakeDocker) -> None:
    """A changed .env counts at once, but the image of the version that serves has no Celery."""
    docker.answer("compose *manage.py*", status=0)
    docker.answer("image inspect --format *postdo.parts*", out="api")
    shop.set_in_env(COMPOSE_PROFILES="api,tasks")

    shop.run("jobs", "clearsessions").assert_ok()

    (call,) = [call for call in docker.calls() if "web-job" in call]
    assert "docker-compose.tasks.prod.yml" not in call


PARTS = sorted(PROJECT.glob("docker-compose.*.prod.yml"))


@pytest.mark.parametrize("part", [None, *PARTS], ids=lambda part: part.name if part else "no part")
def test_it_has_what_the_site_has(has_compose: None, part: Path | None) -> None:
    """Settings, uploads and networks, also those of an optional part."""
    files = [PROJECT / "docker-compose.yml", PROJECT / "docker-compose.prod.yml"]
    options = [word for path in [*files, part] if path for word in ("-f", str(path))]
    read = ["docker", "compose", *options, "--profile", "*", "config", "--format", "json"]
    surroundings = {"PATH": os.environ["PATH"], "POSTDO_RUN": "yes"}
    done = subprocess.run(read, env=surroundings, capture_output=True, text=True, check=True)
    services = json.loads(done.stdout)["services"]
    job, site = services["web-job"], services["web-blue"]

    for key in ("environment", "networks", "mem_limit", "read_only", "tmpfs"):
        assert job[key] == site[key], key
    mounts = {(one["source"], one["target"]) for one in site["volumes"]}
    assert {(one["source"], one["target"]) for one in job["volumes"]} == {
        (source, target) for source, target in mounts if target != "/uploads"
    }


def test_jobs_that_are_due_run_one_after_another_whether_or_not_one_fails(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.set_in_env(SCHEDULE_A="hourly one", SCHEDULE_B="hourly two")
    docker.answer("compose *manage.py one", err="it went wrong", status=3)
    make_due(shop, "a", "b", "clearsessions")

    told = shop.run("jobs", "--due")

    assert told.status == 0
    three = ("clearsessions", "one", "two")
    assert ran(shop, docker) == [f"python manage.py {command}" for command in three]
    assert (kept(shop, "a")["exit"], kept(shop, "b")["exit"]) == ("3", "0")
    assert "  | it went wrong\n" in told.err
    assert "warning: the job a failed with exit code 3 (" in told.err


@pytest.mark.parametrize("stopped", ["web-blue", "db"])
def test_while_the_site_is_stopped_a_job_waits(
    shop: Clone, docker: FakeDocker, stopped: str
) -> None:
    docker.has_container(stopped, "stopped")
    make_due(shop, "clearsessions")
    assert shop.run("jobs", "--due").assert_ok().text == ""
    by_hand = shop.run("jobs", "clearsessions")
    assert ran(shop, docker) == []
    by_hand.assert_refused("the site is not running", "start it: sh run.sh -0")

    docker.has_container(stopped)
    shop.run("jobs", "--due").assert_ok()

    assert ran(shop, docker) == ["python manage.py clearsessions"]


def test_a_changed_schedule_counts_from_now_on(shop: Clone, docker: FakeDocker) -> None:
    make_due(shop, "clearsessions")
    shop.set_in_env(SCHEDULE_CLEARSESSIONS="hourly clearsessions")

    shop.run("jobs", "--due").assert_ok()

    assert ran(shop, docker) == []
    assert kept(shop, "clearsessions")["schedule"] == "hourly clearsessions"


def test_a_job_that_was_taken_out_is_forgotten(shop: Clone) -> None:
    make_due(shop, "clearsessions")
    shop.set_in_env(SCHEDULE_CLEARSESSIONS="", SCHEDULE_OTHER="hourly check")

    shop.run("jobs", "--due").assert_ok()

    names = {path.name for path in (shop.state / "jobs").iterdir() if path.name[0] != "."}
    assert names == {"other"}


@pytest.mark.every_shell
def test_a_failure_by_hand_shows_the_last_lines_and_the_next_step(
    clone: Clone, tmp_path: Path
) -> None:
    fake = FakeDocker(tmp_path / "fake-docker")
    clone.first.append(fake.folder)
    clone.has_started()
    make_live(clone, "web-blue")
    for service in ("web-blue", "db"):
        fake.has_container(service)
    fake.answer("compose *manage.py clearsessions", err="no such table", status=1)

    told = clone.run("jobs", "CLEARSESSIONS")

    told.assert_refused(
        "the job clearsessions failed with exit code 1", "fix what its log says, .postdo/log"
    )
    assert "  | no such table\n" in told.err
    assert ran(clone, fake) == ["python manage.py clearsessions"]


def test_two_runs_of_one_job_do_not_meet(shop: Clone, docker: FakeDocker) -> None:
    """Neither while the first is at work, nor if its run.sh was killed and its container not."""
    docker.answer("compose *manage.py clearsessions", hangs=True)
    make_due(shop, "clearsessions")
    with shop.start("jobs", "clearsessions") as first:
        until(lambda: ran(shop, docker), "the job to run")
        second = shop.run("jobs", "clearsessions")
        shop.run("jobs", "--due").assert_ok()
        first.send_signal(signal.SIGKILL)
    name = f"{shop.environment['PROJECT_NAME']}-prod-job-clearsessions"
    docker.answer(f"inspect --format {{{{.State.Running}}}} {name}", out="true")
    third = shop.run("jobs", "clearsessions")

    assert len(ran(shop, docker)) == 1
    for refused in (second, third):
        refused.assert_refused("the job clearsessions is running already", f"docker stop {name}")


def test_an_interrupted_job_is_stopped_and_noted(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("compose *manage.py clearsessions", hangs=True)
    with shop.start("jobs", "clearsessions") as run:
        until(lambda: ran(shop, docker), "the job to run")
        children = subprocess.run(
            ["pgrep", "-P", str(run.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        run.send_signal(signal.SIGTERM)
        # A shell waits for what runs in its foreground; systemd tells all of them.
        subprocess.run(["kill", *children], check=False)
        run.communicate()

    assert run.returncode == 143
    name = f"{shop.environment['PROJECT_NAME']}-prod-job-clearsessions"
    assert f"docker stop --time 60 {name}".removeprefix("docker ") in docker.calls()
    assert kept(shop, "clearsessions")["exit"] == "143"


def test_of_a_job_the_last_logs_are_kept(shop: Clone) -> None:
    make_due(shop)
    folder = shop.state / "log"
    folder.mkdir(exist_ok=True)
    for number in range(25):
        (folder / f"20260101-0000{number:02}-job-clearsessions-7.log").touch()
    (folder / "20260101-000000-job-other-7.log").touch()

    shop.run("jobs", "clearsessions").assert_ok()

    left = sorted(path.name for path in folder.glob("*-job-clearsessions-*.log"))
    assert len(left) == 20
    assert (folder / "20260101-000000-job-other-7.log").exists()
    assert kept(shop, "clearsessions")["log"].endswith(left[-1])


def test_stop_ends_the_jobs_that_run(shop: Clone, docker: FakeDocker) -> None:
    name = shop.environment["PROJECT_NAME"]
    docker.answer(f"ps -q --filter name=^{name}-prod-job-", out="id-job")

    shop.run("-0", "stop").assert_ok()

    assert "stop --time 30 id-job" in docker.calls()


@pytest.mark.parametrize("flag", ["-1", "-2"])
def test_jobs_are_productions(shop: Clone, flag: str) -> None:
    shop.run(flag, "jobs").assert_refused("jobs run only in production", "help jobs", status=2)


def test_a_job_that_is_not_there_is_refused(shop: Clone) -> None:
    shop.run("jobs", "report").assert_refused("there is no job report", "sh run.sh jobs")


# --- status ---------------------------------------------------------------------------------------


def systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir()


def seen(clone: Clone) -> tuple[list[dict[str, object]], dict[str, str]]:
    """The jobs of `status --json`, and what is wrong with production."""
    production = json.loads(clone.run("-0", "status", "--json").out)["production"]
    wrong = {one["what"]: one["next"] for one in production["problems"]}
    return production["jobs"], wrong


def test_status_has_the_last_result_of_each_job(shop: Clone, docker: FakeDocker) -> None:
    make_due(shop, "clearsessions")
    (job,), _ = seen(shop)
    assert job == {
        "name": "clearsessions",
        "when": "daily 03:30",
        "command": "clearsessions",
        "state": "new",
    }

    shop.run("jobs", "--due").assert_ok()

    (job,), wrong = seen(shop)
    assert (job["state"], job["exit"]) == ("done", 0)
    assert [one for one in wrong if "job" in one] == []
    page = shop.run("-0", "status").out
    assert re.search(
        r"^  job        clearsessions \(daily 03:30\), done after \d+ s, of ", page, re.M
    )


@pytest.mark.parametrize(
    ("status", "what", "remedy"),
    [
        (3, "the job clearsessions failed with exit code 3 (", "run it again: sh run.sh jobs cl"),
        (124, "the job clearsessions did not end within 3600 s (", "raise JOB_TIMEOUT in .env"),
    ],
)
def test_a_job_that_failed_is_what_is_wrong_until_it_goes_well(
    shop: Clone, docker: FakeDocker, status: int, what: str, remedy: str
) -> None:
    docker.answer("compose *manage.py clearsessions", status=status)
    make_due(shop, "clearsessions")
    assert shop.run("jobs", "--due").status == 0
    (job,), wrong = seen(shop)
    assert (job["state"], job["exit"]) == ("failed", status)
    assert [remedy in wrong[one] for one in wrong if one.startswith(what)] == [True], wrong

    docker.answer("compose *manage.py clearsessions")
    shop.run("jobs", "clearsessions").assert_ok()

    assert [one for one in seen(shop)[1] if "job" in one] == []


def test_a_job_that_ended_with_the_machine_was_interrupted(shop: Clone) -> None:
    make_due(shop, "clearsessions")
    with (shop.state / "jobs/clearsessions").open("a") as file:
        file.write("began=2026-11-30 03:30:01\nlog=.postdo/log/x.log\n")

    (job,), wrong = seen(shop)

    assert job["state"] == "failed"
    assert "exit" not in job
    assert "the job clearsessions was interrupted (2026-11-30 03:30:01)" in wrong


def test_without_a_timer_status_says_that_nothing_starts_the_jobs(shop: Clone) -> None:
    nothing = "nothing starts the scheduled jobs"
    both = "{ sh run.sh jobs --due & sh run.sh -0 watch --minute; } >/dev/null"
    line = f"* * * * * cd '{shop.root}' && {both}"
    timer = "sudo sh run.sh service install" if systemd_runs() else line
    assert timer in seen(shop)[1][nothing]

    shop.run("jobs", "--due").assert_ok()
    assert nothing not in seen(shop)[1]

    (shop.state / "jobs/.checked").write_text("1793000000\n")
    assert nothing in seen(shop)[1]
    shop.set_in_env(SCHEDULE_CLEARSESSIONS="")
    assert seen(shop) == ([], seen(shop)[1])
    assert nothing not in seen(shop)[1]
