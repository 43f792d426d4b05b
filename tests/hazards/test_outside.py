"""A plan and a rehearsal change nothing outside of the copy, whatever the migration does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import query

from .site import Site
from .steps import ALLOWED, run_python

FILES = """
import os, shutil
from pathlib import Path
os.rename("media/a.txt", "media/kept.txt")
os.remove("media/b.txt")
os.makedirs("media/new/deep")
Path("media/new/deep/c.txt").write_text("c")
shutil.rmtree("media/old")
assert sorted(os.listdir("media")) == ["kept.txt", "new"]
apps.get_model("shop", "Item").objects.filter(pk=1).update(note="moved")
"""


def with_media(site: Site) -> dict[str, str]:
    for name in ("a.txt", "b.txt", "old/o.txt"):
        site.project.write(f"media/{name}", name)
    return media(site)


def media(site: Site) -> dict[str, str]:
    files = (site.root / "media").rglob("*")
    return {str(path.relative_to(site.root)): path.read_text() for path in files if path.is_file()}


# --- Files ----------------------------------------------------------------------------------------


def test_files_stay_as_they_are_until_the_plan_that_names_them_is_approved(site: Site) -> None:
    before = with_media(site)
    run_python(site, "0002_files", FILES)

    plan = site.plan(**ALLOWED)

    assert media(site) == before
    assert plan["verdict"] == "ask"
    (reason,) = plan["reasons"]
    assert (reason["kind"], reason["policy"]) == ("files", "ON_FILES")
    assert reason["details"] == [
        "files in media: 1 renamed (a.txt to kept.txt)",
        "files in media: 2 removed (b.txt, old)",
        "files in media: 1 made (new)",
        "files in media/new: 1 made (deep)",
        "files in media/new/deep: 1 written (c.txt)",
        "files in media/old: 1 removed (o.txt)",
    ]
    refused = site.ends_refused("would change files in media", **ALLOWED)
    assert "--approve" in refused.out + refused.err
    assert media(site) == before

    site.ends_done("migrate", "--approve", plan["checksum"], **ALLOWED)

    assert media(site) == {"media/kept.txt": "a.txt", "media/new/deep/c.txt": "c"}
    assert site.sql("SELECT note FROM shop_item WHERE id = 1") == [("moved",)]


def test_names_that_are_made_by_chance_do_not_make_an_approval_stale(site: Site) -> None:
    body = "import uuid\nopen(f'{uuid.uuid4()}.txt', 'w').close()"
    run_python(site, "0002_files", body)
    checksum = site.plan(**ALLOWED)["checksum"]

    assert site.plan(**ALLOWED)["checksum"] == checksum
    site.ends_done("migrate", "--approve", checksum, **ALLOWED)


@pytest.mark.parametrize(("policy", "verdict"), [("refuse", "refuse"), ("allow", "go")])
def test_a_policy_decides_over_files(site: Site, policy: str, verdict: str) -> None:
    before = with_media(site)
    run_python(site, "0002_files", FILES)
    plan = site.plan(ON_FILES=policy, **ALLOWED)
    assert plan["verdict"] == verdict
    assert media(site) == before


# --- The server -----------------------------------------------------------------------------------

NAME = f"postdo_made_{secrets.token_hex(3)}"
KEPT = "VACUUM shop_item"  # cannot run in one transaction, so that each migration is kept
# Which statements these are: tests/unit/test_postdo_server_statements.py.
SERVER = {
    "role in a block": f"DO $$ BEGIN EXECUTE 'CREATE ROLE {NAME}'; END $$",
    "server": "ALTER SYSTEM SET work_mem = '5MB'",
    "settings": "ALTER DATABASE {database} SET work_mem = '5MB'",
}
BEYOND = {
    "program": "COPY shop_item TO PROGRAM 'touch {folder}/made'",
    "slot": f"SELECT pg_create_physical_replication_slot('{NAME}')",
}


def server(site: Site) -> list[Any]:
    """What belongs to all databases of the server."""
    return [
        site.sql(f"SELECT * FROM {table} t ORDER BY t::text")  # noqa: S608
        for table in (
            *("pg_authid", "pg_auth_members", "pg_db_role_setting", "pg_tablespace"),
            *("pg_file_settings", "pg_shdescription", "pg_replication_slots"),
        )
    ] + [site.sql("SELECT datname, datconnlimit, datacl::text FROM pg_database ORDER BY 1")]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One that is empty, and has to stay so."""
    path = tmp_path_factory.mktemp("server")
    path.chmod(0o777)
    yield path
    assert list(path.iterdir()) == []


def sql(site: Site, statement: str, folder: Path) -> str:
    database = site.project.url.rpartition("/")[2]
    return statement.replace("{database}", database).replace("{folder}", str(folder))


