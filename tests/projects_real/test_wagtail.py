"""Wagtail 2.7 with revisions in it becomes the newest Wagtail."""

from __future__ import annotations

import pytest

from .no_false_refusal import Pair, upgrades_as_plain_migrate_does
from .sites import Real
from .wagtail import WAGTAIL


@pytest.fixture(scope="module")
def real() -> Real:
    """The project of this module."""
    return WAGTAIL


def test_an_old_site_with_revisions_is_upgraded_and_equals_plain_migrate(upgraded: Pair) -> None:
    upgrades_as_plain_migrate_does(upgraded)
