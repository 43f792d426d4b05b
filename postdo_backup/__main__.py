"""The command line: ``python -m postdo_backup`` with ``create``, ``check``, ``list``, and using.py.

Exit codes: 0 done; 1 it failed, or the set is damaged, with a line that says what and one that says
what to do; 2 wrong usage. With ``POSTDO_RESULT`` the same is in a file of facts
(docs/result-file.md).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from postdo.base.formatting import line
from postdo.base.result import Facts
from postdo_backup import using
from postdo_backup.check import check
from postdo_backup.create import Request, create
from postdo_backup.errors import BackupFailed, Damaged
from postdo_backup.listing import as_json, as_text, entries, prune
from postdo_backup.restore import Different
from postdo_backup.retention import Rules
from postdo_backup.source import Source

Command = Callable[[argparse.Namespace, Facts], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    signal.signal(signal.SIGTERM, _stop)  # as PID 1 of a container it has no default action
    asked = _parser().parse_args(arguments)
    before = os.umask(0o077)
    try:
        return _run(asked)
    finally:
        os.umask(before)


def _run(asked: argparse.Namespace) -> int:
    command: Command = asked.run
    facts = Facts()
    code, ending = 0, [("outcome", "done"), ("exit", "0")]
    try:
        command(asked, facts)
    except BackupFailed as error:
        code = 1
        ending = [("outcome", "failed"), ("exit", "1")]
        ending += [("what", error.what), ("next", error.next_step)]
        if isinstance(error, Damaged):
            ending += [("damaged", "yes")]
        if isinstance(error, Different):
            ending += [("detail", each) for each in error.lines]
        print(f"{line(error.what)}\n  {line(error.next_step)}", file=sys.stderr)
    if path := os.environ.get("POSTDO_RESULT"):
        facts.write(Path(path), ending)
    return code


def _create(asked: argparse.Namespace, facts: Facts) -> None:
    request = Request(
        final=asked.set.absolute(),
        address=asked.database,
        globals=asked.globals,
        uploads=asked.uploads,
        site=asked.site,
        env=asked.env,
        override=asked.override,
        recipient=asked.recipient or None,
        bucket=asked.bucket or None,
        facts={"project": asked.project, "mode": asked.mode, "why": asked.why},
        image=_known(image=asked.postgres_image, image_id=asked.postgres_image_id),
        release=_known(number=asked.release, revision=asked.revision, image_id=asked.image_id),
    )
    manifest = create(request)
    facts.add("set", request.final.name)
    facts.add("bytes", sum(file.bytes for file in manifest.files))
    if asked.daily:  # only now that the new one is whole
        rules = Rules(asked.daily, asked.weekly, asked.monthly)
        try:
            gone = prune(request.final.parent, asked.project, asked.mode, rules, _now())
        except OSError as error:
            facts.add("warning", f"old backups could not be removed: {error.strerror or error}")
        else:
            facts.add("removed", *gone)


def _list(asked: argparse.Namespace, _: Facts) -> None:
    places: dict[str, list[str]] = {}
    for word in asked.elsewhere:
        name, _, place = word.partition("=")
        places.setdefault(name, []).append(place)
    found = entries(asked.folder, places)
    print(as_json(found) if asked.json else as_text(found, _now()), end="")


def _check(asked: argparse.Namespace, facts: Facts) -> None:
    folder = asked.folder.absolute()
    manifest = check(folder)
    if asked.identity:
        Source(folder, manifest, asked.identity).require_key()
    facts.add("set", asked.folder.name)
    facts.add("bytes", sum(file.bytes for file in manifest.files))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m postdo_backup")
    commands = parser.add_subparsers(required=True)
    create_parser = commands.add_parser("create", help="write a set")
    create_parser.set_defaults(run=_create)
    add = create_parser.add_argument
    add("--set", type=Path, required=True, help="the folder that the finished set will be")
    add("--database", required=True, help="URL or connection string; see also PGPASSWORD")
    add("--globals", type=Path, help="output of pg_dumpall --globals-only; else it is run")
    add("--uploads", type=Path, help="folder of the uploads")
    add("--site", type=Path, help="folder of the clone")
    add("--env", type=Path, help="the file .env")
    add("--override", type=Path, help="the file docker-compose.override.yml")
    add("--bucket", help="where the uploads are that are not in the folder")
    add("--recipient", help="age recipient for whom the files are encrypted")
    for name in ("daily", "weekly", "monthly"):
        add(f"--{name}", type=int, default=0, help="how many sets of the schedule are kept")
    add("--project", default="")
    add("--mode", default="prod")
    add("--why", default="command", help="what takes the backup")
    for name in ("postgres-image", "postgres-image-id", "release", "revision", "image-id"):
        add(f"--{name}", default="")
    list_parser = commands.add_parser("list", help="what is in the folder of the backups")
    list_parser.set_defaults(run=_list)
    list_parser.add_argument("folder", type=Path)
    list_parser.add_argument("--json", action="store_true")
    list_parser.add_argument("--elsewhere", action="append", default=[], metavar="SET=PLACE")
    check_parser = commands.add_parser("check", help="read every file of a set")
    check_parser.set_defaults(run=_check)
    check_parser.add_argument("folder", type=Path)
    check_parser.add_argument("--identity", type=Path, help="the key of age, to be tried too")
    using.add_to(commands)
    return parser


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _known(**found: str) -> dict[str, str]:
    return {key: value for key, value in found.items() if value}


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
