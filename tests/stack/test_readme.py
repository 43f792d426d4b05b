"""Every command of the README and of what it sends to is run by a test: most of them here.

`STORY` is a reader who tries the starter in each mode, looks after its data, and then puts a
project of their own in its place, with the files that the README prints. Whoever adds a command to
the README adds it here, or names the test that runs it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from documents import blocks, commands, section, text_of

from .clone import Clone
from .engine import docker
from .runs import PATIENCE, Run, TimedResult
from .waiting import eventually

README = text_of("README.md")
# What else a reader is sent to for a job that the README begins. (docs/api.md has its own test:
# tests/starter/test_api_document.py.)
FURTHER = (
    "docs/own-project.md",
    "docs/backups.md",
    "docs/alerts.md",
    "docs/day-two.md",
    "docs/jobs.md",
    "docs/live.md",
    "docs/parts.md",
    "docs/tasks.md",
    "docs/troubleshooting.md",
    "docs/upgrade-db.md",
    "docs/uploads-and-mail.md",
)
OWN_PROJECT = text_of("docs/own-project.md")
MODELS = """from django.db import models


class Post(models.Model):
    title = models.CharField(max_length=80)
    cover = models.FileField(upload_to="covers/", blank=True)
"""
ADMIN = """from django.contrib import admin

from blog.models import Post

