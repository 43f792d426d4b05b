"""The command line: parse the arguments, run the command, and turn its outcome into an exit code.

Exit codes: 0 done, or nothing to do; 2 wrong usage or configuration; 3 refused, and nothing was
changed; 4 failed and undone, so that the database is unchanged; 5 failed and not undone. A signal
gives 128 plus its number, as in a shell. ``POSTDO_RESULT`` names a file for the other facts
(``base.result``).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from postdo.base import config
from postdo.base.console import Console, deliver, give_up_unwritten, open_closed
from postdo.base.context import Run
from postdo.base.errors import (
    Misconfigured,
    NotUndone,
    PostdoError,
    Refused,
    Undone,
    one_line,
)
from postdo.base.signals import Stopped, StopSignals

if TYPE_CHECKING:
    from postdo.commands.migrate import Way


@dataclass(frozen=True)
class Outcome:
    """How a run ends: the word for machines, the words for people, the exit code."""

    word: str
    words: str
    code: int


DONE = Outcome("done", "done", 0)
OUTCOMES: dict[type[PostdoError], Outcome] = {
    Misconfigured: Outcome("misconfigured", "misconfigured", 2),
    Refused: Outcome("refused", "refused", 3),
    Undone: Outcome("undone", "failed and undone", 4),
    NotUndone: Outcome("not-undone", "failed and not undone", 5),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code, or becomes the server that ``prepare`` was given."""
    parsed, server = _parse(sys.argv[1:] if arguments is None else list(arguments))
    # As with `python -m`, so that the `postdo` script finds the project too.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    open_closed()
    console = Console(out=_screen(parsed), err=sys.stderr)
    try:
        return _main(parsed, server, console)
    finally:
        give_up_unwritten()


def _main(parsed: argparse.Namespace, server: Sequence[str], console: Console) -> int:
    stop = StopSignals()
    stop.install()
    result_file = config.result_file(os.environ)
    result: object = None
    outcome = DONE
    error: PostdoError | None = None
    try:
        # What a migration prints is no part of an answer for programs.
        with redirect_stdout(sys.stderr) if parsed.json else nullcontext():
            result = _run(parsed, console, stop)
        stop.check()
    except Stopped as stopped:
        console.say(f"stopped by {stopped}")
        console.facts.add("what", f"stopped by {stopped}")
        console.facts.add("next", "run the same command again")
        outcome = Outcome("stopped", str(stopped), stopped.exit_code)
    except PostdoError as expected:
        error = expected
    # The last place that can give it an exit code.
    except (Exception, SystemExit) as unexpected:  # noqa: BLE001
        error = _surprise(unexpected, changing=_is_changing(parsed))
    if error is not None:
        outcome = OUTCOMES[type(error)]
        console.fail(outcome.words, error)
    _write_result(console, result_file, parsed.command, outcome, error)
    if parsed.json:
        report = json.dumps(_report(parsed.command, outcome, result, error), default=str)
        try:
            deliver(sys.stdout, f"{report}\n")
        except Misconfigured as unwritten:
            console.warn(unwritten.what)
            # What was done is done.
            return outcome.code or (0 if _is_changing(parsed) else OUTCOMES[Misconfigured].code)
    if server and outcome is DONE:
        error = _become(server)
        outcome = OUTCOMES[type(error)]
        console.fail(outcome.words, error)
        _write_result(console, result_file, parsed.command, outcome, error)
    return outcome.code


