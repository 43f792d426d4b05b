"""The starter's optional parts: the sample is deleted, and the part api is switched off and on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from projects import Project

WEB = Path(__file__).resolve().parents[2] / "web"
SETTINGS = "config/settings/base.py"
URLS = "config/urls.py"
INSERT = """
WITH ada AS (
    INSERT INTO accounts_user
        (email, password, is_active, is_staff, is_superuser, name, created, modified)
    VALUES ('ada@example.com', '', true, false, false, '', now(), now())
    RETURNING id
)
INSERT INTO notifications_notification (recipient_id, text, created)
SELECT id, 'hello', now() FROM ada RETURNING id
"""


def without(text: str, lines: str) -> str:
    """The text without these lines, which are there once."""
    rest, count = re.subn(lines, "", text, flags=re.MULTILINE)
    assert count == 1, lines
    return rest


def test_without_the_sample_the_starters_tests_pass_and_the_api_works(
    tmp_path: Path, database: str
) -> None:
    web = tmp_path / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    shutil.rmtree(web / "notifications")
    # As web/README.md says.
    for path, lines in (
        (SETTINGS, r"^# --- The sample application.*\n\n#.*\nif .*\n(    .*\n)+"),
        (URLS, r"^if .*\"notifications\"\):\n    .*\n"),
    ):
        file = web / path
        file.write_text(without(file.read_text(), lines))
    project = Project(web, database, {"DJANGO_SETTINGS_MODULE": "config.settings.test"})

    left = [file for file in web.rglob("*.py") if "notifications" in file.read_text()]
    assert left == [web / "api/tests/test_schema.py"], "which asks whether it is there"
    for command in (
        ["check", "--fail-level", "WARNING"],
        ["makemigrations", "--check"],
        ["test", "--exclude-tag", "slow"],
    ):
        ended = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=web,
            env=project.variables({"COMPOSE_PROFILES": "api,live"}),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "skipped" not in ended.stderr


def test_a_part_that_is_off_keeps_its_rows_and_is_no_drift(database: str) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "config.settings.prod",
        "SECRET_KEY": "only-for-the-tests-" + "abcdefghij" * 4,
        "ALLOWED_HOSTS": "localhost",
    }
    on = Project(WEB, database, environment | {"COMPOSE_PROFILES": "api"})
    off = Project(WEB, database, environment | {"COMPOSE_PROFILES": ""})

    assert on.run("migrate").code == 0
    on.sql(INSERT)
    plan = off.run("plan")
    assert plan.code == 0, plan
    assert "nothing to do" in plan.out
    assert "the app notifications is not installed any more" in plan.out
    assert "No drift" in plan.out
    assert "nothing to migrate" in off.run("migrate").out

    again = on.run("migrate")
    assert "nothing to migrate" in again.out, again
    assert on.sql("SELECT text FROM notifications_notification") == [("hello",)]


def test_a_user_can_be_deleted_while_the_part_is_off(database: str) -> None:
    on = Project(
        WEB, database, {"DJANGO_SETTINGS_MODULE": "config.settings.test", "COMPOSE_PROFILES": "api"}
    )
    off = Project(on.root, database, {**on.environment, "COMPOSE_PROFILES": ""})
    migrated = on.execute([sys.executable, "manage.py", "migrate"])
    assert migrated.code == 0, migrated
    on.sql(INSERT)
    ended = off.execute(
        [
            *(sys.executable, "manage.py", "shell", "--verbosity", "0", "--command"),
            "from accounts.models import User; print(User.objects.all().delete())",
        ]
    )
    assert ended.code == 0, ended
    assert on.sql("SELECT count(*) FROM notifications_notification") == [(0,)]