admin.site.register(Post)
"""
COVER = ("cat.gif", b"GIF89a and any bytes \x00\xff\r\n")
PROJECT_NAME_OF_ENV = "$(sed -n 's/^PROJECT_NAME=//p' .env)"
EMAILS = "SELECT email FROM accounts_user"

# What cannot be run on a machine of tests, and why.
NOT_HERE = {
    "git clone https://github.com/YOUR-NAME/PostDoDjango.git site && cd site": "no internet",
    "docker pull python:3.13-slim && docker pull postgres:18 && docker pull caddy:2": "no internet",
    "sh run.sh -0 mail-test YOU@EXAMPLE.COM": "no mail server, see tests/unit/test_mail_test.py",
    "sh run.sh -0 mail-test you@example.com": "the same",
    "ssh -L 5555:127.0.0.1:5555 SERVER": "no other machine, see test_flower_listens_...",
    "sh run.sh test": "this test is part of it",
    "sh run.sh lint": "and the linters, with all their options, are its first step",
}
# What another stack test runs, and the words in it that do so.
ELSEWHERE = {
    # In a container with systemd, as root: it needs no sudo there.
    "sudo sh run.sh service install": r"service install\b|\"service\", \"install\"",
    "sudo sh run.sh service remove": r"service remove\b|\"service\", \"remove\"",
    "sh run.sh adopt-stack": r"\"adopt-stack\"",
    # With the part switched on.
    "sh run.sh -0 logs worker": r"run\(\"-0\", \"logs\", \"worker\"",
    "sh run.sh -0 logs live": r"run\(\"logs\", \"live\"",
    "sh run.sh -0 watch": r"\"-0\", \"watch\"",
    "sh run.sh alert test": r"\"alert\", \"test\"",
    "sh run.sh releases": r"run\(\"releases\"",
    "sh run.sh rollback": r"run\(\"rollback\"",
    "sh run.sh maintenance on": r"\"maintenance\", \"on\"",
    "sh run.sh maintenance off": r"\"maintenance\", \"off\"",
    "sh run.sh hold COMMAND": r"\"hold\", \"docker\", \"restart\"",
    "sh run.sh hold docker restart postdo-prod-db-1": r"\"hold\", \"docker\", \"restart\"",
    "tar -xzf SET/site.tar.gz": r"brought / \"site.tar.gz\"",
    "sh run.sh restore --on-new-machine SET": r"\"restore\", \"--on-new-machine\"",
    "sh run.sh -0 restore backups/NAME/uploads.tar": r"\"-0\", \"restore\", f\"\{written",
    "sh run.sh -0 restore backups/NAME/database.dump": r"\"restore\", f\"\{name\}/database.dump",
    "sh run.sh -0 psql -d restored": r"\"psql\", \"-d\", \"restored\"",
    "sh run.sh -0 restore --swap": r"\"-0\", \"restore\", \"--swap\"",
    "sh run.sh -0 backup key": r"\"-0\", \"backup\", \"key\"",
    'sh run.sh -0 restore --time "2026-11-21 10:42"': r"\"restore\", \"--time\"",
    "sh run.sh -0 restore --before-release 12": r"\"restore\", \"--before-release\"",
    "sh run.sh -0 restore --latest": r"\"restore\", \"--latest\"",
    "sh run.sh -0 backup base": r"\"backup\", \"base\"",
    # A place elsewhere, which a reader of the README has not.
    "sh run.sh backup offsite": r"\"backup\", \"offsite\"",
    "sh run.sh backup fetch": r"\"backup\", \"fetch\"\)",
    "sh run.sh backup fetch SET": r"\"backup\", \"fetch\", ",
    "sh run.sh -0 status": r"\"-0\", \"status\"",
    # Where another version of PostgreSQL is to be left.
    "sh run.sh -0 upgrade-db": r"\"-0\", \"upgrade-db\"\)",
    "sh run.sh -0 upgrade-db --yes": r"\"upgrade-db\", \"--yes\"",
    "sh run.sh -0 upgrade-db --back": r"\"upgrade-db\", \"--back\"",
    "sh run.sh -0 upgrade-db --finish": r"\"upgrade-db\", \"--finish\"",
    "sh run.sh -0 manage --yes migrate APP NAME": r"\"-0\", \"manage\", \"--yes\", \"migrate\"",
    # With the checksum of a plan, in a production that has data to lose.
    "sh run.sh -0 --approve CHECKSUM": r"\"-0\", \"--approve\"",
}


@dataclass
class Reader:
    """Who follows the README, in a clone; ``server``: the -2 that runs in another terminal."""

    clone: Clone
    server: Run | None = None

    def follow(self, command: str) -> TimedResult:
        """Do what a line says. One that stays in the terminal is left there when it serves."""
        if command == "sh run.sh -2":
            return self.serve()
        if command.startswith("sh run.sh "):
            return self.clone.run(*shlex.split(command.replace("backups/NAME", self.newest()))[2:])
        # PROJECT_NAME comes from the environment here.
        return self.in_a_shell(command.replace(PROJECT_NAME_OF_ENV, self.clone.name))

    def newest(self) -> str:
        """The newest set of `backup`, as the reader sees it in the folder."""
        found = sorted((self.clone.root / "backups").glob("*-prod-*"))
        return f"backups/{found[-1].name}" if found else "backups/NAME"

    def serve(self, **environment: str) -> TimedResult:
        """Start -2 and wait until it serves; the server before it is ended."""
        self.end_server()
        self.server = self.clone.start("-2", **environment)
        self.server.said("Quit the server")
        assert self.up("LOCAL_PORT")
        return TimedResult("sh run.sh -2", 0, self.server.text, "", 0.0)

    def end_server(self) -> None:
        """Press Ctrl-C in the other terminal."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def in_a_shell(self, command: str) -> TimedResult:
        """Run a line that is not run.sh's."""
        started = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.clone.root,
            env=self.clone.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        result = TimedResult(command, done.returncode, done.stdout, done.stderr, 0.0)
        result = replace(result, seconds=time.monotonic() - started)
        assert done.returncode == 0, f"should have gone well:\n{result}"
        return result

    def up(self, port: str, path: str = "/admin/login/") -> bool:
        """Wait until a site shows a page; a proxy may need a second to see the new colour."""
        return bool(eventually(lambda: self.clone.visitor(port).is_up(path), f"{port} to serve"))

    def rename(self) -> None:
        """What a new PROJECT_NAME in .env does to a reader whose environment has none."""
        name = f"{self.clone.name}-own"
        environment = {**self.clone.environment, "PROJECT_NAME": name}
        self.clone = replace(self.clone, name=name, environment=environment, runs=[])


