"""Wagtail 2.7 with revisions in it becomes the newest Wagtail; and a new one."""

from __future__ import annotations

import pytest

from .no_false_refusal import (
    Pair,
    starts_as_plain_migrate_does,
    upgrades_as_plain_migrate_does,
)
from .sites import Real
from .wagtail import WAGTAIL


@pytest.fixture(scope="module")
def real() -> Real:
    """The project of this module."""
    return WAGTAIL


def test_an_old_site_with_revisions_is_upgraded_and_equals_plain_migrate(upgraded: Pair) -> None:
    upgrades_as_plain_migrate_does(upgraded)


# From nothing only this one: the two others have shorter histories, of the same kinds.
def test_a_new_site_is_done_and_equals_plain_migrate(new: Pair) -> None:
    starts_as_plain_migrate_does(new)
