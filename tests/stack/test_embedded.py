"""Local development with no Docker: `sh run.sh -2` on an embedded PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .clone import IS_ROOT, NO_ENGINE, Clone, make_clone
from .runs import Run
from .test_local import INSTALLING, start
from .waiting import eventually

SOMEBODY = 65534  # nobody: a user of every machine, without a home or a privilege
US, SOMEBODY_ELSE = ["the user who runs the tests"], ["somebody else"]
everybody = pytest.mark.parametrize("machine", US + SOMEBODY_ELSE, indirect=True)
ADD = "from accounts.models import User; User.objects.create(email='kept@example.com')"
ENDED_BY_STOP = 143  # 128 and SIGTERM, as a shell shows it
KEPT = "User.objects.filter(email='kept@example.com').count()"
COUNT = f"from accounts.models import User; print('kept:', {KEPT})"


@pytest.fixture(scope="module", params=US)
def machine(request: pytest.FixtureRequest, origin: Path, clones: list[Clone]) -> Iterator[Clone]:
    """A clean clone where no Docker answers: below a 0700 home, and of a user with nothing."""
    somebody = request.param in SOMEBODY_ELSE
    if somebody and not IS_ROOT:
        pytest.skip("only root can become somebody else; the other half ran as a normal user")
    with ExitStack() as stack:
        owner = SOMEBODY if somebody else None
        clone = make_clone(origin, owner=owner, open_folder=somebody)
        clones.append(clone)
        stack.callback(clones.remove, clone)
        stack.callback(clone.remove)
        clone.environment.update(NO_ENGINE)
        if somebody:
            clone.run_as = SOMEBODY
            # Its own home, but not a second download of what pip has already.
            clone.environment["HOME"] = str(clone.root.parent)
        yield clone


@pytest.fixture
def served(machine: Clone) -> Iterator[Run]:
    """The local server of that clone; with PostgreSQL, and gone with the test."""
    run = start(machine)
    yield run
    run.remove()


def processes(clone: Clone) -> dict[int, str]:
    """Whatever runs in the clone or from it: process id to command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            folder = str((entry / "cwd").readlink())
        except OSError:
            continue  # it has ended meanwhile, or is another user's
        if str(clone.root) in command or folder.startswith(str(clone.root)):
            found[int(entry.name)] = command
    return found


def pid_of(clone: Clone, *words: str) -> int:
    """The first process of the clone with all these words in its command line."""
    return min(
        pid for pid, command in processes(clone).items() if all(word in command for word in words)
    )


def postmaster(clone: Clone) -> int:
    """The first process of the clone's PostgreSQL, as its own pid file names it."""
    (pid_file,) = (clone.root / ".postdo/postgres").rglob("postmaster.pid")
    return int(pid_file.read_text().split()[0])


@everybody
def test_a_machine_with_nothing_serves_and_keeps_its_data(machine: Clone) -> None:
    first = start(machine)
    page = machine.visitor("LOCAL_PORT").get("/")
    assert page.status == 200
    assert "The site answers, the database answers" in page.text
    assert "embedded PostgreSQL" in first.text
    (version,) = (machine.root / ".postdo/postgres").rglob("data/PG_VERSION")
    same = machine.env()["POSTGRES_IMAGE"] == f"postgres:{version.read_text().strip()}"
    assert ("(POSTGRES_IMAGE in .env)" in first.text) != same, "two majors are told"
    machine.run("-2", "shell", "-c", ADD)
    assert machine.run("-2", "psql", "-qAtc", "SELECT 6 * 7").out.strip() == "42"
    assert "running" in machine.run("status").text

    ended = first.stop(signal.SIGINT)

    assert ended.status == 130, ended
    assert processes(machine) == {}
    assert not machine.visitor("LOCAL_PORT").is_up("/healthz")

    second = start(machine)
    assert not [step for step in INSTALLING if step in second.text], second.text
    assert "kept: 1" in machine.run("-2", "shell", "-c", COUNT).out
    machine.run("-2", "stop")
    assert second.wait(30).status == ENDED_BY_STOP
    assert processes(machine) == {}


def test_the_superuser_logs_in_with_the_password_that_the_start_shows(
    machine: Clone, served: Run
) -> None:
    assert machine.env()["DJANGO_SUPERUSER_PASSWORD"] in served.text

    assert machine.admin("LOCAL_PORT").get("/admin/accounts/user/").status == 200


@everybody
def test_what_is_written_belongs_to_the_owner_of_the_clone(machine: Clone) -> None:
    owner = machine.root.stat().st_uid

    foreign = [path for path in machine.root.rglob("*") if path.lstat().st_uid != owner]

    assert not foreign
    assert (machine.root / ".env").stat().st_mode & 0o777 == 0o600


def test_a_killed_dev_server_ends_the_run_and_its_database(machine: Clone, served: Run) -> None:
    os.kill(pid_of(machine, "manage.py runserver"), signal.SIGKILL)

    ended = served.wait(30)

    ended.refused("the local server stopped by itself", "sh run.sh -2")
    assert processes(machine) == {}


def test_a_killed_run_is_cleaned_up_after_by_the_next(machine: Clone, served: Run) -> None:
    served.send(signal.SIGKILL, group=False)
    served.wait(30)
    assert processes(machine), "the server and its database have lost their keeper"

    start(machine).stop()

    assert processes(machine) == {}


def test_a_killed_postgresql_is_recovered_by_the_next_start(machine: Clone, served: Run) -> None:
    os.kill(postmaster(machine), signal.SIGKILL)
    visitor = machine.visitor("LOCAL_PORT")
    eventually(lambda: visitor.get("/readyz").status == 503, "the site to see it")
    assert "The database does not answer." in visitor.get("/").text
    served.stop()

    start(machine)

    assert "kept: 1" in machine.run("-2", "shell", "-c", COUNT).out
    machine.run("-2", "stop")
    assert processes(machine) == {}


def test_manage_and_dump_start_the_database_for_as_long_as_they_need_it(machine: Clone) -> None:
    assert processes(machine) == {}

    machine.run("-2", "dump", "data.json", "accounts")

    assert "kept@example.com" in (machine.root / "data.json").read_text()
    assert processes(machine) == {}


def test_docker_is_named_as_missing_where_it_is_needed(machine: Clone) -> None:
    there = shutil.which("docker")
    what = "the Docker engine is not running" if there else "Docker is not installed"
    for mode in ("-0", "-1"):
        machine.run(mode, ok=False).refused(what, "sh run.sh -2")
