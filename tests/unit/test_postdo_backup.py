"""The copy by pg_dump and pg_restore: identical, within its bounds, from programs that fit."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from driving import (
    drive,
    fill,
    role_and_database,
    scratch_names,
    small_disk,
    tablespace_on_a_small_disk,
    with_database,
)
from projects import make, need_extensions, query
from shop_copies import COPY, PROGRAMS, SHOP, finished, shop, unfinished

from embedded_postgres import Cluster
from postdo.copy.pg_programs import environment

TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname IN ('public', 'archive') ORDER BY 1
"""
SUMS = f"""
from postdo.base.database import closing
def sums(session):
    tables = [name for (name,) in rows(session, {TABLES!r})]
    return {{name: rows(session, f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) "
                        f"FROM {{name}} t")[0] for name in tables}}
"""
COPY_AND_COMPARE = """
size = backup.check_room(run, session)
with scratch.scratch_database(run, session) as name:
    copied = backup.copy(run, session, name, schema_only=False)
    with closing(scratch.connect_to(name, "look")) as there:
        assert sums(session) == sums(there), (sums(session), sums(there))
        print(len(sums(there)), sums(there)["public.shop_item"][0])
        print(rows(there, "SELECT nextval('shop_item_id_seq')"))
        print(rows(there, "SELECT count(*) FROM pg_stats WHERE tablename = 'shop_item'"))
if copied.backup:
    backup_folder.finish(copied.backup)
print(copied.size_bytes == size, copied.seconds > 0, copied.left_out)
print(copied.backup)
"""
PRINTED = 'print("copied", copied)'
COPY_THE_SCHEMA = """
with scratch.scratch_database(run, session) as name:
    copied = backup.copy(run, session, name, schema_only=True)
    with closing(scratch.connect_to(name, "look")) as there:
        for table, (count, _) in sums(there).items():
            print(table, count)
        print(rows(there, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'")[0][0])
print(copied.backup)
"""


@pytest.fixture(autouse=True)
def programs_of_the_server(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of these tests finds pg_dump where the test's own server comes from."""
    monkeypatch.setitem(PROGRAMS, "POSTDO_PG_BIN", str(postgres.status().programs))


@pytest.mark.parametrize("role", ["superuser", "plain"])
@pytest.mark.parametrize("kept", ["folder", "pipe"])
def test_the_copy_has_the_same_rows_in_every_table(
    tmp_path: Path, database: str, role: str, kept: str
) -> None:
    extra = {"POSTDO_BACKUPS": str(tmp_path / "backups")} if kept == "folder" else {}
    with role_and_database(database) as plain:
        project = shop(tmp_path, plain if role == "plain" else database, extra)
        outcome = drive(project, SUMS + COPY_AND_COMPARE)
        assert outcome.code == 0, outcome.err
        lines = outcome.out.splitlines()
        assert lines[:4] == ["8 5000", "[(5001,)]", "[(6,)]", "True True ()"]
        if kept == "folder":
            (name,) = finished(tmp_path / "backups")
            assert lines[4] == str(tmp_path / "backups" / name)
            assert Path(lines[4]).stat().st_mode & 0o777 == 0o700
            assert unfinished(tmp_path / "backups") == []
        else:
            assert lines[4] == "None"


def test_a_copy_of_the_schema_has_the_rows_that_django_needs_and_no_others(
    tmp_path: Path, database: str
) -> None:
    folder = tmp_path / "backups"
    project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(folder)})
    outcome = drive(project, SUMS + COPY_THE_SCHEMA)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "postdo: copying the schema without rows; no backup is made",
        "archive.shop_item 0",
        'public."Order lines" 0',
        "public.auth_permission 8",
        "public.django_content_type 2",
        "public.django_migrations 30",
        "public.shop_item 0",
        "public.shop_total 1",
        "public.shop_visit_2026 0",
        "2",
        "None",
    ]
    assert not folder.exists()


def test_the_newest_backups_are_kept_and_only_of_this_kind_and_database(
    tmp_path: Path, database: str
) -> None:
    folder = tmp_path / "backups"
    name = urlsplit(database).path[1:]
    old = f"{name}-before-migrate-20200101T000000Z"
    others = [
        f"{name}-nightly-20200101T000000Z",
        "other-before-migrate-20200101T000000Z",
        "note.txt",
    ]
    for path in (old, *others):
        (folder / path).mkdir(parents=True)
    project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(folder), "BACKUP_KEEP": "2"})
    indented = "\n".join(f"    {line}" for line in COPY.strip().splitlines())
    loop = f"for number in range(3):\n{indented}\n    print(copied.backup.name)"
    outcome = drive(project, f"{loop}\nbackup.prune(run, session)")
    assert outcome.code == 0, outcome.err
    made = [line for line in outcome.out.splitlines() if line.startswith(f"{name}-before-")]
    assert len(set(made)) == 3
    assert finished(folder) == sorted([*others, *made[1:]])