Check = Callable[[Reader, TimedResult], object]
Preparation = Callable[[Reader], object]


@dataclass(frozen=True)
class Line:
    """A command; what the reader does before it, by hand; and what they see afterwards."""

    command: str
    then: Check = field(default=lambda _, __: True)
    first: Preparation = field(default=lambda _: None)


def says(*words: str) -> Check:
    """A check: all of these words were printed."""

    def check(_: Reader, result: TimedResult) -> None:
        for word in words:
            assert word in result.text, f"it does not say {word!r}:\n{result}"

    return check


def write_a_model(reader: Reader) -> None:
    """A model in the new application, which the settings get to know."""
    reader.clone.write("web/blog/models.py", MODELS)
    reader.clone.write("web/blog/admin.py", ADMIN)
    reader.clone.replace(
        "web/config/settings/base.py", '    "core",\n', '    "core",\n    "blog",\n'
    )


def write_own_project(reader: Reader) -> None:
    """The files of the worked example, as the README prints them."""
    reader.clone.write("web/requirements.txt", blocks(OWN_PROJECT, "requirements")[0])
    reader.clone.write(
        "web/mysite/settings.py", "\n\n" + blocks(OWN_PROJECT, "python")[0], add=True
    )
    lines = blocks(OWN_PROJECT, "ini")[0].split()
    values = dict(line.split("=", 1) for line in lines)
    reader.clone.set_in_env(**values)
    reader.rename()


def made_migration(reader: Reader, _: TimedResult) -> None:
    assert (reader.clone.root / "web/blog/migrations/0001_initial.py").is_file()


def an_upload_is_served(reader: Reader, _: TimedResult) -> None:
    """By the field of a model, in the admin: docs/uploads-and-mail.md."""
    assert reader.up("HTTP_PORT")
    staff = reader.clone.admin("HTTP_PORT")
    added = staff.upload("/admin/blog/post/add/", "cover", COVER, title="A cat")
    assert added.status == 302, added
    served = reader.clone.visitor("HTTP_PORT").get("/media/covers/cat.gif")
    assert (served.status, served.body) == (200, COVER[1])
    assert served.headers["X-Content-Type-Options"] == "nosniff"


def dumped(reader: Reader, _: TimedResult) -> None:
    assert '"accounts.user"' in (reader.clone.root / "data.json").read_text()


def is_a_page(reader: Reader, _: TimedResult) -> None:
    assert "</html>" in (reader.clone.root / "plan.html").read_text()


def switch_on(reader: Reader) -> None:
    """The parts of docs/parts.md that need no service but a worker."""
    reader.clone.set_in_env(COMPOSE_PROFILES="api,live,tasks-db")


def switch_off(reader: Reader) -> None:
    reader.clone.set_in_env(COMPOSE_PROFILES="")


def the_worker_did(reader: Reader, _: TimedResult) -> None:
    """What was queued, in -1, whose worker has the database of its site."""
    done = r"notifications\.tasks\.delete_old.*SUCCESSFUL"
    eventually(
        lambda: re.search(done, reader.clone.run("-1", "logs", "worker").out), "the task to be done"
    )


def go_on_after_the_backup(reader: Reader) -> None:
    """A user; and what a release may add: a table, and one with a key into a table of before."""
    reader.clone.admin("HTTP_PORT").add_user("after-the-backup@example.com")
    reader.clone.query(
        "prod",
        "CREATE TABLE newer (id int); "
        "CREATE TABLE newer_of_user (id bigint REFERENCES accounts_user)",
    )


def back_to_the_backup(reader: Reader, _: TimedResult) -> None:
    assert reader.clone.query("prod", EMAILS).splitlines() == ["admin@example.com"]
    assert (
        reader.clone.query("prod", "SELECT tablename FROM pg_tables WHERE tablename ~ 'newer'")
        == ""
    )
    assert reader.up("HTTP_PORT")


