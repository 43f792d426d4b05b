"""A set that is used: restored, compared with its manifest, its uploads put back, and noted."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backup_sets import fill, request
from driving import fill as fill_disk
from driving import tablespace_on_a_small_disk
from programs import small_file_system
from projects import REPOSITORY, query
from waiting import until

from embedded_postgres import Cluster
from postdo_backup import manifest as manifests
from postdo_backup import restore as restoring
from postdo_backup.__main__ import main
from postdo_backup.create import create
from postdo_backup.restore import statements
from postdo_backup.source import Source
from postdo_backup.uploads import restore_uploads
from postdo_backup.verified import record, verification

OWNER = "tester"
LARGE = """
CREATE TABLE large AS
SELECT md5(n::text) || md5((-n)::text) AS text FROM generate_series(1, 40000) n
"""
GLOBALS = r"""--
-- PostgreSQL database cluster dump
--

\restrict 0Abc

SET standard_conforming_strings = on;
CREATE ROLE "a;b";
ALTER ROLE site WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c' VALID UNTIL 'infinity';
COMMENT ON ROLE site IS E'back\\slash\'s ; -- no comment';
CREATE TABLESPACE fast OWNER site LOCATION '/fast';
GRANT CREATE ON TABLESPACE fast TO site;

\unrestrict 0Abc
"""


@pytest.fixture(autouse=True)
def programs(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    found = postgres.status().programs
    assert found is not None
    monkeypatch.setenv("POSTDO_PG_BIN", str(found))


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "facts"
    monkeypatch.setenv("POSTDO_RESULT", str(path))
    return path


@pytest.fixture
def source(database: str, tmp_path: Path) -> Source:
    """A set of a database with a bit of everything."""
    asked = request(tmp_path, fill(database))
    return Source(asked.final, create(asked))


@pytest.fixture
def large(database: str, tmp_path: Path) -> Source:
    """A set whose database takes more than a megabyte."""
    query(database, LARGE)
    asked = request(tmp_path, database)
    return Source(asked.final, create(asked))


@pytest.fixture
def server(postgres: Cluster) -> Iterator[str]:
    """The server as a superuser; what a test has restored is gone afterwards."""
    yield postgres.url("postgres").rpartition("/")[0]
    query(postgres.url("postgres"), "DROP DATABASE IF EXISTS restoring WITH (FORCE)")


def restore_words(source: Source, server: str, *more: str) -> list[str]:
    words = ["--server", server, "--database", "restoring", "--owner", OWNER]
    return ["restore", str(source.folder), *words, *more]


def fact(facts: Path, key: str) -> list[str]:
    lines = facts.read_text().splitlines()
    return [line.removeprefix(f"{key}=") for line in lines if line.startswith(f"{key}=")]


def remade(source: Source, where: str) -> Source:
    """The set with another dump of the same name, and right sums: only its rows tell."""
    folder = source.folder
    (folder / "database.dump").unlink()
    pg_dump = Path(os.environ["POSTDO_PG_BIN"]) / "pg_dump"
    subprocess.run([pg_dump, "-Fc", "-f", folder / "database.dump", where], check=True)
    files = tuple(manifests.file_of(folder / name) for name in source.manifest.names)
    changed = replace(source.manifest, files=files)
    manifests.write(folder, changed)
    return Source(folder, changed)


def test_a_set_restores_to_exactly_what_it_was(source: Source, server: str, facts: Path) -> None:
    assert main(restore_words(source, server)) == 0
    assert fact(facts, "outcome") == ["done"]
    count = query(f"{server}/restoring", "SELECT count(*) FROM public.shop_item")
    assert count == [(50,)]


@pytest.mark.parametrize(
    "case",
    [
        ("DELETE FROM shop_item WHERE id = 7", "table public.shop_item has 49 rows, not 50"),
        ("UPDATE shop_item SET price = 2 WHERE id = 7", "as many rows, but not the same"),
        ("DROP TABLE child", "table public.child is missing"),
        ("CREATE TABLE more ()", "table public.more is unexpected"),
        ("SELECT setval('counter', 5)", "sequence public.counter continues with 15"),
        ("SELECT lo_put(oid, 3, 'X') FROM pg_largeobject_metadata", "pg_largeobject has as many"),
    ],
)
def test_a_dump_that_was_remade_with_right_sums_is_found(
    source: Source, database: str, server: str, facts: Path, case: tuple[str, str]
) -> None:
    change, what = case
    query(database, change)
    changed = remade(source, f"{server}/{database.rpartition('/')[2]}")

    assert main(["check", str(changed.folder)]) == 0, "its files are as the manifest says"
    assert main(restore_words(changed, server)) == 1

    (said,) = fact(facts, "what")
    assert said.startswith(f"{source.name} does not restore to what it was: ")
    assert what in said
    assert any(what in line for line in fact(facts, "detail"))


def test_a_dump_that_does_not_restore_is_found_and_leaves_no_tables(
    source: Source, server: str, facts: Path
) -> None:
    dump = source.folder / "database.dump"
    dump.write_bytes(dump.read_bytes()[:3000])

    assert main(restore_words(source, server)) == 1

    assert fact(facts, "what")[0].startswith(f"{source.name} does not restore: pg_restore failed:")
    left = query(f"{server}/restoring", "SELECT count(*) FROM pg_class WHERE relname ~ 'shop'")
    assert left == [(0,)]


def test_a_disk_that_gets_full_says_nothing_against_the_set(
    large: Source,
    postgres: Cluster,
    server: str,
    facts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a server that is thrown away, or of the site's own: its new database goes there."""
    likeness, dump = restoring._likeness, restoring._restore_dump
    with tablespace_on_a_small_disk(postgres, f"{server}/postgres", 24) as (name, disk):

        def another_fills_it(*given: Any) -> None:
            fill_disk(disk, leave_bytes=1_000_000)
            dump(*given)

        monkeypatch.setattr(
            restoring, "_likeness", lambda *given: f"{likeness(*given)} TABLESPACE {name}"
        )
        monkeypatch.setattr(restoring, "_restore_dump", another_fills_it)
        try:
            assert main(restore_words(large, server)) == 1
        finally:
            (disk / "ballast").unlink()
        assert fact(facts, "what")[0].startswith("the disk is full (pg_restore: ")
        assert fact(facts, "damaged") == []
        left = query(f"{server}/restoring", "SELECT to_regclass('large')")
        assert left == [(None,)]

        monkeypatch.setattr(restoring, "_restore_dump", dump)
        assert main(restore_words(large, server)) == 0, "the next one goes well"
        query(f"{server}/postgres", "DROP DATABASE restoring WITH (FORCE)")


