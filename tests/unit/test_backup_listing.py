"""What `backups` shows, and what a new set lets go."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from backup_sets import request
from test_backup_mutations import write_set

from embedded_postgres import Cluster
from postdo_backup.__main__ import main
from postdo_backup.listing import Entry, as_text, entries, prune
from postdo_backup.manifest import MANIFEST, SUMS, read
from postdo_backup.retention import Rules
from postdo_backup.verified import record, verification

NOW = datetime(2026, 12, 2, 12, tzinfo=timezone.utc)


def made(root: Path, days_ago: int, why: str = "schedule", project: str = "shop") -> Path:
    """A set, with a manifest that says so; its files do not count here."""
    at = NOW - timedelta(days=days_ago)
    folder = write_set(root / f"{project}-prod-{at:%Y%m%dT%H%M%SZ}", days_ago % 60)
    text = json.loads((folder / MANIFEST).read_text())
    text |= {"made_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "why": why, "project": project}
    (folder / MANIFEST).write_text(json.dumps(text))
    return folder


def test_the_list_has_every_backup_and_what_is_known_of_it(tmp_path: Path) -> None:
    verified, other = made(tmp_path, 1), made(tmp_path, 3, "before the import")
    record(verified, 95, "release", "sha256:2")
    damaged = made(tmp_path, 5)
    (damaged / MANIFEST).write_text("{")
    unfinished = made(tmp_path, 0)
    unfinished.rename(unfinished.with_name(unfinished.name + ".part"))
    release = tmp_path / "postdo-before-migrate-20261121T160000Z"
    release.mkdir()
    for name in ("toc.dat", "1.dat.gz"):
        (release / name).write_bytes(bytes(1000))
    (tmp_path / "shop-production-20260101T000000Z.dump").write_bytes(bytes(10))
    for path in (release / "toc.dat", tmp_path / "shop-production-20260101T000000Z.dump"):
        os.utime(path, (NOW.timestamp() - 86_400 * 20,) * 2)

    found = entries(tmp_path, {other.name: ["sftp:elsewhere"]})

    assert [(entry.kind, entry.verified_at is not None) for entry in found] == [
        ("set", True),
        ("set", False),
        ("set", False),
        ("file", False),
        ("release", False),
    ]
    assert found[0].recovery_seconds == 95
    lines = as_text(found, NOW).splitlines()
    assert lines[0].split() == ["BACKUP", "AGE", "SIZE", "VERIFIED", "RECOVERY", "ALSO", "AT"]
    assert lines[1].startswith(f"{verified.name}  ")
    assert "  24 h  " in lines[1]
    assert "  95 s  " in lines[1]
    assert "  no  " in lines[2]
    assert lines[2].endswith("  sftp:elsewhere  before the import")
    assert "  damaged  " in lines[3]
    assert lines[3].endswith(f"{MANIFEST} cannot be read")
    assert "  20 days  2.0 kB    in its rehearsal  " in lines[5]


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-60, "0 min"), (3599, "60 min"), (3600, "1 h"), (172_799, "48 h"), (172_800, "2 days")],
)
def test_the_age_is_told_in_the_unit_that_fits(seconds: int, age: str) -> None:
    made_at = f"{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    line = as_text([Entry("a", "file", made_at, 0)], NOW).splitlines()[1]
    assert line.startswith(f"a       {age}  ")


def test_a_set_that_was_changed_after_its_verification_is_not_verified(tmp_path: Path) -> None:
    folder = made(tmp_path, 1)
    record(folder, 95, "release", "sha256:2")
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text() + "\n")
    assert entries(tmp_path)[0].verified_at is None


@pytest.mark.parametrize("user", [0, 1000])
def test_a_verification_is_of_the_set_s_owner_and_says_what_was_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    """It is noted by root in a container, where the set may be another user's."""
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "chown", lambda path, *owner: given.append((path.name, *owner)))
    folder = made(tmp_path, 1)

    noted = record(folder, 95, "live", "sha256:2")

    assert noted == verification(folder)
    assert (noted.seconds, noted.site, noted.image_id) == (95, "live", "sha256:2")
    owner = folder.stat()
    expected = [("verified.json.part", owner.st_uid, owner.st_gid)]
    assert given == (expected if user == 0 else [])
    assert (folder / "verified.json").stat().st_mode & 0o777 == 0o600


def test_the_list_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path, 1)
    assert main(["list", str(tmp_path), "--json", f"--elsewhere={folder.name}=s3:bucket"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["backups"]
    assert (found["name"], found["mode"], found["why"]) == (folder.name, "prod", "schedule")
    assert (found["elsewhere"], found["encrypted"], found["damaged"]) == (
        ["s3:bucket"],
        False,
        None,
    )
    assert main(["list", str(tmp_path / "none")]) == 0
    assert "there are no backups" in capsys.readouterr().out


def test_only_the_sets_of_this_site_that_can_be_read_are_removed(tmp_path: Path) -> None:
    newest, old, older = (made(tmp_path, days) for days in (0, 30, 31))
    asked = made(tmp_path, 40, "command")
    other = made(tmp_path, 50, project="other")
    unreadable = made(tmp_path, 60)
    (unreadable / SUMS).unlink()
    (unreadable / MANIFEST).write_text("{")
    record(older, 1, "release", "sha256:2")
    gone = prune(tmp_path, "shop", "prod", Rules(1, 0, 0), NOW)
    assert gone == (old.name,)
    left = {newest.name, older.name, asked.name, other.name, unreadable.name}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_new_set_lets_old_ones_go_and_a_failed_one_does_not(
    database: str, tmp_path: Path, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTDO_PG_BIN", str(postgres.status().programs))
    monkeypatch.setenv("POSTDO_RESULT", str(tmp_path / "facts"))
    asked = request(tmp_path, database, "shop-prod-20990101T000000Z")
    old = made(asked.final.parent, 900)
    words = ["create", "--set", str(asked.final), "--project", "shop", "--why", "schedule"]
    words += ["--daily", "1", "--weekly", "0", "--monthly", "0"]

    assert main([*words, "--database", "host=/nowhere"]) == 1
    assert old.exists()
    assert main([*words, "--database", database]) == 0

    assert not old.exists()
    assert f"removed={old.name}\n" in (tmp_path / "facts").read_text()
    assert read(asked.final).why == "schedule"
    shutil.rmtree(asked.final)
