"""Sets off the machine: ``python -m postdo_backup.offsite``, in a repository of restic.

A set is a snapshot there, tagged with its name. ``copy`` brings what is missing there, reads back
a part of what is there each time and a whole set once a month, and removes what the rules of
retention no longer keep. ``fetch`` brings a set back. All of it is checked by SHA256SUMS.

Exit codes: 0 done; 1 it failed; 2 wrong usage. With ``POSTDO_RESULT`` what came of it is in a file
of facts (docs/result-file.md).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from postdo.base.formatting import line
from postdo.base.result import Facts
from postdo_backup.check import PART, check
from postdo_backup.errors import BackupFailed, Damaged
from postdo_backup.folder import unfinished
from postdo_backup.manifest import MANIFEST, file_of, read
from postdo_backup.restic import AGAIN, NoRepository, Repository
from postdo_backup.retention import Candidate, Rules, removable
from postdo_backup.verified import verification

OURS, CHECKED, NAME, WHY = "postdo", "verified", "set=", "why="  # tags of a snapshot
PARTS = 30  # of the repository, of which each night reads back one
WHOLE_AFTER = timedelta(days=30)  # a whole set is read back as often
SPARE = 100 * 1024 * 1024  # bytes that stay free beside a set that is brought here
FACTS = "facts"
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Copy:
    """A set in the repository.

    ``snapshot``: its id. ``set``: what retention asks of it; ``verified`` as it was when it was
    copied. ``bytes``: of all its files; 0 if restic, before 0.17, does not tell.
    """

    set: Candidate
    snapshot: str
    project: str
    bytes: int = 0

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.set.name


@dataclass(frozen=True)
class Offsite:
    """The repository, the sets here (``backups``), and what is kept of both (``state``)."""

    repository: Repository
    backups: Path
    state: Path
    project: str
    rules: Rules = field(default_factory=Rules)

    def copies(self) -> list[Copy]:
        """All sets there, the oldest first; of other projects too."""
        found = self.repository.read("snapshots", "--tag", OURS) or []
        return sorted((_copy_of(each) for each in found), key=lambda copy: copy.name)

    def copy(self, now: datetime) -> Facts:
        """Copy the sets that are not there yet, read back, and remove what is not to be kept."""
        self.repository.require()
        there = {copy.name: copy for copy in self._begin() if copy.project == self.project}
        here = {found.name: found for found in self._sets()}
        all_of_them = {name: copy.set for name, copy in there.items()} | here
        unwanted = removable(all_of_them.values(), self.rules, now)
        damaged: Damaged | None = None
        for name, found in here.items():
            before = there.get(name)
            if name in unwanted or (before and (before.set.verified or not found.verified)):
                continue
            try:
                check(self.backups / name)
            except Damaged as error:
                damaged = damaged or error
                continue
            there[name] = self._copy(found)
            if before:
                self.repository.run("forget", before.snapshot)
        self._keep(there.values(), copied=now)
        part = f"{now.toordinal() % PARTS + 1}/{PARTS}"
        self.repository.run("check", f"--read-data-subset={part}")
        self._keep(there.values(), checked=now)
        if there and self._whole_is_due(now):
            newest = max(there.values(), key=lambda copy: (copy.set.verified, copy.name))
            self._read_back(newest)
            self._keep(there.values(), restored=now, restored_set=newest.name)
        if gone := [there.pop(name) for name in unwanted if name in there]:
            self.repository.run("forget", "--prune", *(copy.snapshot for copy in gone))
            self._keep(there.values())
        if damaged:
            raise Damaged(f"{damaged.what}; that set was not copied", damaged.next_step)
        return self._facts(there.values())

    def fetch(self, name: str) -> Path:
        """Bring a set back to backups/; its folder."""
        self.repository.require()
        copies = self.copies()
        found = [copy for copy in copies if copy.name == name]
        if not found:
            names = ", ".join(copy.name for copy in copies[-3:])
            raise BackupFailed(
                f"there is no set {name} at {self.repository.address}",
                f"name one of those: sh run.sh backup fetch ({names or 'none'})",
            )
        final = self.backups / name
        with unfinished(final) as part:
            self._restore(found[-1], part)
            for path in (part / name).iterdir():
                path.rename(part / path.name)
            (part / name).rmdir()
        return final

    def _begin(self) -> list[Copy]:
        """The sets there; a repository is made the first time, and never again."""
        try:
            return self.copies()
        except NoRepository:
            if self._known("address") == self.repository.address:
                raise BackupFailed(
                    f"the copies at {self.repository.address} are gone",
                    "bring them back (is the disk mounted?), or begin anew there: remove "
                    f".postdo/offsite/{FACTS}; {AGAIN}",
                ) from None
        self.repository.run("init")
        return []

    def _sets(self) -> list[Candidate]:
        """Production's sets here, the oldest first."""
        found = []
        for path in sorted(self.backups.iterdir()):
            if path.name.endswith(PART) or not (path / MANIFEST).is_file():
                continue
            manifest = read(path)
            if (manifest.project, manifest.mode) == (self.project, "prod"):
                verified = verification(path) is not None
                found.append(Candidate(path.name, _time(manifest.made_at), manifest.why, verified))
        return found

    def _copy(self, found: Candidate) -> Copy:
        tags = [OURS, f"{NAME}{found.name}", f"{WHY}{found.why.replace(',', ' ')}"]
        tags += [CHECKED] if found.verified else []
        said = self.repository.run(
            *("backup", "--json", "--quiet", "--host", self.project),
            *("--time", f"{found.made_at:%Y-%m-%d %H:%M:%S}"),
            *(word for tag in tags for word in ("--tag", tag)),
            found.name,  # without the folders above it
            folder=self.backups,
        )
        done = json.loads(said.splitlines()[-1])
        return Copy(found, done["snapshot_id"], self.project, done["total_bytes_processed"])

    def _whole_is_due(self, now: datetime) -> bool:
        last = self._known("restored")
        if self._known("address") != self.repository.address or not last:
            return True
        return now - _time(last) >= WHOLE_AFTER

    def _read_back(self, copy: Copy) -> None:
        """Restore a whole set, compare it, and remove it again."""
        scratch = self.state / "restored"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        try:
            self._restore(copy, scratch)
            here = self.backups / copy.name / MANIFEST
            if here.is_file() and file_of(here) != file_of(scratch / copy.name / MANIFEST):
                raise Damaged(
                    f"{copy.name} at {self.repository.address} is not the one in backups/",
                    "find out which of them was changed, before you rely on either",
                )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _restore(self, copy: Copy, folder: Path) -> None:
        """The set as a folder below this one, whole."""
        if shutil.disk_usage(folder).free < copy.bytes + SPARE:
            raise BackupFailed(
                f"the disk has no room for {copy.name} ({copy.bytes // 1024**2} MB)",
                "free some disk space, then run the command again",
            )
        self.repository.run("restore", copy.snapshot, "--target", str(folder))
        try:
            check(folder / copy.name)
        except Damaged as error:
            raise Damaged(
                f"{copy.name} came back damaged from {self.repository.address}: {error.what}",
                "use another set, and do not rely on the copies there",
            ) from error

    # --- What is kept of it, for run.sh: KEY=VALUE a line ---

    def _known(self, key: str) -> str:
        path = self.state / FACTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return next((text.partition("=")[2] for text in lines if text.startswith(f"{key}=")), "")

    def _keep(self, copies: Iterable[Copy], **known: datetime | str) -> None:
        here = self._known("address") == self.repository.address
        facts = self._facts(copies)
        for key in ("copied", "checked", "restored", "restored_set"):
            value = known.get(key) or (self._known(key) if here else "")
            if value:
                facts.add(key, f"{value:{TIME}}" if isinstance(value, datetime) else value)
        facts.write(self.state / FACTS)

    def _facts(self, copies: Iterable[Copy]) -> Facts:
        facts = Facts()
        facts.add("address", self.repository.address)
        facts.add("set", *sorted(copy.name for copy in copies))
        return facts


