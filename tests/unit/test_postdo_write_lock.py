"""While a swap is made: writers wait, readers go on, and what happens meanwhile is not lost."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from projects import open_connection
from swaps import Swapping, swapping
from waiting import until

from embedded_postgres import Cluster

# A migration that waits for a file.
WAITING = """
import time
from pathlib import Path
from django.db import migrations

def wait(apps, editor):
    while not Path("{go}").exists():
        time.sleep(0.05)

class Migration(migrations.Migration):
    dependencies = [("shop", "0005_vacuum")]
    operations = [migrations.RunPython(wait)]
"""
# Whether pg_dump has locked the table that it dumps.
DUMPING = """
SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE a.application_name LIKE 'postdo copy %' AND l.granted AND l.relation = 'shop_item'::regclass
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Iterator[Swapping]:
    yield from swapping("superuser", tmp_path, database)


@pytest.fixture
def owner(tmp_path: Path, database: str) -> Iterator[Swapping]:
    yield from swapping("owner", tmp_path, database)


class Writers:
    """Threads that insert rows in different ways, reconnect when they have to, and keep a list."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end = threading.Event()
        self.acknowledged: set[str] = set()
        ways = (self._autocommit, self._in_transactions, self._new_connection_each_time)
        self._threads = [
            threading.Thread(target=self._write, args=(way, f"{way.__name__}-{n}"))
            for way in ways
            for n in range(2)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _write(self, way: Any, label: str) -> None:
        number = 0
        while not self._end.is_set():
            with suppress(Exception):  # the connection was ended: a site reconnects too
                connection = open_connection(self._url)
                try:
                    while not self._end.is_set():
                        number += 2
                        names = {f"{label}-{number}", f"{label}-{number + 1}"}
                        way(connection.cursor(), names)
                        self.acknowledged |= names
                        if way == self._new_connection_each_time:
                            break
                finally:
                    connection.close()

    def _autocommit(self, cursor: Any, names: set[str]) -> None:
        for name in names:
            cursor.execute("INSERT INTO shop_item (name) VALUES (%s)", [name])

    def _in_transactions(self, cursor: Any, names: set[str]) -> None:
        cursor.execute("BEGIN")
        self._autocommit(cursor, names)
        cursor.execute("COMMIT")

    _new_connection_each_time = _autocommit


def names(shop: Swapping, database: str) -> set[str]:
    return {name for (name,) in shop.on(database, "SELECT lower(name) FROM shop_item")}


def test_no_acknowledged_write_is_lost_while_writers_hammer(shop: Swapping) -> None:
    with Writers(shop.url) as writers:
        while len(writers.acknowledged) < 50:
            time.sleep(0.01)
        code, printed = shop.run(LOCK_RETRY_SECONDS="20")
        at_the_end = len(writers.acknowledged)
        while len(writers.acknowledged) < at_the_end + 50:  # they go on, on the new database
            time.sleep(0.01)
    assert code == 0, printed
    old = json.loads(printed.splitlines()[-1])["old"]
    new = names(shop, shop.name)
    assert writers.acknowledged <= new
    # Not even what was committed without its answer being heard.
    assert names(shop, old) <= new
    (row,) = shop.project.sql("SELECT max(id) <= nextval('shop_item_id_seq') FROM shop_item")
    assert row == (True,)


def test_readers_go_on_until_the_exchange(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    reader = open_connection(shop.url)
    process = shop.start()
    assert process.stdout is not None
    assert any("writes are blocked now" in line for line in process.stdout)
    reads, longest = 0, 0.0
    cursor = reader.cursor()
    with suppress(Exception):  # until the session is ended
        while process.poll() is None:
            began = time.monotonic()
            cursor.execute("SELECT count(*) FROM shop_item")
            assert cursor.fetchone() == (2000,)
            reads, longest = reads + 1, max(longest, time.monotonic() - began)
            time.sleep(0.01)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert reads > 50
    assert longest < 1


def test_a_number_that_a_sequence_gave_out_meanwhile_is_not_given_out_again(
    shop: Swapping,
) -> None:
    shop.project.sql("CREATE SEQUENCE invoice")
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    process = shop.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    given = shop.project.sql("SELECT nextval('invoice') FROM generate_series(1, 3)")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert given == [(1,), (2,), (3,)]
    assert shop.project.sql("SELECT nextval('invoice')") == [(4,)]


def test_a_table_that_somebody_makes_meanwhile_stops_the_swap(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    process = shop.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    shop.project.sql("CREATE TABLE orders AS SELECT 1 AS amount")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    assert "another session changed the schema" in printed
    assert shop.project.sql("SELECT amount FROM orders") == [(1,)]
    assert shop.databases() == []


def test_writers_that_do_not_end_leave_it_undone(shop: Swapping) -> None:
    holder = open_connection(shop.url)
    cursor = holder.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE shop_item SET name = name WHERE id = 1")
    code, printed = shop.run(LOCK_RETRY_SECONDS="0.5", LOCK_TIMEOUT_MS="100")
    assert code == 4, printed
    assert "in a transaction for" in printed
    cursor.execute("COMMIT")
    holder.close()
    assert shop.databases() == []


def test_what_would_block_readers_behind_the_locks_is_cancelled(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    process = shop.start()
    assert process.stdout is not None
    assert any("writes are blocked now" in line for line in process.stdout)
    with pytest.raises(Exception, match="canceling statement due to user request"):
        shop.project.sql("TRUNCATE shop_item")
    assert shop.project.sql("SELECT count(*) FROM shop_item") == [(2000,)]
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "that blocked readers" in printed


def lock_as_superuser(shop: Swapping) -> None:
    """For readers a table that is locked like this is closed, and so is it while this waits."""
    other = open_connection(shop.admin)
    with closing(other), other.cursor() as cursor:
        cursor.execute("BEGIN; SET LOCAL lock_timeout = '20s'")
        cursor.execute("LOCK TABLE shop_item IN ACCESS EXCLUSIVE MODE")
        cursor.execute("ROLLBACK")


def ends_for_the_readers(shop: Swapping, process: subprocess.Popen[str]) -> None:
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    superuser = shop.admin.partition("//")[2].partition(":")[0]
    assert f"{superuser} (pid " in printed
    assert "which would block readers, and this role may not cancel the request" in printed
    assert printed.count("writes continue") == 1
    assert shop.databases() == []
    shop.project.sql("INSERT INTO shop_item (name) VALUES ('later')")


def test_readers_come_first_where_what_blocks_them_may_not_be_cancelled(
    owner: Swapping, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    owner.project.write("shop/migrations/0006_slow.py", WAITING.format(go=go))
    process = owner.start()
    assert process.stdout is not None
    try:
        assert any("swap: copied" in line for line in process.stdout)
        lock_as_superuser(owner)
        assert owner.project.sql("SELECT count(*) FROM shop_item") == [(2000,)]
        assert process.poll() is None
    finally:
        go.touch()
    ends_for_the_readers(owner, process)


def test_readers_come_first_also_before_the_copy(
    owner: Swapping, tmp_path: Path, postgres: Cluster
) -> None:
    # More than the pipe between the programs holds, and the second of them does not read.
    owner.project.sql(
        "INSERT INTO shop_item (name) SELECT 'more ' || n FROM generate_series(1, 30000) n"
    )
    go, programs = tmp_path / "go", tmp_path / "programs"
    programs.mkdir()
    wait = f'until [ "$1" = --version ] || [ -e {go} ]; do sleep 0.1; done\n'
    for name, first in (("pg_dump", ""), ("pg_restore", wait)):
        real = Path(str(postgres.status().programs)) / name
        (programs / name).write_text(f'#!/bin/sh\n{first}exec {real} "$@"\n')
        (programs / name).chmod(0o755)
    process = owner.start(POSTDO_PG_BIN=str(programs))
    try:
        # Asked as the owner: a superuser's session would have it refused.
        until(lambda: owner.project.sql(DUMPING) == [(True,)], "pg_dump's lock")
        lock_as_superuser(owner)
        assert process.poll() is None
    finally:
        go.touch()
    ends_for_the_readers(owner, process)