@pytest.mark.parametrize(
    "case",
    [
        ("FATAL:  could not write init file", []),
        ("error: could not execute query: server closed the connection unexpectedly", []),
        ("error: could not read from input file: end of file", ["yes"]),
    ],
)
def test_a_server_that_ends_says_nothing_against_the_set(
    source: Source, server: str, facts: Path, tmp_path: Path, case: tuple[str, list[str]]
) -> None:
    said, damaged = case
    real = Path(os.environ["POSTDO_PG_BIN"]) / "pg_restore"
    other = tmp_path / "bin/pg_restore"
    other.parent.mkdir()
    other.write_text(f"""#!/bin/sh
[ "$1" != --version ] || exec {real} "$@"
echo "pg_restore: {said}" >&2
exit 1
""")
    other.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSTDO_PG_BIN", str(other.parent))
        assert main(restore_words(source, server)) == 1
    assert fact(facts, "damaged") == damaged


@pytest.mark.parametrize(
    ("change", "status"),
    [({"format": 2}, 1), ({"kit": "99.1"}, 0), ({"bucket": None, "later": "key"}, 0)],
)
def test_a_set_of_another_kit_is_used_as_long_as_its_format_is_known(
    source: Source, facts: Path, change: dict[str, object], status: int
) -> None:
    """The format counts, and no version; keys that this kit does not know are left alone."""
    folder = source.folder
    found = {**json.loads((folder / "manifest.json").read_text()), **change}
    found.pop("bucket", None)  # as an older one wrote it
    (folder / "manifest.json").write_text(json.dumps(found))
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    sums = [line for line in sums if not line.endswith("  manifest.json")]
    sums.append(f"{manifests.file_of(folder / 'manifest.json').sha256}  manifest.json")
    (folder / "SHA256SUMS").write_text("\n".join([*sums, ""]))

    assert main(["usable", str(folder)]) == status
    if status:
        assert "was written by a newer kit (format 2" in fact(facts, "what")[0]
        assert fact(facts, "next") == ["update the kit: git pull"]


