"""manage and shell beside production: what belongs to a release, and in which image they run."""

from __future__ import annotations

import pytest

from .fakes import FakeDocker
from .machine import Clone
from .test_starts import make_live

DATA = "run.sh -0 manage --yes"


def runs(docker: FakeDocker) -> list[str]:
    """What was run in a container, running or its own."""
    return [call for call in docker.compose_calls() if call.startswith(("run ", "exec "))]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ("migrate", "sh run.sh plan; to apply it: sh run.sh -0"),
        ("migrate shop 0001", "sh run.sh plan"),
        ("migrate --noinput", "sh run.sh plan"),
        ("migrate shop 0003_stock --fake", "sh run.sh drift --record shop.0003_stock, or"),
        ("migrate --fake-initial", "sh run.sh drift --record APP.NAME"),
        ("migrate shop --prune --plan", "sh run.sh plan"),
        ("flush", f"{DATA} flush"),
        ("flush --no-input", f"{DATA} flush"),
        ("reset_db", f"{DATA} reset_db"),
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_what_belongs_to_a_release_or_deletes_the_data_is_refused_in_production(
    dash_clone: Clone, docker: FakeDocker, arguments: str, remedy: str, live: bool
) -> None:
    if live:
        make_live(dash_clone, "web-blue")
        docker.has_container("web-blue")

    dash_clone.run("-0", "manage", *arguments.split()).assert_refused("production's data", remedy)

    assert docker.compose_calls() == []


@pytest.mark.parametrize(
    "arguments",
    [
        "migrate --plan",
        "migrate --check",
        "migrate --help",
        "showmigrations",
        "sqlmigrate shop 0001",
        "--yes migrate shop 0001",
        "--yes flush --no-input",
    ],
)
def test_what_only_looks_and_what_is_meant_goes_through(
    dash_clone: Clone, docker: FakeDocker, arguments: str
) -> None:
    make_live(dash_clone, "web-blue")
    docker.has_container("web-blue")

    dash_clone.run("-0", "manage", *arguments.split()).assert_ok()

    (run,) = runs(docker)
    assert run.endswith(f"web-blue python manage.py {arguments.removeprefix('--yes ')}")


@pytest.mark.parametrize(
    ("arguments", "danger"),
    [
        ("sqlflush", "delete all data"),
        ("loaddata x.json", "overwrites rows in production that have the same key"),
    ],
)
def test_a_danger_is_said_before(
    dash_clone: Clone, docker: FakeDocker, arguments: str, danger: str
) -> None:
    make_live(dash_clone, "web-blue")
    docker.has_container("web-blue")

    result = dash_clone.run("-0", "manage", *arguments.split())

    assert danger in result.err
    assert len(runs(docker)) == 1
    assert result.status == 0


def test_development_is_asked_nothing(dash_clone: Clone, docker: FakeDocker) -> None:
    docker.has_container("web")
    for arguments in ("migrate", "flush --no-input", "loaddata x.json"):
        dash_clone.run("-1", "manage", *arguments.split()).assert_ok()
    assert len(runs(docker)) == 3


@pytest.mark.parametrize("command", ["manage check", "shell -c 1", "dump x.json"])
def test_a_stopped_site_is_looked_at_in_the_image_that_served_last(
    dash_clone: Clone, docker: FakeDocker, command: str
) -> None:
    make_live(dash_clone, "web-green")

    assert dash_clone.run("-0", *command.split()).status == 0

    (run,) = runs(docker)
    assert " web-green manage.py " in run, "not the one that was built last, which is `web`"
    calls = [call.split()[0] for call in docker.compose_calls()]
    assert calls == ["up", "run", "stop"], "PostgreSQL is started for it, and stopped again"
    assert not (dash_clone.state / "lock-prod").exists()


@pytest.mark.parametrize("command", ["manage check", "drift"])
def test_an_image_is_looked_at_without_a_part_that_it_was_built_without(
    dash_clone: Clone, docker: FakeDocker, command: str
) -> None:
    """With tasks in .env and not released yet, its settings would look for a Celery."""
    make_live(dash_clone, "web-green")
    docker.answer("image inspect --format *postdo.parts*", out="api")
    dash_clone.has_started()
    dash_clone.set_in_env(COMPOSE_PROFILES="api,tasks")

    assert dash_clone.run("-0", *command.split()).status == 0

    (call,) = [call for call in docker.calls() if " run " in call and "compose" in call]
    assert "docker-compose.tasks.prod.yml" not in call


def test_before_the_first_release_there_is_only_what_was_built(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    dash_clone.run("-0", "manage", "check")
    docker.answer("image inspect*", status=1)
    dash_clone.run("-0", "manage", "check").assert_refused(
        "has not been built here yet", "sh run.sh -0"
    )

    (run,) = runs(docker)
    assert " web manage.py check" in run


@pytest.mark.parametrize("flag", ["-0", "-1"])
def test_a_database_that_runs_is_left_running(
    dash_clone: Clone, docker: FakeDocker, flag: str
) -> None:
    make_live(dash_clone, "web-green")
    docker.has_container("db")

    dash_clone.run(flag, "manage", "check").assert_ok()

    assert [call.split()[0] for call in docker.compose_calls()] == ["run"]


@pytest.mark.parametrize("flag", ["-0", "-1"])
def test_a_command_that_fails_fails_here_too_and_leaves_nothing_running(
    dash_clone: Clone, docker: FakeDocker, flag: str
) -> None:
    make_live(dash_clone, "web-green")
    docker.answer("*run --rm *", status=7)

    assert dash_clone.run(flag, "manage", "check").status == 7

    assert docker.compose_calls()[-1] == "stop db"


# --- mail-test ------------------------------------------------------------------------------------


def test_a_test_mail_is_sent_by_the_python_of_the_version_that_serves(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-blue")
    docker.has_container("web-blue")

    dash_clone.run("-0", "mail-test", "ada@example.com").assert_ok()

    assert runs(docker) == ["exec -T web-blue python - ada@example.com"]


@pytest.mark.parametrize("arguments", [[], ["ada"], ["a@b.example", "c@d.example"]])
def test_a_test_mail_needs_one_address(dash_clone: Clone, arguments: list[str]) -> None:
    dash_clone.run("-0", "mail-test", *arguments).assert_refused(
        "needs one e-mail", "help mail-test", 2
    )
