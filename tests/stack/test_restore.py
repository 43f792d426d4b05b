"""`backup` and `restore`: whatever goes wrong on the way, the site's own data is untouched."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clone import Clone
from .waiting import eventually

DATABASES = "SELECT datname FROM pg_database WHERE datname ~ '^(restor|replaced)' ORDER BY 1"
EMAILS = "SELECT email FROM accounts_user ORDER BY 1"


@pytest.fixture
def site(production: Clone) -> Iterator[Clone]:
    """Production serving, with no backups and no restored database of another test."""
    yield production
    for name in databases(production):
        production.run("-0", "psql", "-d", "postgres", "-c", f"DROP DATABASE {name}")
    for folder in backups(production):
        shutil.rmtree(folder)


def backups(clone: Clone) -> list[Path]:
    return sorted((clone.root / "backups").iterdir())


def databases(clone: Clone) -> list[str]:
    """What `restore` has made on the server."""
    return clone.query("prod", DATABASES).split()


def new_backup(clone: Clone) -> str:
    """The path of a backup that is made now."""
    said = clone.run("-0", "backup").out
    name = next(word for word in said.split() if word.startswith("backups/"))
    assert (clone.root / name).stat().st_mode & 0o077 == 0, "it has all data, and is nobody else's"
    return name


@pytest.mark.parametrize("fault", ["the end", "no backup at all"])
def test_a_damaged_backup_is_refused_and_leaves_no_database(site: Clone, fault: str) -> None:
    backup = site.root / new_backup(site)
    dump = backup / "database.dump"
    content = dump.read_bytes()
    damaged = {
        "the end": content[: len(content) // 2],
        "no backup at all": b"hello",
    }[fault]
    dump.write_bytes(damaged)

    refused = site.run("-0", "restore", f"backups/{backup.name}", ok=False)

    refused.refused("cannot be used: database.dump has", "use another set")
    by_hand = site.run("-0", "restore", f"backups/{backup.name}/database.dump", ok=False)
    by_hand.refused(
        "the backup could not be restored; the site's data is unchanged", "another backup"
    )
    assert databases(site) == []
    assert site.visitor("HTTP_PORT").is_up()


def test_with_a_key_every_file_of_a_set_is_encrypted(site: Clone) -> None:
    before = (site.root / ".env").read_text()
    try:
        said = site.run("-0", "backup", "key").out
        backup = site.root / new_backup(site)
    finally:
        site.write(".env", before)
        key = site.root / ".postdo/backup-key"
        lines = key.read_text().splitlines()
        key.unlink()
    assert said.splitlines()[-3:] == lines
    names = {path.name for path in backup.iterdir()}
    assert {"database.dump.age", "env.age", "site.tar.gz.age", "manifest.json"} <= names
    assert (backup / "env.age").read_bytes().startswith(b"age-encryption.org/v1")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=backup, check=True)


def test_a_restore_that_was_killed_is_begun_anew(site: Clone) -> None:
    backup = f"{new_backup(site)}/database.dump"
    run = site.start("-0", "restore", backup)
    eventually(lambda: "restoring" in databases(site), "the restore to begin", passes=True)
    run.send(signal.SIGKILL)
    run.wait()

    site.run("-0", "restore", backup)

    assert databases(site) == ["restored"]
    restored = site.run("-0", "psql", "-d", "restored", "-qAtc", EMAILS).out.strip()
    assert restored == site.query("prod", EMAILS) != ""


def test_a_second_restore_says_that_the_first_is_still_there(site: Clone) -> None:
    backup = f"{new_backup(site)}/database.dump"
    site.run("-0", "restore", backup)

    refused = site.run("-0", "restore", backup, ok=False)

    refused.refused('the database "restored" already exists', "DROP DATABASE restored")


def test_what_is_no_backup_or_not_there_is_refused_before_anything_starts(site: Clone) -> None:
    for argument, what, remedy in (
        ("backups/nothing.dump", "there is no backup", "ls backups"),
        ("db", "is not a backup", "sh run.sh backup"),
        ("--swap", 'there is no database "restored"', "restore backups/"),
        ("--drop-old", 'there is no database "replaced"', "do nothing"),
    ):
        site.run("-0", "restore", argument, ok=False).refused(what, remedy)
    assert site.visitor("HTTP_PORT").is_up()
