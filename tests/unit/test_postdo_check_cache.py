"""A check that succeeded is not repeated, and every change of the code makes it necessary again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from projects import ITEM, Outcome, Project, made_once, make, make_shop

NOWHERE = "postgres://nobody:x@127.0.0.1:1/none"
SKIPPED = "models match their migrations (checked before)"


@pytest.fixture
def stamped(tmp_path: Path, database: str) -> Project:
    """A project whose check has left a stamp, without a database, and which is migrated."""
    made = make_shop(tmp_path / "site", database)
    project = Project(made.root, made.url, {"POSTDO_STAMP": str(tmp_path / "kit" / "stamp.json")})
    stamp(project)
    made_once(project, "stamped", lambda: succeeds(prepare(project)))
    return project


def succeeds(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.err


def stamp(project: Project) -> Outcome:
    outcome = project.run(
        "check",
        "--stamp",
        project.environment["POSTDO_STAMP"],
        environment={"DATABASE_URL": NOWHERE},
    )
    assert outcome.code == 0, outcome.err
    return outcome


def prepare(project: Project, **environment: str) -> Outcome:
    return project.run("prepare", environment=environment)


def test_a_stamp_from_the_build_makes_the_start_skip_the_check(stamped: Project) -> None:
    assert SKIPPED in prepare(stamped).out


def test_a_start_without_a_stamp_checks(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    outcome = prepare(project, POSTDO_STAMP=str(tmp_path / "none.json"))
    assert outcome.code == 0
    assert SKIPPED not in outcome.out


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}"])
def test_a_damaged_stamp_means_that_the_start_checks(stamped: Project, text: str) -> None:
    Path(stamped.environment["POSTDO_STAMP"]).write_text(text)
    outcome = prepare(stamped)
    assert outcome.code == 0
    assert SKIPPED not in outcome.out


def test_a_changed_model_is_found_although_there_is_a_stamp(stamped: Project) -> None:
    stamped.write("shop/models.py", ITEM + "    price = models.IntegerField(default=0)\n")
    outcome = prepare(stamped)
    assert outcome.code == 3
    assert "Add field price to item" in outcome.err


def test_a_change_that_keeps_size_and_time_of_the_file_is_found(stamped: Project) -> None:
    file = stamped.root / "shop/models.py"
    before = file.stat()
    file.write_text(ITEM.replace("max_length=50", "max_length=60"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert prepare(stamped).code == 3


def test_another_time_of_the_same_file_changes_nothing(stamped: Project) -> None:
    for file in stamped.root.rglob("*.py"):
        os.utime(file, (0, 0))
    assert SKIPPED in prepare(stamped).out


@pytest.mark.parametrize(
    "path",
    [
        "common/fields.py",  # no app, and models may import it
        "shop/migrations/0002_more.py",
        "shop/models/deep/part.py",
    ],
)
def test_a_new_source_file_makes_the_check_necessary(stamped: Project, path: str) -> None:
    stamped.write(path, "class Migration: pass\n" if "migrations" in path else "")
    assert SKIPPED not in prepare(stamped).out


@pytest.mark.parametrize(
    "path", ["node_modules/x/setup.py", ".venv/lib/a.py", "env/lib/a.py", "media/a.py", "notes.txt"]
)
def test_what_is_no_source_of_the_project_does_not_count(stamped: Project, path: str) -> None:
    stamped.write("config/settings.py", (stamped.root / "config/settings.py").read_text() + MEDIA)
    stamped.write("env/pyvenv.cfg", "")
    stamp(stamped)
    stamped.write(path, "x = 1\n")
    assert SKIPPED in prepare(stamped).out


MEDIA = """
MEDIA_ROOT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "media") + "/"
"""


def test_a_setting_that_decides_on_models_makes_the_check_necessary(stamped: Project) -> None:
    text = (stamped.root / "config/settings.py").read_text()
    stamped.write(
        "config/settings.py", text + "if 'EXTRA' in os.environ: INSTALLED_APPS.append('extra')\n"
    )
    stamped.write("extra/__init__.py", "")
    stamp(stamped)
    assert SKIPPED in prepare(stamped).out
    assert SKIPPED not in prepare(stamped, EXTRA="1").out


def test_an_app_behind_a_link_counts_as_source(tmp_path: Path, database: str) -> None:
    made = make(tmp_path / "site", database, apps=("shop",))
    (made.root / "shop").rename(tmp_path / "shared-shop")
    (made.root / "shop").symlink_to(tmp_path / "shared-shop")
    project = Project(made.root, database, {"POSTDO_STAMP": str(tmp_path / "stamp.json")})
    stamp(project)
    (tmp_path / "shared-shop" / "models.py").write_text(ITEM)
    assert SKIPPED not in prepare(project).out


def test_a_link_in_a_circle_is_walked_once(stamped: Project) -> None:
    (stamped.root / "shop" / "again").symlink_to(stamped.root)
    stamp(stamped)
    assert SKIPPED in prepare(stamped).out


def test_a_check_that_fails_leaves_no_stamp(stamped: Project) -> None:
    stamped.write("shop/models.py", ITEM + "    price = models.IntegerField(default=0)\n")
    path = stamped.environment["POSTDO_STAMP"]
    assert stamped.run("check", "--stamp", path).code == 3
    assert not Path(path).exists()


def test_a_stamp_that_cannot_be_written_is_said(stamped: Project) -> None:
    outcome = stamped.run("check", "--stamp", f"{stamped.root}/manage.py/stamp.json")
    assert outcome.code == 0  # the folder is made
    stamped.write("file", "")
    outcome = stamped.run("check", "--stamp", f"{stamped.root}/file/stamp.json")
    assert outcome.code == 2
    assert "cannot be written" in outcome.err


def test_development_refreshes_a_stamp_that_it_was_given(stamped: Project) -> None:
    Path(stamped.environment["POSTDO_STAMP"]).unlink()
    development = {"POSTDO_MODE": "development", "DEBUG": "on"}
    assert SKIPPED not in prepare(stamped, **development).out
    assert SKIPPED in prepare(stamped, **development).out


def test_production_does_not_rewrite_the_stamp_of_the_build(stamped: Project) -> None:
    path = Path(stamped.environment["POSTDO_STAMP"])
    path.write_text("{}")
    assert prepare(stamped).code == 0
    assert path.read_text() == "{}"
