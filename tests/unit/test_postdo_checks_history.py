"""What is wrong with a history is told, with what to do; what is not wrong is left in peace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from projects import CREATE_ITEM, Project, made_once, make, make_shop
from snippets import LIGHT, inside

ADD = "migrations.AddField('Item', {name!r}, models.IntegerField(default=0))"
FIND = """
from dataclasses import asdict
from postdo.checks.history import find_problems
answer = [asdict(one) for one in find_problems(run, project, session, seen(), journal.sources())]
"""
AHEAD = """
from postdo.checks.history import ahead
answer = [".".join(name) for name in ahead(run, project, session, seen())]
"""
PENDING = """
from dataclasses import asdict
from postdo.checks.pending import pending
answer = [asdict(one) for one in pending(run, project)]
"""
SQUASH = "replaces = [('shop', '0001_initial'), ('shop', '0002_price'), ('shop', '0003_stock')]"

Found = dict[str, Any]


def problems(project: Project) -> list[Found]:
    found = inside(project, FIND).value
    assert isinstance(found, list)
    return found


def only(project: Project) -> Found:
    (found,) = problems(project)
    return found


def ahead(project: Project) -> list[str]:
    found = inside(project, AHEAD).value
    assert isinstance(found, list)
    return found


def grow(project: Project) -> None:
    project.migration("shop", "0002_price", ADD.format(name="price"), after="0001_initial")
    project.migration("shop", "0003_stock", ADD.format(name="stock"), after="0002_price")


@pytest.fixture
def young(tmp_path: Path, database: str) -> Project:
    """Three migrations, of which one is applied and archived, on rows."""
    project = make_shop(tmp_path, database, settings=LIGHT)
    made_once(project, "problems_young", lambda: inside(project, "migrate(); archive()"))
    project.sql("INSERT INTO shop_item (name) VALUES ('apple'), ('pear')")
    grow(project)
    return project


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """Three migrations, all applied and archived, on rows."""
    project = make_shop(tmp_path, database, settings=LIGHT)
    grow(project)
    made_once(project, "problems", lambda: inside(project, "migrate(); archive()"))
    project.sql("INSERT INTO shop_item (name, price, stock) VALUES ('apple', 3, 5), ('pear', 4, 0)")
    return project


def file(project: Project, name: str) -> Path:
    return project.root / f"shop/migrations/{name}.py"


def test_a_history_in_order_has_no_problem(shop: Project) -> None:
    assert problems(shop) == []
    assert ahead(shop) == []


def test_pending_migrations_are_no_problem(young: Project) -> None:
    assert problems(young) == []
    assert ahead(young) == []


def test_two_last_migrations_block_and_the_merge_is_proposed(young: Project) -> None:
    young.migration("shop", "0002_other", ADD.format(name="other"), after="0001_initial")
    found = only(young)
    assert (found["hazard"], found["blocking"]) == (5, True)
    assert "shop: 0002_other, 0003_stock" in found["what"]
    assert "makemigrations --merge" in found["next_step"]


def test_a_file_that_cannot_be_imported_blocks_with_its_place(young: Project) -> None:
    file(young, "0003_stock").write_text("import nowhere_at_all\n")
    found = only(young)
    assert found["blocking"]
    assert "No module named 'nowhere_at_all'" in found["what"]
    assert "0003_stock.py:1" in found["next_step"]


def test_an_edited_file_warns_and_does_not_block(shop: Project) -> None:
    price = file(shop, "0002_price")
    price.write_text(price.read_text().replace("default=0", "default=1"))
    found = only(shop)
    assert (found["hazard"], found["blocking"]) == (7, False)
    assert "shop.0002_price" in found["what"]
    assert "with `postdo sources --show shop.0002_price`" in found["next_step"]


def test_a_deleted_file_that_others_need_blocks_until_it_is_back(shop: Project) -> None:
    lost = [file(shop, "0001_initial"), file(shop, "0002_price")]
    kept = [one.read_bytes() for one in lost]
    for one in lost:
        one.unlink()
    broken, missing = problems(shop)
    assert (broken["hazard"], broken["blocking"]) == (10, True)
    assert "restore shop.0001_initial, shop.0002_price from version" in broken["next_step"]
    assert (missing["hazard"], missing["blocking"]) == (6, False)
    for one, contents in zip(lost, kept, strict=True):
        one.write_bytes(contents)
    assert problems(shop) == []


def test_a_deleted_file_that_is_not_archived_is_asked_of_version_control(shop: Project) -> None:
    file(shop, "0002_price").unlink()
    shop.sql("DELETE FROM postdo_journal.source WHERE name = '0002_price'")
    broken, missing = problems(shop)
    assert (broken["hazard"], broken["blocking"]) == (10, True)
    assert "restore shop.0002_price from version control" in broken["next_step"]
    assert missing["details"] == ["shop: 0002_price"]


def test_a_missing_file_that_nothing_needs_does_not_block(shop: Project) -> None:
    file(shop, "0002_price").unlink()
    stock = file(shop, "0003_stock")
    stock.write_text(stock.read_text().replace("0002_price", "0001_initial"))
    missing = only(shop)
    assert (missing["hazard"], missing["blocking"]) == (6, False)
    assert "restore the files from version control" in missing["next_step"]


def test_a_finished_squash_is_no_problem_with_and_without_the_files_it_replaces(
    shop: Project,
) -> None:
    shop.migration("shop", "0001_squashed_0003_stock", "", header=SQUASH)
    assert problems(shop) == []
    for name in ("0001_initial", "0002_price", "0003_stock"):
        file(shop, name).unlink()
    assert problems(shop) == []
    assert ahead(shop) == []


def test_leftovers_of_an_old_squash_do_not_count_as_ahead(shop: Project) -> None:
    squash = shop.migration("shop", "0001_squashed_0003_stock", "", header=SQUASH)
    inside(shop, "migrate()")
    for name in ("0001_initial", "0002_price", "0003_stock"):
        file(shop, name).unlink()
    squash.write_text(squash.read_text().replace(SQUASH, "initial = True"))
    assert ahead(shop) == []
    assert not any(one["blocking"] for one in problems(shop))


def test_leftovers_with_higher_numbers_than_a_squash_are_older_than_it(shop: Project) -> None:
    shop.sql("DROP SCHEMA postdo_journal CASCADE")
    squash = shop.migration("shop", "0001_everything", "", header=SQUASH)
    inside(shop, "migrate()")
    for name in ("0001_initial", "0002_price", "0003_stock"):
        file(shop, name).unlink()
    squash.write_text(squash.read_text().replace(SQUASH, "initial = True"))
    assert ahead(shop) == []


def test_a_squash_applied_in_part_is_known_and_does_not_block(young: Project) -> None:
    young.migration("shop", "0001_squashed_0003_stock", "", header=SQUASH)
    found = only(young)
    assert (found["hazard"], found["blocking"]) == (9, False)
    assert "without shop.0002_price, shop.0003_stock" in found["what"]


def test_squashed_files_deleted_too_early_block_although_django_says_nothing(
    young: Project,
) -> None:
    young.migration("shop", "0001_squashed_0003_stock", "", header=SQUASH)
    for name in ("0001_initial", "0002_price", "0003_stock"):
        file(young, name).unlink()
    found = [one for one in problems(young) if one["blocking"]]
    assert [one["hazard"] for one in found] == [9]
    assert "Django skips shop.0002_price, shop.0003_stock" in found[0]["what"]
    assert "from version control" in found[0]["next_step"]


def test_squashed_files_deleted_too_early_block_where_django_cannot_go_on(young: Project) -> None:
    young.migration("shop", "0001_squashed_0003_stock", "", header=SQUASH)
    young.migration("shop", "0004_late", ADD.format(name="late"), after="0001_squashed_0003_stock")
    for name in ("0001_initial", "0002_price", "0003_stock"):
        file(young, name).unlink()
    found = [one for one in problems(young) if one["blocking"]]
    assert [one["hazard"] for one in found] == [9]
    assert "shop.0002_price" in found[0]["next_step"]


USER = """
from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    pass
"""


def test_a_user_model_swapped_in_late_blocks_with_a_recipe_that_works(
    tmp_path: Path, database: str
) -> None:
    admin = "INSTALLED_APPS += ['django.contrib.admin', 'django.contrib.messages']\n"
    late = "INSTALLED_APPS += ['people']\nAUTH_USER_MODEL = 'people.User'\n"
    project = make(tmp_path, database, settings=admin)
    inside(project, "migrate()")
    make(tmp_path, database, settings=admin + late)
    project.write("people/__init__.py", "")
    project.write("people/migrations/__init__.py", "")
    project.write("people/models.py", USER)
    inside(project, "call_command('makemigrations', 'people', verbosity=0)")
    found = only(project)
    assert (found["hazard"], found["blocking"]) == (8, True)
    assert (
        "admin.0001_initial is applied before its dependency people.0001_initial" in found["what"]
    )
    statement, _, comment = found["details"][0].partition("  -- ")
    assert comment == "admin.0001_initial needs it"
    project.sql(statement)
    assert problems(project) == []


def test_a_newer_database_blocks_while_something_is_pending(shop: Project) -> None:
    file(shop, "0003_stock").unlink()
    file(shop, "0002_price").unlink()
    assert ahead(shop) == ["shop.0002_price", "shop.0003_stock"]
    idle = only(shop)
    assert (idle["hazard"], idle["blocking"]) == (11, False)
    shop.sql("DELETE FROM django_migrations WHERE app = 'contenttypes' AND name LIKE '0002%'")
    assert [one["blocking"] for one in problems(shop) if one["hazard"] == 11] == [True]


def test_a_newer_database_is_seen_without_a_journal_too(shop: Project) -> None:
    shop.sql("DROP SCHEMA postdo_journal CASCADE")
    file(shop, "0003_stock").unlink()
    assert ahead(shop) == ["shop.0003_stock"]
    assert "manage.py migrate shop --prune" in only(shop)["next_step"]


def test_what_was_gone_before_the_journal_began_is_not_ahead(shop: Project) -> None:
    shop.sql("DELETE FROM postdo_journal.source WHERE name = '0003_stock'")
    file(shop, "0003_stock").unlink()
    assert ahead(shop) == []
    found = only(shop)
    assert (found["hazard"], found["blocking"]) == (6, False)


def test_to_look_whether_the_database_is_ahead_imports_no_migration(shop: Project) -> None:
    file(shop, "0003_stock").unlink()
    code = AHEAD + "answer.append([n for n in sys.modules if '.migrations.0' in n])"
    assert inside(shop, code).value == ["shop.0003_stock", []]


def test_an_app_that_is_gone_is_reported_with_its_tables(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database, settings=LIGHT)
    project.migration(
        "shop",
        "0002_more",
        "migrations.RunSQL('CREATE TABLE shopping_list ()')",
        after="0001_initial",
    )
    inside(project, "migrate(); archive()")
    make(tmp_path, database, settings=LIGHT)
    found = only(project)
    assert (found["hazard"], found["blocking"]) == (14, False)
    assert found["details"] == ["shop_item"]
    assert ahead(project) == []


def test_other_databases_are_named(tmp_path: Path, database: str) -> None:
    other = "DATABASES['reports'] = dict(DATABASES['default'], NAME='reports')"
    project = make_shop(tmp_path, database, settings=LIGHT + other)
    found = only(project)
    assert (found["hazard"], found["blocking"]) == (19, False)
    assert "reports" in found["what"]


def test_pending_migrations_come_in_order_with_operations_sql_and_package(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database, settings=LIGHT)
    grow(project)
    found = inside(project, PENDING).value
    names = [one["name"] for one in found]
    assert names[0] == "contenttypes.0001_initial"
    assert names.index("shop.0001_initial") < names.index("shop.0002_price")
    django = next(one for one in found if one["name"] == "contenttypes.0001_initial")
    price = next(one for one in found if one["name"] == "shop.0002_price")
    assert django["package"].lower().startswith("django ")
    assert price["package"] == ""
    assert price["operations"] == ["Add field price to Item"]
    assert any('ADD COLUMN "price" integer' in line for line in price["sql"])
    assert len(price["checksum"]) == 64
    assert price["atomic"]
    assert project.sql("SELECT to_regclass('django_migrations')") == [(None,)]


def test_nothing_pending_is_nothing(shop: Project) -> None:
    assert inside(shop, PENDING).value == []


WRITES = """
class Writes(migrations.operations.base.Operation):
    reversible = True

    def state_forwards(self, app_label, state):
        pass

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("DELETE FROM shop_item")

    def describe(self):
        return "Deletes behind Django's back"