def test_without_the_servers_own_major_it_says_what_to_install(
    tmp_path: Path, database: str
) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    for program in ("pg_dump", "pg_restore"):
        (fake / program).write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) 99.1'\n")
        (fake / program).chmod(0o755)
    project = shop(tmp_path, database)
    outcome = drive(project, COPY, {"POSTDO_PG_BIN": str(fake)})
    major = str(query(database, "SHOW server_version_num")[0][0])[:2]
    assert outcome.code == 3
    assert f"no pg_dump and pg_restore of PostgreSQL {major}" in outcome.err
    assert f"POSTDO_PG_BIN={fake} ({fake} has 99)" in outcome.err
    assert f"install postgresql-client-{major}" in outcome.err
    found = drive(
        project, "print(backup.programs(run, 99))", {"POSTDO_PG_BIN": "", "PATH": str(fake)}
    )
    assert found.out == (
        f"Programs(pg_dump={fake / 'pg_dump'!r}, pg_restore={fake / 'pg_restore'!r})\n"
    )


def test_a_full_backup_disk_refuses_and_leaves_nothing(tmp_path: Path, database: str) -> None:
    with small_disk(8) as disk:
        project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(disk / "backups")})
        (disk / "backups").mkdir()
        ballast = fill(disk, leave_bytes=40_000)
        outcome = drive(project, COPY)
        assert outcome.code == 3, outcome.out
        assert f"the disk of {disk}/backups is full: " in outcome.err
        assert "No space left on device" in outcome.err
        assert list((disk / "backups").iterdir()) == []
        assert scratch_names(project.url) == []
        ballast.unlink()
        assert drive(project, COPY).code == 0


def test_a_full_disk_of_the_server_refuses_and_leaves_nothing(
    tmp_path: Path, database: str, postgres: Cluster
) -> None:
    folder = tmp_path / "backups"
    with tablespace_on_a_small_disk(postgres, database, 60) as (small, disk):
        name = f"small_{secrets.token_hex(6)}"
        query(database, f"CREATE DATABASE {name} TABLESPACE {small}")
        url = with_database(database, name)
        project = shop(tmp_path, url, {"POSTDO_BACKUPS": str(folder)})
        # Enough for an empty database, and not for the rows.
        query(url, "INSERT INTO archive.shop_item SELECT generate_series(1, 500000)")
        query(database, "CHECKPOINT")
        fill(disk, leave_bytes=14_000_000)
        outcome = drive(project, COPY)
        assert outcome.code == 3, outcome.out
        assert "the database server's disk is full: COPY failed for table " in outcome.err
        assert list(folder.iterdir()) == []
        assert scratch_names(url) == []
        query(database, f"DROP DATABASE {name}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("REHEARSE_MAX_MB", "1", "REHEARSE_MAX_MB allows a copy of 1 MB"),
        ("POSTDO_SERVER_FREE_MB", "200", "but 200 MB are free"),
    ],
)
def test_too_big_a_database_is_refused_before_anything_begins(
    tmp_path: Path, database: str, key: str, value: str, said: str
) -> None:
    project = shop(tmp_path, database)
    room = "print(backup.check_room(run, session) > 1_000_000)"
    outcome = drive(project, room, {key: value})
    assert outcome.code == 3
    assert said in outcome.err
    assert "REHEARSE=schema" in outcome.err
    assert drive(project, room, {key: "30000"}).out == "True\n"
    assert drive(project, room, {key: value, "REHEARSE": "schema"}).out == "True\n"


def test_too_small_a_backup_disk_is_refused_before_anything_begins(
    tmp_path: Path, database: str
) -> None:
    with small_disk(8) as disk:
        project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(disk)})
        outcome = drive(project, "backup.check_room(run, session)")
        assert outcome.code == 3
        assert f"but {disk} has 8 MB free" in outcome.err


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, database: str) -> None:
    (tmp_path / "file").touch()
    project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(tmp_path / "file" / "backups")})
    outcome = drive(project, "backup.check_room(run, session)")
    assert outcome.code == 3
    assert f"no backup can be written in {tmp_path}/file/backups: Not a directory" in outcome.err


