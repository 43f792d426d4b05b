"""Development in Docker: `sh run.sh -1` from a clean clone, beside production from the same one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clone import IS_ROOT, Clone
from .engine import Container
from .fixtures import OWNER, put_back, start_development
from .waiting import eventually

NEW_PAGE = 'urlpatterns += [path("new/", lambda request: HttpResponse("saved"))]\n'
NEW_FIELD = '    name = models.CharField("name", max_length=150, blank=True)\n'
NICKNAME = '    nickname = models.CharField("nickname", max_length=50, blank=True)\n'
REGISTERED = "/tmp/servers.json"  # noqa: S108 - in the container of pgAdmin
ACCOUNTS = "web/accounts/migrations"


def test_a_clean_clone_serves_the_site_and_says_what_it_is(development: Clone) -> None:
    page = development.visitor("DEV_PORT").get("/")

    assert page.status == 200, page
    assert "The site answers, the database answers" in page.text
    assert ">Development<" in page.text
    assert f"http://localhost:{development.environment['PGADMIN_PORT']}/" in page.text


def test_the_start_shows_addresses_and_the_password_that_it_made(development: Clone) -> None:
    said = development.run("-1").text

    for port in ("DEV_PORT", "PGADMIN_PORT"):
        assert f"http://127.0.0.1:{development.environment[port]}/" in said
    assert development.env()["DJANGO_SUPERUSER_PASSWORD"] in said
    assert development.admin("DEV_PORT").get("/admin/accounts/user/").status == 200


def test_everything_is_published_on_this_machine_alone(development: Clone) -> None:
    published = {
        name: [host["HostIp"] for hosts in ports.values() for host in hosts or []]
        for name, one in development.containers("dev", running=True).items()
        for ports in [one.facts()["NetworkSettings"]["Ports"]]
    }

    assert published == {name: ["127.0.0.1"] for name in ("db", "web", "pgadmin")}


def test_pgadmin_opens_without_a_login_and_knows_the_database(
    development: Clone, pgadmin: Container
) -> None:
    visitor = development.visitor("PGADMIN_PORT")

    opened = visitor.get("/")
    while opened.status in (301, 302, 308):
        opened = visitor.get(opened.headers["Location"].removeprefix(visitor.base))

    assert opened.status == 200, opened
    assert "/login" not in opened.text.split("</title>")[0], opened
    assert '"Host": "db"' in pgadmin.run("cat", REGISTERED)


def test_a_saved_file_is_served_without_a_restart(development: Clone) -> None:
    visitor = development.visitor("DEV_PORT")
    web = development.containers("dev")["web"]
    started = web.started_at
    assert visitor.get("/new/").status == 404

    urls = development.root / "web/core/urls.py"
    text = f"from django.http import HttpResponse\n{urls.read_text()}{NEW_PAGE}"
    development.write("web/core/urls.py", text)
    eventually(lambda: visitor.get("/new/").text == "saved", "the new page")

    development.replace("web/core/templates/core/home.html", "It runs.</h1>", "It reloads.</h1>")
    eventually(lambda: "It reloads.</h1>" in visitor.get("/").text, "the new template")
    assert web.started_at == started


@pytest.fixture
def asleep(shared: Clone) -> Iterator[Clone]:
    """The shared clone with development stopped, and a user whose name begins with asleep."""
    with put_back(shared):
        if "web" in shared.runs_in("dev") or not shared.containers("dev"):
            start_development(shared)
            shared.admin("DEV_PORT").add_user(f"asleep-{secrets.token_hex(4)}@example.com")
            shared.run("-1", "stop")
        yield shared


def test_manage_dump_and_load_work_while_it_does_not_run(asleep: Clone) -> None:
    listed = asleep.run("-1", "manage", "showmigrations", "accounts")
    asleep.run("-1", "dump", "data.json", "accounts")
    loaded = asleep.run("-1", "load", "data.json")

    assert "[X] 0001_initial" in listed.out
    assert "asleep-" in (asleep.root / "data.json").read_text()
    assert "Installed" in loaded.text
    assert "web" not in asleep.runs_in("dev"), "it does not start the site"
    assert set(asleep.containers("dev")) <= {"db", "web", "pgadmin"}, "no one-off container"
    asleep.run("-1", "stop")
    assert asleep.runs_in("dev") == set()


def test_migrations_are_written_at_the_start_and_belong_to_the_owner_of_the_clone(
    asleep: Clone,
) -> None:
    owner = OWNER if IS_ROOT else asleep.root.stat().st_uid
    assert asleep.root.stat().st_uid == owner
    asleep.replace("web/accounts/models.py", NEW_FIELD, NEW_FIELD + NICKNAME)

    asleep.run("-1")

    try:
        (written,) = new_migrations(asleep)
        assert (written.stat().st_uid, written.stat().st_gid) == (owner, owner)
        assert "AddField" in written.read_text()
        kept = "SELECT count(*) > 0 FROM accounts_user WHERE email ~ '^asleep-' AND nickname = ''"
        assert asleep.query("dev", kept) == "t", "the data was kept, and has the new column"
        foreign = [path for path in web_files(asleep) if path.lstat().st_uid != owner]
        assert not foreign, "nothing in web/ belongs to anyone else"
    finally:
        asleep.run("-1", "manage", "migrate", "accounts", "0001")


def new_migrations(clone: Clone) -> list[Path]:
    """Those that no commit has."""
    listed = clone.git("ls-files", "--others", "--exclude-standard", ACCOUNTS)
    return [clone.root / line for line in listed.splitlines()]


def web_files(clone: Clone) -> list[Path]:
    """All that is in web/."""
    return list((clone.root / "web").rglob("*"))


def test_manage_shell_psql_logs_and_status_work(development: Clone, pgadmin: Container) -> None:
    development.visitor("DEV_PORT").get("/looked-for-in-the-log")
    script = "from django.conf import settings; print(settings.SETTINGS_MODULE)"

    assert "no issues" in development.run("-1", "manage", "check").text
    assert "config.settings.dev" in development.run("-1", "shell", "-c", script).out
    assert development.run("-1", "psql", "-qAtc", "SELECT 6 * 7").out.strip() == "42"
    assert "/looked-for-in-the-log" in development.run("-1", "logs", "web").out
    status = development.run("-1", "status").text
    for service in ("web", "pgadmin", "db"):
        assert f"{service} " in status
    assert status.count("healthy") == 3, status


def test_doctor_finds_that_every_mode_can_run_here(development: Clone) -> None:
    said = development.run("doctor").text

    for mode in ("-0 production", "-1 development", "-2 local"):
        assert f"ok   {mode}" in said, said
    assert f"port {development.environment['DEV_PORT']} (DEV_PORT) is in use by" in said


def test_a_failing_command_of_manage_fails_here_too(development: Clone) -> None:
    result = development.run("-1", "manage", "no_such_command", ok=False)

    assert result.status != 0
    assert "Unknown command: 'no_such_command'" in result.text


def test_production_runs_beside_it_with_data_of_its_own(
    production: Clone, development: Clone
) -> None:
    production.admin("HTTP_PORT").add_user("only-in-production@example.com")
    development.admin("DEV_PORT").add_user("only-in-development@example.com")

    in_production = production.query("prod", "SELECT email FROM accounts_user")
    in_development = development.query("dev", "SELECT email FROM accounts_user")
    assert "only-in-production" in in_production
    assert "only-in-production" not in in_development
    assert "only-in-development" in in_development
    assert "only-in-development" not in in_production


def test_without_a_flag_and_with_two_modes_running_a_command_asks_which(
    production: Clone, development: Clone
) -> None:
    assert production.root == development.root

    asked = development.run("manage", "check", ok=False)

    asked.refused("production development", "sh run.sh -0 manage")
    assert asked.status == 2
