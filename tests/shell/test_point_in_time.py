"""Points in time without an engine: which one is meant, whether there is an archive, how it is."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from .machine import PROJECT

HARNESS = """
set -eu
ROOT=$FOLDER STATE=$FOLDER PROJECT_NAME=shop COMMAND=restore MODE=prod
POSTGRES_DB=shop POSTGRES_USER=shop
MESSAGES=
for library in log result releases modes pitr; do . "$PROJECT/lib/$library.sh"; done
docker() {
    printf 'docker %s\\n' "$*" >>"$FOLDER/calls"
    case $* in
    *point.sql*) printf '0/30000F8 1796062512 77\\n' ;;
    *slot.sql*) printf '%s' "$SLOT" ;;
    *'du -sk'*) printf '%s data\\n' "$DATA_KB" ;;
    esac
}
df() { printf 'Filesystem blocks used available\\nx 1 1 %s\\n' "$FREE_KB"; }
in_time() { "$@"; }
container_of() { case " $CONTAINERS " in *" $2 "*) printf 'id-%s' "$2" ;; esac; }
is_running() { case " $RUNNING " in *" $2 "*) ;; *) return 1 ;; esac; }
prepare_backups_folder() { :; }
engine_is_rootless() { false; }
run_roles() { return "$ROLES"; }
random_word() { printf secret; }
compose() { printf 'compose %s\\n' "$*" >>"$FOLDER/calls"; }
"$@"
"""
MB = 1024  # KB
USUAL = {
    "PITR": "auto",
    "CONTAINERS": "db archive",
    "RUNNING": "db archive",
    "SLOT": "",
    "ROLES": "0",
}


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "backups/archive/shop"
        self.archive.mkdir(parents=True)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"FOLDER": str(self.folder), "PROJECT": str(PROJECT), "PATH": os.environ["PATH"]}
        room = {"FREE_KB": str(9000 * MB), "DATA_KB": str(50 * MB), "TZ": "Europe/Berlin"}
        return subprocess.run(
            ["dash", "-c", HARNESS, "run.sh", *words],
            env={**own, **USUAL, **room, "LC_ALL": "C", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def points(self, *names: str) -> None:
        """Restore points, in the order in which they were left."""
        lines = (
            f"{name}=0/{number}000028 {1796000000 + number} 77\n"
            for number, name in enumerate(names)
        )
        (self.archive / "points").write_text("".join(lines))

    def facts(self, **environment: str) -> dict[str, str]:
        done = self.run("archive_facts", **environment)
        assert done.returncode == 0, done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2026-11-21 10:42", "Europe/Berlin", (2026, 11, 21, 10, 42, 0)),
        ("2026-07-01 10:42:17", "Europe/Berlin", (2026, 7, 1, 10, 42, 17)),
        ("2026-07-01 10:42 UTC", "UTC", (2026, 7, 1, 10, 42, 0)),
    ],
)
def test_a_time_is_of_the_machine_unless_it_says_utc(
    machine: Machine, text: str, zone: str, meant: tuple[int, int, int, int, int, int]
) -> None:
    seconds = int(datetime(*meant, tzinfo=ZoneInfo(zone)).timestamp())

    assert machine.run("seconds_of", text).stdout.strip() == str(seconds)
    told = machine.run("clock_of", str(seconds)).stdout
    assert " CE" in told, "in both: the zone of the machine,"
    assert "UTC)" in told


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-21", "10:42", "2026-13-45 10:42", "2026-11-21 10:42 CET"]
)
def test_what_is_no_time_is_refused_with_the_zone(machine: Machine, text: str) -> None:
    refused = machine.run("read_point_in_time", "--time", text)

    assert refused.returncode == 2
    assert '--time needs a time such as "2026-11-21 10:42"' in refused.stderr
    assert "(CE" in refused.stderr


def test_a_release_goes_back_to_before_its_migrations_if_it_had_any(machine: Machine) -> None:
    machine.points(
        "before-release-1", "before-migrations-2", "before-release-3", "before-release-1"
    )

    for option, place in (
        ("--before-release 2", "0/1000028"),
        ("--before-release 3", "0/2000028"),
        ("--before-release 1", "0/3000028"),
        ("--before-migrations", "0/1000028"),
        ("--before-migrations 2", "0/1000028"),
    ):
        script = (
            f"read_point_in_time {option}; choose_restore_point; printf '%s\\n' \"$RECOVER_AS\""
        )
        done = machine.run("eval", script)
        assert done.stdout.splitlines()[-1] == f"lsn {place} 77", (option, done.stderr)


def test_a_release_without_a_restore_point_is_refused_with_those_that_have_one(
    machine: Machine,
) -> None:
    machine.points("before-release-4", "before-migrations-5")

    for option, what in (
        ("--before-release 9", "from before release 9; there are some from before releases 4 5"),
        ("--before-migrations 4", "from before the migrations of release 4; there are some"),
    ):
        refused = machine.run("eval", f"read_point_in_time {option}; choose_restore_point")
        assert refused.returncode == 1
        assert what in refused.stderr
        assert "restore --time" in refused.stderr


def test_a_point_is_left_where_there_is_an_archive_and_can_be_forgotten(machine: Machine) -> None:
    machine.run("leave_restore_point", "before-release-1", RUNNING="db")
    assert not (machine.archive / "points").exists()

    for name in ("before-release-1", "before-migrations-2"):
        assert machine.run("leave_restore_point", name).returncode == 0
    machine.run("move_restore_point", "before-migrations-2", "0/4000000 1796062599")
    assert machine.run("restore_point", "before-migrations-2").stdout == "0/4000000 1796062599 77\n"
    machine.run("forget_restore_point", "before-migrations-2")

    assert (machine.archive / "points").read_text() == "before-release-1=0/30000F8 1796062512 77\n"


def test_a_refused_rollback_names_the_first_later_release_with_a_point(machine: Machine) -> None:
    (machine.folder / "releases").mkdir()
    for number in range(1, 5):
        (machine.folder / f"releases/{number}").touch()
    machine.points("before-release-1", "before-migrations-3", "before-release-4")

    assert machine.run("point_after_release", "1").stdout == "3"
    assert machine.run("point_after_release", "4").stdout == ""


@pytest.mark.parametrize(
    ("pitr", "free_mb", "there", "is_on"),
    [
        ("on", 1, "db", True),
        ("off", 90_000, "db archive", False),
        ("auto", 4149, "db", False),  # three times 50 MB, and 4000
        ("auto", 4150, "db", True),
        ("auto", 1, "db archive", True),  # it has begun
    ],
)
def test_the_archive_is_on_where_the_disk_has_room(
    machine: Machine, pitr: str, free_mb: int, there: str, is_on: bool
) -> None:
    done = machine.run("pitr_is_on", PITR=pitr, FREE_KB=str(free_mb * MB), CONTAINERS=there)

    assert (done.returncode == 0) is is_on


def test_a_start_says_that_the_disk_has_no_room(machine: Machine) -> None:
    done = machine.run("settle_archive", CONTAINERS="db", FREE_KB=str(700 * MB))

    assert done.returncode == 0
    assert "has 700 MB free, and PITR=auto wants 4150 MB" in done.stdout


def test_an_archive_that_does_not_start_leaves_the_site_alone(machine: Machine) -> None:
    done = machine.run("settle_archive", ROLES="1")

    assert done.returncode == 0
    assert "could not be started, so the site runs without it" in done.stderr


def test_switched_off_it_is_removed_and_postgresql_keeps_nothing_for_it(machine: Machine) -> None:
    done = machine.run("settle_archive", PITR="off")

    assert done.returncode == 0
    assert (machine.folder / "calls").read_text() == "compose prod rm --stop --force archive\n"
    assert machine.archive.exists(), "what was archived stays"


def test_status_tells_an_archive_that_receives_from_one_that_does_not(machine: Machine) -> None:
    receiving = "receiving=yes\nslot=reserved\nkept=1024\n"
    for name in ("20261129T000000Z", "20261130T000000Z"):
        (machine.archive / "20261128T000000Z/base" / name).mkdir(parents=True)

    found = machine.facts(SLOT=receiving)
    assert (found["state"], found["kept"]) == ("receiving", "1024")
    assert (found["from"], found["base"]) == ("20261129T000000Z", "20261130T000000Z")
    assert "what" not in found

    (machine.archive / "base-failed").touch()
    assert machine.facts(SLOT=receiving)["what"] == "the last base backup failed"

    lost = machine.facts(SLOT="receiving=no\nslot=reserved\nkept=9\n")
    assert lost["state"] == "stopped"
    assert "logs archive" in lost["next"]

    (machine.archive / "state").write_text(
        "state=full\nsince=7\nwhat=the disk is full\nnext=free some\n"
    )
    full = machine.facts()
    assert (full["state"], full["what"], full["next"]) == ("full", "the disk is full", "free some")

    assert machine.facts(RUNNING="db")["what"] == "the archive of the database is stopped"
    assert machine.facts(PITR="off") == {"state": "off"}
    assert machine.facts(PITR="auto", CONTAINERS="db") == {"state": "off"}
    assert "there is no archive" in machine.facts(PITR="on", CONTAINERS="db")["what"]
