"""What a failed rehearsal is known by: marks and parts, and never the words of a message."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest

from postdo.base.config import Policies
from postdo.plan.decide import decide
from postdo.rehearsal import limits
from postdo.rehearsal.file_changes import FileChange
from postdo.rehearsal.limits import limit_of, marked


def connect() -> None:
    """A library that says in words of its own that it could not connect."""
    try:
        raise marked(ConnectionRefusedError("in any words"), limits.NETWORK)
    except OSError:
        raise RuntimeError("try again later") from None


def test_a_limit_is_found_behind_the_error_of_a_library_that_met_it() -> None:
    with pytest.raises(RuntimeError) as caught:
        connect()

    assert limit_of(caught.value) == limits.NETWORK
    assert limit_of(RuntimeError("the network is closed in the rehearsal")) == ""


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (FileChange("media", "removed", ("c", "d")), True),  # by chance, mostly
        (FileChange("media", "removed", tuple(map(str, range(10)))), False),
        (FileChange("media", "renamed", ("a", "b")), False),
        (FileChange("mail", "removed", ("a", "b")), False),
    ],
)
def test_an_approval_is_for_what_is_done_to_how_many_files_where(
    other: FileChange, *, same: bool
) -> None:
    one = plans.findings(
        rehearsal=plans.rehearsal(files=(FileChange("media", "removed", ("a", "b")),))
    )
    another = replace(one, rehearsal=plans.rehearsal(files=(other,)))
    first, second = decide(one, Policies()), decide(another, Policies())

    assert first.verdict == "ask"
    assert "would change files in media: 2 removed (a, b)" in first.headline
    assert (first.checksum == second.checksum) is same
