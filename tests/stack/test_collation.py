"""Another C library under PostgreSQL: noticed, the indexes named, and rebuilt in one step."""

from __future__ import annotations

import subprocess

import pytest

from .clone import Clone
from .servers import SUPERUSER, Server

OTHER = "UPDATE pg_database SET datcollversion = '2.31'"
TABLES = """
CREATE TABLE person (id serial PRIMARY KEY, name text UNIQUE, code text COLLATE "C" UNIQUE,
                     german text COLLATE "de-x-icu");
CREATE INDEX by_german ON person (german);
CREATE MATERIALIZED VIEW names AS SELECT name FROM person;
CREATE INDEX by_name ON names (name);
"""


def collation(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run db/collation.sh as the kit does."""
    return subprocess.run(
        [
            *("docker", "exec", "-u", "postgres", server.name, "sh", "/etc/postdo/collation.sh"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def indexes(server: Server, *arguments: str) -> set[str]:
    """The indexes that `look` names."""
    done = collation(server, "look", SUPERUSER, *arguments)
    assert done.returncode == 0, done.stderr
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return {words[2] for words in lines if words[0] == "index"}


@pytest.fixture(scope="module")
def filled(own_server: Server) -> Server:
    """A site's database with indexes of each kind of collation; the last test here breaks one."""
    own_server.settle()
    own_server.query("site", TABLES)
    return own_server


def test_the_indexes_that_may_miss_rows_are_named_and_rebuilt(filled: Server) -> None:
    assert collation(filled, "look", SUPERUSER).stdout == ""
    by_default = {"public.person_name_key", "public.by_name"}
    # The next image has another one: told while the old one runs.
    assert indexes(filled, "2.99") == by_default
    filled.query(SUPERUSER, f"{OTHER} WHERE datname <> 'template0'")
    assert indexes(filled) == by_default
    filled.query(SUPERUSER, "UPDATE pg_collation SET collversion = '1' WHERE collname = 'de-x-icu'")
    assert indexes(filled) == {*by_default, "public.by_german"}

    assert collation(filled, "rebuild", SUPERUSER).returncode == 0

    assert collation(filled, "look", SUPERUSER).stdout == ""
    stale = "SELECT count(*) FROM pg_database WHERE datcollversion = '2.31'"
    assert filled.query(SUPERUSER, stale) == "0"


def test_two_equal_rows_in_a_unique_index_end_the_rebuild_before_a_version_is_noted(
    filled: Server,
) -> None:
    filled.query("site", "INSERT INTO person (name) VALUES ('same'), ('other')")
    # What an index out of order lets in: past it, straight into the table.
    filled.query(
        SUPERUSER,
        "UPDATE pg_index SET indisready = false, indisvalid = false, indislive = false "
        "WHERE indexrelid = 'person_name_key'::regclass; ",
    )
    filled.query("site", "INSERT INTO person (name) VALUES ('same')")
    filled.query(
        SUPERUSER,
        "UPDATE pg_index SET indisready = true, indisvalid = true, indislive = true "
        "WHERE indexrelid = 'person_name_key'::regclass",
    )
    filled.query(SUPERUSER, f"{OTHER} WHERE datname = 'shop'")

    failed = collation(filled, "rebuild", SUPERUSER)

    assert failed.returncode != 0
    assert "Key (name)=(same) is duplicated" in failed.stderr
    assert "public.person_name_key" in indexes(filled)


def test_a_site_is_not_served_on_indexes_out_of_order(production: Clone) -> None:
    stale = f"{OTHER} WHERE datname = 'postdo'"
    production.run("-0", "psql", "-U", SUPERUSER, "-c", stale)
    production.write("web/note.txt", "another version\n")
    live = production.live()

    refused = production.run("-0", ok=False)

    refused.refused("another version of the C library", "sh run.sh -0 reindex --yes")
    assert "accounts_user_email" in refused.err, "the indexes are named"
    assert production.live() == live
    assert production.visitor("HTTP_PORT").is_up()
    for command in ("status", "doctor"):
        assert "sh run.sh -0 reindex" in production.run(command, ok=False).text
    asked = production.run("-0", "reindex", ok=False)
    assert asked.status == 2
    assert "accounts_user_email" in asked.text

    production.run("-0", "reindex", "--yes")
    production.run("-0")

    assert production.visitor("HTTP_PORT").is_up()
    assert "reindex" not in production.run("-0", "status").text
    assert "nothing to rebuild" in production.run("-0", "reindex").out
