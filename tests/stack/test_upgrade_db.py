"""`upgrade-db`: production from PostgreSQL 17 to 18 and back, with all that was written."""

from __future__ import annotations

from .clone import Clone
from .test_postgres_image import volumes

ROWS = "SELECT string_agg(name, ' ' ORDER BY number) FROM numbered"
VERSION = "SHOW server_version_num"


def add_row(clone: Clone, name: str) -> None:
    clone.query("prod", f"INSERT INTO numbered (name) VALUES ('{name}')")  # noqa: S608


def test_to_18_and_back_and_to_18_for_good(fresh: Clone) -> None:
    fresh.environment["POSTGRES_IMAGE"] = "postgres:17"
    fresh.run("-0")
    visitor = fresh.visitor("HTTP_PORT")
    fresh.query("prod", "CREATE TABLE numbered (number bigserial PRIMARY KEY, name text)")
    add_row(fresh, "one")
    del fresh.environment["POSTGRES_IMAGE"]  # .env has 18

    fresh.run("-0", ok=False).refused("was created by PostgreSQL 17", "upgrade-db")
    fresh.run("-0", "upgrade-db", ok=False).refused("the site will be down for about", "--yes")
    fresh.run("-0", "upgrade-db", "--yes")

    assert fresh.query("prod", VERSION).startswith("18")
    assert fresh.query("prod", ROWS) == "one"
    assert visitor.is_up()
    assert volumes(fresh) == {f"{fresh.project('prod')}_prod-data"}
    add_row(fresh, "two")

    fresh.run("-0", "upgrade-db", "--back", "--yes")

    assert fresh.query("prod", VERSION).startswith("17")
    assert fresh.query("prod", ROWS) == "one"
    assert visitor.is_up()

    fresh.run("-0", "upgrade-db", "--yes")
    fresh.run("-0")  # built with the programs of 18
    fresh.run("-0", "backup")
    fresh.run("-0", "upgrade-db", "--finish")
    fresh.run("-0", "stop")
    fresh.run("-0", "--no-build")

    assert fresh.query("prod", VERSION).startswith("18")
    assert fresh.query("prod", ROWS) == "one"
    assert visitor.is_up()