def _copy_of(snapshot: Mapping[str, Any]) -> Copy:
    tags = snapshot["tags"]
    name, why = (
        next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), "")
        for prefix in (NAME, WHY)
    )
    made_at = _time(f"{snapshot['time'][:19]}Z")
    size = int(snapshot.get("summary", {}).get("total_bytes_processed", 0))
    found = Candidate(name, made_at, why, CHECKED in tags)
    return Copy(found, snapshot["id"], snapshot["hostname"], size)


def _time(text: str) -> datetime:
    return datetime.strptime(text, TIME).replace(tzinfo=timezone.utc)


# --- The command line ---


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    signal.signal(signal.SIGTERM, _stop)  # as PID 1 of a container it has no default action
    asked = _parser().parse_args(arguments)
    command: Callable[[Offsite, argparse.Namespace], Facts] = asked.run
    facts, code = Facts(), 0
    ending: list[tuple[str, object]] = [("outcome", "done"), ("exit", 0)]
    try:
        facts = command(_offsite(asked), asked)
    except (BackupFailed, OSError) as error:
        code = 1
        what, next_step = str(error), "fix that, then run the command again"
        if isinstance(error, BackupFailed):
            what, next_step = error.what, error.next_step
        ending = [("outcome", "failed"), ("exit", 1), ("what", what), ("next", next_step)]
        print(f"{line(what)}\n  {line(next_step)}", file=sys.stderr)
    if path := os.environ.get("POSTDO_RESULT"):
        facts.write(Path(path), ending)
    _give_to_owner(asked.state)
    return code


def _copy(offsite: Offsite, _: argparse.Namespace) -> Facts:
    return offsite.copy(datetime.now(timezone.utc))


def _list(offsite: Offsite, _: argparse.Namespace) -> Facts:
    facts = Facts()
    offsite.repository.require()
    facts.add("set", *(copy.name for copy in offsite.copies()))
    return facts


def _fetch(offsite: Offsite, asked: argparse.Namespace) -> Facts:
    facts = Facts()
    facts.add("set", offsite.fetch(asked.set).name)
    return facts


def _offsite(asked: argparse.Namespace) -> Offsite:
    given = {key: os.environ.get(f"OFFSITE_{key.upper()}", "") for key in ("user", "secret")}
    repository = Repository(
        address=os.environ["OFFSITE"],
        passphrase=os.environ["OFFSITE_PASSPHRASE"],
        state=asked.state,
        **given,
    )
    rules = Rules(asked.daily, asked.weekly, asked.monthly)
    return Offsite(repository, asked.backups, asked.state, asked.project, rules)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m postdo_backup.offsite")
    parser.add_argument("--backups", type=Path, required=True, help="the folder of the sets")
    parser.add_argument("--state", type=Path, required=True, help="a folder of our own")
    parser.add_argument("--project", default="", help="whose sets are copied")
    for name, count in asdict(Rules()).items():
        parser.add_argument(f"--{name}", type=int, default=count, help="how many sets are kept")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("copy", help="copy what is not there yet").set_defaults(run=_copy)
    commands.add_parser("list", help="name the sets there").set_defaults(run=_list)
    fetch = commands.add_parser("fetch", help="bring a set back")
    fetch.set_defaults(run=_fetch)
    fetch.add_argument("set")
    return parser


def _give_to_owner(state: Path) -> None:
    """Root in a container writes for whoever owns the folder."""
    owner = state.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in state.rglob("*"):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
