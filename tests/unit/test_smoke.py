"""The smoke test asks as a visitor would, and says of each path what is wrong with its answer."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager

import pytest
from fixed_answers import fixed_answer
from projects import REPOSITORY

SCRIPT = (REPOSITORY / "lib/smoke.py").read_text()


def answering(
    status: int, body: str
) -> AbstractContextManager[tuple[int, list[tuple[str, str, str]]]]:
    """A server with this answer for everyone; its port, and what it was asked for."""
    return fixed_answer(
        status,
        body,
        lambda asked: (asked.path, asked.headers["Host"], asked.headers["X-Forwarded-Proto"]),
    )


def smoke(port: int, *items: str, limit: int = 400) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", "shop.example", "https", str(limit), *items],
        input=SCRIPT.replace("PORT = 8000", f"PORT = {port}"),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ("/", "/"),
        ("/shop/=200", "/shop/"),
        ("/cart/=200:The%20page", "/cart/"),
        ("/cart/=200:a=b?c:d", "/cart/"),
        ("/search/?q=a", "/search/?q=a"),
        ("/search/?q=a=200", "/search/?q=a"),
        ("/search/?q=200=200:The", "/search/?q=200"),
        ("/%C3%A7a/?q=%20", "/%C3%A7a/?q=%20"),
        ("/caf\u00e9/", "/caf%C3%A9/"),
    ],
)
def test_each_way_to_write_a_path_asks_for_that_path(item: str, path: str) -> None:
    with answering(200, "The page: a=b?c:d") as (port, asked):
        code, said = smoke(port, item)
    assert code == 0, said
    assert said.endswith(": as expected\n")
    assert asked == [(path, "shop.example", "https")]


@pytest.mark.parametrize(
    ("status", "item", "says"),
    [
        (500, "/?q=a", "answered 500, expected a status below 400: The page"),
        (302, "/?q=a=200", "answered 302, expected 200"),
        (200, "/?q=a=200:Basket", "answered 200, but the page does not contain 'Basket'"),
        (400, "/", "(asked as shop.example; see ALLOWED_HOSTS)"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(status: int, item: str, says: str) -> None:
    with answering(status, "The page") as (port, _):
        code, said = smoke(port, item, "/")
    assert code == 1
    assert says in said.splitlines()[0]
    assert len(said.splitlines()) == 2, "the other path is asked for too"
