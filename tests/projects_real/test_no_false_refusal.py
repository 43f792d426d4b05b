"""What plain ``migrate`` does with real projects, postdo does too, and comes to the same."""

from __future__ import annotations

from collections.abc import Mapping

from .conftest import Pair


def test_an_old_database_with_rows_is_upgraded_and_equals_plain_migrate(upgraded: Pair) -> None:
    plan = upgraded.careful.plan(**upgraded.real.policies)
    assert plan["verdict"] == "go", plan["reasons"]
    assert plan["mode"] == "transaction"
    assert len(plan["pending"]) >= upgraded.real.least_pending

    upgraded.plain.plain()
    ends_done_and_equal(upgraded, policies=upgraded.real.policies)


def test_from_nothing_is_done_and_equals_plain_migrate(new: Pair) -> None:
    plan = new.careful.plan()
    assert plan["verdict"] == "go", plan["reasons"]

    new.plain.plain()
    ends_done_and_equal(new, policies={})


def ends_done_and_equal(pair: Pair, policies: Mapping[str, str]) -> None:
    """Migrate by postdo; it is done, equal, without drift, and a second time there is nothing."""
    done = pair.careful.postdo("migrate", **policies)
    assert done.code == 0, done.out + done.err
    careful, plain = pair.careful.database(), pair.plain.database()
    assert careful.schema == plain.schema
    assert careful.differs_from(plain) == []

    again = pair.careful.postdo("migrate")
    assert again.code == 0, again.out + again.err
    assert "nothing to migrate" in again.out
    assert "rehears" not in again.out + again.err

    drift = pair.careful.postdo("drift")
    assert drift.code == 0, drift.out + drift.err
