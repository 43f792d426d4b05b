"""Fixtures of the stack and the browser tests: clean clones, one of them shared and running.

A plugin that tests/conftest.py loads, and no conftest.py: so both folders have the same clone.

Where no Docker engine answers, the tests that need one are skipped with that reason.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .clone import Clone, make_clone, make_origin
from .engine import Container, engine_problem
from .servers import Server, database_server
from .waiting import eventually

OWNER = 12345  # of the shared clone, where we may choose: root starts it, and it is another user's
Cloner = Callable[[], Clone]


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips the test where no Docker engine answers."""
    problem = engine_problem()
    if problem:
        pytest.skip(f"needs a Docker engine: {problem}")


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository to clone from, with the project as it stands here."""
    folder = tmp_path_factory.mktemp("origin") / "postdo"
    make_origin(folder)
    return folder


@pytest.fixture(scope="session")
def clones(request: pytest.FixtureRequest) -> list[Clone]:
    """Every clone that is there; the report of a failure looks here."""
    there: list[Clone] = []
    request.config.stash[CLONES] = there
    return there


@pytest.fixture(scope="session")
def shared(engine: None, origin: Path, clones: list[Clone]) -> Iterator[Clone]:
    """One clone for many tests, nothing started."""
    with ExitStack() as stack:
        yield _clone(stack, clones, make_clone(origin, owner=OWNER))


@pytest.fixture(scope="module")
def own(engine: None, origin: Path, clones: list[Clone]) -> Iterator[Clone]:
    """A clone for the tests of one file, nothing started."""
    with ExitStack() as stack:
        yield _clone(stack, clones, make_clone(origin))


@pytest.fixture
def fresh(engine: None, origin: Path, clones: list[Clone]) -> Iterator[Clone]:
    """A clone for one test, nothing started."""
    with ExitStack() as stack:
        yield _clone(stack, clones, make_clone(origin))


@pytest.fixture
def server(engine: None, tmp_path: Path) -> Iterator[Server]:
    """The container of a database alone, not started."""
    with database_server(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def own_server(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same for the tests of one file, started, with nothing in it yet."""
    with database_server(tmp_path_factory.mktemp("server")) as one:
        one.start()
        one.wait()
        yield one


@pytest.fixture
def production(shared: Clone) -> Iterator[Clone]:
    """The shared clone with production serving. Its files are put back after each test."""
    if not shared.visitor("HTTP_PORT").is_up():
        shared.bring_up("-0")  # before its files are noted: the first one writes .env
    with put_back(shared):
        yield shared


@pytest.fixture
def development(shared: Clone) -> Iterator[Clone]:
    """The shared clone with development serving. Its files are put back after each test."""
    with put_back(shared):
        start_development(shared)
        yield shared


def start_development(clone: Clone) -> None:
    """Start -1, if it is not all there."""
    if not (clone.visitor("DEV_PORT").is_up() and "pgadmin" in clone.runs_in("dev")):
        clone.bring_up("-1")


@pytest.fixture
def pgadmin(development: Clone) -> Container:
    """pgAdmin of the shared clone, healthy: run.sh does not wait for it, and it takes its time."""
    container = development.containers("dev")["pgadmin"]
    eventually(lambda: container.state == "healthy", "pgAdmin", 180)
    return container


@contextmanager
def put_back(clone: Clone) -> Iterator[None]:
    """Afterwards the files are as they were, and a dev server that looks at them has seen that."""
    with clone.restored():
        yield
        changed = clone.git("status", "--porcelain")
        now = time.time()
    web = clone.containers("dev", running=True).get("web")
    if web and any(_is_loaded_in_development(line) for line in changed.splitlines()):
        eventually(lambda: "changed, reloading" in web.log(since=now), "the dev server to reload")
        eventually(clone.visitor("DEV_PORT").is_up, "the dev server")


def _is_loaded_in_development(changed: str) -> bool:
    """Whether the dev server looks at a file of `git status`: at those that it has loaded."""
    return changed.endswith(".py") and "/migrations" not in changed and "prod.py" not in changed


def _clone(stack: ExitStack, clones: list[Clone], clone: Clone) -> Clone:
    clones.append(clone)
    stack.callback(clones.remove, clone)
    stack.callback(clone.remove)
    return clone


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the files that use the shared clone: one row runs all of them (rows.py)."""
    sharing = {item.path for item in items if "shared" in getattr(item, "fixturenames", ())}
    for item in items:
        if item.path in sharing:
            item.add_marker(pytest.mark.shared_clone)


# --- The report of a failure ---------------------------------------------------------------------

CLONES = pytest.StashKey[list[Clone]]()
STARTED = pytest.StashKey[float]()


def pytest_keyboard_interrupt() -> None:
    """From here on everything is only cleaned up, and a second Ctrl-C must not end that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember when, so that a failure shows the clones that were used since."""
    item.stash[STARTED] = time.monotonic()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test prints the last lines, the state of Compose, and the command to repeat it."""
    report = yield
    if report.failed:
        for clone in item.config.stash.get(CLONES, []):
            if clone.used >= item.stash.get(STARTED, 0.0):
                report.sections.append((f"clone {clone.name}", clone.report()))
        report.sections.append(("to repeat it", f"sh run.sh test {item.nodeid}"))
    return report
