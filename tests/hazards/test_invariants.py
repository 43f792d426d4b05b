"""Three ends and no fourth: searched for with drift, releases and faults that nobody thought of.

``POSTDO_SEARCH=300`` tries that many other cases of each kind, and makes a failing one smaller.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings

from .search_changes import ACCIDENTS, MEETINGS, Case
from .search_world import World, world
from .site import Site

EXAMPLES = 6  # of each kind, always the same: 14 s of CPU
MORE = int(os.environ.get("POSTDO_SEARCH", "0"))
SEARCH = settings(
    max_examples=MORE or EXAMPLES,
    derandomize=not MORE,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink] if MORE else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)
KILLED = -9


@given(case=MEETINGS)
@SEARCH
def test_whatever_a_release_meets_it_is_done_refused_or_undone(
    first_site: Site, tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    """HAZARDS 20 to 41, 50, 57: drift of all sorts, changes that fit it or do not."""
    with world(first_site, tmp_path_factory.mktemp("case"), case) as at:
        ends(at, case)


@given(case=ACCIDENTS)
@SEARCH
def test_whenever_it_is_disturbed_the_release_is_done_refused_or_undone(
    first_site: Site, tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    """HAZARDS 42 to 46, 51, 52: killed, cancelled, disconnected, locked out, at any moment."""
    with world(first_site, tmp_path_factory.mktemp("case"), case) as at:
        code = ends(at, case)
        if code == 0:
            return
        again = at.site.run("migrate", **dict(case.policies))
        assert again.code == 0, again.out + again.err
        at.assert_equals_twin()
        assert at.site.scratch_databases() == []


def ends(at: World, case: Case) -> int:
    """Run the case, and assert that it ends in one of the three ways; the exit code.

    Whoever was killed may have been so after COMMIT: that is 0 here.
    """
    before = at.site.untouched()
    ended = at.run(case)
    event(f"exit code {ended.code}")
    note(f"exit code {ended.code}\n{ended.out}")
    assert ended.code in ((0, 3, 4, KILLED) if case.fault.kind == "kill" else (0, 3, 4))
    assert "Traceback" not in ended.out
    unchanged = at.site.untouched() == before
    if ended.code in (3, 4):
        assert unchanged, "it says that nothing was changed"
    if ended.code == 0 or not unchanged:
        plain = at.migrate_twin()
        note(f"plain migrate: {plain.code}\n{plain.err}")
        assert plain.code == 0
        at.assert_equals_twin()
        return 0
    assert ended.code == KILLED or at.site.scratch_databases() == []
    if case.fault.kind:
        at.migrate_twin()
    return ended.code
