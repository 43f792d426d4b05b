"""A model without its migration is written down, refused or ignored: as the policy says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from projects import ITEM, REPOSITORY, Outcome, Project, make, make_shop

NOWHERE = "postgres://nobody:x@127.0.0.1:1/none"
DEVELOPMENT = {"POSTDO_MODE": "development", "DEBUG": "on"}
PRODUCTION = {"POSTDO_MODE": "production"}
PRICE = "    price = models.IntegerField(default=0)\n"
ADD_PRICE = "migrations.AddField('Item', 'price', models.IntegerField(default=0))"


def prepare(project: Project, environment: dict[str, str]) -> Outcome:
    return project.run("prepare", environment=environment)


def test_models_that_match_need_no_database(tmp_path: Path) -> None:
    outcome = make_shop(tmp_path, NOWHERE).run("check")
    assert outcome.code == 0, outcome.err
    assert "models match their migrations" in outcome.out


def test_a_missing_migration_is_refused_with_the_list_and_the_remedy(tmp_path: Path) -> None:
    project = make_shop(tmp_path, NOWHERE)
    project.write("shop/models.py", ITEM + PRICE)
    outcome = project.run("check", environment=PRODUCTION)
    assert outcome.code == 3
    assert "models have changes that are not in a migration, in shop" in outcome.err
    assert "shop: Add field price to item" in outcome.err
    assert "sh run.sh -2 manage makemigrations" in outcome.err
    assert not list(tmp_path.glob("shop/migrations/0002*"))


def test_check_writes_nothing_in_development_either(tmp_path: Path) -> None:
    project = make_shop(tmp_path, NOWHERE)
    project.write("shop/models.py", ITEM + PRICE)
    assert project.run("check", environment=DEVELOPMENT).code == 3
    assert not list(tmp_path.glob("shop/migrations/0002*"))


def test_production_does_not_start_and_does_not_migrate_with_a_missing_migration(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + PRICE)
    outcome = prepare(project, PRODUCTION)
    assert outcome.code == 3
    assert project.sql("SELECT to_regclass('shop_item')") == [(None,)]


def test_development_writes_the_missing_migration_and_applies_it(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + PRICE)
    outcome = prepare(project, DEVELOPMENT)
    assert outcome.code == 0, outcome.err
    assert [file.name for file in tmp_path.glob("shop/migrations/0002*")] == ["0002_item_price.py"]
    assert project.sql("SELECT price FROM shop_item") == []


def test_the_policy_off_starts_with_models_that_have_no_migration(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + PRICE)
    outcome = prepare(project, PRODUCTION | {"MAKEMIGRATIONS": "off"})
    assert outcome.code == 0, outcome.err
    assert "MAKEMIGRATIONS=off" in outcome.out


def test_a_rename_is_not_written_as_a_loss_of_data(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM.replace("name =", "title ="))
    outcome = prepare(project, DEVELOPMENT)
    assert outcome.code == 3
    assert "was name renamed to title?" in outcome.err
    assert "would drop name with its data" in outcome.err
    assert not list(tmp_path.glob("shop/migrations/0002*"))


def test_a_renamed_model_is_not_written_as_a_loss_of_data(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM.replace("class Item", "class Article"))
    outcome = prepare(project, DEVELOPMENT)
    assert outcome.code == 3
    assert "was Item renamed to Article?" in outcome.err


def test_a_new_field_without_a_value_for_the_rows_that_exist_is_explained(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + "    price = models.IntegerField()\n")
    outcome = prepare(project, DEVELOPMENT)
    assert outcome.code == 3
    assert "price is new, NOT NULL and has no default" in outcome.err
    assert "manage makemigrations` in a terminal" in outcome.err


@pytest.mark.parametrize("policy", ["check", "write"])
def test_two_last_migrations_are_refused_with_the_merge_as_remedy(
    tmp_path: Path, database: str, policy: str
) -> None:
    project = make_shop(tmp_path, database)
    project.migration("shop", "0002_left", "", after="0001_initial")
    project.migration("shop", "0002_right", "", after="0001_initial")
    outcome = prepare(project, DEVELOPMENT | {"MAKEMIGRATIONS": policy})
    assert outcome.code == 3
    assert "shop: 0002_left, 0002_right" in outcome.err
    assert "makemigrations --merge" in outcome.err


def test_a_migration_with_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    project = make_shop(tmp_path, NOWHERE)
    file = project.write("shop/migrations/0002_broken.py", "class Migration(:\n")
    outcome = project.run("check")
    assert outcome.code == 3
    assert f"{file}:1" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_migration_that_depends_on_a_missing_one_is_refused(tmp_path: Path) -> None:
    project = make_shop(tmp_path, NOWHERE)
    project.migration("shop", "0003_later", "", after="0002_gone")
    outcome = project.run("check")
    assert outcome.code == 3
    assert "0002_gone" in outcome.err


def test_a_lost_file_is_named_before_the_migration_that_it_would_be_written_again_as(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + PRICE)
    project.migration("shop", "0002_price", ADD_PRICE, after="0001_initial")
    assert prepare(project, PRODUCTION).code == 0
    (tmp_path / "shop/migrations/0002_price.py").unlink()

    for command in ("prepare", "plan"):
        outcome = project.run(command, environment=PRODUCTION)
        assert outcome.code == 3, outcome.out
        text = outcome.out + outcome.err
        assert "ahead of this code: a newer release applied shop.0002_price" in text
        assert "restore their files from version control" in text
        assert "manage makemigrations" not in text


def test_a_source_that_cannot_be_written_is_said(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + PRICE)
    (tmp_path / "shop/migrations").chmod(0o555)
    # Root may write anywhere, unless it gives up that right.
    humble = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    outcome = project.run("prepare", environment=DEVELOPMENT, before=humble)
    assert outcome.code == 2
    assert "shop/migrations/0002_item_price.py cannot be written: Permission denied" in outcome.err
    assert "MAKEMIGRATIONS=check" in outcome.err


def test_an_installed_package_without_its_migration_is_a_warning_only(
    tmp_path: Path, database: str
) -> None:
    packages = tmp_path / "venv/lib/site-packages"
    library = make(packages, database, apps=("library",))
    library.write("library/models.py", ITEM)
    project = make(
        tmp_path / "site",
        database,
        apps=("library",),
        settings=f"import sys; sys.path.insert(0, {str(packages)!r})",
    )
    for left in ("library/migrations/__init__.py", "library/__init__.py"):
        (project.root / left).unlink()
    (project.root / "library/migrations").rmdir()
    (project.root / "library").rmdir()
    library.migration("library", "0001_initial", "")
    for environment in (PRODUCTION, DEVELOPMENT):
        outcome = prepare(project, environment)
        assert outcome.code == 0, outcome.err
        assert "library: Create model Item" in outcome.err
        assert "DEFAULT_AUTO_FIELD" not in outcome.err  # no primary key is concerned
    assert len(list(packages.glob("library/migrations/0*"))) == 1


def test_the_result_as_json_lists_what_is_missing(tmp_path: Path) -> None:
    project = make_shop(tmp_path, NOWHERE)
    project.write("shop/models.py", ITEM + PRICE)
    outcome = project.run("check", "--json")
    assert outcome.code == 3
    assert outcome.report["outcome"] == "refused"
    assert outcome.report["exit"] == 3
    assert outcome.report["details"] == ["shop: Add field price to item"]


def without_migrations(tmp_path: Path, url: str) -> Project:
    """The shop before anyone has run makemigrations for it: no folder, so Django never looks."""
    project = make_shop(tmp_path, url)
    shutil.rmtree(tmp_path / "shop" / "migrations")
    return project


def test_an_app_without_any_migration_and_table_is_refused_in_production(
    tmp_path: Path, database: str
) -> None:
    outcome = prepare(without_migrations(tmp_path, database), PRODUCTION)
    assert outcome.code == 3
    assert "neither migrations nor tables, in shop" in outcome.err
    assert "makemigrations shop" in outcome.err


def test_development_writes_the_first_migration_of_an_app_without_any(
    tmp_path: Path, database: str
) -> None:
    project = without_migrations(tmp_path, database)
    outcome = prepare(project, DEVELOPMENT)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "shop/migrations/0001_initial.py").is_file()
    assert project.sql("SELECT count(*) FROM shop_item") == [(0,)]


def test_an_app_that_lives_without_migrations_on_tables_that_exist_is_left_alone(
    tmp_path: Path, database: str
) -> None:
    project = without_migrations(tmp_path, database)
    project.sql("CREATE TABLE shop_item (id serial PRIMARY KEY, name text)")
    outcome = prepare(project, PRODUCTION)
    assert outcome.code == 0, outcome.err


def test_without_a_file_that_others_need_production_says_who_knows_which(
    tmp_path: Path,
) -> None:
    project = make_shop(tmp_path, NOWHERE)
    project.migration("shop", "0002_price", "", after="0001_initial")
    (tmp_path / "shop/migrations/0001_initial.py").unlink()

    outcome = project.run("check", environment=PRODUCTION)

    assert outcome.code == 3
    assert "NodeNotFoundError" in outcome.err
    assert "next: run `sh run.sh plan` to see which file is missing" in outcome.err


PART = "class Part{0}(models.Model):\n    label = models.CharField(max_length=50)\n\n\n"


@pytest.mark.parametrize(
    ("made", "said", "not_said"),
    [
        ("id AutoField", "the cause is DEFAULT_AUTO_FIELD", "makemigrations --dry-run"),
        ("nothing", "manage makemigrations --dry-run parts", "DEFAULT_AUTO_FIELD"),
    ],
)
def test_what_the_migrations_of_a_package_do_not_know_is_one_short_line_that_is_right(
    tmp_path: Path, made: str, said: str, not_said: str
) -> None:
    """29: it was one line of 24,687 characters, with a hint that was wrong there."""
    project = make(
        tmp_path,
        NOWHERE,
        apps=("parts",),
        environment={"PYTHONPATH": f"{REPOSITORY}:{tmp_path}/site-packages"},
    )
    shutil.move(tmp_path / "parts", tmp_path / "site-packages" / "parts")
    models = "from django.db import models\n\n\n" + "".join(PART.format(n) for n in range(99))
    project.write("site-packages/parts/models.py", models)
    key = "('id', models.AutoField(primary_key=True))"
    label = "('label', models.CharField(max_length=50))"
    creates = (f"migrations.CreateModel('Part{n}', [{key}, {label}])," for n in range(99))
    operations = "\n".join(creates) if made == "id AutoField" else ""
    project.migration("site-packages/parts", "0001_initial", operations)

    outcome = project.run("check", environment=PRODUCTION)

    assert outcome.code == 0, outcome.err
    (warning,) = [line for line in outcome.err.splitlines() if "warning" in line]
    assert said in warning
    assert not_said not in warning
    assert "and 96 more" in warning
    assert len(warning) < 500