@pytest.mark.parametrize("what", SERVER)
def test_the_server_stays_as_it_is_where_each_migration_is_kept(
    site: Site, folder: Path, what: str
) -> None:
    site.migration("0002_vacuum", f"migrations.RunSQL({KEPT!r})", header="atomic = False")
    operation = f"migrations.RunSQL({sql(site, SERVER[what], folder)!r})"
    site.migration("0003_server", operation, after="0002_vacuum", header="atomic = False")
    before, snapshot = server(site), site.untouched()

    plan = site.plan(ON_DOWNTIME="allow", **ALLOWED)

    assert (server(site), site.untouched()) == (before, snapshot)
    assert plan["verdict"] == "refuse"
    assert "acts outside the copy" in plan["reasons"][0]["what"]
    assert "do this once by hand before the release" in plan["reasons"][0]["next_step"]


@pytest.mark.parametrize("what", BEYOND)
def test_what_no_transaction_takes_back_is_refused_before(
    site: Site, folder: Path, what: str
) -> None:
    operation = f"migrations.RunSQL({sql(site, BEYOND[what], folder)!r})"
    site.migration("0002_beyond", operation)
    before, snapshot = server(site), site.untouched()

    plan = site.plan(**ALLOWED)

    assert (server(site), site.untouched()) == (before, snapshot)
    assert plan["verdict"] == "refuse"
    assert "acts outside the copy" in plan["reasons"][0]["what"]


BY_A_CURSOR = {
    "raw": "schema_editor.connection.connection.cursor().execute({sql!r})",
    "below Django's": "schema_editor.connection.cursor().cursor.execute({sql!r})",
    "copy": "schema_editor.connection.cursor().copy_expert({sql!r}, None)",
    "composed": (
        "from psycopg2 import sql\nschema_editor.connection.connection.cursor().execute("
        "sql.SQL({sql!r}))"
    ),
}


@pytest.mark.parametrize("way", BY_A_CURSOR)
def test_the_drivers_own_cursors_are_looked_at_too(site: Site, folder: Path, way: str) -> None:
    body = BY_A_CURSOR[way].format(sql=sql(site, BEYOND["program"], folder))
    run_python(site, "0002_raw", body)
    plan = site.plan(**ALLOWED)
    assert plan["verdict"] == "refuse"
    assert "acts outside the copy" in plan["reasons"][0]["what"]


ROLE = f"DO $$ BEGIN EXECUTE 'CREATE ' || 'ROLE {NAME}'; END $$"


def test_what_was_built_from_pieces_is_noticed_and_named(site: Site) -> None:
    """Nobody can read it before; the server before and after shows it."""
    site.migration("0002_vacuum", f"migrations.RunSQL({KEPT!r})", header="atomic = False")
    site.migration("0003_role", f"migrations.RunSQL({ROLE!r})", after="0002_vacuum")
    try:
        plan = site.plan(ON_DOWNTIME="allow", **ALLOWED)
    finally:
        made = (NAME,) in site.sql("SELECT rolname FROM pg_roles")
        site.sql(f"DROP ROLE IF EXISTS {NAME}")
    assert made
    assert plan["verdict"] == "refuse"
    assert f"role {NAME} is new" in plan["reasons"][0]["what"]


HARMLESS = {
    "a role in one transaction": f"CREATE ROLE {NAME}; DROP ROLE {NAME}",
    "words in a text": "UPDATE shop_item SET note = 'how to CREATE ROLE, COPY x TO PROGRAM'",
    "words in a text of a statement with DO": (
        "INSERT INTO shop_item (name, price) VALUES ('dblink(COPY x TO PROGRAM ''y'')', 1) "
        "ON CONFLICT DO NOTHING"
    ),
    "words in a comment": "-- ALTER SYSTEM\nUPDATE shop_item SET note = 'x'",
    "privileges of a table": "GRANT SELECT ON shop_item TO PUBLIC",
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_taken_back_or_only_named_is_done(site: Site, what: str) -> None:
    """No false refusal."""
    site.migration("0002_harmless", f"migrations.RunSQL({HARMLESS[what]!r})")
    before = server(site)
    site.ends_done(**ALLOWED)
    assert server(site) == before


def test_settings_of_the_copy_itself_are_no_change_of_the_server(site: Site) -> None:
    """No false refusal, where each migration is kept: as extensions and guides advise it."""
    site.migration("0002_vacuum", f"migrations.RunSQL({KEPT!r})", header="atomic = False")
    block = (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''5MB''', "
        "current_database()); END $$"
    )
    site.migration("0003_settings", f"migrations.RunSQL({block!r})", after="0002_vacuum")
    before = server(site)
    assert site.plan(ON_DOWNTIME="allow", **ALLOWED)["verdict"] == "go"
    assert server(site) == before


def test_an_old_migration_that_changed_the_server_is_not_done_once_more(site: Site) -> None:
    """The expected schema is built from the files, all of them."""
    operation = f"migrations.RunSQL('CREATE ROLE {NAME}')"
    site.migration("0002_role", operation)
    site.ends_done(**ALLOWED)
    site.sql(f"DROP ROLE {NAME}")
    before = server(site)
    done = site.run("drift", "--json")
    assert server(site) == before
    assert done.code == 0, done.out + done.err
    query(site.project.url, "DROP SCHEMA postdo_journal CASCADE")
    assert site.run("drift", "--json").code == 0
    assert server(site) == before