def test_a_newer_major_is_refused_before_anything_is_created(
    source: Source, server: str, facts: Path
) -> None:
    newer = replace(source.manifest, postgresql={**source.manifest.postgresql, "major": 99})
    manifests.write(source.folder, newer)

    assert main(["usable", str(source.folder), "--major", "18"]) == 1
    assert fact(facts, "what") == ["it is of PostgreSQL 99, which PostgreSQL 18 here cannot read"]
    assert main(restore_words(source, server)) == 1
    names = query(f"{server}/postgres", "SELECT datname FROM pg_database")
    assert ("restoring",) not in names


def test_a_database_of_that_name_is_replaced_even_while_it_is_used(
    source: Source, server: str
) -> None:
    query(f"{server}/postgres", "CREATE DATABASE restoring")
    query(f"{server}/restoring", "CREATE TABLE left_behind ()")

    assert main(restore_words(source, server)) == 0

    left = query(f"{server}/restoring", "SELECT to_regclass('public.left_behind')")
    assert left == [(None,)]


def test_a_killed_restore_ends_its_program_and_the_next_one_goes_well(
    source: Source, server: str, tmp_path: Path
) -> None:
    real, noted = Path(os.environ["POSTDO_PG_BIN"]) / "pg_restore", tmp_path / "pid"
    slow = tmp_path / "bin/pg_restore"
    slow.parent.mkdir()
    wait = (
        f'[ "$1" != --version ] || exec {real} "$@"\necho $$ >{noted}.new\nmv {noted}.new {noted}'
    )
    slow.write_text(f"#!/bin/sh\n{wait}\nexec sleep 600\n")
    slow.chmod(0o755)
    command = [sys.executable, "-m", "postdo_backup", *restore_words(source, server)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "POSTDO_PG_BIN": str(slow.parent)}
    with subprocess.Popen(command, env=environment) as running:
        until(noted.exists, "pg_restore to begin")
        running.send_signal(signal.SIGKILL)
    program = Path("/proc", noted.read_text().strip())
    until(lambda: not program.exists(), "pg_restore to end")

    assert main(restore_words(source, server)) == 0


def test_roles_are_restored_and_those_that_are_there_are_no_error(
    source: Source, server: str
) -> None:
    globals_file = source.folder / "globals.sql"
    globals_file.write_text(globals_file.read_text() + 'CREATE ROLE "odd; one" LOGIN;\n')
    try:
        for _ in range(2):
            assert main(restore_words(source, server, "--roles")) == 0
        roles = query(f"{server}/postgres", "SELECT rolname FROM pg_roles")
        assert ("odd; one",) in roles
    finally:
        query(f"{server}/postgres", 'DROP ROLE IF EXISTS "odd; one"')


def test_statements_are_told_apart_and_tablespaces_left_out() -> None:
    assert list(statements(GLOBALS)) == [
        "SET standard_conforming_strings = on",
        'CREATE ROLE "a;b"',
        "ALTER ROLE site WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c' VALID UNTIL 'infinity'",
        r"COMMENT ON ROLE site IS E'back\\slash\'s ; -- no comment'",
    ]


# --- Uploads, settings, and what is kept of a verification ----------------------------------------


def test_uploads_are_put_back_and_newer_ones_stay(source: Source, tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / "public/media").mkdir(parents=True)
    (files / "public/media/face.jpg").write_text("changed")
    (files / "public/media/newer.jpg").write_text("newer")

    assert main(["restore-uploads", str(source.folder), str(files)]) == 0

    assert (files / "public/media/face.jpg").read_bytes() == b"jpeg" * 5000
    assert (files / "public/media/newer.jpg").read_text() == "newer"


