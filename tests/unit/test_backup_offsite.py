"""Sets off the machine: restic against real servers of S3, SFTP and REST on loopback."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from made_sets import make_set
from programs import needed, small_file_system
from waiting import until

from postdo_backup.check import check
from postdo_backup.errors import BackupFailed
from postdo_backup.offsite import FACTS, Offsite
from postdo_backup.restic import Repository, login
from postdo_backup.retention import Rules
from postdo_backup.verified import record, verification

NOW = datetime(2026, 11, 30, 3, 30, tzinfo=timezone.utc)
FIRST, SECOND = "shop-prod-20261129T033000Z", "shop-prod-20261130T033000Z"
USER, SECRET = "shop", "not to be seen/anywhere"


@pytest.fixture
def offsite(tmp_path: Path) -> Offsite:
    """A site with one set and a folder as the place of its copies."""
    needed("restic")
    for name in ("backups", "state", "elsewhere"):
        (tmp_path / name).mkdir()
    make_set(tmp_path / "backups", FIRST)
    repository = Repository(str(tmp_path / "elsewhere"), "a passphrase", tmp_path / "state")
    return Offsite(repository, tmp_path / "backups", tmp_path / "state", "shop")


def at(offsite: Offsite, address: str, user: str = "", secret: str = "") -> Offsite:
    """The same site, with another place."""
    repository = replace(offsite.repository, address=address, user=user, secret=secret)
    return replace(offsite, repository=repository)


def names(offsite: Offsite) -> list[str]:
    return [copy.name for copy in offsite.copies()]


def facts(offsite: Offsite) -> dict[str, str]:
    lines = (offsite.state / FACTS).read_text().splitlines()
    return dict(one.split("=", 1) for one in lines)


def refused(offsite: Offsite, what: str, next_step: str) -> None:
    """`copy` fails with one line that says what is wrong, and one what to do."""
    with pytest.raises(BackupFailed, match=re.escape(what)) as caught:
        offsite.copy(NOW)
    said = f"{caught.value.what}\n{caught.value.next_step}"
    assert next_step in caught.value.next_step
    assert said.count("\n") == 1
    assert SECRET not in said
    assert offsite.repository.passphrase not in said


# --- Servers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A server of rclone: its port on loopback, and the folder in which it keeps its files."""

    port: int
    folder: Path


Start = Callable[..., Server]
Where = Callable[[Offsite, Start], Offsite]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """Starts servers: serve("s3", OPTIONS...)."""
    running = []

    def start(kind: str, *options: str, folder: Path = tmp_path / "served") -> Server:
        folder.mkdir(exist_ok=True)
        port = free_port()
        if kind == "weed":
            words = seaweedfs(port, folder, tmp_path / "weed.json")
        else:
            rclone = str(Path(sys.executable).with_name("rclone"))
            words = [rclone, "--config", "", "serve", kind, str(folder)]
            words += ["--addr", f"127.0.0.1:{port}"]
        log = (tmp_path / f"{kind}.log").open("w")
        running.append(subprocess.Popen([*words, *options], stdout=log, stderr=log))
        until(lambda: answers(port), f"rclone serve {kind}")
        return Server(port, folder)

    yield start
    for server in running:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def seaweedfs(port: int, folder: Path, config: Path) -> list[str]:
    """SeaweedFS with its S3 at that port; each of its parts has a port of gRPC besides."""
    keys = [{"accessKey": USER, "secretKey": SECRET}]
    identities = [{"name": USER, "credentials": keys, "actions": ["Admin"]}]
    config.write_text(json.dumps({"identities": identities}))
    parts = ("master", "volume", "filer")
    ports = [f"-{part}.port{grpc}={free_port()}" for part in parts for grpc in ("", ".grpc")]
    more = [f"-s3.port={port}", f"-s3.port.grpc={free_port()}", f"-s3.config={config}"]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}"]
    return [
        str(needed("weed")),
        "server",
        "-s3",
        *here,
        *ports,
        *more,
        "-master.volumeSizeLimitMB=64",
    ]


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def at_s3(offsite: Offsite, serve: Start) -> Offsite:
    server = serve("s3", "--auth-key", f"{USER},{SECRET}")
    return at(offsite, f"s3:http://127.0.0.1:{server.port}/shop/site", user=USER, secret=SECRET)


def at_seaweedfs(offsite: Offsite, serve: Start) -> Offsite:
    """A second program that serves S3."""
    server = serve("weed")
    return at(offsite, f"s3:http://127.0.0.1:{server.port}/shop/site", user=USER, secret=SECRET)


def at_rest(offsite: Offsite, serve: Start) -> Offsite:
    server = serve("restic", "--user", USER, "--pass", SECRET)
    return at(offsite, f"rest:http://127.0.0.1:{server.port}/", user=USER, secret=SECRET)


