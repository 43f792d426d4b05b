"""Jobs for the worker, done in the environment of a small project."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import forkserver
from projects import Project, asking, made_once, query

from postdo.rehearsal.process import Job, Result
from postdo.rehearsal.trace import Failure, Step, Trace, from_values

# Stands for the command line: does the job on standard input, prints the result.
DRIVER = """
import json, os, sys
from dataclasses import asdict
from postdo.base import config
from postdo.rehearsal import process
from postdo.base.console import Console
from postdo.base.context import Run
from postdo.base.signals import StopSignals
from postdo.rehearsal.trace import to_values
stop = StopSignals()
stop.install()
run = Run(config.read(os.environ), Console(sys.stderr, sys.stderr), stop)
result = process.work(run, process.job_from(json.loads(sys.stdin.readline())))
print(json.dumps({
    "trace": to_values(result.trace) if result.trace else None,
    "failure": asdict(result.failure) if result.failure else None,
    "outside": [*result.outside, *map(str, result.files)],
    "gap": result.gap,
    "uncounted": [one.name or one.table for one in result.uncounted],
}))
"""
TIMEOUT_SECONDS = 60
# Rows as a shop has them, three of each.
ROWS = "INSERT INTO shop_item (name) VALUES ('Teapot'), ('Cup'), ('Saucer')"
RUN_PYTHON = "migrations.RunPython(forwards)"


def start(project: Project, job: Job) -> subprocess.Popen[str]:
    """The driver, with its job, left running."""
    process = forkserver.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=project.root,
        env=project.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(job)) + "\n")
    process.stdin.flush()
    return process


def finish(process: subprocess.Popen[str]) -> tuple[Result, str]:
    """Its result, and what it said."""
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, err
    values: dict[str, Any] = json.loads(out)
    failure = values["failure"]
    if failure:
        failure = Failure(
            **{**failure, "rows": tuple(failure["rows"]), "output": tuple(failure["output"])}
        )
    trace = from_values(values["trace"]) if values["trace"] else None
    return Result(trace, failure, tuple(values["outside"]), gap=values["gap"]), err


def do(project: Project, mode: str = "transaction", **more: Any) -> Result:
    """Do a job in the project's own database, which stands for the copy."""
    result, said = finish(start(project, job(project, mode, **more)))
    print(said)  # pytest shows it where a test fails
    return result


def job(project: Project, mode: str = "transaction", **more: Any) -> Job:
    return Job(database=project.url.rpartition("/")[2], mode=mode, **more)


def traced(project: Project, mode: str = "transaction", **more: Any) -> Trace:
    """The trace of a run that succeeds."""
    result = do(project, mode, **more)
    assert result.failure is None, result.failure
    assert result.trace is not None
    return result.trace


def failed(project: Project, mode: str = "transaction", **more: Any) -> Failure:
    """The failure of a run that does not succeed."""
    result = do(project, mode, **more)
    assert result.trace is None
    assert result.failure is not None
    return result.failure


def step(trace: Trace, migration: str) -> Step:
    (found,) = (one for one in trace.steps if one.migration == migration)
    return found


def python(project: Project, name: str, body: str, *, after: str, header: str = "") -> None:
    """A migration of the shop with one RunPython; `body`: the lines of its function."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    function = f"\n\ndef forwards(apps, schema_editor):\n{lines}\n"
    file = project.migration("shop", name, RUN_PYTHON, after=after, header=header)
    head, _, tail = file.read_text().partition("\n\n\nclass")
    file.write_text(f"{head}\n{function}\n\nclass{tail}")


def migrated(project: Project, *, extra: str = "") -> Project:
    """The shop, with its first migration applied, and rows."""
    made_once(project, "shop", lambda: _migrate(project))
    query(project.url, extra or ROWS)
    return project


def _migrate(project: Project) -> None:
    done = forkserver.run(
        [sys.executable, "-m", "django", "migrate", "-v0"],
        cwd=project.root,
        env=project.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def state(project: Project) -> list[Any]:
    """All tables with their columns, and a checksum of the rows of each."""
    with asking(project.url) as ask:
        columns = ask(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY 1, 2"
        )
        tables = ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        sums = [
            ask(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t")  # noqa: S608
            for (table,) in tables
        ]
    return [columns, sums]
