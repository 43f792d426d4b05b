"""A release with every message in other words: nothing but people reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rewording import reword

from .clone import Clone, make_clone, make_origin
from .runs import TimedResult
from .test_schema_changes import (
    COLUMNS,
    NOWHERE_ELSE,
    REFUSED,
    ROWS,
    UNDONE,
    add,
    add_shop,
    backups,
    change,
    keep,
    untouched,
    with_fields,
)

REWORDED = re.compile(r"\bre(applied|delete|would|column|only|from|there)\b")


@pytest.fixture
def site(engine: None, tmp_path: Path, clones: list[Clone]) -> Iterator[Clone]:
    """A clone of a kit in which all messages have other words, with a shop; nothing started."""
    origin = tmp_path / "postdo"
    make_origin(origin, prepare=reword)
    clone = make_clone(origin)
    clones.append(clone)
    add_shop(clone)
    try:
        yield clone
    finally:
        clones.remove(clone)
        clone.remove()


def ends(clone: Clone, status: int, *arguments: str) -> TimedResult:
    """Run -0, which ends with that status, one error in other words, and its remedy below."""
    run = clone.run("-0", *arguments, ok=False)
    assert run.status == status, run
    lines = [line for line in run.err.splitlines() if not line.startswith("  | ")]
    assert [line[:8] for line in lines] == ["error: " + lines[0][7], "  next: ", "  log:  "], run
    return run


def test_a_release_a_refusal_and_an_approval_end_as_they_do_in_the_usual_words(
    site: Clone,
) -> None:
    released = site.run("-0")
    told = r"done \(\d+ s\)\n  go: \d+ .*\n  migrated: \d+ reapplied "
    assert re.search(told, released.out), released
    site.query("prod", ROWS)

    fields = with_fields({}, site)
    del fields["note"]
    change(site, fields, 'migrations.RemoveField("thing", "note")')
    with untouched(site):
        refused = ends(site, REFUSED)
    assert REWORDED.search(refused.err), refused
    assert "shop_thing.note" in refused.err
    assert "  | " in refused.err, "the reasons"
    approve = re.search(r"^  next: .*: sh run.sh (-0 --approve [0-9a-f]{12})\b", refused.err, re.M)
    assert approve, refused

    approved = site.run(*approve[1].split())
    assert re.search(r"\n  approved: .*\n  backup .*: backups/\S+\n", approved.out), approved
    assert "note" not in site.query("prod", COLUMNS).split()
    assert len(backups(site)) == 1
    keep(site)

    field = "models.IntegerField(db_default=0)"
    change(site, with_fields({"half": field}, site), add("half", field), NOWHERE_ELSE)
    with untouched(site):
        undone = ends(site, UNDONE)
    assert "only in production" in undone.err, "the migration's own words"

    # What PostgreSQL's own side finds.
    site.set_in_env(POSTGRES_DB="other")
    other = ends(site, 1)
    assert re.search(r"^error: .* other, .*\n  next: .*POSTGRES_DB", other.err, re.M), other
