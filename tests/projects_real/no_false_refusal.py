"""The promise of this folder: what plain ``migrate`` does, postdo does too, to the same end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .sites import Installed, Real


@dataclass(frozen=True)
class Pair:
    """The newest release on two equal databases: one for plain ``migrate``, one for postdo."""

    real: Real
    plain: Installed
    careful: Installed


def upgrades_as_plain_migrate_does(pair: Pair) -> None:
    """From the old release, with what its own history makes an owner approve."""
    applied = _ends_done_and_equal(pair, pair.real.policies)
    assert applied >= pair.real.least_pending


def starts_as_plain_migrate_does(pair: Pair) -> None:
    """From nothing, and nothing to approve."""
    assert _ends_done_and_equal(pair, {}) > pair.real.least_pending


def _ends_done_and_equal(pair: Pair, policies: Mapping[str, str]) -> int:
    """Migrate both ways: done, equal, no drift, and a second time there is nothing to do.

    In one transaction. Returns how many migrations postdo applied.
    """
    pair.plain.plain()
    done = pair.careful.postdo("migrate", "--json", **policies)
    assert done.code == 0, done.out + done.err
    result = done.report["result"]
    assert result["mode"] == "transaction", done.out + done.err

    careful, plain = pair.careful.database(), pair.plain.database()
    assert careful.schema == plain.schema
    assert careful.differs_from(plain) == []

    again = pair.careful.postdo("migrate")
    assert again.code == 0, again.out + again.err
    assert "nothing to migrate" in again.out
    assert "rehears" not in again.out + again.err

    drift = pair.careful.postdo("drift")
    assert drift.code == 0, drift.out + drift.err
    return len(result["applied"])
