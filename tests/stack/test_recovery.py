"""What is killed comes back, what is asked to stop ends its work, and two starts do not collide."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from .clone import Clone
from .engine import Container, docker
from .visitor import Answer, Visitor
from .waiting import eventually

SLOW_SECONDS = 4.0
GRACEFUL_SECONDS = 30.0  # WEB_TIMEOUT: what a stop takes that waits for somebody in vain
SLOW_PAGE = f'''

def slow(request):
    """Added by a test."""
    import time
    print("the slow page begins", flush=True)
    time.sleep({SLOW_SECONDS} if request.GET else 0)
    from django.http import HttpResponse
    return HttpResponse("the slow page, whole")
'''
CHILDREN = "import pathlib; print(pathlib.Path('/proc/1/task/1/children').read_text())"


@pytest.fixture
def slow_site(production: Clone) -> Clone:
    """Production with a page that takes its time (/slow/?yes), or none (/slow/)."""
    if not production.visitor("HTTP_PORT").is_up("/slow/"):
        add_slow_page(production)
        production.run("-0")
    return production


def add_slow_page(clone: Clone) -> None:
    """Into the application `core`."""
    clone.write("web/core/views.py", SLOW_PAGE, add=True)
    urls = "web/core/urls.py"
    clone.write(urls, 'urlpatterns += [path("slow/", views.slow)]\n', add=True)


def live(clone: Clone) -> Container:
    """The container that serves."""
    return clone.containers("prod")[clone.live()]


def test_a_killed_worker_is_replaced_and_the_site_answers(production: Clone) -> None:
    web = live(production)
    before = set(web.run("python", "-c", CHILDREN).split())
    started = web.started_at
    victim = before.copy().pop()

    web.run("python", "-c", f"import os; os.kill({victim}, 9)")

    eventually(
        lambda: (
            len(now := set(web.run("python", "-c", CHILDREN).split())) == len(before)
            and victim not in now
        ),
        "a new worker in its place",
    )
    eventually(lambda: production.visitor("HTTP_PORT").get("/").status == 200, "the site")
    assert web.started_at == started, "Gunicorn itself saw to it, not Docker"


def test_a_killed_gunicorn_is_started_again(production: Clone) -> None:
    web = live(production)
    started, restarts = web.started_at, web.facts()["RestartCount"]

    web.kill_first_process()

    eventually(lambda: web.started_at != started and web.state == "healthy", "a restart", 60)
    assert web.facts()["RestartCount"] == restarts + 1
    assert production.visitor("HTTP_PORT").get("/").status == 200


def test_a_killed_postgresql_recovers_with_its_data_and_the_site_reconnects(
    production: Clone,
) -> None:
    database, web = production.containers("prod")["db"], live(production)
    web_started, db_started = web.started_at, database.started_at
    admin = production.admin("HTTP_PORT")
    admin.add_user("before-the-kill@example.com")

    database.kill_first_process()

    eventually(lambda: database.started_at != db_started, "PostgreSQL to be started again")
    eventually(lambda: admin.is_up("/readyz"), "the site to answer again", 60)
    assert "before-the-kill@example.com" in admin.get("/admin/accounts/user/").text
    assert "database system was not properly shut down" in database.log()
    assert web.started_at == web_started, "the site's connections mend themselves"


def test_a_request_in_flight_is_answered_and_the_stop_takes_no_longer(slow_site: Clone) -> None:
    web = live(slow_site)
    begun = web.log(1000).count("the slow page begins")
    slow = Background(slow_site.visitor("HTTP_PORT"), "/slow/?yes")
    eventually(lambda: web.log(1000).count("the slow page begins") > begun, "the request to begin")

    stopped_after = seconds_of(lambda: docker("stop", web.id))

    assert slow.answer().text == "the slow page, whole"
    assert slow.seconds >= SLOW_SECONDS
    assert SLOW_SECONDS / 2 < stopped_after < GRACEFUL_SECONDS
    assert web.facts()["State"]["ExitCode"] == 0

    docker("start", web.id)
    eventually(lambda: slow_site.visitor("HTTP_PORT").is_up(), "the site", 60)


def test_a_stop_without_requests_is_quick(production: Clone) -> None:
    visitor, web = production.visitor("HTTP_PORT"), live(production)
    assert visitor.get("/").status == 200, "so that there is a connection that has been used"

    stopped_after = seconds_of(lambda: docker("stop", web.id))

    assert stopped_after < GRACEFUL_SECONDS
    assert web.facts()["State"]["ExitCode"] == 0
    docker("start", web.id)
    eventually(visitor.is_up, "the site", 60)


@pytest.fixture
def empty(production: Clone, fresh: Clone) -> Clone:
    """A clone with the shared one's image as both its colours, and nothing started."""
    for colour in ("next", "blue", "green"):
        docker("tag", f"{production.name}-web:next", f"{fresh.name}-web:{colour}")
    fresh.run("-0", "stop")  # writes .env
    fresh.compose("prod", "up", "-d", "--no-build", "--wait", "db")
    # As run.sh does it: only run.sh brings the site's role its password.
    settle = 'printf %s "$1" | sh /etc/postdo/roles.sh settle postdo postdo NOCREATEDB ""'
    password = fresh.env()["POSTGRES_PASSWORD"]
    fresh.compose("prod", "exec", "-T", "-u", "postgres", "db", "sh", "-c", settle, "sh", password)
    return fresh


def test_two_containers_on_an_empty_database_both_start_and_migrate_once(empty: Clone) -> None:
    empty.compose("prod", "up", "-d", "--no-build", "--wait", "web-blue", "web-green")

    there = empty.containers("prod")
    assert {there["web-blue"].state, there["web-green"].state} == {"healthy"}
    assert {there[colour].facts()["RestartCount"] for colour in ("web-blue", "web-green")} == {0}
    logs = there["web-blue"].log() + there["web-green"].log()
    assert logs.count("applied accounts.0001_initial") == 1, logs
    assert logs.count("created") == 1, f"one of them makes the superuser:\n{logs}"
    twice = "SELECT app, name FROM django_migrations GROUP BY app, name HAVING count(*) > 1"
    assert empty.query("prod", twice) == ""
    assert int(empty.query("prod", "SELECT count(*) FROM django_migrations")) > 10
    assert empty.query("prod", "SELECT count(*) FROM accounts_user") == "1"


class Background:
    """A request in a thread of its own."""

    def __init__(self, visitor: Visitor, path: str) -> None:
        self.seconds = 0.0
        self._found: list[Answer | Exception] = []
        self._thread = threading.Thread(target=self._ask, args=(visitor, path))
        self._thread.start()

    def _ask(self, visitor: Visitor, path: str) -> None:
        started = time.monotonic()
        try:
            self._found.append(visitor.get(path))
        except OSError as error:
            self._found.append(error)
        self.seconds = time.monotonic() - started

    def answer(self) -> Answer:
        """Wait for the answer."""
        self._thread.join()
        (found,) = self._found
        assert isinstance(found, Answer), f"no answer: {found!r}"
        assert found.status == 200, found
        return found


def seconds_of(action: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started