"""


def test_an_operation_that_writes_by_itself_cannot_do_it_while_it_is_only_looked_at(
    young: Project,
) -> None:
    young.migration("shop", "0004_odd", "Writes()", after="0003_stock")
    odd = file(young, "0004_odd")
    odd.write_text(odd.read_text().replace("\n\nclass", f"\n{WRITES}\n\nclass", 1))
    young.migration("shop", "0005_next", ADD.format(name="next"), after="0004_odd")
    found = {one["name"]: one for one in inside(young, PENDING).value}
    assert found["shop.0004_odd"]["operations"] == ["Deletes behind Django's back"]
    (line,) = found["shop.0004_odd"]["sql"]
    assert line.startswith("-- unknown until the migration runs: ")
    assert "read-only" in line
    assert any('ADD COLUMN "next"' in one for one in found["shop.0005_next"]["sql"])
    assert young.sql("SELECT count(*) FROM shop_item") == [(2,)]


def test_indexes_are_shown_as_they_would_be_made_and_python_is_not_run(young: Project) -> None:
    young.migration(
        "shop",
        "0004_index",
        "AddIndexConcurrently('Item', models.Index(fields=['name'], name='by_name')), "
        "migrations.RunPython(lambda apps, editor: 1 / 0)",
        after="0003_stock",
        header="atomic = False",
    )
    index = file(young, "0004_index")
    index.write_text(
        "from django.contrib.postgres.operations import AddIndexConcurrently\n" + index.read_text()
    )
    found = inside(young, PENDING + "answer.append(connections['default'].in_atomic_block)").value
    assert found.pop() is False
    (one,) = [one for one in found if one["name"] == "shop.0004_index"]
    assert one["atomic"] is False
    assert any("CREATE INDEX CONCURRENTLY" in line for line in one["sql"])
    assert not any("by zero" in line for line in one["sql"])
    assert young.sql("SELECT to_regclass('by_name')") == [(None,)]


def test_the_package_of_an_app_is_named_by_its_distribution(tmp_path: Path, database: str) -> None:
    project = make(tmp_path, database, apps=("shop",))
    project.migration("shop", "0001_initial", CREATE_ITEM)
    packages = tmp_path / "lib/site-packages"
    for one, distribution in (("alpha", "kit-alpha"), ("beta", "kit-beta")):
        module = packages / "kit" / one
        (module / "migrations").mkdir(parents=True)
        (module / "__init__.py").write_text("")
        (module / "migrations/__init__.py").write_text("")
        info = packages / f"{distribution.replace('-', '_')}-1.{len(one)}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.{len(one)}\n"
        )
        (info / "RECORD").write_text(
            f"kit/{one}/__init__.py,,\nkit/{one}/migrations/__init__.py,,\n"
        )
        (info / "top_level.txt").write_text("kit\n")
    more = f"import sys; sys.path.append({str(packages)!r}); INSTALLED_APPS += "
    make(tmp_path, database, apps=("shop",), settings=LIGHT + more + "['kit.alpha', 'kit.beta']")
    answer = inside(
        project,
        """
from postdo.checks.packages import package_of
answer = {app.label: package_of(app) for app in project.apps}
""",
    ).value
    assert answer["shop"] == ""
    assert answer["alpha"] == "kit-alpha 1.5"
    assert answer["beta"] == "kit-beta 1.4"
    assert answer["contenttypes"].lower().startswith("django ")