def at_sftp(offsite: Offsite, serve: Start) -> Offsite:
    needed("ssh-keygen")
    version = subprocess.run(["restic", "version"], capture_output=True, text=True, check=True)
    if version.stdout.startswith("restic 0.14"):
        pytest.skip("restic 0.14 does not get on with rclone's SFTP server")
    public = offsite.repository.key().with_suffix(".pub")
    server = serve("sftp", "--authorized-keys", str(public))
    return at(offsite, f"sftp://me@127.0.0.1:{server.port}//site")


@pytest.mark.parametrize("where", [at_s3, at_seaweedfs, at_sftp, at_rest])
def test_sets_are_copied_to_a_server_read_back_and_fetched_on_an_empty_machine(
    offsite: Offsite, serve: Start, where: Where, tmp_path: Path
) -> None:
    site: Offsite = where(offsite, serve)
    before = check(site.backups / FIRST)

    site.copy(NOW)

    known = facts(site)
    assert (known["set"], known["copied"], known["checked"]) == (
        FIRST,
        *["2026-11-30T03:30:00Z"] * 2,
    )
    assert (known["restored_set"], known["restored"]) == (FIRST, "2026-11-30T03:30:00Z")
    assert list(site.state.glob("restored*")) == []

    shutil.rmtree(site.backups / FIRST)
    for name in ("known_hosts", FACTS):
        (site.state / name).unlink(missing_ok=True)
    assert site.fetch(FIRST) == site.backups / FIRST
    assert check(site.backups / FIRST) == before
    assert (site.backups / FIRST).stat().st_mode & 0o777 == 0o700
    assert [path.name for path in site.backups.iterdir()] == [FIRST]


# --- What is copied, and when ---------------------------------------------------------------------


def test_only_whole_sets_of_production_are_copied_and_each_once(
    offsite: Offsite, capfd: pytest.CaptureFixture[str]
) -> None:
    make_set(offsite.backups, f"{SECOND}.part")
    make_set(offsite.backups, "shop-dev-20261130T033000Z", mode="dev")
    (offsite.backups / "old.dump").touch()
    offsite.copy(NOW)
    assert names(offsite) == [FIRST]
    capfd.readouterr()

    make_set(offsite.backups, SECOND)
    offsite.copy(NOW)

    assert names(offsite) == [FIRST, SECOND]
    assert capfd.readouterr().err.count("+ restic backup") == 1
    (snapshot,) = offsite.repository.read("snapshots", "--tag", f"set={SECOND}")
    assert snapshot["time"].startswith("2026-11-30T03:30:00")


def test_a_set_that_was_verified_since_is_marked_there_too(offsite: Offsite) -> None:
    offsite.copy(NOW)
    record(offsite.backups / FIRST, 5, "release", "sha256:1")

    offsite.copy(NOW)

    (copy,) = offsite.copies()
    assert copy.set.verified
    shutil.rmtree(offsite.backups / FIRST)
    assert verification(offsite.fetch(FIRST)) is not None


def test_what_the_rules_keep_here_is_kept_there_and_a_verified_one_is_not_pushed_out(
    offsite: Offsite,
) -> None:
    """Of one day each: only the newest one, and the newest one that was verified."""
    site = replace(offsite, rules=Rules(daily=1, weekly=0, monthly=0))
    shutil.rmtree(site.backups / FIRST)
    days = {day: f"shop-prod-202611{day}T033000Z" for day in range(24, 28)}
    for name in days.values():
        make_set(site.backups, name, why="schedule")
    record(site.backups / days[25], 5, "release", "sha256:1")
    site.copy(NOW)
    assert names(site) == [days[25], days[27]], "the others are not even copied"

    shutil.rmtree(site.backups / days[27])
    make_set(site.backups, SECOND, why="schedule")
    site.copy(NOW)

    assert names(site) == [days[25], SECOND]
    lines = (site.state / FACTS).read_text().splitlines()
    assert [one for one in lines if one.startswith("set=")] == [f"set={days[25]}", f"set={SECOND}"]


def test_a_damaged_set_is_not_copied_and_the_others_are(offsite: Offsite) -> None:
    make_set(offsite.backups, SECOND)
    with (offsite.backups / FIRST / "database.dump").open("r+b") as file:
        file.write(b"x")

    refused(offsite, "database.dump was changed; that set was not copied", "use another set")

    assert names(offsite) == [SECOND]


def test_each_part_is_read_back_within_a_month_and_a_whole_set_each_month(
    offsite: Offsite, capfd: pytest.CaptureFixture[str]
) -> None:
    read, whole = [], []
    for day in (0, 1, 29, 30):
        offsite.copy(NOW + timedelta(days=day))
        said = capfd.readouterr().err
        read += re.findall(r"--read-data-subset=(\d+)/30", said)
        whole.append("+ restic restore" in said)

    first = int(read[0])
    assert [int(part) for part in read] == [(first + day - 1) % 30 + 1 for day in (0, 1, 29, 30)]
    assert whole == [True, False, False, True]


