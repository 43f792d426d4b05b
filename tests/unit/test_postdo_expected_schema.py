"""The expected schema is that of the real database, and is made from nothing only once."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from projects import Project, made_once, make_shop, query
from snippets import LIGHT, Answer, inside

ADD = "migrations.AddField('Item', {name!r}, models.IntegerField(default=0))"
EXPECTED = """
from postdo.drift.subject import read_subject
from postdo.schema.catalogue import read as read_catalogue
from postdo.schema.diff import compare
from postdo.drift.expected_schema import expected, key


def look(build=True):
    try:
        found = expected(read_subject(run, project, session, seen(), journal), build=build)
    except PostdoError as error:
        return {"kind": type(error).__name__, "what": error.what, "next": error.next_step}
    if found is None:
        return None
    return [one.what for one in compare(found, read_catalogue(session)) if one.alarm]
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """Three migrations, applied and archived, and some rows."""
    project = make_shop(tmp_path, database, settings=LIGHT)
    project.migration("shop", "0002_price", ADD.format(name="price"), after="0001_initial")
    project.migration(
        "shop",
        "0003_index",
        "migrations.AddIndex('Item', models.Index(fields=['price'], name='by_price'))",
        after="0002_price",
    )
    made_once(project, "expected", lambda: inside(project, "migrate(); archive()"))
    project.sql("INSERT INTO shop_item (name, price) VALUES ('apple', 3), ('pear', 4)")
    return project


