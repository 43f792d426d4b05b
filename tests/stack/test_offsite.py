"""Copies off the machine by restic's container, to a real server: `backup offsite` and `fetch`.

What goes wrong on the way, and the other servers: tests/unit/test_backup_offsite.py.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_sets import make_set

from postdo_backup.check import check

from .clone import Clone
from .waiting import eventually


@pytest.fixture
def site(shared: Clone) -> Iterator[Clone]:
    """A clone with one set, nothing started."""
    shared.run("init")
    with shared.restored():
        make_set(
            shared.root / "backups", f"{shared.name}-prod-20261130T033000Z", project=shared.name
        )
        owner = shared.root.stat()
        for path in (shared.root / "backups", *(shared.root / "backups").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        yield shared
        shutil.rmtree(shared.root / "backups")


class SftpServer:
    """A server of rclone on loopback, which lets in the keys in its file."""

    def __init__(self, folder: Path) -> None:
        """Start it; it knows one key, and that is its own."""
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "own")]
        subprocess.run(make, check=True)
        (folder / "files").mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._keys = folder / "own.pub"
        self._words = [
            *(str(Path(sys.executable).with_name("rclone")), "--config", "", "serve", "sftp"),
            *(str(folder / "files"), "--addr", f"127.0.0.1:{self.port}"),
            *("--authorized-keys", str(self._keys), "--key", str(folder / "own")),
        ]
        self._start()

    def let_in(self, key: str) -> None:
        """Know one more key, as an administrator adds it."""
        with self._keys.open("a") as file:
            file.write(f"{key}\n")
        self.stop()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._words, stderr=subprocess.DEVNULL)
        eventually(self._answers, "rclone serve sftp")

    def _answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        return True

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    found = SftpServer(tmp_path)
    yield found
    found.stop()


def test_a_set_is_copied_by_sftp_and_fetched_when_it_is_gone_here(
    site: Clone, server: SftpServer
) -> None:
    (folder,) = (site.root / "backups").iterdir()
    before, owner = check(folder), site.root.stat().st_uid
    site.set_in_env(OFFSITE=f"sftp://me@127.0.0.1:{server.port}//site")

    refused = site.run("backup", "offsite", ok=False)
    refused.refused("OFFSITE_PASSPHRASE in .env is empty", "keep this line")
    passphrase = re.search(r"OFFSITE_PASSPHRASE=(\S+)", refused.err)
    assert passphrase
    site.set_in_env(OFFSITE_PASSPHRASE=passphrase[1])
    refused = site.run("backup", "offsite", ok=False)
    refused.refused("127.0.0.1 does not know this machine's key", "authorized_keys of me there")
    key = re.search(r"ssh-ed25519 \S+", refused.err)
    assert key
    server.let_in(key[0])

    said = site.run("backup", "offsite").out
    assert f"copied; sets at sftp://me@127.0.0.1:{server.port}//site: 1" in said
    kept = (site.root / ".postdo/offsite").rglob("*")
    assert {path.lstat().st_uid for path in kept} == {owner}

    shutil.rmtree(folder)
    assert folder.name in site.run("backup", "fetch").out.splitlines()
    site.run("backup", "fetch", folder.name)
    assert check(folder) == before
    assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {owner}
