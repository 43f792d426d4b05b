"""django CMS 3.7 with pages in it becomes the newest django CMS; and a new one."""

from __future__ import annotations

import pytest

from .cms import CMS
from .no_false_refusal import (
    Pair,
    starts_as_plain_migrate_does,
    upgrades_as_plain_migrate_does,
)
from .sites import Real


@pytest.fixture(scope="module")
def real() -> Real:
    """The project of this module."""
    return CMS


def test_an_old_site_with_pages_in_two_languages_is_upgraded_and_equals_plain_migrate(
    upgraded: Pair,
) -> None:
    upgrades_as_plain_migrate_does(upgraded)


# From nothing only this one, which takes a third of the time of the two others.
def test_a_new_site_is_done_and_equals_plain_migrate(new: Pair) -> None:
    starts_as_plain_migrate_does(new)
