"""The whole circle of a set: made, verified, and put back after a mistake, while visitors wait."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clone import Clone, make_clone
from .engine import docker
from .visitor import crowded
from .waiting import eventually

EMAILS = "SELECT email FROM accounts_user ORDER BY 1"
UPLOAD = "/files/public/media/face.jpg"


@pytest.fixture
def site(production: Clone) -> Iterator[Clone]:
    """Production serving, with no set and no database of a restore afterwards."""
    yield production
    production.run("-0", "psql", "-d", "postgres", "-c", "DROP DATABASE IF EXISTS replaced")
    (production.root / ".postdo/backup-key").unlink(missing_ok=True)
    for folder in sets(production):
        shutil.rmtree(folder)


def sets(clone: Clone) -> list[Path]:
    return sorted((clone.root / "backups").glob("*-prod-*Z"))


def left_of_drill(clone: Clone) -> str:
    """What there is of the drill's project: containers, networks and volumes."""
    mine = ("--filter", f"label=com.docker.compose.project={clone.name}-drill", "--format")
    names = [(("ps", "-a"), "{{.Names}}")]
    names += [((kind, "ls"), "{{.Name}}") for kind in ("network", "volume")]
    return "".join(docker(*what, *mine, shown) for what, shown in names)


def test_a_set_is_used_before_it_counts_and_brings_back_what_was_lost(site: Clone) -> None:
    site.admin("HTTP_PORT").add_user("kept@example.com")
    before = site.query("prod", EMAILS)
    web = site.containers("prod")[site.live()]
    web.run("sh", "-c", f"echo jpeg >{UPLOAD}")
    site.run("-0", "backup", "key")
    assert "sh run.sh backup verify" in site.run("-0", "backup").out
    (backup,) = sets(site)
    assert (backup / "database.dump.age").exists()

    # A drill that is killed while it restores leaves what the next one removes.
    killed = site.start("backup", "verify")
    eventually(lambda: "-drill-db-" in left_of_drill(site), "its PostgreSQL to start")
    killed.send(signal.SIGKILL)
    killed.wait()
    assert left_of_drill(site) != ""

    said = site.run("backup", "verify").out

    assert f"verified: {backup.name} restores" in said
    verified = json.loads((backup / "verified.json").read_text())
    assert verified["site"] == "release"
    assert verified["seconds"] > 0
    assert left_of_drill(site) == ""
    assert "every set in backups/ is verified" in site.run("backup", "verify").out

    # The mistake.
    site.query("prod", "DELETE FROM accounts_user WHERE email = 'kept@example.com'")
    web.run("rm", UPLOAD)
    site.run("-0", "restore", ok=False).refused("would replace the data", "restore --yes")
    assert len(sets(site)) == 1, "nothing happens before the question"
    with crowded(site.visitor("HTTP_PORT"), "/"):
        site.run("-0", "restore", "--yes")

    assert site.query("prod", EMAILS) == before
    assert site.containers("prod")[site.live()].run("cat", UPLOAD) == "jpeg\n"
    assert site.admin("HTTP_PORT").is_up()
    (newest,) = set(sets(site)) - {backup}
    assert json.loads((newest / "manifest.json").read_text())["why"] == "before-restore"
    site.run("-0", "restore", "--drop-old")


@pytest.fixture
def empty_machine(site: Clone, origin: Path, clones: list[Clone]) -> Iterator[Clone]:
    """An empty folder with a name and ports of its own, and nothing of it left afterwards."""
    machine = make_clone(origin)
    shutil.rmtree(machine.root)
    machine.root.mkdir()
    clones.append(machine)
    yield machine
    clones.remove(machine)
    machine.remove()


def test_a_site_comes_back_from_a_set_alone(site: Clone, empty_machine: Clone) -> None:
    site.admin("HTTP_PORT").add_user("brought@example.com")
    site.containers("prod")[site.live()].run("sh", "-c", f"echo jpeg >{UPLOAD}")
    site.run("-0", "backup")
    (backup,) = sets(site)
    brought = Path(shutil.move(backup, empty_machine.root.parent / backup.name))
    unpack: list[str | Path] = [
        "tar",
        "--no-same-owner",
        "-xf",
        brought / "site.tar.gz",
        "-C",
        empty_machine.root,
    ]
    subprocess.run(unpack, check=True)

    said = empty_machine.run("restore", "--on-new-machine", str(brought)).out

    assert f"restored: {backup.name} (" in said
    assert empty_machine.query("prod", EMAILS) == site.query("prod", EMAILS)
    web = empty_machine.containers("prod")[empty_machine.live()]
    assert web.run("cat", UPLOAD) == "jpeg\n"
    password = site.env()["DJANGO_SUPERUSER_PASSWORD"]
    empty_machine.visitor("HTTP_PORT").log_in("admin@example.com", password)
    again = empty_machine.run("restore", "--on-new-machine", str(brought), ok=False)
    again.refused("this machine is not empty", "sh run.sh -0 restore")
