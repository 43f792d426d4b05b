"""A set: what it has, that it is whole or not there, and what may happen meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from backup_sets import fill, request
from projects import REPOSITORY, query
from waiting import until

from embedded_postgres import Cluster
from postdo_backup import archives
from postdo_backup.__main__ import main
from postdo_backup.check import check
from postdo_backup.create import create
from postdo_backup.errors import BackupFailed
from postdo_backup.folder import unfinished
from postdo_backup.listing import as_text, entries
from postdo_backup.manifest import read

FILES = [
    *("SHA256SUMS", "database.dump", "env", "globals.sql", "manifest.json", "override"),
    *("site.tar.gz", "uploads.tar"),
]


@pytest.fixture(autouse=True)
def programs(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = postgres.status().programs
    assert found is not None
    monkeypatch.setenv("POSTDO_PG_BIN", str(found))
    return found


def begin(folder: Path, where: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    asked = request(folder, where)
    words = ["create", "--set", str(asked.final), "--database", where, "--project", "shop"]
    return subprocess.Popen(
        [sys.executable, "-m", "postdo_backup", *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "backups").iterdir())


def dump_by(command: str, folder: Path, programs: Path) -> str:
    """A folder of programs in which pg_dump is this command of a shell."""
    bin = folder / "bin"  # noqa: A001
    bin.mkdir()
    (bin / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" != --version ] || exec {programs}/pg_dump --version\n{command}\n'
    )
    (bin / "pg_dump").chmod(0o755)
    (bin / "pg_dumpall").write_text(f'#!/bin/sh\nexec {programs}/pg_dumpall "$@"\n')
    (bin / "pg_dumpall").chmod(0o755)
    return str(bin)


def test_a_set_has_everything_and_its_checksums_are_right_by_hand(
    database: str, tmp_path: Path
) -> None:
    asked = request(tmp_path, fill(database))
    create(asked)
    assert sorted(path.name for path in asked.final.iterdir()) == FILES
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=asked.final, check=True
    )
    assert check(asked.final).release["number"] == "7"
    found = json.loads((asked.final / "manifest.json").read_text())
    assert found["format"] == 1
    assert found["encrypted"] is None
    assert found["postgresql"]["image"] == "postgres:18"
    assert {"schema": "public", "name": "counter", "next": 21, "latest": 21} in found["sequences"]
    assert oct(asked.final.stat().st_mode & 0o777) == "0o700"
    assert {path.stat().st_mode & 0o777 for path in asked.final.iterdir()} == {0o600}
    assert left(tmp_path) == [asked.final.name]


def test_a_bucket_of_uploads_is_named_and_sets_of_before_have_none(
    database: str, tmp_path: Path
) -> None:
    asked = replace(request(tmp_path, database), bucket="https://s3.example.com/uploads")
    create(asked)
    assert check(asked.final).bucket == "https://s3.example.com/uploads"
    (entry,) = entries(tmp_path / "backups")
    assert entry.bucket == "https://s3.example.com/uploads"
    assert "without the uploads in the bucket" in as_text([entry], datetime.now(timezone.utc))

    path = asked.final / "manifest.json"
    found = json.loads(path.read_text())
    del found["bucket"]
    path.write_text(json.dumps(found))
    assert read(asked.final).bucket is None


def test_its_archives_have_the_site_and_the_uploads(database: str, tmp_path: Path) -> None:
    asked = request(tmp_path, database)
    create(asked)
    with tarfile.open(asked.final / "uploads.tar") as tar:
        assert [(entry.name, entry.size) for entry in tar if entry.isfile()] == [
            ("./public/media/face.jpg", 20000)
        ]
    with tarfile.open(asked.final / "site.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["run.sh", "web", "web/manage.py"]
    assert (asked.final / "env").read_text() == "SECRET_KEY=abc\n"


def test_a_link_that_takes_the_place_of_an_upload_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs programs in the site can do that, and .env is beside the uploads then."""
    (tmp_path / "env").write_text("SECRET_KEY=abc\n")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads/face.jpg").write_text("jpeg")
    status_of = Path.lstat

    def replaced_afterwards(path: Path) -> os.stat_result:
        status = status_of(path)
        if path.name == "face.jpg":
            path.unlink()
            path.symlink_to(tmp_path / "env")
        return status

    monkeypatch.setattr(Path, "lstat", replaced_afterwards)
    with (tmp_path / "uploads.tar").open("wb") as output:
        archives.write_uploads(tmp_path / "uploads", output)

    with tarfile.open(tmp_path / "uploads.tar") as tar:
        assert tar.getnames() == ["."]


