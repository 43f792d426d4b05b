"""Python code that runs inside a project: in a process of its own, with `postdo` around it.

What has no command of its own yet, or several, is tested so: Django can be set up for one project
only in a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import forkserver
from projects import Project

# A project's settings without the app that costs most time, where a test does not need it.
LIGHT = "INSTALLED_APPS.remove('django.contrib.auth')\n"

PRELUDE = """
import io, json, os, sys
from datetime import datetime, timezone
from pathlib import Path
from django.core.management import call_command
from django.db import connections, transaction
from postdo.base import config
from postdo.django_migrations import history
from postdo.journal import tables as journal_tables
from postdo.schema.catalogue import Catalogue, Entry
from postdo.journal.model_usage import ColumnUse, ModelUse, TableUse
from postdo.base.console import Console
from postdo.base.database import connect, rows
from postdo.base.errors import PostdoError
from postdo.journal.journal import Journal, RunRecord, Source
from postdo.base.project import load, set_up
from postdo.base.context import Run
from postdo.base.signals import StopSignals

read = config.read(os.environ)
config.announce_settings(read.settings_module)
out, err = io.StringIO(), io.StringIO()
run = Run(read, Console(out, err), StopSignals())
project = load(read.settings_module)
set_up()
session = connect("snippet", 5)
journal = Journal(run, session)
answer = None


def migrate(*targets):
    call_command("migrate", *targets, verbosity=0)


def seen():
    return history.read(session, project)


def archive():
    from postdo.journal.sources import read_sources

    journal.prepare()
    journal.keep_sources(read_sources(project, seen().recorded))


def refusal(do):
    try:
        do()
    except PostdoError as error:
        return {"kind": type(error).__name__, "what": error.what, "next": error.next_step}
"""

POSTLUDE = """
print(json.dumps({"value": answer, "out": out.getvalue(), "err": err.getvalue()}, default=str))
"""


@dataclass(frozen=True)
class Answer:
    """`value`: what the code assigned to `answer`. `out`, `err`: what the console was told."""

    value: Any
    out: str
    err: str


def inside(project: Project, code: str, **environment: str) -> Answer:
    """Run the code after PRELUDE, in the project's folder; fails with what it printed."""
    words = [sys.executable, "-c", f"{PRELUDE}\n{code}\n{POSTLUDE}"]
    done = project.execute(words, environment)
    assert done.code == 0, done.out + done.err
    return Answer(**json.loads(done.out.splitlines()[-1]))


def begin(project: Project, code: str) -> subprocess.Popen[str]:
    """The same, left running."""
    return forkserver.Popen(
        [sys.executable, "-c", f"{PRELUDE}\n{code}\n{POSTLUDE}"],
        cwd=project.root,
        env=project.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