def _screen(parsed: argparse.Namespace) -> TextIO:
    """Where lines for people go: not among what a program reads."""
    for_programs = (
        parsed.json or str(getattr(parsed, "html", "")) == "-" or getattr(parsed, "show", None)
    )
    return sys.stderr if for_programs else sys.stdout


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own arguments, and what follows ``--``: a command that is nobody's but the server's."""
    own, server = arguments, []
    if "--" in arguments:
        end = arguments.index("--")
        own, server = arguments[:end], arguments[end + 1 :]
    parser = _parser()
    parsed = parser.parse_args(own)
    if server and parsed.command != "prepare":
        parser.error(f"{parsed.command} starts no server; only prepare does")
    return parsed, server


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--settings", metavar="M", help="settings module of the project")
    common.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser = argparse.ArgumentParser(
        prog="postdo",
        description="Prepare a PostgreSQL database for a Django project.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, parents=[common], allow_abbrev=False
        )

    add("wait", "wait until the database accepts the project's connections, or fail")
    checking = add("check", "refuse if models have changes that are not in a migration")
    checking.add_argument(
        "--stamp",
        type=Path,
        metavar="FILE",
        help="record success in this file, so that a start skips the check",
    )
    planning = add("plan", "show what would happen, and change nothing")
    planning.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write the report as an HTML page (-: to standard output)",
    )
    drifting = add("drift", "compare the real schema with what the applied migrations produce")
    mending = drifting.add_mutually_exclusive_group()
    for how, text in (
        ("record", "as applied, if the schema proves that it is"),
        ("unrecord", "as not applied, if the schema proves that it is not"),
    ):
        mending.add_argument(f"--{how}", metavar="APP.NAME", help=f"record a migration {text}")
    add("rehearse", "run the pending migrations on a copy of the data, and remove the copy")
    asking = add("needs-copy", "say whether a command needs a base backup for its rehearsal")
    asking.add_argument("of", choices=("plan", "rehearse", "prepare"), help="the command")
    migrating = add("migrate", "apply pending migrations, one process at a time")
    migrating.add_argument(
        "--approve",
        metavar="CHECKSUM",
        help="apply the plan with this checksum, which needs an approval",
    )
    migrating.add_argument(
        "--concurrently",
        action="store_true",
        help=(
            "apply one migration at a time, with CONCURRENTLY as written; a failure is not rolled "
            "back"
        ),
    )
    archive = add("sources", "compare the files of applied migrations with their archived copies")
    archive.add_argument("--show", metavar="APP.NAME", help="print a migration as it was applied")
    add("superuser", "create the superuser that DJANGO_SUPERUSER_* describes, if it is not there")
    add("prepare", "wait, check, migrate, superuser; with -- COMMAND, become that server then")
    return parser


def _run(parsed: argparse.Namespace, console: Console, stop: StopSignals) -> object:
    read = config.read(os.environ, parsed.settings)
    config.announce_settings(read.settings_module)
    config.hide_secrets()
    run = Run(read, console, stop)
    # Imported late, so that a wrong word on the command line does not wait for Django.
    try:
        from postdo.commands import prepare  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the Python package {error.name} is not installed for {sys.executable}",
            "run postdo with the Python of the project's virtual environment",
        ) from error
    simple: dict[str, Callable[[], object]] = {
        "wait": lambda: prepare.wait_only(run),
        "check": lambda: prepare.check_only(run, parsed.stamp),
        "migrate": lambda: prepare.migrate_only(run, _way(parsed, read)),
        "superuser": lambda: prepare.superuser_only(run),
        "prepare": lambda: prepare.prepare(run),
    }
    if parsed.command in simple:
        return simple[parsed.command]()
    from postdo.commands import inspect  # noqa: PLC0415  imports what a start does not need

    return inspect.COMMANDS[parsed.command](run, parsed)


def _way(parsed: argparse.Namespace, read: config.Config) -> Way:
    from postdo.commands.migrate import Way  # noqa: PLC0415  imports Django

    return Way(parsed.approve or read.approval, parsed.concurrently or read.concurrently)


def _is_changing(parsed: argparse.Namespace) -> bool:
    """Whether the command may change the database; the others only look."""
    asked = getattr(parsed, "record", None) or getattr(parsed, "unrecord", None)
    return parsed.command in ("migrate", "superuser", "prepare") or bool(asked)


def _surprise(error: BaseException, *, changing: bool) -> PostdoError:
    from django.db import Error as DatabaseOrInterfaceError  # noqa: PLC0415  Django is there by now

    if isinstance(error, DatabaseOrInterfaceError):
        # Steps that change something report their own failures: this one was only reading.
        return Undone(
            f"database error: {one_line(error)}",
            "check the log of the database, and the privileges of this role",
        )
    traceback.print_exception(error)
    if not changing:
        return Undone(
            f"unexpected {type(error).__name__}: {one_line(error)}",
            "nothing was changed; report the lines above as a bug of postdo",
        )
    return NotUndone(
        f"unexpected {type(error).__name__}: {one_line(error)}",
        "see what is applied with manage.py showmigrations, and report the lines above as a bug of "
        "postdo",
    )


def _report(
    command: str, outcome: Outcome, result: object, error: PostdoError | None
) -> dict[str, Any]:
    report: dict[str, Any] = {"command": command, "exit": outcome.code, "outcome": outcome.word}
    if error is not None:
        return report | {
            "what": error.what,
            "next": error.next_step,
            "details": list(error.details),
            "result": _as_values(error.result),
        }
    return report | {"result": _as_values(result)}


def _as_values(result: object) -> object:
    """What JSON can hold of a result; a plan has a documented form of its own."""
    shaped = getattr(result, "to_values", None)
    if shaped is not None:
        return shaped()
    return asdict(result) if is_dataclass(result) and not isinstance(result, type) else None


def _write_result(
    console: Console,
    path: Path | None,
    command: str,
    outcome: Outcome,
    error: PostdoError | None,
) -> None:
    """Hand the facts to who started us. What was done is done, also if they cannot be written."""
    if path is None:
        return
    ending: list[tuple[str, object]] = [
        ("command", command),
        ("outcome", outcome.word),
        ("exit", outcome.code),
    ]
    if error is not None:
        ending += [("what", error.what), ("next", error.next_step)]
        ending += [("detail", one) for one in error.details]
    try:
        console.facts.write(path, ending)
    except OSError as unwritten:
        console.warn(f"the result cannot be written to {path}: {unwritten.strerror}")


def _become(command: Sequence[str]) -> Misconfigured:
    """Replace this process, so that the server is PID 1 and gets the signals itself.

    Returns only if that is not possible, with the reason.
    """
    # Python ignores these two, and a program that is started inherits that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))  # noqa: S606  no shell on purpose
    except OSError as error:
        return Misconfigured(
            f"{command[0]} cannot be started: {error.strerror}",
            "fix the command of the container",
        )


if __name__ == "__main__":
    sys.exit(main())
