"""Swapping: a migrated copy takes the database's place, and nothing that was written is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from projects import need_extensions, open_connection, query
from swaps import BROKEN, DATABASE_FACTS, PENDING, Swapping, role, swapping

APPLIED = """
SELECT app || '.' || name FROM django_migrations
WHERE app = 'shop' AND name <> '0001_initial' ORDER BY id
"""


@pytest.fixture(params=["superuser", "owner"])
def each_role(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Swapping]:
    """The same, once as a superuser and once as the database's owner with CREATEDB."""
    yield from swapping(request.param, tmp_path, database)


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Iterator[Swapping]:
    yield from swapping("superuser", tmp_path, database)


@pytest.fixture
def owner(tmp_path: Path, database: str) -> Iterator[Swapping]:
    yield from swapping("owner", tmp_path, database)


def test_what_cannot_run_in_one_transaction_is_done_by_a_swap(each_role: Swapping) -> None:
    shop = each_role
    reader, _ = role(shop.admin, "")
    shop.project.sql(f"ALTER DATABASE \"{shop.name}\" SET statement_timeout TO '77s'")
    shop.project.sql(f'ALTER DATABASE "{shop.name}" CONNECTION LIMIT 50')
    shop.project.sql(f'GRANT TEMPORARY ON DATABASE "{shop.name}" TO {reader}')
    shop.project.sql(f"GRANT SELECT ON shop_item TO {reader}")
    shop.project.sql(f"GRANT UPDATE (name) ON shop_item TO {reader} WITH GRANT OPTION")
    shop.project.sql(
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"
    )
    model = f"{shop.name}_model"
    shop.on("postgres", f'CREATE DATABASE "{model}" TEMPLATE "{shop.name}"')
    facts = shop.project.sql(DATABASE_FACTS)
    before = shop.state()
    try:
        shop.plain(model)
        code, printed = shop.run(shop.name, model)
        assert code == 0, printed
        report = json.loads(printed.splitlines()[-1])
        assert report["names"] == PENDING
        assert report["new"] == shop.name
        assert shop.databases() == [report["old"]]
        assert shop.state() == shop.state(model) != before
    finally:
        shop.on("postgres", f'DROP DATABASE "{model}"')
    assert shop.project.sql(DATABASE_FACTS) == facts
    assert shop.project.sql("SELECT count(*) FROM postdo_journal.note") == [(1,)]
    assert shop.state(report["old"]) == before
    assert f"kept as {report['old']}" in printed
    # Back, and then rid of it, word for word.
    back = printed.partition("in another database: ")[2].splitlines()[0]
    shop.on("postgres", back)
    assert shop.state() == before
    remove = printed.partition("To remove it: ")[2].splitlines()[0]
    shop.on("postgres", remove.replace(report["old"], f"{shop.name}_after"))
    assert shop.databases() == []


# Who may do what, of every kind of object that has privileges.
PRIVILEGES = """
SELECT 'schema', nspname::text, nspacl::text FROM pg_namespace
WHERE nspname IN ('public', 'within')
UNION ALL SELECT 'routine', proname::text, proacl::text FROM pg_proc
WHERE pronamespace IN ('public'::regnamespace, 'within'::regnamespace)
UNION ALL SELECT 'relation', relname::text, relacl::text FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, 'within'::regnamespace) AND relacl IS NOT NULL
UNION ALL SELECT 'type', typname::text, typacl::text FROM pg_type WHERE typacl IS NOT NULL
UNION ALL SELECT 'default', defaclobjtype::text, defaclacl::text FROM pg_default_acl
ORDER BY 1, 2, 3
"""
REVOKED = """
CREATE FUNCTION secret() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION apart(n int) RETURNS int LANGUAGE sql AS 'SELECT n';
CREATE PROCEDURE done() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE TYPE shade AS ENUM ('red');
CREATE TYPE pair AS (one int, two int);
CREATE SCHEMA within;
CREATE FUNCTION within.deep() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE within.kept (id int);
REVOKE ALL ON FUNCTION secret(), apart(int), within.deep() FROM PUBLIC;
REVOKE ALL ON PROCEDURE done() FROM PUBLIC;
REVOKE ALL ON FUNCTION total(int) FROM PUBLIC;
REVOKE ALL ON TYPE shade, pair FROM PUBLIC;
GRANT EXECUTE ON FUNCTION apart(int), within.deep() TO {reader};
GRANT USAGE ON TYPE pair TO {reader};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public, within TO {reader};
GRANT SELECT ON within.kept TO {reader};
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA within GRANT SELECT ON TABLES TO {reader} WITH GRANT OPTION;
"""


