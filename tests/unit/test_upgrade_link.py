"""db/upgrade.sh while the site serves: two majors that follow each other, on real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from two_majors import PROJECT, Pair, two_majors
from waiting import until

from embedded_postgres.application import OWNER

SITE = """
SET ROLE site;
CREATE TABLE item (id bigserial PRIMARY KEY, name text, price numeric);
CREATE TABLE part (item_id bigint REFERENCES item, number int, PRIMARY KEY (item_id, number));
CREATE TABLE big (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text);
INSERT INTO item (name, price) SELECT 'item ' || n, n FROM generate_series(1, 1000) AS n;
INSERT INTO big (text) SELECT repeat(md5(n::text), 200) FROM generate_series(1, 300) AS n;
"""
SHOWN = "SELECT count(*), max(id) FROM item"


@pytest.fixture(scope="module")
def linked() -> Iterator[Pair]:
    """The newer one follows the older one, which serves."""
    with two_majors() as pair:
        pair.query(pair.live, SITE, "shop")
        assert pair.upgrade("obstacles").stdout == ""
        for words in (("copy", "definitions"), ("follow",)):
            done = pair.upgrade(*words)
            assert done.returncode == 0, done.stderr
        pair.query(pair.live, "INSERT INTO item (name) VALUES ('meanwhile')", "shop")
        until(lambda: copied(pair), "the rows to be copied")
        yield pair


def copied(pair: Pair) -> bool:
    facts = dict(line.split("=") for line in pair.upgrade("copied").stdout.split())
    return facts["copied"] == facts["tables"] == "3"


def turned(pair: Pair) -> Pair:
    """The other one serves, and is followed, by the steps of run.sh; what is written waits."""
    assert pair.upgrade("catch-up", "60").returncode == 0
    done = pair.upgrade("hand-over")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    back = Pair(pair.other, pair.live)
    relinked = back.upgrade("relink")
    assert relinked.returncode == 0, relinked.stderr
    return back


def test_rows_written_on_either_are_on_the_other_and_numbers_go_on(linked: Pair) -> None:
    linked.query(linked.live, "UPDATE item SET price = -1 WHERE id = 7", "shop")
    linked.query(linked.live, "SELECT nextval('item_id_seq')", "shop")

    back = turned(linked)

    assert back.query(back.live, SHOWN, "shop") == "1001|1001"
    assert back.query(back.live, "SELECT price FROM item WHERE id = 7", "shop") == "-1"
    new = "INSERT INTO item (name) VALUES ('on the new one') RETURNING id"
    assert back.query(back.live, new, "shop") == "1003"
    back.query(back.live, "DELETE FROM big WHERE id <= 100", "shop")

    forward = turned(back)

    assert forward.live is linked.live
    assert forward.query(forward.live, SHOWN, "shop") == "1002|1003"
    assert forward.query(forward.live, "SELECT count(*) FROM big", "shop") == "200"
    assert forward.query(forward.live, new, "shop") == "1004"
    assert forward.upgrade("catch-up", "60").returncode == 0
    compared = forward.upgrade("equal")
    assert (compared.returncode, compared.stdout) == (0, "")
    # Nothing went round: each has one slot and one subscription at most, and one direction.
    slots = "SELECT count(*) FROM pg_replication_slots"
    followers = "SELECT count(*) FROM pg_subscription"
    found = [
        forward.query(one, sql)
        for one in (forward.live, forward.other)
        for sql in (slots, followers)
    ]
    assert found == ["1", "0", "0", "1"]


def test_a_turn_that_is_not_finished_is_taken_back(linked: Pair) -> None:
    for words in (("catch-up", "60"), ("turn",), ("fence",)):
        assert linked.upgrade(*words).returncode == 0
    limit = "SELECT datconnlimit FROM pg_database WHERE datname = 'shop'"
    assert linked.query(linked.live, limit) == "0"

    for _ in range(2):
        done = linked.upgrade("relink")
        assert done.returncode == 0, done.stderr

    assert linked.query(linked.live, limit) == "-1"
    linked.query(linked.live, "INSERT INTO part SELECT id, 1 FROM item WHERE id < 9", "shop")
    assert linked.upgrade("catch-up", "60").returncode == 0
    assert linked.query(linked.other, "SELECT count(*) FROM part", "shop") == "8"
    assert linked.query(linked.other, "SELECT count(*) FROM pg_replication_slots") == "0"


def test_nothing_is_handed_over_where_a_row_differs(linked: Pair) -> None:
    change = "UPDATE item SET price = coalesce(price, 0) {} 1 WHERE id = 5"
    linked.query(linked.other, change.format("+"), "shop")
    try:
        assert linked.upgrade("catch-up", "60").returncode == 0
        refused = linked.upgrade("hand-over")
        assert (refused.returncode, refused.stdout) == (1, "these differ:\ntable public.item\n")
        slots = "SELECT count(*) FROM pg_replication_slots"
        assert linked.query(linked.other, slots) == "0"
    finally:
        linked.query(linked.other, change.format("-"), "shop")


def test_nobody_writes_while_the_input_of_the_lock_is_open(linked: Pair) -> None:
    insert = "SET lock_timeout = '100ms'; INSERT INTO item (name) VALUES ('late')"
    with subprocess.Popen(
        ["sh", str(PROJECT / "db/upgrade.sh"), "lock", OWNER],
        env=linked.surroundings(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as lock:
        assert lock.stdout is not None
        assert lock.stdout.readline() == "locked\n"
        assert linked.query(linked.live, SHOWN, "shop"), "it can be read"
        with pytest.raises(AssertionError, match="lock timeout"):
            linked.query(linked.live, insert, "shop")
        lock.kill()  # what is left of it loses its input
        lock.communicate()

    def is_written() -> bool:
        try:
            linked.query(linked.live, insert, "shop")
        except AssertionError:
            return False
        return True

    until(is_written, "the lock to end")


def test_a_change_of_a_definition_is_seen_and_one_of_a_row_is_not(linked: Pair) -> None:
    before = linked.upgrade("definitions").stdout
    linked.query(linked.live, "INSERT INTO item (name) VALUES ('x')", "shop")
    assert linked.upgrade("definitions").stdout == before

    linked.query(linked.live, "CREATE INDEX item_name ON item (name)", "shop")
    try:
        assert linked.upgrade("definitions").stdout != before
    finally:
        linked.query(linked.live, "DROP INDEX item_name", "shop")


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE odd (x int)", "the table odd has no primary key"),
        ("CREATE UNLOGGED TABLE odd (x int PRIMARY KEY)", "the table odd is unlogged"),
        ("CREATE MATERIALIZED VIEW odd AS SELECT 1 AS x", "there is a materialized view: odd"),
        ("SELECT lo_create(77)", "there are large objects"),
        ("CREATE PUBLICATION odd FOR TABLE item", "there is a publication: odd"),
    ],
)
def test_what_cannot_follow_is_named(linked: Pair, sql: str, reason: str) -> None:
    linked.query(linked.live, sql, "shop")
    kind = sql.partition(" odd")[0].replace("CREATE ", "").replace("UNLOGGED ", "")
    undo = "SELECT lo_unlink(77)" if "lo_" in sql else f"DROP {kind} odd"
    try:
        assert linked.upgrade("obstacles").stdout == f"{reason}\n"
    finally:
        linked.query(linked.live, undo, "shop")


def test_another_database_with_tables_cannot_follow(linked: Pair) -> None:
    linked.query(linked.live, "CREATE TABLE elsewhere (x int PRIMARY KEY)", "postgres")
    try:
        reasons = linked.upgrade("obstacles").stdout
        assert reasons == "the database postgres has tables too\n"
    finally:
        linked.query(linked.live, "DROP TABLE elsewhere", "postgres")
