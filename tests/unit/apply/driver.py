"""Runs `in_one_transaction` on the project in the current folder, without the command line.

Started as a program; `DRIVE` holds its orders as JSON. With `serve` it forks a child for each line
of its standard input (a port and a database name), which saves Django's start for each of many.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic, set_rollback

from postdo.__main__ import OUTCOMES
from postdo.apply.one_transaction import in_one_transaction
from postdo.base import advisory_lock, config, project
from postdo.base.console import Console
from postdo.base.context import Run
from postdo.base.database import closing, connect, rows
from postdo.base.errors import PostdoError
from postdo.base.signals import Stopped, StopSignals
from postdo.executor.run_pending import run_pending
from postdo.rehearsal.trace import Trace
from postdo.rehearsal.tracer import Tracer
from postdo.schema import catalogue


def rehearse() -> Trace:
    """What the pending migrations do, tried on this very database and rolled back."""
    worker = connections[DEFAULT_DB_ALIAS]
    with atomic():
        before = catalogue.read(worker)
        tracer = Tracer(worker, single=True)
        with tracer.watching():
            run_pending(worker, tracer)
            tracer.finish()
        trace = tracer.trace(before, catalogue.read(worker), (), ())
        set_rollback(True)
    worker.close()
    return trace


def work(orders: dict[str, Any]) -> int:
    """One run; the exit code that the command line would give."""
    console = Console(sys.stdout, sys.stdout)
    stop = StopSignals()
    stop.install()
    run = Run(config.read(os.environ), console, stop)

    def inside(worker: BaseDatabaseWrapper) -> None:
        for statement in orders.get("inside", ()):
            rows(worker, statement)

    try:
        with closing(connect("postdo driver", 5)) as session, advisory_lock.exclusive(run, session):
            rehearsed = rehearse() if orders.get("rehearse") else None
            if orders.get("pause"):
                console.say("paused")
                sys.stdin.readline()
            for statement in orders.get("between", ()):
                rows(session, statement)
            done = in_one_transaction(
                run, session, rehearsed, inside, compare_rows=orders.get("compare_rows", True)
            )
            console.say(f"done: {json.dumps(done.__dict__)}")
    except PostdoError as error:
        console.fail(OUTCOMES[type(error)].words, error)
        return OUTCOMES[type(error)].code
    except Stopped as stopped:
        return stopped.exit_code
    except BaseException:  # noqa: BLE001  so that a test can print it
        traceback.print_exc(file=sys.stdout)
        return 70
    return 0


def serve(orders: dict[str, Any]) -> None:
    """Fork for each line `port name environment`; answers with the child's pid, and at its end

    with its exit code (negative for a signal) and what it printed.
    """
    for line in sys.stdin:
        port, name, environment = line.split(maxsplit=2)
        output = Path(f"output-{name}.txt")
        child = os.fork()
        if child == 0:
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            os.environ.update(json.loads(environment))
            connections[DEFAULT_DB_ALIAS].settings_dict.update(PORT=port, NAME=name)
            code = work(orders)
            sys.stdout.flush()
            os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), output.read_text()]), flush=True)


def main() -> int:
    sys.path.insert(0, str(Path.cwd()))
    orders = json.loads(os.environ.get("DRIVE", "{}"))
    project.load(os.environ["DJANGO_SETTINGS_MODULE"])
    project.set_up()
    if orders.get("serve"):
        serve(orders)
        return 0
    return work(orders)


if __name__ == "__main__":
    sys.exit(main())