def privileges(shop: Swapping) -> set[tuple[str, str, str]]:
    """Who may do what; one of several grants may come first."""
    found = shop.project.sql(PRIVILEGES)
    return {
        (kind, name, one) for kind, name, acl in found for one in (acl or "").strip("{}").split(",")
    }


def test_what_was_revoked_from_all_stays_revoked(each_role: Swapping) -> None:
    shop = each_role
    reader, _ = role(shop.admin, "")
    shop.project.sql(REVOKED.format(reader=reader))
    before = privileges(shop)
    code, printed = shop.run()
    assert code == 0, printed
    assert privileges(shop) == before


def test_a_migration_that_fails_changes_nothing_and_leaves_nothing(each_role: Swapping) -> None:
    shop = each_role
    shop.migration("0006_broken", BROKEN, after="0005_vacuum")
    before = shop.state()
    code, printed = shop.run()
    assert code == 4, printed
    assert "shop.0006_broken: division by zero" in printed
    assert "the database is unchanged" in printed
    assert shop.state() == before
    assert shop.databases() == []
    shop.project.sql("INSERT INTO shop_item (name) VALUES ('later')")  # nobody waits any more


def test_a_result_that_was_not_rehearsed_changes_nothing(shop: Swapping) -> None:
    before = shop.state()
    code, printed = shop.run(shop.name, shop.name)  # "rehearsed": the schema stays as it is
    assert code == 4, printed
    assert "the schema differs from the rehearsal: " in printed
    assert "unexpected column shop_item.mood" in printed
    assert shop.state() == before
    assert shop.databases() == []


def test_an_index_that_somebody_made_since_the_rehearsal_comes_along(shop: Swapping) -> None:
    before, after = f"{shop.name}_rehearsed_0", f"{shop.name}_rehearsed_1"
    for name in (before, after):
        shop.on("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{shop.name}"')
    try:
        shop.plain(after)
        shop.project.sql("CREATE INDEX since_then ON shop_item (name)")
        code, printed = shop.run(before, after)
    finally:
        for name in (before, after):
            shop.on("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')
    assert code == 0, printed
    assert shop.project.sql("SELECT to_regclass('since_then') IS NOT NULL") == [(True,)]


def test_what_keeps_the_database_from_its_new_name_is_said(owner: Swapping) -> None:
    owner.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    before = owner.state()
    process = owner.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    name = owner.url.partition("//")[2].partition(":")[0]
    query(owner.admin, f"ALTER ROLE {name} NOCREATEDB")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    assert "permission denied to rename database" in printed
    assert "other sessions stayed connected" not in printed
    assert owner.state() == before
    assert owner.databases() == []


def test_killed_at_any_moment_it_is_undone_or_done_and_the_next_run_cleans_up(
    shop: Swapping,
) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311  no secret
    print("seed", seed)  # shown if the test fails
    moments = random.Random(seed)  # noqa: S311
    before = shop.state()
    base = f"{shop.name}_base"
    shop.on("postgres", f'CREATE DATABASE "{base}" TEMPLATE "{shop.name}"')
    began = time.monotonic()
    code, printed = shop.run()
    assert code == 0, printed
    usual = time.monotonic() - began
    after = shop.state()
    try:
        for _ in range(8):
            if shop.state() != before:
                shop.on("postgres", f'DROP DATABASE "{shop.name}" WITH (FORCE)')
                shop.on("postgres", f'CREATE DATABASE "{shop.name}" TEMPLATE "{base}"')
            process = shop.start()
            with suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.1, 1.0) * usual)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            assert shop.state() in (before, after)
            shop.project.sql("INSERT INTO shop_item (name) VALUES ('later')")
            shop.project.sql("DELETE FROM shop_item WHERE name = 'later'")
            shop.project.sql("SELECT setval('shop_item_id_seq', 2000)")
    finally:
        shop.on("postgres", f'DROP DATABASE "{base}"')
    code, printed = shop.run()
    assert code == 0, printed
    assert shop.state() == after
    assert [name for name in shop.databases() if name.startswith("postdo_")] == []


@pytest.mark.parametrize(
    ("fault", "code", "done"),
    [
        ("killed with its sessions closed", -signal.SIGKILL, False),
        ("killed before the commit", -signal.SIGKILL, False),
        ("killed after the commit", -signal.SIGKILL, True),
        ("connection lost before the commit", 4, False),
        ("answer to the commit lost", 0, True),
        ("the driver breaks after the commit", 0, True),
        ("tidying up fails", 0, True),
    ],
)
def test_the_commit_alone_decides(shop: Swapping, fault: str, code: int, done: bool) -> None:
    before = shop.state()
    ended, printed = shop.run(FAULT=fault)
    assert ended == code, printed
    # The server may need a moment to see that the client is gone; a new session waits for it.
    after = shop.state()
    assert (after != before) is done
    if done:
        assert ["shop", "0005_vacuum"] in [list(row) for row in after["applied"]]
        return
    code, printed = shop.run()
    assert code == 0, printed
    assert [name for name in shop.databases() if name.startswith("postdo_")] == []


