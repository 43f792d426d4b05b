"""The environment is read once, and a value that cannot work is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from postdo.base.config import Answer, Config, Mode, Policy, read
from postdo.base.errors import Misconfigured

BASE = {"DJANGO_SETTINGS_MODULE": "config.settings"}


def configured(**environment: str) -> Config:
    return read(BASE | environment)


def test_a_missing_settings_module_is_named() -> None:
    with pytest.raises(Misconfigured, match="DJANGO_SETTINGS_MODULE is not set"):
        read({})


def test_the_settings_option_comes_before_the_environment() -> None:
    assert read(BASE, "other.settings").settings_module == "other.settings"


@pytest.mark.parametrize(
    ("environment", "policy"),
    [
        ({"POSTDO_MODE": "production"}, Policy.CHECK),
        ({"POSTDO_MODE": "development"}, Policy.WRITE),
        ({"POSTDO_MODE": "local"}, Policy.WRITE),
        ({"POSTDO_MODE": "production", "MAKEMIGRATIONS": "off"}, Policy.OFF),
        ({"POSTDO_MODE": "development", "MAKEMIGRATIONS": "check"}, Policy.CHECK),
        ({}, Policy.CHECK),
    ],
)
def test_migrations_are_written_in_development_and_only_checked_in_production(
    environment: dict[str, str], policy: Policy
) -> None:
    assert configured(**environment).policy is policy


def test_without_the_kit_the_strictest_mode_counts() -> None:
    assert configured().mode is Mode.PRODUCTION


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTDO_MODE", "prod"),
        ("MAKEMIGRATIONS", "maybe"),
        ("DB_WAIT_SECONDS", "soon"),
        ("DB_WAIT_SECONDS", "-1"),
        ("DB_WAIT_SECONDS", "nan"),
        ("DB_WAIT_SECONDS", "inf"),
        ("DJANGO_SUPERUSER_UPDATE_PASSWORD", "perhaps"),
        ("REHEARSE_DUMP_MB", "4GB"),
        ("POSTDO_COPY_SERVER", "somewhere"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        configured(**{name: value})
    assert name in caught.value.what
    assert name in caught.value.next_step


def test_a_password_alone_asks_for_no_superuser() -> None:
    assert configured(DJANGO_SUPERUSER_PASSWORD="generated").superuser is None


def test_an_empty_variable_counts_as_not_set() -> None:
    assert configured(DJANGO_SUPERUSER_EMAIL="", DB_WAIT_SECONDS="").superuser is None


def test_every_field_of_the_superuser_comes_from_its_variable() -> None:
    request = configured(
        DJANGO_SUPERUSER_EMAIL="a@example.com", DJANGO_SUPERUSER_FULL_NAME="Ada"
    ).superuser
    assert request is not None
    assert request.fields == {"email": "a@example.com", "full_name": "Ada"}
    assert request.password is None


def test_a_secret_file_loses_its_last_line_break_only(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" with spaces \n")
    request = configured(
        DJANGO_SUPERUSER_EMAIL="a@example.com", DJANGO_SUPERUSER_PASSWORD_FILE=str(file)
    ).superuser
    assert request is not None
    assert request.password == " with spaces "


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="both DJANGO_SUPERUSER_PASSWORD and"):
        configured(
            DJANGO_SUPERUSER_PASSWORD="one", DJANGO_SUPERUSER_PASSWORD_FILE=str(tmp_path / "two")
        )


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere, which cannot be read: No such file"):
        configured(DJANGO_SUPERUSER_PASSWORD_FILE=str(tmp_path / "nowhere"))


def test_the_password_is_not_in_the_representation() -> None:
    request = configured(
        DJANGO_SUPERUSER_EMAIL="a@example.com", DJANGO_SUPERUSER_PASSWORD="very-secret"
    )
    assert "very-secret" not in repr(request)


def test_remedies_name_the_command_of_the_mode() -> None:
    assert configured(POSTDO_MODE="local").manage("x") == "sh run.sh -2 manage x"
    assert configured(POSTDO_MODE="production").manage("x") == "sh run.sh -2 manage x"
    assert configured().manage("x") == "python manage.py x"


def test_where_nothing_serves_neither_downtime_nor_the_old_models_are_asked_about() -> None:
    policies = configured(POSTDO_SERVING="no", ON_DOWNTIME="refuse").policies
    assert (policies.downtime, policies.incompatible) == (Answer.ALLOW, Answer.ALLOW)
    assert configured(POSTDO_SERVING="yes", ON_DOWNTIME="refuse").policies.downtime is Answer.REFUSE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", (False, ())),
        ("Block", (False, ())),
        ("allow", (True, ())),
        ("redis:6379", (False, ("redis:6379",))),
        (
            "api.example.com,[::1]:80,/run/redis.sock",
            (False, ("api.example.com", "[::1]:80", "/run/redis.sock")),
        ),
    ],
)
def test_the_network_of_a_rehearsal_is_closed_open_or_open_for_hosts(
    value: str, expected: tuple[bool, tuple[str, ...]]
) -> None:
    policies = configured(REHEARSE_NETWORK=value).policies
    assert (policies.network, policies.hosts) == expected


@pytest.mark.parametrize("value", ["yes", "redis", "a.b, c.d", "a.b,", "http://a.b", "a b:1"])
def test_what_is_no_host_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured, match="must be block, allow, or hosts"):
        configured(REHEARSE_NETWORK=value)


def test_files_are_asked_about_unless_told() -> None:
    assert configured().policies.files is Answer.ASK
    assert configured(ON_FILES="refuse").policies.files is Answer.REFUSE