def test_a_byte_that_changed_there_is_found(offsite: Offsite) -> None:
    offsite.copy(NOW)
    packs = [path for path in Path(offsite.repository.address, "data").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(1000)
        file.write(b"changed")

    with pytest.raises(BackupFailed, match=r"are damaged|came back damaged|restic failed"):
        offsite.copy(NOW + timedelta(days=31))
    shutil.rmtree(offsite.backups / FIRST)
    with pytest.raises(BackupFailed):
        offsite.fetch(FIRST)
    assert list(offsite.backups.iterdir()) == []


# --- What goes wrong ------------------------------------------------------------------------------


def test_a_wrong_passphrase(offsite: Offsite) -> None:
    offsite.copy(NOW)
    wrong = replace(offsite, repository=replace(offsite.repository, passphrase="another one"))

    refused(wrong, "OFFSITE_PASSPHRASE does not open the copies at", "with which they were begun")


def test_a_disk_that_is_not_mounted_is_not_written_to(offsite: Offsite) -> None:
    """Neither its folder, nor, where that is there without it, a new repository in its place."""
    offsite.copy(NOW)
    place = Path(offsite.repository.address)
    place.rename(place.with_name("unmounted"))
    refused(offsite, f"there is no folder {place}", "mount the disk")

    place.mkdir()
    refused(offsite, f"the copies at {place} are gone", "is the disk mounted?")
    assert list(place.iterdir()) == []


def test_a_server_that_does_not_answer(offsite: Offsite) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        port = taken.getsockname()[1]
        for address in (f"rest:http://127.0.0.1:{port}/", f"sftp://me@127.0.0.1:{port}//site"):
            gone = at(offsite, address)
            refused(gone, f"no server answers at 127.0.0.1, port {port}", "check OFFSITE in .env")


def test_a_login_that_is_refused(offsite: Offsite, serve: Start, tmp_path: Path) -> None:
    for site in (at_s3(offsite, serve), at_rest(offsite, serve)):
        wrong = replace(site, repository=replace(site.repository, secret="wrong"))
        refused(wrong, "refuses the login", "correct OFFSITE_USER and OFFSITE_SECRET")
    site = at_sftp(offsite, serve)
    other = replace(site.repository, state=tmp_path / "other")
    other.state.mkdir()
    key = other.key().with_suffix(".pub").read_text().strip()
    refused(replace(site, repository=other), "127.0.0.1 does not ", key)


def test_a_disk_that_is_full_there_leaves_the_copies_before_whole(
    offsite: Offsite, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    site = at(offsite, str(small))
    with small_file_system(small, "size=3m"):
        site.copy(NOW)
        make_set(site.backups, SECOND, megabytes=8)
        refused(site, f"there is no room left for the copies at {small}", "make room there")

        shutil.rmtree(site.backups / SECOND)
        site.copy(NOW + timedelta(days=31))
        assert names(site) == [FIRST]


def test_the_lock_of_a_killed_run_is_no_obstacle_and_that_of_another_machine_is(
    offsite: Offsite, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsite.copy(NOW)
    repository = offsite.repository
    locks = Path(repository.address, "locks")
    # It waits for its input with its lock taken.
    words = ["restic", "backup", "--stdin", "--tag", "half"]
    killed = subprocess.Popen(words, stdin=subprocess.PIPE, env=repository._environment())
    until(lambda: list(locks.iterdir()), "the lock")
    refused_by = socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    refused(offsite, "are locked: already locked", "wait until that run ends")
    assert killed.poll() is None

    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list(locks.iterdir())
    monkeypatch.setattr(socket, "gethostname", lambda: refused_by)
    offsite.copy(NOW)

    assert list(locks.iterdir()) == []
    assert names(offsite) == [FIRST]


def test_a_set_that_is_not_there_is_not_fetched(offsite: Offsite) -> None:
    offsite.copy(NOW)
    with pytest.raises(BackupFailed, match=f"{FIRST} exists"):
        offsite.fetch(FIRST)
    with pytest.raises(BackupFailed, match=f"there is no set {SECOND}") as caught:
        offsite.fetch(SECOND)
    assert FIRST in caught.value.next_step


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("s3:https://s3.example.com/bucket/shop", ("", "s3.example.com", 443)),
        ("s3:s3.example.com/bucket", ("", "s3.example.com", 443)),
        ("s3:http://10.0.0.7:9000/bucket", ("", "10.0.0.7", 9000)),
        ("rest:https://backup.example.com:8000/shop/", ("", "backup.example.com", 8000)),
        ("sftp:me@example.com:/srv/shop", ("me", "example.com", 22)),
        ("sftp:example.com:shop", ("", "example.com", 22)),
        ("sftp://me@example.com:2222//srv/shop", ("me", "example.com", 2222)),
    ],
)
def test_where_a_server_is(address: str, found: tuple[str, str, int]) -> None:
    assert login(address) == found