@pytest.mark.parametrize("kept", ["folder", "pipe"])
def test_what_cannot_be_restored_is_named(tmp_path: Path, database: str, kept: str) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    extra = {"POSTDO_BACKUPS": str(folder)} if kept == "folder" else {}
    with role_and_database(database) as url:
        project = shop(tmp_path, url, extra)
        as_admin = urlsplit(database)._replace(path=urlsplit(url).path).geturl()
        query(as_admin, "CREATE TEXT SEARCH TEMPLATE public.plain (LEXIZE = dsimple_lexize)")
        outcome = drive(project, COPY)
        assert outcome.code == 3, outcome.out
        assert "pg_restore: must be superuser to create text search templates" in outcome.err
        assert "Command was: CREATE TEXT SEARCH TEMPLATE public.plain" in outcome.err, outcome.err
        assert list(folder.iterdir()) == []


OTHERS = """
CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION note();
COMMENT ON EVENT TRIGGER watch IS 'of the provider';
CREATE EXTENSION bloom;
CREATE INDEX by_price ON shop_item USING bloom (name);
COMMENT ON INDEX by_price IS 'by hand';
CREATE FUNCTION public.in_c(internal) RETURNS internal LANGUAGE internal AS 'tsm_system_handler';
COMMENT ON FUNCTION in_c(internal) IS 'in C';
CREATE SCHEMA audit;
CREATE TABLE audit.log (id int);
CREATE FUNCTION audit.seen() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE "The log" (id serial);
"""


@pytest.mark.parametrize("kept", ["folder", "pipe", "schema"])
def test_what_belongs_to_others_and_cannot_be_copied_is_left_out_and_said(
    tmp_path: Path, database: str, kept: str
) -> None:
    extra = {"POSTDO_BACKUPS": str(tmp_path / "backups")} if kept == "folder" else {}
    with role_and_database(database) as url:
        as_admin = urlsplit(database)._replace(path=urlsplit(url).path).geturl()
        need_extensions(database, "bloom")
        project = shop(tmp_path, url, extra)
        query(as_admin, OTHERS)
        look = (
            "    there = scratch.connect_to(name, 'look')\n"
            "    print(rows(there, 'SELECT count(*) FROM shop_item'))\n"
            "    print(rows(there, 'SELECT relname FROM pg_class WHERE relname IN "
            "(%s, %s, %s)', 'by_price', 'log', 'shop_item_name_key'))\n"
            "print(copied.left_out)"
        )
        copy = COPY.replace(PRINTED, look)
        if kept == "schema":
            copy = copy.replace("schema_only=False", "schema_only=True")
        outcome = drive(project, copy)
        assert outcome.code == 0, outcome.err
        *_, count, there, left_out = outcome.out.splitlines()
        assert count == ("[(0,)]" if kept == "schema" else "[(5000,)]")
        assert there == "[('shop_item_name_key',)]"
        expected = ["bloom", "The log", "event trigger watch", "function in_c(internal)"]
        expected += ["index by_price", "schema audit", "The log_id_seq"]
        assert sorted(eval(left_out)) == sorted(expected)  # noqa: S307  of our own process
        assert "the copy omits" in outcome.out
        assert "event trigger watch" in outcome.out.partition("\n[")[0]


@pytest.mark.parametrize("kept", ["folder", "pipe"])
def test_an_extension_that_only_a_superuser_can_create_is_left_out_and_said(
    tmp_path: Path, database: str, kept: str
) -> None:
    extra = {"POSTDO_BACKUPS": str(tmp_path / "backups")} if kept == "folder" else {}
    with role_and_database(database) as url:
        as_admin = urlsplit(database)._replace(path=urlsplit(url).path).geturl()
        need_extensions(database, "pgstattuple", "hstore")
        query(as_admin, "CREATE EXTENSION pgstattuple; CREATE EXTENSION hstore")
        project = shop(tmp_path, url, extra)
        look = (
            "    there = scratch.connect_to(name, 'look')\n"
            "    print(rows(there, 'SELECT extname FROM pg_extension ORDER BY 1'))\n"
            "    print(rows(there, 'SELECT count(*) FROM shop_item'))\n"
            "print(copied.left_out)"
        )
        outcome = drive(project, COPY.replace(PRINTED, look))
        assert outcome.code == 0, outcome.err
        assert outcome.out.splitlines() == [
            "postdo: the copy omits pgstattuple: only a superuser can create that",
            "[('hstore',), ('plpgsql',)]",
            "[(5000,)]",
            "('pgstattuple',)",
        ]


