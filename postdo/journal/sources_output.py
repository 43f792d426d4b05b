"""What the ``sources`` command says to people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from postdo.base.context import Run
from postdo.django_migrations.history import Name, dotted
from postdo.journal.journal import Source

KIT_BACKUPS = Path("/backups")  # docker-compose.prod.yml
WORDS = {
    "edited": "was edited after it was applied",
    "missing": "was applied, and its file is missing",
    "unapplied": "is archived, and not recorded as applied",
}


def outside(run: Run, target: Path) -> str:
    """Its path on the host: in the kit the folder of the backups is mounted from there."""
    folder = run.config.backups or KIT_BACKUPS
    if run.config.in_kit and target.is_relative_to(folder):
        return f"backups/{target.relative_to(folder)}"
    return str(target)


def put_back(run: Run, source: Source, into: Path | None) -> str:
    """What to do with a file that was restored; ``into``: the folder that was asked for."""
    if into is None:
        return "commit the file, release again"
    place = Path(source.path)
    if place.is_absolute():
        return f"it came with a package ({place}): install the version that has it"
    folder = "web" / place.parent if run.config.in_kit else place.parent
    return f"copy it to {folder}/, commit, release again"


def say(run: Run, found: Mapping[Name, str], restored: Collection[Name] = ()) -> None:
    """How many are archived, which of them are not as they were, and what to do then."""
    archived = sum(state != "unarchived" for state in found.values())
    run.console.say(f"{archived} applied migrations are archived")
    for name, state in found.items():
        if state in ("edited", "missing", "unapplied"):
            run.console.say(f"{dotted((name,))} {WORDS[state]}")
    unarchived = sum(state == "unarchived" for state in found.values())
    if unarchived:
        run.console.say(f"{unarchived} more were applied and are not archived yet")
    edited = [name for name, state in found.items() if state == "edited" and name not in restored]
    if edited:
        into = "" if run.config.in_kit else " --into FOLDER"  # the kit has a folder for it
        archive = run.config.postdo(f"sources --restore {dotted((edited[0],))}{into}")
        run.console.say(f"next: compare with what was applied: {archive}")
    missing = [name for name, state in found.items() if state == "missing" and name not in restored]
    if missing:
        words = " ".join(dotted((name,)) for name in missing)
        run.console.say(f"next: {run.config.postdo(f'sources --restore {words}')}")
