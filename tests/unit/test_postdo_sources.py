"""The archive against the disk: what was edited or deleted shows, and can be brought back."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, made_once, make, make_shop
from snippets import LIGHT, Answer, inside

ADD = "migrations.AddField('Item', {name!r}, models.IntegerField(default=0))"
SOURCES = """
from postdo.journal.sources import sources
report = sources(run, project, session, tuple(RESTORE), INTO)
answer = [{one.name: one.state for one in report.sources if one.name.startswith(("shop", "old"))},
          list(report.restored)]
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


def sources(project: Project, *restore: str, into: Path | None = None) -> Answer:
    where = f"Path({str(into)!r})" if into else "None"
    return inside(project, SOURCES.replace("RESTORE", repr(restore)).replace("INTO", where))


def refusal(project: Project, *restore: str, into: Path | None = None) -> dict[str, str]:
    where = f"Path({str(into)!r})" if into else "None"
    code = f"""
from postdo.journal.sources import sources
answer = refusal(lambda: sources(run, project, session, {restore!r}, {where}))
"""
    found = inside(project, code).value
    assert isinstance(found, dict), "it was not refused"
    return found


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
    assert answer.value[0]["shop.0003_stock"] == "ok"  # it is there, and cannot be compared


def test_untouched_files_are_ok(shop: Project) -> None:
    answer = sources(shop)
    assert answer.value == [
        {"shop.0001_initial": "ok", "shop.0002_price": "ok", "shop.0003_stock": "ok"},
        [],
    ]
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
    assert answer.value[0] == {
        "shop.0001_initial": "unapplied",
        "shop.0002_price": "edited",
        "shop.0003_stock": "missing",
        "shop.0004_late": "unarchived",
    }
    assert "shop.0002_price was edited after it was applied" in answer.out
    assert "shop.0003_stock was applied, and its file is missing" in answer.out


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
    assert sources(shop).value[0] == {
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
    assert sources(project).value[0] == {"old.0001_initial": "uninstalled"}
    (tmp_path / "old/migrations/0001_initial.py").unlink()
    assert "--into" in refusal(project, "old.0001_initial")["next"]
    sources(project, "old.0001_initial", into=tmp_path / "found")
    assert "old_note" in (tmp_path / "found/old/0001_initial.py").read_text()


def test_a_restored_file_is_the_same_and_django_loads_again(shop: Project) -> None:
    price = shop.root / "shop/migrations/0002_price.py"
    was = price.read_bytes()
    price.unlink()
    load = """
from django.db.migrations.loader import MigrationLoader
try:
    MigrationLoader(session)
except Exception as error:
    answer = type(error).__name__
"""
    assert inside(shop, load).value == "NodeNotFoundError"
    answer = sources(shop, "shop.0002_price")
    assert answer.value[1] == [str(price)]
    assert answer.value[0]["shop.0002_price"] == "ok"
    assert price.read_bytes() == was
    assert inside(shop, load).value is None


def test_nothing_is_overwritten_and_nothing_is_written_if_one_cannot_be(
    shop: Project, tmp_path: Path
) -> None:
    stock = shop.root / "shop/migrations/0003_stock.py"
    stock.unlink()
    price = shop.root / "shop/migrations/0002_price.py"
    price.write_text("# mine\n")
    found = refusal(shop, "shop.0003_stock", "shop.0002_price")
    assert found["kind"] == "Refused"
    assert "0002_price.py is there already" in found["what"]
    assert not stock.exists()
    assert price.read_text() == "# mine\n"
    answer = sources(shop, "shop.0003_stock", "shop.0002_price", into=tmp_path / "apart")
    assert len(answer.value[1]) == 2
    assert "price" in (tmp_path / "apart/shop/0002_price.py").read_text()


def test_what_cannot_be_restored_is_refused(shop: Project) -> None:
    names = ["shop.0009_none", "shop", "shop.../../etc/passwd", "../shop.0001_initial", "shop.a/b"]
    code = f"""
from postdo.journal.sources import sources
answer = [refusal(lambda: sources(run, project, session, (name,), None)) for name in {names!r}]
"""
    none, *others = inside(shop, code).value
    assert "is not in the archive" in none["what"]
    assert ["is not the name of a migration" in other["what"] for other in others] == [True] * 4


def test_a_folder_that_cannot_be_written_is_said(shop: Project, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = refusal(shop, "shop.0001_initial", into=tmp_path / "file")
    assert found["kind"] == "Misconfigured"
    assert "cannot be written" in found["what"]


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
    assert answer.value[0] == {"shop.0001_initial": "unarchived"}
    assert "no journal in this database yet" in answer.out
    assert "more were applied and are not archived yet" in answer.out


def test_a_missing_file_is_told_with_what_brings_it_back(shop: Project) -> None:
    (shop.root / "shop/migrations/0003_stock.py").unlink()

    said = sources(shop).out

    assert "shop.0003_stock was applied, and its file is missing" in said
    assert "next: postdo sources --restore shop.0003_stock\n" in said
    assert "next: commit the file, release again\n" in sources(shop, "shop.0003_stock").out
    assert "next: " not in sources(shop).out


def test_in_the_kit_a_restored_file_is_named_as_it_is_called_outside(
    shop: Project, tmp_path: Path
) -> None:
    (shop.root / "shop/migrations/0003_stock.py").unlink()
    code = SOURCES.replace("RESTORE", "('shop.0003_stock',)").replace("INTO", "read.backups")
    kit = {"POSTDO_MODE": "production", "POSTDO_BACKUPS": str(tmp_path / "kept")}

    answer = inside(shop, code, **kit)

    assert answer.value[1] == ["backups/shop/0003_stock.py"]
    assert "postdo: restored backups/shop/0003_stock.py\n" in answer.out
    assert "next: copy it to web/shop/migrations/, commit, release again\n" in answer.out
    assert "--restore" not in answer.out, "it is restored"
    assert (tmp_path / "kept/shop/0003_stock.py").is_file()
    code = f"answer = refusal(lambda: exec({code!r}, globals()))"
    again = inside(shop, code, **kit).value
    assert again["what"].startswith("backups/shop/0003_stock.py is there already")
    assert "--into" not in again["next"], "the kit has no such option"
