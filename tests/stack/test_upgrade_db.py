"""`upgrade-db`: production from PostgreSQL 17 to 18 and back, with all that was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from .clone import Clone
from .test_postgres_image import volumes
from .visitor import Visitor
from .waiting import eventually

VERSION = "SHOW server_version_num"
VIEW = '''

from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def number(request):
    """Added by a test: writes one number, and says so."""
    from django.db import connection
    from django.http import HttpResponse
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO numbered (number) VALUES (%s)", [request.POST["number"]])
    return HttpResponse("written")
'''
URL = "\nurlpatterns += [path('number/', views.number)]\n"
PAUSE = 0.05
STEADY = 3  # requests at a time


@dataclass
class Load:
    """Numbers that visitors wrote: those that were acknowledged, and what else they got."""

    written: set[int] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds that an answer took


@contextmanager
def steady_load(visitors: list[Visitor]) -> Iterator[Load]:
    """Each writes one number after another, from now to the end."""
    load, over = Load(), threading.Event()

    def write(visitor: Visitor, first: int) -> None:
        number = first
        while not over.wait(PAUSE):
            began = time.monotonic()
            try:
                answer = visitor.post("/number/", {"number": str(number)})
            except OSError as error:
                load.failed.append(f"{number}: {error}")
            else:
                if answer.status == 200:
                    load.written.add(number)
                else:
                    load.failed.append(f"{number}: {answer.status}")
            load.longest = max(load.longest, time.monotonic() - began)
            number += len(visitors)

    threads = [
        threading.Thread(target=write, args=pair) for pair in zip(visitors, range(99), strict=False)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()
        print(f"{len(load.written)} written, the longest wait {load.longest:.1f} s")


@pytest.fixture
def on_17(fresh: Clone) -> Clone:
    """Production on PostgreSQL 17, whose .env names 18."""
    fresh.write("web/core/views.py", VIEW, add=True)
    fresh.write("web/core/urls.py", URL, add=True)
    fresh.environment["POSTGRES_IMAGE"] = "postgres:17"
    fresh.run("-0")
    del fresh.environment["POSTGRES_IMAGE"]
    fresh.query("prod", "CREATE TABLE numbered (id bigserial, number int PRIMARY KEY)")
    return fresh


def numbers(clone: Clone) -> set[int]:
    return {int(line) for line in clone.query("prod", "SELECT number FROM numbered").split()}


def is_on(clone: Clone, major: str) -> bool:
    return clone.query("prod", VERSION).startswith(major)


def goes_by_dump_and_back_where_a_table_has_no_primary_key(clone: Clone) -> None:
    """What was written on 18 is not there afterwards, as it said."""
    visitor = clone.visitor("HTTP_PORT")
    clone.query("prod", "CREATE TABLE without AS SELECT 1 AS x")
    visitor.post("/number/", {"number": "0"})

    clone.run("-0", "upgrade-db", ok=False).refused("without has no primary key", "--yes")
    clone.run("-0", "upgrade-db", "--yes")
    assert is_on(clone, "18")
    assert visitor.post("/number/", {"number": "-1"}).status == 200

    clone.run("-0", "upgrade-db", "--back", "--yes")
    assert is_on(clone, "17")
    assert numbers(clone) == {0}
    clone.query("prod", "DROP TABLE without; DELETE FROM numbered")


def test_to_18_and_back_and_to_18_for_good_under_load_without_a_lost_row(on_17: Clone) -> None:
    on_17.run("-0", ok=False).refused("was created by PostgreSQL 17", "upgrade-db")
    goes_by_dump_and_back_where_a_table_has_no_primary_key(on_17)
    with steady_load([on_17.visitor("HTTP_PORT") for _ in range(STEADY)]) as load:
        on_17.run("-0", "upgrade-db")
        assert is_on(on_17, "18")
        eventually(lambda: len(load.written) > 50, "rows that are written on 18")
        on_17.run("-0", "upgrade-db", "--back")
        assert is_on(on_17, "17")
        on_17.run("-0", "upgrade-db")
        assert is_on(on_17, "18")
    assert load.failed == []
    assert numbers(on_17) == load.written
    assert int(on_17.query("prod", "SELECT max(id) FROM numbered")) >= len(load.written)

    on_17.run("-0", "backup")  # the image that serves has the programs of 17
    on_17.run("-0")
    on_17.run("-0", "upgrade-db", "--finish")
    on_17.run("-0", "stop")
    on_17.run("-0", "--no-build")
    assert is_on(on_17, "18")
    assert numbers(on_17) == load.written
    assert volumes(on_17) == {f"{on_17.project('prod')}_prod-data"}
