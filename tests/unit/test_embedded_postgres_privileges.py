"""As whom the embedded PostgreSQL runs, and whom it lets in."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_support import (
    AS_NOBODY,
    NOBODY,
    ROOT,
    Embedded,
    embedded_folder,
    is_root,
    kill_9,
    psql_of_everybody,
    python_of_everybody,
)

from embedded_postgres.binaries import available

pytestmark = pytest.mark.skipif(not is_root(), reason="needs root, to be other users as well")

# Only uid 0 exists in this namespace, and no other can be made: there is nobody else to become.
ONLY_ROOT = (
    "unshare", "--user", "--map-root-user", "--",
    "sh", "-c", 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh",
)  # fmt: skip


@pytest.fixture
def without_namespaces() -> Iterator[tuple[str, ...]]:
    """The words to put before a command so that it is root where no user namespace can be made."""
    script = [sys.executable, str(ROOT / "tests" / "without_namespaces.py")]
    with subprocess.Popen(
        script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        pid = holder.stdout.readline().strip()
        if not pid:
            pytest.skip("root may make no user namespace here")
        yield ("nsenter", "--user", f"--target={pid}", "--setuid=0", "--setgid=0", "--")
        holder.stdin.close()


@pytest.fixture
def open_folder() -> Iterator[Embedded]:
    """A folder that every user may enter, with a copy of the package that every user may read."""
    with embedded_folder(mode=0o755) as embedded:
        embedded.code = embedded.folder / "code"
        shutil.copytree(ROOT / "embedded_postgres", embedded.code / "embedded_postgres")
        for path in (embedded.code, *embedded.code.rglob("*")):
            path.chmod(0o755)
        yield embedded


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_root_starts_it_below_a_folder_of_root_alone(each: Embedded) -> None:
    assert stat.S_IMODE(each.folder.stat().st_mode) == 0o700
    report = each.start()
    assert report["run_as"] == "namespace"
    assert stat.S_IMODE(each.folder.stat().st_mode) == 0o700
    assert owners(each.home) == {0}
    each.query("CREATE TABLE works ()")
    each.stop()
    assert owners(each.folder) == {0}


def test_the_server_of_root_has_none_of_roots_powers(embedded: Embedded) -> None:
    pid = embedded.start()["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status


@pytest.mark.parametrize("run_as", ["namespace", "unprivileged"])
def test_another_user_cannot_connect_without_the_password(
    open_folder: Embedded, run_as: str
) -> None:
    open_folder.run_as = run_as
    report = open_folder.start()
    psql = psql_of_everybody()
    hosts = ("127.0.0.1", report["socket_folder"])
    for host in hosts:
        for user in ("site", "embedded_owner", "postgres"):
            base = [psql, "-X", "-h", host, "-p", str(open_folder.port), "-U", user]
            command = [*AS_NOBODY, *base, "-d", "postgres", "-w", "-c", "SELECT 'in'"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode != 0
            assert "in" not in done.stdout.split()
            assert "no password supplied" in done.stderr or "Permission denied" in done.stderr
    # Not even root, over the socket: nothing but the password counts.
    as_root = [psql, "-X", "-h", hosts[1], "-p", str(open_folder.port), "-U", "embedded_owner"]
    ask = [*as_root, "-d", "postgres", "-w", "-c", "SELECT 1"]
    assert subprocess.run(ask, check=False).returncode != 0


@pytest.mark.parametrize("run_as", ["namespace", "unprivileged"])
def test_another_user_cannot_read_a_secret_or_a_table(open_folder: Embedded, run_as: str) -> None:
    open_folder.run_as = run_as
    report = open_folder.start()
    secrets = [open_folder.home / "owner-password", open_folder.home / "application.json"]
    private = [*secrets, open_folder.data / "pg_hba.conf", Path(report["socket_folder"]) / "."]
    for path in private:
        assert path.exists()
        assert subprocess.run([*AS_NOBODY, "ls", str(path) + "/"], check=False).returncode != 0
        assert subprocess.run([*AS_NOBODY, "cat", str(path)], check=False).returncode != 0


def test_an_ordinary_user_starts_it_directly(open_folder: Embedded) -> None:
    open_folder.folder.chmod(0o777)
    open_folder.python, open_folder.prefix = python_of_everybody(), AS_NOBODY
    report = open_folder.start()
    assert report["run_as"] == "direct"
    assert owners(open_folder.home) == {NOBODY}
    open_folder.query("CREATE TABLE kept ()")
    kill_9(report["pid"])
    open_folder.start()
    open_folder.query("SELECT FROM kept")
    # Root, later in the same folder, serves the user's data as the user.
    open_folder.stop()
    open_folder.prefix = ()
    assert open_folder.start()["run_as"] == "unprivileged"
    assert owners(open_folder.home) == {NOBODY}
    open_folder.stop()
    open_folder.prefix = AS_NOBODY
    assert open_folder.start()["run_as"] == "direct"


def test_the_data_of_root_is_refused_to_others_with_the_remedy(open_folder: Embedded) -> None:
    open_folder.start()
    open_folder.stop()
    open_folder.python, open_folder.prefix = python_of_everybody(), AS_NOBODY
    message = open_folder.failure(open_folder.start_command(), code=2)
    assert "chown -R" in message
    open_folder.prefix = ()


def test_without_user_namespaces_it_runs_as_a_user_of_its_own(
    each: Embedded, without_namespaces: tuple[str, ...]
) -> None:
    each.prefix = without_namespaces
    each.folder.chmod(0o755)
    report = each.start()
    assert report["run_as"] == "unprivileged"
    uid = each.data.stat().st_uid
    assert uid not in (0, NOBODY)
    assert f"x:{uid}:" not in Path("/etc/passwd").read_text()
    assert owners(each.data) == {uid}
    each.query("CREATE TABLE kept ()")
    assert each.start()["pid"] == report["pid"]
    kill_9(report["pid"])
    each.start()
    each.query("SELECT FROM kept")
    each.stop()
    # And where they are allowed again, its data is still served as its owner.
    each.prefix = ()
    assert each.start()["run_as"] == "unprivileged"


def test_without_user_namespaces_below_a_closed_folder_it_finds_an_open_one(
    each: Embedded, without_namespaces: tuple[str, ...]
) -> None:
    each.prefix = without_namespaces
    report = each.start()
    assert stat.S_IMODE(each.folder.stat().st_mode) == 0o700
    assert report["data"].startswith("/var/lib/embedded-postgres/")
    each.query("CREATE TABLE kept ()")
    each.stop()
    each.start()
    each.query("SELECT FROM kept")


def test_a_wheel_that_its_user_cannot_reach_is_copied_to_where_it_can(
    embedded: Embedded, without_namespaces: tuple[str, ...]
) -> None:
    embedded.binaries = "wheel"
    installation = available("wheel")[0].folder.parent
    # As in a virtual environment below /root: everything in a folder of root alone.
    embedded.code = embedded.folder / "code"
    shutil.copytree(ROOT / "embedded_postgres", embedded.code / "embedded_postgres")
    package = embedded.code / installation.parent.name
    shutil.copytree(installation, package / installation.name)
    (package / "__init__.py").touch()
    libraries = f"{package.name}.libs"
    shutil.copytree(installation.parent.parent / libraries, embedded.code / libraries)
    embedded.prefix = without_namespaces
    report = embedded.start()
    running = Path(f"/proc/{report['pid']}/exe").readlink()
    assert running.is_relative_to("/var/lib/embedded-postgres")
    embedded.query("CREATE TABLE kept ()")
    embedded.stop()
    embedded.start()
    embedded.query("SELECT FROM kept")


def test_without_user_namespaces_an_orphan_is_ended_too(
    embedded: Embedded, without_namespaces: tuple[str, ...]
) -> None:
    embedded.prefix = without_namespaces
    embedded.folder.chmod(0o755)
    report = embedded.start()
    children = Path(f"/proc/{report['pid']}/task/{report['pid']}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGSTOP)
    kill_9(report["pid"])
    assert embedded.is_anything_alive()
    assert embedded.start()["pid"] != report["pid"]


def test_data_of_root_goes_over_to_the_user_of_its_own(
    embedded: Embedded, without_namespaces: tuple[str, ...]
) -> None:
    embedded.folder.chmod(0o755)
    assert embedded.start()["run_as"] == "namespace"
    embedded.query("CREATE TABLE kept ()")
    embedded.stop()
    embedded.prefix = without_namespaces
    embedded.home.chmod(0o700)
    assert embedded.start()["run_as"] == "unprivileged"
    embedded.query("SELECT FROM kept")


def test_root_that_can_be_nobody_else_is_told_so(embedded: Embedded) -> None:
    if subprocess.run([*ONLY_ROOT, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("root may make no user namespace here")
    embedded.prefix = ONLY_ROOT
    message = embedded.failure(embedded.start_command())
    assert "PostgreSQL refuses to run as root" in message
    assert "Run as an ordinary user" in message
    embedded.prefix = ()


def test_nothing_else_on_the_machine_changes(embedded: Embedded) -> None:
    watched = ["/etc/passwd", "/etc/group", "/etc/shadow", "/root", "/tmp"]  # noqa: S108
    before = [(os.stat(path).st_mode, os.stat(path).st_uid) for path in watched]  # noqa: PTH116
    content = [Path(path).read_bytes() for path in watched[:3]]
    embedded.start()
    embedded.stop()
    assert [(os.stat(path).st_mode, os.stat(path).st_uid) for path in watched] == before  # noqa: PTH116
    assert [Path(path).read_bytes() for path in watched[:3]] == content
