"""The command line: arguments in, exit code out, nothing else.

Exit codes: 0 done, or nothing to do; 2 wrong usage or configuration; 3 refused, nothing was
changed; 4 failed and undone, the database is as before; 5 failed and not undone. A signal ends it
with 128 + its number, as a shell shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from postdo import config
from postdo.console import Console
from postdo.errors import Misconfigured, NotUndone, PostdoError, Refused, Undone, one_line
from postdo.run import Run
from postdo.stop import Stopped, StopSignals


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
    console = Console(out=sys.stderr if parsed.json else sys.stdout, err=sys.stderr)
    stop = StopSignals()
    stop.install()
    result: object = None
    outcome = DONE
    error: PostdoError | None = None
    try:
        result = _run(parsed, console, stop)
        stop.check()
    except Stopped as stopped:
        console.say(f"stopped by {stopped}")
        outcome = Outcome("stopped", str(stopped), stopped.exit_code)
    except PostdoError as expected:
        error = expected
    except Exception as unexpected:  # noqa: BLE001  the last place that can give it an exit code
        error = _surprise(unexpected)
    if error is not None:
        outcome = OUTCOMES[type(error)]
        console.fail(outcome.words, error)
    if parsed.json:
        print(json.dumps(_report(parsed.command, outcome, result, error)), flush=True)
    if server and outcome is DONE:
        return _become(server, console)
    return outcome.code


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
        prog="postdo", description="Prepare a PostgreSQL database for a Django project."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    add("wait", "wait until the database accepts this project, or never will")
    checking = add("check", "refuse if a model has changes that no migration makes")
    checking.add_argument(
        "--stamp", type=Path, metavar="FILE", help="remember success, so that a start skips it"
    )
    add("migrate", "apply pending migrations, one process at a time")
    add("superuser", "create the superuser that DJANGO_SUPERUSER_* describes, if it is not there")
    add("prepare", "wait, check, migrate, superuser; with -- COMMAND, become that server then")
    return parser


def _run(parsed: argparse.Namespace, console: Console, stop: StopSignals) -> object:
    read = config.read(os.environ, parsed.settings)
    config.announce_settings(read.settings_module)
    run = Run(read, console, stop)
    # Imported late, so that a wrong word on the command line does not wait for Django.
    try:
        from postdo import prepare  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the Python package {error.name} is not installed for {sys.executable}",
            "run postdo with the Python of the project's virtual environment",
        ) from error
    if parsed.command == "wait":
        return prepare.wait_only(run)
    if parsed.command == "check":
        return prepare.check_only(run, parsed.stamp)
    if parsed.command == "migrate":
        return prepare.migrate_only(run)
    if parsed.command == "superuser":
        return prepare.superuser_only(run)
    return prepare.prepare(run)


def _surprise(error: Exception) -> PostdoError:
    from django.db import Error as DatabaseOrInterfaceError  # noqa: PLC0415  Django is there by now

    if isinstance(error, DatabaseOrInterfaceError):
        # Steps that change something report their own failures: this one was only reading.
        return Undone(
            f"the database said: {one_line(error)}",
            "look at the database's log, and at what this user is allowed to do",
        )
    traceback.print_exception(error)
    return NotUndone(
        f"unexpected {type(error).__name__}: {one_line(error)}",
        "report the lines above; manage.py showmigrations shows what is applied",
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
        }
    known = asdict(result) if is_dataclass(result) and not isinstance(result, type) else None
    return report | {"result": known}


def _become(command: Sequence[str], console: Console) -> int:
    """Replace this process, so that the server is PID 1 and gets the signals itself."""
    # Python ignores these two, and a program that is started inherits that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))  # noqa: S606  no shell on purpose
    except OSError as error:
        outcome = OUTCOMES[Misconfigured]
        console.fail(
            outcome.words,
            Misconfigured(
                f"{command[0]} cannot be started: {error.strerror}",
                "correct the command of the container",
            ),
        )
        return outcome.code


if __name__ == "__main__":
    sys.exit(main())