def replaced_is_kept(reader: Reader, _: TimedResult) -> None:
    kept = reader.clone.run("-0", "psql", "-d", "replaced", "-qAtc", EMAILS).out
    assert "after-the-backup@example.com" in kept
    assert reader.up("HTTP_PORT"), "its migrations are the same, so the site was not stopped"


def replaced_is_gone(reader: Reader, _: TimedResult) -> None:
    databases = reader.clone.query("prod", "SELECT datname FROM pg_database").split()
    assert {"replaced", "restored"}.isdisjoint(databases)


def stop_production(reader: Reader) -> None:
    reader.clone.run("-0", "stop")
    assert reader.clone.runs_in("prod") == set()


def nothing_runs(reader: Reader, _: TimedResult) -> None:
    assert reader.clone.runs_in("prod") == set(), "psql ends the database that it started"


def own_site_serves(port: str) -> Check:
    """A check: at that port is the project of the worked example, with its style sheet."""

    def check(reader: Reader, _: TimedResult) -> None:
        assert reader.up(port)
        env = reader.clone.env()
        visitor = reader.clone.visitor(port)
        visitor.log_in(env["DJANGO_SUPERUSER_EMAIL"], env["DJANGO_SUPERUSER_PASSWORD"])
        page = visitor.get("/admin/").text
        assert "/admin/auth/user/" in page, "its users are Django's own, not the starter's"
        style = re.search(r'href="(/static/admin/css/base[\w.]*\.css)"', page)
        assert style, page
        assert visitor.get(style[1]).status == 200

    return check


def volume_is_gone(reader: Reader, _: TimedResult) -> None:
    volumes = docker("volume", "ls", "--quiet").split()
    assert f"{reader.clone.name}-dev_dev-data" not in volumes
    assert f"{reader.clone.name}-prod_prod-data" in volumes, "production's stays"


def served_by(port: str) -> Check:
    """A check: the site answers there."""
    return lambda reader, _: reader.up(port)


def nothing_is_left(reader: Reader, _: TimedResult) -> None:
    label = f"label=com.docker.compose.project={reader.clone.project('prod')}"
    for kind in ("container", "volume", "network"):
        every = ["--all"] if kind == "container" else []
        assert docker(kind, "ls", "--quiet", *every, "--filter", label).split() == []


