"""`dump` and `load`, between modes, and in a mode that does not run."""

from __future__ import annotations

import json

from .clone import Clone


def test_a_dump_of_development_is_loaded_into_production(
    production: Clone, development: Clone
) -> None:
    development.admin("DEV_PORT").add_user("moved@example.com")
    assert "moved@" not in production.query("prod", "SELECT email FROM accounts_user")

    development.run("-1", "dump", "data.json")
    rows = json.loads((development.root / "data.json").read_text())
    loaded = production.run("-0", "load", "data.json")

    assert {"auth.permission", "contenttypes.contenttype"}.isdisjoint(row["model"] for row in rows)
    assert "Installed" in loaded.text
    assert "moved@" in production.query("prod", "SELECT email FROM accounts_user")


def test_a_dump_is_for_its_owner_alone_and_replaces_the_old_one_only_when_whole(
    development: Clone,
) -> None:
    development.write("data.json", "the dump before")

    failed = development.run("-1", "dump", "data.json", "no_such_app", ok=False)

    failed.refused("the dump failed", "run the command again")
    assert (development.root / "data.json").read_text() == "the dump before"
    assert not (development.root / "data.json.part").exists()

    development.run("-1", "dump", "data.json", "accounts")
    assert (development.root / "data.json").stat().st_mode & 0o777 == 0o600
    assert "the dump before" not in (development.root / "data.json").read_text()


def test_a_broken_fixture_changes_nothing(development: Clone) -> None:
    before = development.query("dev", "SELECT count(*) FROM accounts_user")
    good = {"model": "accounts.user", "fields": {"email": "half@example.com", "password": "x"}}
    now = {"created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z"}
    good["fields"] |= now  # type: ignore[operator]  # a dict among values of several kinds
    bad = {"model": "accounts.no_such_model", "fields": {}}
    development.write("data.json", json.dumps([good, bad]))

    failed = development.run("-1", "load", "data.json", ok=False)

    failed.refused("nothing was loaded", "run the command again")
    assert development.query("dev", "SELECT count(*) FROM accounts_user") == before
