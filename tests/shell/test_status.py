"""status for machines: 0 well, 1 ill, 2 nothing answers. (For real: tests/stack/test_status.py.)"""

from __future__ import annotations

import pytest

from .fakes import FakeDocker
from .machine import Clone
from .test_starts import make_live

WELL, ILL, DOWN = 0, 1, 2
PAGE = "200 for /readyz"


def site(docker: FakeDocker, answer: str, **states: str) -> None:
    """A production whose proxy gives a visitor that answer, with services in these states."""
    for service in ("proxy", "web-blue", "db"):
        docker.has_container(service, states.get(service.replace("-", "_"), "healthy"))
    docker.answer("exec -i id-web-blue python -I -S - /readyz proxy 80", out=answer)


@pytest.mark.parametrize(
    "case",
    [
        (PAGE, {}, WELL),
        ("404 for /readyz", {}, WELL),
        (PAGE, {"db": "unhealthy"}, ILL),
        (PAGE, {"proxy": "starting"}, ILL),
        ("503 for /readyz: no database", {}, ILL),
        ("500 for /readyz", {"db": "stopped"}, ILL),
        ("no answer for /readyz on port 80: refused", {}, DOWN),
        ("no answer for /readyz on port 80: no such name", {"proxy": "stopped"}, DOWN),
        ("", {}, DOWN),
        (PAGE, {"web_blue": "stopped"}, DOWN),
        (PAGE, {"web_blue": "stopped", "proxy": "stopped", "db": "stopped"}, DOWN),
    ],
)
@pytest.mark.parametrize("mode", [("-0",), ()], ids=["-0", "no mode"])
def test_it_ends_with_what_a_visitor_gets(
    dash_clone: Clone,
    docker: FakeDocker,
    mode: tuple[str, ...],
    case: tuple[str, dict[str, str], int],
) -> None:
    answer, states, status = case
    make_live(dash_clone, "web-blue")
    site(docker, answer, **states)

    told = dash_clone.run(*mode, "status")

    assert (told.status, told.err) == (status, ""), told


def test_a_site_that_gives_no_page_is_not_called_healthy(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-blue")
    site(docker, "503 for /readyz: no database")

    said = dash_clone.run("-0", "status").out

    assert "  web-blue   unhealthy  live\n" in said
    assert "  visitors   get 503 for /readyz: no database\n" in said


def test_a_mode_that_nobody_started_is_down_if_it_is_asked_for_alone(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    assert dash_clone.run("status").status == WELL
    for flag in ("-0", "-1", "-2"):
        assert dash_clone.run(flag, "status").status == DOWN


def test_without_an_engine_a_released_production_is_down(dash_clone: Clone) -> None:
    make_live(dash_clone, "web-blue")

    assert dash_clone.run("status").status == DOWN
    assert dash_clone.run("-0", "status").status == DOWN
