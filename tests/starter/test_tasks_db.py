"""The starter with the part tasks-db: no task is lost, whoever is killed. Without Docker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from projects import REPOSITORY, Project, query
from waiting import until

from postdo_tasks import health

WEB = REPOSITORY / "web"
TASKS = """
import time

from django.db import connection
from django_tasks import task


@task()
def work(number: int, seconds: float = 0) -> None:
    note("begun", number)
    time.sleep(seconds)
    note("ended", number)


def note(what: str, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES (%s, %s)", [what, number])
"""
NEWER = """

@task()
def newer(number: int) -> None:
    note("ended", number)
"""
SETTINGS = """
from config.settings.test import *

INSTALLED_APPS += ["shop"]
"""
ROLLED_BACK = """
from django.db import transaction
from shop.tasks import work
try:
    with transaction.atomic():
        work.enqueue(1)
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
with transaction.atomic():
    work.enqueue(2)
"""
# Tasks that `red`, of which nothing is left, had taken: one of its workers was killed with it. The
# lock of `blue` is held, although it may seem idle.
OTHERS = """
from django.db import connection
from django_tasks_db.models import DBTaskResult
from postdo_tasks.database import AWAY, Workers
from shop.tasks import work

def states():
    return [DBTaskResult.objects.get(id=task.id).status for task in tasks]

tasks = [work.using(queue_name="nobody").enqueue(number) for number in (1, 2, 3)]
for task, worker in zip(tasks, ("postdo-red-1", "postdo-blue-0", "somebody-else")):
    DBTaskResult.objects.get(id=task.id).claim(worker)
green = Workers("green", 0, "*", 3600)
print(green.take_lock(), Workers("green", 0, "*", 3600).take_lock())
for now in (0, AWAY - 1, AWAY + 1):
    green.restore_of_the_dead(now)
    print(*states())
DBTaskResult.objects.all().delete()
"""


@pytest.fixture
def site(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The starter with an application that has tasks."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/tasks.py").write_text(TASKS)
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    environment = {
        "DJANGO_SETTINGS_MODULE": "shop_settings",
        "COMPOSE_PROFILES": "tasks-db",
        "PYTHONPATH": f"{REPOSITORY}:{tmp_path}",
        "TASKS_CONCURRENCY": "1",
    }
    project = Project(WEB, database, environment)
    ended = project.execute([sys.executable, "manage.py", "migrate"])
    assert ended.code == 0, ended
    query(database, "CREATE TABLE notes (what text, number int)")
    return project


@contextmanager
def workers(site: Project, name: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m postdo_tasks database`, as the worker's container runs it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "postdo_tasks", "database"],
        cwd=site.root,
        env=site.variables({"POSTDO_WORKER": name, "TMPDIR": os.environ["TMPDIR"], **more}),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)


def noted(site: Project, what: str) -> list[int]:
    return [number for kind, number in query(site.url, "SELECT * FROM notes") if kind == what]


def shell(site: Project, code: str) -> str:
    ended = site.execute([sys.executable, "manage.py", "shell", "-v", "0", "-c", code])
    assert ended.code == 0, ended
    return ended.out


def status(site: Project) -> dict[str, str]:
    """What `sh run.sh status` is told."""
    rows = query(site.url, (REPOSITORY / "db/tasks.sql").read_text())
    return dict(row[0].split("=") for row in rows)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_task_commits_with_its_transaction_and_is_done_again_after_a_kill(
    site: Project, tmp_path: Path
) -> None:
    shell(site, ROLLED_BACK)
    said = status(site)
    assert int(said.pop("oldest")) >= 0
    assert said == {"waiting": "1", "running": "0", "failed": "0", "unknown": "0"}

    with workers(site, "blue") as blue:
        until(lambda: noted(site, "ended") == [2], "the one that was committed is done")
        until(health.alive_file().exists, "it says that it is well")
        assert health.main("database") == ""

        # The worker is killed while it works.
        shell(site, "from shop.tasks import work; work.enqueue(3, 3)")
        until(lambda: 3 in noted(site, "begun"), "the task begins")
        os.kill(children(blue)[0], signal.SIGKILL)
        until(lambda: 3 in noted(site, "ended"), "the task is done again")
        assert noted(site, "begun") == [2, 3, 3]

        # All of the container is killed; a task is queued that this version does not know.
        shell(site, "from shop.tasks import work; work.enqueue(4, 5)")
        until(lambda: 4 in noted(site, "begun"), "the task begins")
        (worker,) = children(blue)
        blue.kill()
        blue.wait(timeout=30)
        until(lambda: not Path(f"/proc/{worker}").exists(), "the worker dies with it")
        assert status(site)["running"] == "1"

    with workers(site, "blue") as blue:
        until(lambda: noted(site, "begun").count(4) == 2, "the next one does it again")
        # Asked to stop, it ends what it has begun.
        blue.terminate()
        assert blue.wait(timeout=40) == 0
    assert noted(site, "ended") == [2, 3, 4]
    assert status(site)["running"] == "0"


def test_what_others_left_is_taken_and_what_takes_too_long_or_is_unknown_is_told(
    site: Project, tmp_path: Path
) -> None:
    tasks = tmp_path / "shop/tasks.py"
    with workers(site, "blue"):
        until(health.alive_file().exists, "it works")
        assert shell(site, OTHERS).splitlines() == [
            "True True",  # the same session, which may take its lock twice
            "RUNNING RUNNING RUNNING",
            "RUNNING RUNNING RUNNING",
            "READY RUNNING RUNNING",
        ]
        query(site.url, unknown_task())
        until(lambda: status(site)["unknown"] == "1", "it is kept")
        assert status(site)["failed"] == "0"

    tasks.write_text(TASKS + NEWER)
    with workers(site, "green", TASK_SECONDS="1") as green:
        until(lambda: 5 in noted(site, "ended"), "the version that knows it does it")
        shell(site, "from shop.tasks import work; work.enqueue(6, 600)")
        until(lambda: status(site)["failed"] == "1", "it has taken too long")
        shell(site, "from shop.tasks import work; work.enqueue(7)")
        until(lambda: 7 in noted(site, "ended"), "its worker does not stay with it")
        assert green.poll() is None


def unknown_task() -> str:
    """As the newer version queues it."""
    return """
        INSERT INTO django_tasks_database_dbtaskresult (id, status, enqueued_at, args_kwargs,
            priority, task_path, worker_ids, queue_name, backend_name, run_after,
            exception_class_path, traceback)
        VALUES (gen_random_uuid(), 'READY', now(), '{"args": [5], "kwargs": {}}', 0,
            'shop.tasks.newer', '[]', 'default', 'default', '9999-01-01', '', '')
    """