def test_a_swap_that_is_done_is_said_so_where_its_name_cannot_be_printed(shop: Swapping) -> None:
    name = f"{shop.name}_läden"
    shop.on("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{shop.name}"')
    url = f"{shop.url.rpartition('/')[0]}/{name}"
    old = ""
    try:
        code, printed = shop.run(DATABASE_URL=url, PYTHONIOENCODING="ascii:strict")
        assert code == 0, printed
        assert "kept as " in printed
        assert "_l\\xe4den_before_" in printed
        old = json.loads(printed.splitlines()[-1])["old"]
        assert [found for (found,) in shop.on(name, APPLIED)] == PENDING
    finally:
        for database in (name, old):
            shop.on("postgres", f'DROP DATABASE IF EXISTS "{database or "none"}" WITH (FORCE)')


def test_a_session_with_the_pid_of_the_one_that_is_gone_is_left_alone(shop: Swapping) -> None:
    before = shop.state()
    # Elsewhere: those on the database itself are all ended.
    other = open_connection(shop.admin.rpartition("/")[0] + "/postgres")
    cursor = other.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    ((pid,),) = cursor.fetchall()
    code, printed = shop.run(FAULT="connection lost before the commit", VICTIM=str(pid))
    assert code == 4, printed
    cursor.execute("SELECT 1")  # it lives
    other.close()
    assert shop.state() == before


@pytest.mark.parametrize(("last", "code"), [("", 0), (BROKEN, 4)])
def test_a_swap_keeps_no_backup_of_its_own(
    shop: Swapping, tmp_path: Path, last: str, code: int
) -> None:
    if last:
        shop.migration("0006_last", last, after="0005_vacuum")
    folder = tmp_path / "backups"
    folder.mkdir()
    ended, printed = shop.run(POSTDO_BACKUPS=str(folder), BACKUP_KEEP="9")
    assert ended == code, printed
    assert "swap: copied" in printed
    assert list(folder.iterdir()) == []


def test_sigterm_while_the_copy_is_migrated_changes_nothing(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(30)')", after="0005_vacuum")
    before = shop.state()
    process = shop.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 143, printed
    assert shop.state() == before
    assert shop.databases() == []


def refused(shop: Swapping, because: str) -> str:
    before = shop.state()
    code, printed = shop.run()
    assert code == 3, printed
    assert because in printed
    assert "writers wait" not in printed
    assert shop.state() == before
    assert shop.databases() == []
    return printed


def test_a_session_that_we_may_not_end_refuses_it(owner: Swapping) -> None:
    other = open_connection(owner.admin)
    said = refused(owner, "this role may not end its sessions")
    assert "pg_signal_backend" not in said, "that ends no session of a superuser"
    other.close()


def test_a_role_that_may_not_create_databases_is_refused(owner: Swapping) -> None:
    name = owner.url.partition("//")[2].partition(":")[0]
    query(owner.admin, f"ALTER ROLE {name} NOCREATEDB")
    said = refused(owner, "owns the database and has CREATEDB")
    statement = said.partition("as a superuser: ")[2]
    for one in statement.splitlines()[0].split("; "):
        query(owner.admin, one)
    code, printed = owner.run()
    assert code == 0, printed


def test_an_extension_that_the_copy_cannot_have_is_refused_before_anybody_waits(
    owner: Swapping,
) -> None:
    need_extensions(owner.admin, "pgstattuple")
    query(owner.admin, "CREATE EXTENSION pgstattuple")
    refused(owner, "a swap would lose pgstattuple")


def test_a_table_of_somebody_else_is_refused(owner: Swapping) -> None:
    query(owner.admin, "CREATE TABLE audit (id int)")
    refused(owner, "may not copy: audit")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE PUBLICATION shipped FOR TABLE shop_item",
        "CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION x "
        "WITH (connect = false, slot_name = NONE)",
    ],
)
def test_replication_that_would_be_left_behind_is_refused(shop: Swapping, statement: str) -> None:
    shop.project.sql(statement)
    refused(shop, "would lose these objects")
    shop.project.sql("DROP SUBSCRIPTION IF EXISTS fed")


@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_large_objects_that_cannot_be_protected_are_refused(
    request: pytest.FixtureRequest, who: str
) -> None:
    """Whoever locks them locks pg_dump out too."""
    swapping: Swapping = request.getfixturevalue("shop" if who == "superuser" else "owner")
    swapping.project.sql("SELECT lo_from_bytea(0, 'a picture')")
    refused(swapping, "the database has large objects")
