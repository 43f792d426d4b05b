"""`restore --on-new-machine`: what it refuses, and what a kill leaves. (For real: tests/stack.)"""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import Clone
from .test_sets import DIFFERENT, FACTS, steps
from .test_starts import make_live

NAME = "shop-prod-20261130T184500Z"


@pytest.fixture
def brought(dash_clone: Clone, docker: FakeDocker, tmp_path: Path) -> Path:
    """A set that lies beside a folder in which nothing has run yet, with its settings."""
    dash_clone.has_started()
    folder = tmp_path / f"usb/{NAME}"
    folder.mkdir(parents=True)
    (dash_clone.root / ".env").rename(folder / "env")
    (folder / "override").write_text("services: {}\n")
    (folder / "manifest.json").write_text("{}")
    write_sums(folder)
    docker.answer("run * usable *", result=FACTS)
    docker.answer("*roles.sh superuser *", out="postdo_superuser")
    docker.answer("compose *names.sql", out="postdo\nrestoring")
    docker.answer("compose *major.sql", out="18")
    return folder


def write_sums(folder: Path) -> None:
    files = [path for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"]
    sums = ((hashlib.sha256(path.read_bytes()).hexdigest(), path.name) for path in files)
    (folder / "SHA256SUMS").write_text("".join(f"{found}  {name}\n" for found, name in sums))


def mark(clone: Clone) -> Path:
    return clone.state / "new-machine"


def restore(folder: Path) -> tuple[str, ...]:
    return ("restore", "--on-new-machine", str(folder))


def test_settings_and_data_come_from_the_set_and_the_site_starts(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    said = dash_clone.run(*restore(brought))

    assert said.status == 0, said
    assert f"restored: {NAME} (12 tables, 345 rows, all as in the manifest)" in said.out
    env = dash_clone.root / ".env"
    assert env.read_text() == (brought / "env").read_text()
    assert env.stat().st_mode & 0o777 == 0o600
    assert (dash_clone.root / "docker-compose.override.yml").exists()
    assert steps(docker)[:5] == ["check", "restore", "swap", "discard", "uploads"]
    assert "pages" in steps(docker)[5:], "it serves as any release does"
    (words,) = (call for call in docker.calls() if " restore /" in call)
    assert " --roles " in words
    built = [call for call in docker.compose_calls() if call == "build web"]
    assert len(built) == 2, "and once more as a release, from Docker's cache"
    assert not mark(dash_clone).exists()


def test_a_changed_file_is_found_before_anything_is_written(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    with (brought / "override").open("a") as file:
        file.write("x")

    dash_clone.run(*restore(brought)).assert_refused(f"Check {NAME} failed", "fix")

    assert not (dash_clone.root / ".env").exists()
    assert steps(docker) == []


def test_a_machine_that_has_data_is_refused(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    docker.answer("volume inspect *-prod_prod-data")

    dash_clone.run(*restore(brought)).assert_refused(
        "this machine is not empty", f"sh run.sh -0 restore {brought}"
    )

    assert steps(docker) == []


def test_settings_that_are_there_already_count(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    own = (brought / "env").read_text() + "OWN=1\n"
    (dash_clone.root / ".env").write_text(own)

    assert dash_clone.run(*restore(brought)).status == 0

    assert (dash_clone.root / ".env").read_text() == own


def test_an_encrypted_set_says_how_its_settings_are_read(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    (brought / "env").rename(brought / "env.age")
    (brought / "database.dump.age").touch()
    write_sums(brought)

    dash_clone.run(*restore(brought)).assert_refused(
        f"{NAME} is encrypted, and so is its .env", f"age -d -i KEY {brought}/env.age >.env"
    )


@pytest.mark.parametrize("at", ["build web", " db", " usable ", " restore /", "restore-uploads"])
def test_whatever_step_it_is_killed_in_the_next_one_begins_anew(
    dash_clone: Clone, docker: FakeDocker, brought: Path, at: str
) -> None:
    words = {" db": "compose *up * db", "build web": "compose *build web"}.get(at, f"run *{at}*")
    docker.answer(words, hangs=True)
    with dash_clone.start(*restore(brought)) as run:
        until(lambda: any(at in call and "ps " not in call for call in docker.calls()), at)
        until(mark(dash_clone).exists, "the mark")
        os.killpg(run.pid, signal.SIGKILL)
    docker.answer(words, result=FACTS)
    docker.answer("volume inspect *-prod_prod-data")
    before = len(docker.calls())

    assert dash_clone.run(*restore(brought)).status == 0

    done = [call for call in docker.calls()[before:] if " restore /" in call]
    assert len(done) == 1
    assert not mark(dash_clone).exists()


def test_what_a_release_has_served_is_not_replaced_whatever_a_kill_left(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    mark(dash_clone).parent.mkdir(exist_ok=True)
    mark(dash_clone).write_text(NAME)
    make_live(dash_clone, "web-blue")
    docker.answer("volume inspect *-prod_prod-data")

    dash_clone.run(*restore(brought)).assert_refused("this machine is not empty", "")

    assert steps(docker) == []


def test_a_set_that_does_not_restore_starts_no_site(
    dash_clone: Clone, docker: FakeDocker, brought: Path
) -> None:
    docker.answer("run * restore /*", status=1, result=DIFFERENT)

    refused = dash_clone.run(*restore(brought))

    refused.assert_refused("X does not restore: a row", "use another")
    assert "swap" not in steps(docker)
    assert not any("proxy" in call for call in docker.compose_calls())


@pytest.mark.parametrize("more", [(), ("--yes", NAME), ("--swap",)])
def test_it_needs_a_set_and_nothing_else(dash_clone: Clone, more: tuple[str, ...]) -> None:
    assert dash_clone.run("restore", "--on-new-machine", *more).status == 2