@pytest.fixture
def tenant(tmp_path: Path, postgres: Any) -> Iterator[tuple[Project, str]]:
    """A project whose role is no superuser, owns its database and may create others."""
    suffix = secrets.token_hex(4)
    role = f"tenant_{suffix}"
    with postgres.fresh_database(f"test_{suffix}") as admin:
        url = urlsplit(admin)
        query(admin, f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'rent'")
        query(admin, f"ALTER DATABASE {url.path[1:]} OWNER TO {role}")
        query(admin, f"ALTER SCHEMA public OWNER TO {role}")
        own = f"postgres://{role}:rent@{url.hostname}:{url.port}{url.path}"
        yield make_shop(tmp_path, own, settings=LIGHT), admin
        owner = url.username
        query(admin, f"REASSIGN OWNED BY {role} TO {owner}")
        query(admin, f"DROP OWNED BY {role}")
        query(admin, f"DROP ROLE {role}")


def look(project: Project, code: str = "answer = look()") -> Answer:
    return inside(project, EXPECTED + code)


def test_built_from_nothing_it_equals_the_migrated_database(shop: Project) -> None:
    answer = look(shop)
    assert answer.value == []
    assert "building the expected schema" in answer.out
    assert shop.sql("SELECT count(*) FROM shop_item") == [(2,)]


def test_it_shows_what_was_changed_by_hand(shop: Project) -> None:
    shop.sql("ALTER TABLE shop_item ADD COLUMN colour text")
    shop.sql("ALTER TABLE shop_item ALTER COLUMN price DROP NOT NULL")
    found = " ".join(look(shop).value)
    assert "colour" in found
    assert "price" in found


def test_it_is_kept_so_that_the_second_time_makes_no_database(
    tenant: tuple[Project, str],
) -> None:
    project, admin = tenant
    inside(project, "migrate(); archive()")
    assert look(project).value == []
    query(admin, f"ALTER ROLE {urlsplit(project.url).username} NOCREATEDB")
    again = look(project)
    assert again.value == []
    assert "building" not in again.out
    query(admin, "DELETE FROM postdo_journal.expected")
    refused = look(project).value
    assert refused["kind"] == "Refused"


def test_without_building_there_is_none_until_it_is_kept(shop: Project) -> None:
    answer = look(shop, "answer = [look(build=False), look(), look(build=False)]")
    assert answer.value == [None, [], []]


def test_another_set_or_major_has_another_key(shop: Project) -> None:
    answer = look(
        shop,
        """
some = frozenset({("a", "0001"), ("b", "0001")})
answer = [key(some, 15) == key(frozenset({("b", "0001"), ("a", "0001")}), 15),
          key(some, 15) == key(some, 16), key(some, 15) == key(frozenset({("a", "0001")}), 15)]
""",
    )
    assert answer.value == [True, False, False]


def test_pending_migrations_are_not_part_of_it(shop: Project) -> None:
    shop.migration("shop", "0004_stock", ADD.format(name="stock"), after="0003_index")
    assert look(shop).value == []


def test_an_edited_file_is_run_as_it_was_applied(shop: Project) -> None:
    price = shop.root / "shop/migrations/0002_price.py"
    price.write_text(price.read_text().replace("IntegerField(default=0)", "TextField(default='')"))
    assert look(shop).value == []


def test_a_missing_file_is_run_from_the_archive(shop: Project) -> None:
    (shop.root / "shop/migrations/0003_index.py").unlink()
    (shop.root / "shop/migrations/0002_price.py").unlink()
    assert look(shop).value == []


def test_a_squash_stands_for_the_files_that_it_replaces(shop: Project) -> None:
    replaced = ("0001_initial", "0002_price", "0003_index")
    folder = shop.root / "shop/migrations"
    inside(shop, "call_command('squashmigrations', 'shop', '0003', interactive=False, verbosity=0)")
    assert (folder / "0001_squashed_0003_index.py").exists()
    inside(shop, "migrate()")
    for name in replaced:
        (folder / f"{name}.py").unlink()
    assert look(shop).value == []


def test_an_app_that_is_gone_leaves_only_information(shop: Project) -> None:
    settings = shop.root / "config/settings.py"
    settings.write_text(settings.read_text().replace("'shop'", ""))
    assert look(shop).value == []


def test_a_file_that_was_edited_to_lose_a_gone_app_is_run_with_that_apps_archive(
    shop: Project,
) -> None:
    settings = shop.root / "config/settings.py"
    was = settings.read_text()
    settings.write_text(was.replace("'shop'", "'shop', 'old'"))
    shop.write("old/__init__.py", "")
    shop.write("old/migrations/__init__.py", "")
    shop.migration("old", "0001_initial", "migrations.RunSQL('CREATE TABLE old_note ()')")
    more = shop.migration("shop", "0004_stock", ADD.format(name="stock"), after="0003_index")
    text = more.read_text()
    more.write_text(text.replace("dependencies = [", "dependencies = [('old', '0001_initial'), "))
    inside(shop, "migrate(); archive()")
    shutil.rmtree(shop.root / "old")
    settings.write_text(was)
    more.write_text(text)
    assert look(shop).value == []


def test_what_cannot_run_from_nothing_is_refused_with_its_name(shop: Project) -> None:
    shop.migration(
        "shop",
        "0004_fill",
        'migrations.RunSQL("DO $$ BEGIN IF NOT EXISTS (SELECT FROM shop_item) THEN '
        "RAISE 'no rows to fill'; END IF; END $$\")",
        after="0003_index",
    )
    inside(shop, "migrate()")
    refused = look(shop).value
    assert refused["kind"] == "Refused"
    assert "shop.0004_fill" in refused["what"]
    assert "no rows to fill" in refused["what"]
    assert shop.copies() == []


def test_without_a_journal_it_is_built_each_time_and_nothing_is_kept(shop: Project) -> None:
    shop.sql("DROP SCHEMA postdo_journal CASCADE")
    for _ in range(2):
        answer = look(shop)
        assert answer.value == []
        assert "building the expected schema" in answer.out
    assert shop.sql("SELECT to_regnamespace('postdo_journal')") == [(None,)]


def test_it_works_for_a_role_that_is_no_superuser(tenant: tuple[Project, str]) -> None:
    project, _ = tenant
    inside(project, "migrate()")
    other = replace(project, environment={"APP_VERSION": "2.0"})
    assert look(other).value == []