@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        ("production", "add to DB_EXTENSIONS in .env: earthdistance"),
        ("", "or set REHEARSE=off to skip the copy"),
    ],
)
def test_what_needs_an_extension_that_was_left_out_says_how_to_have_it(
    tmp_path: Path, database: str, mode: str, remedy: str
) -> None:
    need_extensions(database, "earthdistance")
    with role_and_database(database) as url:
        as_admin = urlsplit(database)._replace(path=urlsplit(url).path).geturl()
        project = shop(tmp_path, url, {"POSTDO_MODE": mode})
        query(as_admin, "CREATE EXTENSION earthdistance CASCADE; CREATE TABLE place (at earth)")
        query(as_admin, f"ALTER TABLE place OWNER TO {urlsplit(url).username}")
        outcome = drive(project, COPY)
        assert outcome.code == 3, outcome.out
        assert "table place needs extension earthdistance, which only a superuser can create" in (
            outcome.err
        )
        assert remedy in outcome.err, outcome.err


def test_a_service_and_a_password_file_are_understood(tmp_path: Path, database: str) -> None:
    parts = urlsplit(database)
    service = tmp_path / "service.conf"
    service.write_text(
        f"[shop]\nhost={parts.hostname}\nport={parts.port}\nuser={parts.username}\n"
        f"dbname={parts.path[1:]}\n"
    )
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:*:{parts.username}:{parts.password}\n")
    passfile.chmod(0o600)
    query(database, SHOP)
    options = {"service": "shop", "passfile": str(passfile)}
    settings = (
        'DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", '
        f'"OPTIONS": {options!r}}}}}'
    )
    environment = {**PROGRAMS, "PGSERVICEFILE": str(service)}
    project = make(tmp_path / "project", database, settings=settings, environment=environment)
    outcome = drive(project, COPY)
    assert outcome.code == 0, outcome.err
    assert "size_bytes=" in outcome.out


@pytest.mark.parametrize("attribute", ["dsn_parameters", "get_parameters"])
def test_the_programs_connect_as_the_session_does_with_either_driver(
    attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {
        "host": "db.example",
        "port": "6432",
        "user": "shop",
        "dbname": "a=b",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
        "options": "-c search_path=shop",
        "keepalives_idle": "60",
        "krbsrvname": "",
    }
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    monkeypatch.setenv("PGHOST", "elsewhere")
    given: Any = parameters if attribute == "dsn_parameters" else lambda: parameters
    info = SimpleNamespace(password="s3cret", **{attribute: given})
    session = SimpleNamespace(connection=SimpleNamespace(info=info))
    variables = environment(cast(BaseDatabaseWrapper, session), "postdo copy")
    assert {key: value for key, value in variables.items() if key.startswith("PG")} == {
        "PGHOST": "db.example",
        "PGPORT": "6432",
        "PGUSER": "shop",
        "PGDATABASE": "a=b",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ca.pem",
        "PGOPTIONS": "-c search_path=shop",
        "PGPASSWORD": "s3cret",
        "PGAPPNAME": "postdo copy",
    }
    assert variables["PATH"] == os.environ["PATH"]


def test_extensions_have_the_version_that_they_have_here(tmp_path: Path, database: str) -> None:
    """pg_dump names none, so that the copy would have the server's newest."""
    found = query(
        database,
        "SELECT version FROM pg_available_extension_versions v JOIN pg_available_extensions a "
        "USING (name) WHERE name = 'hstore' AND version <> default_version ORDER BY 1 LIMIT 1",
    )
    if not found:
        pytest.skip("this PostgreSQL has no contrib extensions")
    project = shop(tmp_path, database)
    project.sql(f"CREATE EXTENSION hstore VERSION '{found[0][0]}'")
    look = (
        "    with closing(scratch.connect_to(name, 'look')) as there:\n"
        "        version = \"SELECT extversion FROM pg_extension WHERE extname = 'hstore'\"\n"
        "        print(rows(there, version)[0][0])"
    )
    outcome = drive(project, f"{SUMS}{COPY.replace(PRINTED, look)}")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == found[0][0]