UNINSTALL = commands(section(text_of("docs/day-two.md"), "Uninstall"))[2:]
# What starts a task, and what an open page shows.
DELETE_OLD, NOTIFY = (
    next(found for found in commands(text_of(name)) if " manage shell -c " in found)
    for name in ("docs/tasks.md", "docs/live.md")
)
STORY = (
    # A first look, and an application of one's own in the starter.
    Line("sh run.sh init", says("wrote .env")),
    Line("sh run.sh doctor", says("ok   -0 production", "ok   -1 development", "ok   -2 local")),
    Line("sh run.sh help manage", says("usage: sh run.sh")),
    Line("sh run.sh -2", says("/admin/", "admin@example.com / ")),
    Line("sh run.sh -2 mail-test you@example.com", says("read it on the page /mail/")),
    Line("sh run.sh -2 manage startapp blog"),
    Line("sh run.sh -2 manage makemigrations", made_migration, first=write_a_model),
    Line("sh run.sh -2 manage migrate", says("Applying blog.0001_initial")),
    # Development in Docker, beside it.
    Line("sh run.sh -1", served_by("DEV_PORT"), first=switch_on),
    Line("sh run.sh status", says("development", "pgadmin", "worker", "healthy", "local")),
    Line(DELETE_OLD),
    Line("sh run.sh -1 logs worker", the_worker_did),
    Line(NOTIFY),
    Line("sh run.sh -1 manage check", says("no issues")),
    Line("sh run.sh -1 shell"),
    Line("sh run.sh -1 psql"),
    # Production, and its data.
    Line("sh run.sh -0", an_upload_is_served, first=switch_off),
    Line("sh run.sh -0 logs web", says("gunicorn")),
    Line("sh run.sh -0 logs db", says("database system is ready to accept connections")),
    Line("sh run.sh jobs", says("clearsessions", "daily 03:30", "has not run yet")),
    Line("sh run.sh jobs clearsessions", says("Run the job clearsessions ... done")),
    Line("sh run.sh jobs nightly-backup", says("Back up ... done")),
    Line("sh run.sh -0 dump data.json", dumped),
    Line("sh run.sh -1 load data.json", says("Installed")),
    Line("sh run.sh -0 backup", says("wrote backups/")),
    Line("sh run.sh backups", says("VERIFIED", "-prod-")),
    Line("sh run.sh backup verify", says("verified: ", "starts on it")),
    Line("sh run.sh -0 restore --yes", back_to_the_backup, first=go_on_after_the_backup),
    Line("sh run.sh -0", replaced_is_kept),
    Line("sh run.sh -0 restore --drop-old", replaced_is_gone),
    Line("sh run.sh -0 reindex", says("nothing to rebuild")),
    Line("git pull", says("up to date")),
    # What a release would do: nothing any more.
    Line("sh run.sh deploy --dry-run", says("which is serving", "does not have: none")),
    Line("sh run.sh plan", says("nothing to do: all migrations are applied")),
    Line("sh run.sh plan --html plan.html", is_a_page),
    Line("sh run.sh rehearse", says("Rehearsed on a copy with all rows")),
    Line("sh run.sh drift", says("the schema is exactly what the migrations produce")),
    Line("sh run.sh sources", says("applied migrations are archived")),
    Line("sh run.sh -0 psql", nothing_runs, first=stop_production),
    Line("sh run.sh -0 --no-build", served_by("HTTP_PORT")),
    # A project of one's own, in each mode.
    Line("sh run.sh -1 stop", first=Reader.end_server),
    Line("sh run.sh -0 stop"),
    Line("mv web ../starter"),
    Line("mkdir web"),
    Line("python3 -m venv ../venv"),
    Line('../venv/bin/pip install "Django~=5.2.0"'),
    Line("../venv/bin/django-admin startproject mysite web"),
    Line("sh run.sh -2", own_site_serves("LOCAL_PORT"), first=write_own_project),
    Line("sh run.sh -2 manage test", says("Ran 0 tests")),
    Line("sh run.sh -1", own_site_serves("DEV_PORT")),
    Line("sh run.sh -0", own_site_serves("HTTP_PORT")),
    # Development anew.
    Line("sh run.sh -1 reset --yes", volume_is_gone, first=Reader.end_server),
    Line("sh run.sh -2 reset --yes", says("the next start creates a new one")),
    # The end of production.
    *(Line(command) for command in UNINSTALL[:-1]),
    Line(UNINSTALL[-1], nothing_is_left),
)


def test_every_command_of_the_readme_is_run_by_a_test_or_named_with_a_reason() -> None:
    told = {command for name in ("README.md", *FURTHER) for command in commands(text_of(name))}
    run = {line.command for line in STORY} | set(ELSEWHERE)

    assert told - run - set(NOT_HERE) == set(), "add them to STORY, or say who runs them"
    assert (run | set(NOT_HERE)) - told == set(), "no document has them any more"


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_another_test_is_said_to_run_it_runs(command: str) -> None:
    others = set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__)}

    assert any(re.search(ELSEWHERE[command], other.read_text()) for other in others)


@pytest.fixture
def reader(fresh: Clone) -> Iterator[Reader]:
    """Someone with a clean clone; what they have started is ended, under both of its names."""
    someone = Reader(fresh)
    yield someone
    someone.clone.remove()


def test_the_commands_of_the_readme_do_what_it_says(reader: Reader) -> None:
    for line in STORY:
        line.first(reader)
        result = reader.follow(line.command)
        line.then(reader, result)
