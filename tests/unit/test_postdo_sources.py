"""The archive against the disk: what was edited or deleted shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, made_once, make, make_shop
from snippets import LIGHT, Answer, inside

ADD = "migrations.AddField('Item', {name!r}, models.IntegerField(default=0))"
SOURCES = """
from postdo.journal.sources import sources
report = sources(run, project, session)
answer = {one.name: one.state for one in report.sources if one.name.startswith(("shop", "old"))}
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """Three migrations, applied and archived, and some rows."""
    project = make_shop(tmp_path, database, settings=LIGHT)
    project.migration("shop", "0002_price", ADD.format(name="price"), after="0001_initial")
    project.migration("shop", "0003_stock", ADD.format(name="stock"), after="0002_price")
    made_once(project, "sources", lambda: inside(project, "migrate(); archive()"))
    project.sql("INSERT INTO shop_item (name, price, stock) VALUES ('apple', 3, 5), ('pear', 4, 0)")
    return project


def sources(project: Project) -> Answer:
    return inside(project, SOURCES)


def test_files_are_read_with_their_bytes_and_without_importing_them(shop: Project) -> None:
    raw = "# caf\xe9 \r\nraise RuntimeError\n".encode("latin-1")
    (shop.root / "shop/migrations/0004_odd.py").write_bytes(raw)
    answer = inside(
        shop,
        """
import hashlib
from postdo.journal.sources import read_sources
wanted = {("shop", "0004_odd"), ("shop", "0002_price"), ("shop", "0009_none"),
          ("contenttypes", "0001_x"), ("contenttypes", "0001_initial"), ("gone", "0001_initial")}
found = read_sources(project, wanted)
odd = found[-1]
answer = [[".".join(one.name) for one in found], odd.path, odd.contents.decode("latin-1"),
          odd.checksum == hashlib.sha256(odd.contents).hexdigest(),
          "shop.migrations.0004_odd" in sys.modules, found[0].path]
""",
    )
    names, path, contents, checked, imported, django_path = answer.value
    assert names == ["contenttypes.0001_initial", "shop.0002_price", "shop.0004_odd"]
    assert path == "shop/migrations/0004_odd.py"
    assert contents.encode("latin-1") == raw
    assert checked
    assert not imported
    assert django_path.endswith("django/contrib/contenttypes/migrations/0001_initial.py")


def test_a_migration_without_source_is_left_out(shop: Project) -> None:
    inside(
        shop,
        """
import py_compile
folder = Path("shop/migrations")
py_compile.compile(str(folder / "0003_stock.py"), str(folder / "0003_stock.pyc"))
(folder / "0003_stock.py").unlink()
""",
    )
    answer = sources(shop)
    assert answer.value["shop.0003_stock"] == "ok"  # it is there, and cannot be compared


def test_untouched_files_are_ok(shop: Project) -> None:
    answer = sources(shop)
    assert answer.value == {
        "shop.0001_initial": "ok",
        "shop.0002_price": "ok",
        "shop.0003_stock": "ok",
    }
    assert answer.err == ""
    assert "edited" not in answer.out


def test_edited_missing_unapplied_and_unarchived_files_are_told_apart(shop: Project) -> None:
    price = shop.root / "shop/migrations/0002_price.py"
    price.write_text(price.read_text().replace("default=0", "default=1"))
    (shop.root / "shop/migrations/0003_stock.py").unlink()
    shop.migration("shop", "0004_late", ADD.format(name="late"), after="0002_price")
    shop.sql("DELETE FROM django_migrations WHERE app = 'shop' AND name = '0001_initial'")
    shop.sql("INSERT INTO django_migrations (app, name, applied) VALUES ('shop','0004_late',now())")
    answer = sources(shop)
    assert answer.value == {
        "shop.0001_initial": "unapplied",
        "shop.0002_price": "edited",
        "shop.0003_stock": "missing",
        "shop.0004_late": "unarchived",
    }
    assert "shop.0002_price was edited after it was applied" in answer.out
    assert "shop.0003_stock was applied, but its file is missing" in answer.out


def test_what_a_squash_of_squashes_replaces_is_not_missing(shop: Project) -> None:
    folder = shop.root / "shop/migrations"
    first = shop.migration(
        "shop",
        "0001_squashed_0002_price",
        "",
        header="replaces = [('shop', '0001_initial'), ('shop', '0002_price')]",
    )
    inside(
        shop,
        'rows(session, "INSERT INTO django_migrations (app, name, applied) '
        "VALUES ('shop', '0001_squashed_0002_price', now())\"); archive()",
    )
    first.unlink()
    shop.migration(
        "shop",
        "0001_squashed_0003_stock",
        "",
        header="replaces = [('shop', '0001_squashed_0002_price'), ('shop', '0003_stock')]",
    )
    for name in ("0001_initial", "0002_price", "0003_stock"):
        (folder / f"{name}.py").unlink()
    assert sources(shop).value == {
        "shop.0001_initial": "replaced",
        "shop.0001_squashed_0002_price": "replaced",
        "shop.0002_price": "replaced",
        "shop.0003_stock": "replaced",
    }


def test_an_app_that_is_gone_keeps_its_archive(tmp_path: Path, database: str) -> None:
    project = make(tmp_path, database, apps=("old",), settings=LIGHT)
    project.migration("old", "0001_initial", "migrations.RunSQL('CREATE TABLE old_note ()')")
    inside(project, "migrate(); archive()")
    make(tmp_path, database, settings=LIGHT)
    assert sources(project).value == {"old.0001_initial": "uninstalled"}


def test_only_what_is_plainly_written_is_taken_from_a_text(shop: Project) -> None:
    answer = inside(
        shop,
        '''
from postdo.journal.source_text import dependencies, replaces
text = """
replaces = [("no", "0001_outside")]
class Migration(migrations.Migration):
    replaces: list = [("shop", "0001_initial"), ("shop", "0002" + "_price"), ("a", "b", "c"), 7]
    dependencies = (migrations.swappable_dependency("x"), ("auth", "0001_initial"))
"""
answer = [replaces(text), dependencies(text), replaces("class Migration: replaces = ["),
          replaces("class Migration:\\n    replaces = other"), replaces("replaces \\0")]
''',
    )
    assert answer.value == [[["shop", "0001_initial"]], [["auth", "0001_initial"]], [], [], []]


def test_without_a_journal_there_is_nothing_to_list_and_it_says_so(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database, settings=LIGHT)
    inside(project, "migrate()")
    answer = sources(project)
    assert answer.value == {"shop.0001_initial": "unarchived"}
    assert "this database has no journal yet" in answer.out
    assert "more are applied but not archived yet" in answer.out


def test_a_missing_file_is_told_with_where_it_can_be_had_from(shop: Project) -> None:
    (shop.root / "shop/migrations/0003_stock.py").unlink()

    said = sources(shop).out

    assert "shop.0003_stock was applied, but its file is missing" in said
    assert "next: see the applied version: postdo sources --show shop.0003_stock\n" in said


def test_the_text_that_was_applied_is_printed_alone(shop: Project) -> None:
    price = shop.root / "shop/migrations/0002_price.py"
    was = price.read_text()
    price.unlink()

    shown = shop.run("sources", "--show", "shop.0002_price")
    unknown = shop.run("sources", "--show", "shop.0009_none")

    assert (shown.code, shown.out) == (0, was)
    assert unknown.code == 3
    assert "shop.0009_none is not in the archive" in unknown.err
