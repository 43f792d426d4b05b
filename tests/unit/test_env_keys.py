"""`.env.example` is the one place of a key's default; whatever repeats it says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import REPOSITORY

from embedded_postgres.binaries import PRODUCTION_MAJOR
from postdo.base import config

EXAMPLE = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.M))
COMPOSE = sorted(REPOSITORY.glob("docker-compose*.yml"))
COMPOSE_DEFAULT = re.compile(r"\$\{([A-Z0-9_]+):-([^${}]*)\}")
PYTHON_DEFAULTS = (
    re.compile(r'get\("([A-Z0-9_]+)"(?:, |\) or )"([^"]+)"'),
    re.compile(r'env\.[a-z_]+\("([A-Z0-9_]+)", (?:default=)?"?([^" ()*]+)"?\)'),  # the starter's
)
# What stands for "empty" where a program takes no empty value. Key: value.
EMPTY = {
    "DOMAIN": "none",  # a part of the name of a file
    "WEB_CONCURRENCY": "0",  # Gunicorn itself reads it
    "WEB_THREADS": "0",
}
# Without run.sh nobody has written the password, and so there is no superuser.
BY_RUN_SH_ALONE = {"DJANGO_SUPERUSER_EMAIL"}
# Any text will do: the user's own, or a list of names.
FREE_TEXT = {
    "SECRET_KEY_FALLBACKS",
    "DJANGO_SUPERUSER_EMAIL",
    "DJANGO_SUPERUSER_PASSWORD",
    "APT_PACKAGES",
    "APT_BUILD_PACKAGES",
    "TIME_ZONE",
}


@pytest.mark.parametrize("path", COMPOSE, ids=[path.name for path in COMPOSE])
def test_compose_has_the_defaults_of_the_example(path: Path) -> None:
    """For `docker compose` without run.sh, which sets every key."""
    there = [
        (key, default)
        for key, default in COMPOSE_DEFAULT.findall(path.read_text())
        if key in EXAMPLE and key not in BY_RUN_SH_ALONE
    ]
    different = [
        (key, default)
        for key, default in there
        if default != EXAMPLE[key] and (EXAMPLE[key] or default != EMPTY.get(key))
    ]
    assert different == []


def test_python_has_the_defaults_of_the_example() -> None:
    """For postdo and Gunicorn without the kit. A default that a program computes is none here."""
    kit = ("postdo", "postdo_backup", "postdo_serving", "web/config")
    files = [path for folder in kit for path in (REPOSITORY / folder).rglob("*.py")]
    found = {
        (str(path.relative_to(REPOSITORY)), key, default)
        for path in [*files, *REPOSITORY.glob("*.py")]
        for pattern in PYTHON_DEFAULTS
        for key, default in pattern.findall(path.read_text())
        if key in EXAMPLE and default != "False"
    }
    assert len(found) >= 8
    assert found == {(path, key, EXAMPLE[key]) for path, key, _ in found}


def test_the_embedded_postgresql_knows_the_major_of_production() -> None:
    assert EXAMPLE["POSTGRES_IMAGE"] == f"postgres:{PRODUCTION_MAJOR}"


def test_postdo_decides_by_default_as_the_example_says() -> None:
    least = {"DJANGO_SETTINGS_MODULE": "config.settings.prod", "POSTDO_MODE": "production"}
    without, by_example = config.read(least), config.read(EXAMPLE | least)

    assert by_example.policies == without.policies
    assert by_example.wait_seconds == without.wait_seconds
    assert by_example.policy == without.policy
    assert by_example.keep == without.keep


def test_every_key_is_checked_before_anything_starts() -> None:
    """Where one is missing: a rule in lib/check.awk, or FREE_TEXT above."""
    rules = (REPOSITORY / "lib/check.awk").read_text()
    checked = set(re.findall(r'(?:rule|memory)\("([A-Z0-9_]+)"', rules))
    checked |= {key for key in EXAMPLE if key.startswith("SCHEDULE_")}  # by one rule for all
    ports = {key for key in EXAMPLE if key.endswith("_PORT") and "_PORT" in rules}
    assert set(EXAMPLE) - checked - ports == FREE_TEXT
