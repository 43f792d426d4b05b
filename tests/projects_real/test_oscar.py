"""Oscar 2.1 with orders in it becomes the newest Oscar."""

from __future__ import annotations

import pytest

from .no_false_refusal import Pair, upgrades_as_plain_migrate_does
from .oscar import OSCAR
from .sites import Real


@pytest.fixture(scope="module")
def real() -> Real:
    """The project of this module."""
    return OSCAR


def test_an_old_shop_with_orders_is_upgraded_and_equals_plain_migrate(upgraded: Pair) -> None:
    upgrades_as_plain_migrate_does(upgraded)