def test_no_program_has_the_password_among_its_arguments(
    database: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These everybody on the machine can read."""
    said = tmp_path / "said"
    real = f'echo "$*" >>{said}; exec {programs}/pg_dump "$@"'
    folder = Path(dump_by(real, tmp_path, programs))
    (folder / "pg_dumpall").write_text(
        (folder / "pg_dumpall").read_text().replace("exec", f'echo "$*" >>{said}; exec')
    )
    monkeypatch.setenv("POSTDO_PG_BIN", str(folder))
    create(request(tmp_path, database))

    password = urlsplit(database).password
    assert password
    assert "--dbname=" in said.read_text()
    assert password not in said.read_text()


def test_without_uploads_and_an_override_file_it_has_neither(database: str, tmp_path: Path) -> None:
    asked = request(tmp_path, database)
    (tmp_path / "uploads/public/media/face.jpg").unlink()
    create(replace(asked, override=tmp_path / "none"))
    assert check(asked.final).names == ("database.dump", "env", "globals.sql", "site.tar.gz")


def test_uploads_that_cannot_be_read_are_not_taken_for_none(database: str, tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    with pytest.raises(BackupFailed, match=r"be written: .*file: Not a directory"):
        create(replace(request(tmp_path, database), uploads=no_folder))
    assert left(tmp_path) == []


def test_a_disk_without_room_is_not_filled(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    with pytest.raises(BackupFailed, match=r"can need 2.. MB, but .* has 1 MB free"):
        create(request(tmp_path, database))
    assert left(tmp_path) == []


def test_a_file_that_is_cut_off_while_it_is_read_leaves_the_archive_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shrinking(archives._Padded):
        def __init__(self, file: Any, size: int) -> None:
            super().__init__(file, size)
            os.truncate(file.name, 10)

    monkeypatch.setattr(archives, "_Padded", Shrinking)
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads/1").write_bytes(b"x" * 50_000)
    (tmp_path / "uploads/2").write_bytes(b"y" * 10)
    os.link(tmp_path / "uploads/2", tmp_path / "uploads/3")
    with (tmp_path / "tar").open("wb") as output:
        archives.write_uploads(tmp_path / "uploads", output)
    with tarfile.open(tmp_path / "tar") as tar:
        assert [(entry.name, entry.size) for entry in tar if entry.isreg()] == [
            ("./1", 50_000),
            ("./2", 10),
            ("./3", 10),
        ]


def test_rows_that_are_written_meanwhile_are_in_neither_the_dump_nor_the_digests(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path
) -> None:
    fill(database)
    (tmp_path / "sql").write_text("DELETE FROM shop_item; SELECT nextval('counter')")
    command = f'{programs}/psql -f {tmp_path}/sql {database} >&2; exec {programs}/pg_dump "$@"'
    monkeypatch.setenv("POSTDO_PG_BIN", dump_by(command, tmp_path, programs))
    asked = request(tmp_path, database)
    manifest = create(asked)
    assert query(database, "SELECT count(*) FROM shop_item") == [(0,)]
    tables = {table.key: table.rows for table in manifest.content.tables}
    assert tables["public.shop_item"] == 50
    rows = subprocess.run(
        [
            programs / "pg_restore",
            "--data-only",
            "-tshop_item",
            "-f-",
            asked.final / "database.dump",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert rows.stdout.count("\titem ") == 50
    counter = next(each for each in manifest.content.sequences if each.name == "counter")
    assert (counter.next, counter.latest) == (21, 31)


def test_a_kill_leaves_nothing_that_looks_whole_and_the_next_backup_removes_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path
) -> None:
    pid = tmp_path / "pid"
    with monkeypatch.context() as patched:
        patched.setenv(
            "POSTDO_PG_BIN", dump_by(f"echo $$ >{pid}; exec sleep 600", tmp_path, programs)
        )
        process = begin(tmp_path, database)
        until(lambda: pid.exists() and pid.read_text(), "pg_dump runs")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (name,) = left(tmp_path)
    assert name.endswith(".part")
    with pytest.raises(BackupFailed, match="unfinished"):
        check(tmp_path / "backups" / name)
    until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists(), "pg_dump has ended")
    create(request(tmp_path, database))
    assert left(tmp_path) == [name.removesuffix(".part")]


def test_one_that_is_being_made_is_not_removed_by_another(database: str, tmp_path: Path) -> None:
    asked = request(tmp_path, database)
    with unfinished(asked.final) as part:
        with pytest.raises(BackupFailed, match="another backup is being made"):
            create(asked)
        create(replace(asked, final=asked.final.with_name("later")))
        assert part.is_dir()
        (part / "file").write_text("")
    assert left(tmp_path) == sorted(["later", asked.final.name])


def test_a_lost_connection_leaves_nothing(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postdo_backup import digests  # noqa: PLC0415

    fill(database)
    name = database.rpartition("/")[2]
    monkeypatch.setattr(
        digests,
        "tables",
        lambda connection: query(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "  # noqa: S608
            f"'{name}' AND pid <> pg_backend_pid()",
        ),
    )
    with pytest.raises(BackupFailed, match="PostgreSQL failed while the backup was written"):
        create(request(tmp_path, database))
    assert left(tmp_path) == []


def test_a_failing_dump_leaves_nothing_and_its_message_is_told(
    database: str, tmp_path: Path
) -> None:
    query(database, "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    query(database, "CREATE TABLE broken (a int)")
    query(database, "UPDATE pg_class SET relnamespace = 1 WHERE relname = 'broken'")
    with pytest.raises(BackupFailed, match="pg_dump failed: "):
        create(request(tmp_path, database))
    assert left(tmp_path) == []


def test_a_role_that_the_globals_lack_is_found(database: str, tmp_path: Path) -> None:
    lacking = tmp_path / "globals"
    lacking.write_text("CREATE ROLE tester;\n")
    with pytest.raises(BackupFailed, match=r"the role .* was created while the backup began"):
        create(replace(request(tmp_path, database), globals=lacking))


def test_the_command_says_what_is_wrong_in_one_line_and_in_facts(
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = tmp_path / "facts"
    monkeypatch.setenv("POSTDO_RESULT", str(facts))
    asked = request(tmp_path, database)
    assert main(["create", "--set", str(asked.final), "--database", database]) == 0
    assert f"set={asked.final.name}\n" in facts.read_text()
    assert main(["check", str(asked.final)]) == 0
    assert capsys.readouterr() == ("", "")
    with (asked.final / "database.dump").open("ab") as file:
        file.write(b"x")
    assert main(["check", str(asked.final)]) == 1
    what, following = capsys.readouterr().err.splitlines()
    assert what.startswith("database.dump has ")
    assert f"what={what}\nnext={following.strip()}\n" in facts.read_text()