def test_a_disk_that_gets_full_leaves_each_upload_as_it_was_or_as_it_is_to_be(
    source: Source, tmp_path: Path, facts: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    with tarfile.open(source.folder / "uploads.tar", "w") as tar:
        for name, content in (("./a", b"a" * 5000), ("./b", b"b" * 200_000)):
            file = tarfile.TarInfo(name)
            file.size = len(content)
            tar.addfile(file, io.BytesIO(content))
    with small_file_system(files, "size=100k"):
        for name in ("a", "b"):
            (files / name).write_text("of the site")

        assert main(["restore-uploads", str(source.folder), str(files)]) == 1

        assert fact(facts, "what") == [
            "only 1 of its uploads could be put back: No space left on device"
        ]
        assert sorted(path.name for path in files.iterdir()) == ["a", "b"]
        assert (files / "a").read_bytes() == b"a" * 5000
        assert (files / "b").read_text() == "of the site"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../elsewhere", "{files}/../../elsewhere"])
def test_a_link_that_leads_out_is_refused(source: Source, tmp_path: Path, target: str) -> None:
    files = tmp_path / "files"
    files.mkdir()
    link = tarfile.TarInfo("./public")
    link.type, link.linkname = tarfile.SYMTYPE, target.format(files=files)
    with tarfile.open(source.folder / "uploads.tar", "w") as tar:
        tar.addfile(link)

    with pytest.raises(Exception, match=r"uploads\.tar in .* cannot be used"):
        restore_uploads(source, files)

    assert list(files.iterdir()) == []


def test_a_link_within_the_uploads_is_put_back(source: Source, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    with tarfile.open(source.folder / "uploads.tar", "w") as tar:
        for name, to in (("./a", "b"), ("./c", f"{files}/b")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, to
            tar.addfile(link)
        cut = tarfile.TarInfo("./b")
        cut.size = 3
        tar.addfile(cut, io.BytesIO(b"abc"))

    assert restore_uploads(source, files) == 1

    assert (files / "a").read_text() == (files / "c").read_text() == "abc"


def test_settings_are_written_and_what_a_set_lacks_is_left_out(
    source: Source, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    assert main(["extract", str(source.folder), str(target), "env", "nothing"]) == 0
    assert [path.name for path in target.iterdir()] == ["env"]
    assert (target / "env").read_text() == "SECRET_KEY=abc\n"
    assert (target / "env").stat().st_mode & 0o777 == 0o600


def test_a_verification_is_of_one_manifest_and_belongs_to_the_set(
    source: Source, facts: Path
) -> None:
    words = ["--seconds", "41", "--site", "release", "--image-id", "sha256:2"]
    assert main(["verified", str(source.folder), *words]) == 0

    assert main(["check", str(source.folder)]) == 0, "the set is still whole"
    assert main(["usable", str(source.folder)]) == 0
    assert fact(facts, "verified-at") != [""]
    assert fact(facts, "bucket") == [""]
    found = verification(source.folder)
    assert found is not None
    assert (found.seconds, found.site, found.image_id) == (41, "release", "sha256:2")

    text = source.manifest.text().replace('"project": "shop"', '"project": "sold"')
    (source.folder / "manifest.json").write_text(text)
    assert verification(source.folder) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seconds": 1}', "\xff"])
def test_a_verification_that_cannot_be_read_is_none(source: Source, text: str) -> None:
    (source.folder / "verified.json").write_text(text, encoding="latin-1")

    assert verification(source.folder) is None


def test_a_disk_that_is_full_keeps_the_verification_before(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = record(source.folder, 1, "release", "sha256:1")

    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(OSError, match="No space left"):
        record(source.folder, 2, "release", "sha256:1")

    assert verification(source.folder) == before


def test_what_is_known_of_a_set_is_told_in_facts(source: Source, facts: Path) -> None:
    assert main(["usable", str(source.folder), "--major", "99"]) == 0
    assert fact(facts, "release-number") == ["7"]
    assert fact(facts, "postgresql-image-id") == ["sha256:1"]
    assert fact(facts, "uploads") == ["yes"]
    assert int(fact(facts, "rows")[0]) > 50
    assert int(fact(facts, "dump-bytes")[0]) > 1000
