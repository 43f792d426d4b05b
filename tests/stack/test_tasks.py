"""The part `tasks` in production: kills, a restart of Redis and a release lose no task.

The tasks of this test note in Redis that they began, and that they ended.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .clone import Clone
from .engine import docker
from .waiting import eventually

TASKS = """
import os
import time

import redis
from django_tasks import task


def note(name: str, number: int) -> None:
    redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]).rpush(name, number)


@task()
def work(number: int, seconds: float = 0) -> None:
    note("begun", number)
    time.sleep(seconds)
    note("ended", number)
"""
NEWER = """

@task()
def newer(number: int) -> None:
    note("ended", number)
"""
SETTINGS = """
from config.settings.prod import *

INSTALLED_APPS += ["shop"]
CELERY_BEAT_SCHEDULE = {"tick": {"task": "shop.tasks.work", "schedule": 1, "args": [7]}}
"""
# Celery's main process: PID 1 is Docker's init.
KILL = "import os, pathlib; [os.kill(int(p.name), 9) for p in pathlib.Path('/proc').glob('[0-9]*')"
KILL += " if b'celery' in (p / 'cmdline').read_bytes() and b'PPid:\\t1\\n' in"
KILL += " (p / 'status').read_bytes()]"
PARTS = {"redis", "worker-blue", "worker-green", "beat", "flower", "metrics"}


@pytest.fixture(scope="module")
def site(own: Clone) -> Clone:
    """Production with the part on, and an application that has tasks."""
    own.write("web/shop/__init__.py", "")
    own.write("web/shop/tasks.py", TASKS)
    own.write("web/shop_settings.py", SETTINGS)
    own.run("init")
    own.set_in_env(
        COMPOSE_PROFILES="tasks,metrics", PROD_SETTINGS="shop_settings", TASKS_CONCURRENCY="1"
    )
    own.run("-0")
    return own


def noted(site: Clone, name: str) -> list[str]:
    """The numbers that tasks noted."""
    redis = site.containers("prod")["redis"]
    return redis.run("redis-cli", "--raw", "lrange", name, "0", "-1").split()


def enqueue(site: Clone, code: str) -> None:
    """As a view does."""
    site.run("-0", "manage", "shell", "-c", f"from shop.tasks import *; {code}")


def ends(site: Clone, number: int) -> bool:
    return str(number) in noted(site, "ended")


def restarts(site: Clone) -> int:
    """Of the worker's container, by Docker."""
    worker = site.live().replace("web", "worker")
    return int(site.containers("prod")[worker].facts()["RestartCount"])


def metrics(site: Clone) -> dict[str, float]:
    """What Prometheus would store, by short names."""
    address = f"http://127.0.0.1:{site.environment['METRICS_PORT']}/metrics"
    with urlopen(address, timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples):
        name = " ".join([sample.name.removeprefix("postdo_"), *sample.labels.values()])
        if sample.name == "caddy_http_request_duration_seconds_count":
            name = f"requests {sample.labels['code']}"
        found[name] = found.get(name, 0) + sample.value
    return found


def test_no_task_is_lost_by_kills_restarts_and_releases(site: Clone) -> None:
    page = site.run("status", ok=False).out
    assert {"redis", "worker-blue", "beat", "flower", "metrics"} <= site.runs_in("prod")
    assert "0 waiting" in page, page
    assert "unhealthy" not in page, page
    eventually(lambda: ends(site, 7), "beat sends what is due")

    # Prometheus counts what visitors ask for, and each of it once.
    before = metrics(site)
    assert {before[f"up {name}"] for name in ("proxy", "database", "tasks")} == {1.0}, before
    assert (before["tasks_waiting"], before["tasks_failed"]) == (0, 0)
    assert 1 <= before["database_connections"] <= before["database_connections_limit"]
    visitor = site.visitor("HTTP_PORT")
    assert [visitor.get("/").status, visitor.get("/metrics").status] == [200, 404]
    after = metrics(site)
    assert after["requests 200"] == before.get("requests 200", 0) + 1
    assert after["requests 404"] == before.get("requests 404", 0) + 1

    # Killed while it works.
    enqueue(site, "work.enqueue(100, 3)")
    eventually(lambda: "100" in noted(site, "begun"), "the task begins")
    site.containers("prod")["worker-blue"].run("python", "-c", KILL)
    eventually(lambda: ends(site, 100), "the task is done once more", 60)
    assert noted(site, "begun").count("100") == 2
    assert re.search(
        r" INFO celery\.worker\.strategy: Task shop\.tasks\.work\[\S+\] received$",
        site.run("-0", "logs", "worker").out,
        re.MULTILINE,
    )
    assert restarts(site) == 1

    # Deaf: as after a restart of Redis in older versions, it answers and has no queue.
    docker("restart", site.containers("prod")["redis"].id)
    worker = site.containers("prod")["worker-blue"]
    deafen = ("celery", "-A", "postdo_tasks.app", "control", "cancel_consumer", "default")
    eventually(lambda: "no longer" in worker.run(*deafen), "it answers")
    enqueue(site, "work.enqueue(200)")
    eventually(lambda: ends(site, 200), "it hears again", 30)
    assert restarts(site) == 2

    # Released: the version that serves does not know a task, and one runs.
    enqueue(site, "work.enqueue(300, 2)")
    enqueue(site, "from config.celery import app; app.send_task('shop.tasks.newer', [301])")
    site.write("web/shop/tasks.py", NEWER, add=True)
    site.run("-0")
    assert {name for name in site.runs_in("prod") if name in PARTS} == PARTS - {"worker-blue"}
    eventually(lambda: ends(site, 300) and ends(site, 301), "both are done")
    assert noted(site, "begun").count("300") == 1

    # Off.
    site.set_in_env(COMPOSE_PROFILES="")
    site.run("-0")
    assert PARTS & set(site.containers("prod")) == set()


def test_flower_listens_on_this_machine_alone() -> None:
    for mode, port in (("prod", "FLOWER_PORT:-5555"), ("dev", "DEV_FLOWER_PORT:-5556")):
        text = (Path(__file__).parents[2] / f"docker-compose.tasks.{mode}.yml").read_text()
        published = re.findall(r"ports:\n +- (.*)", text)
        assert f'"127.0.0.1:${{{port}}}:5555"' in published
        assert all(each.startswith('"127.0.0.1:') for each in published)
        assert text.count("ports:") == len(published)
