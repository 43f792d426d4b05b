"""What the ``sources`` command says to people."""

from __future__ import annotations

from collections.abc import Mapping

from postdo.base.context import Run
from postdo.django_migrations.history import Name, dotted

WORDS = {
    "edited": "was edited after it was applied",
    "missing": "was applied, but its file is missing",
    "unapplied": "is archived but not recorded as applied",
}


def show(run: Run, name: Name) -> str:
    """The command that prints the text of a migration as it was applied."""
    return run.config.postdo(f"sources --show {dotted((name,))}")


def from_where(run: Run, name: Name) -> str:
    """The remedy: where to find the files of applied migrations, of which ``name`` is one."""
    return f"from version control, or from `{show(run, name)}`"


def say(run: Run, found: Mapping[Name, str]) -> None:
    """Print how many migrations are archived, which of them changed, and what to do then."""
    archived = sum(state != "unarchived" for state in found.values())
    run.console.say(f"{archived} applied migrations are archived")
    for name, state in found.items():
        if state in WORDS:
            run.console.say(f"{dotted((name,))} {WORDS[state]}")
    unarchived = sum(state == "unarchived" for state in found.values())
    if unarchived:
        run.console.say(f"{unarchived} more are applied but not archived yet")
    changed = [name for name, state in found.items() if state in ("edited", "missing")]
    if changed:
        run.console.say(f"next: see the applied version: {show(run, changed[0])}")
