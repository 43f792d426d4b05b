"""Waiting is bounded, and it is only done where it can help."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from projects import Outcome, Project, make, open_connection, query

from postdo.base.database import message
from postdo.base.wait import Problem, classify


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def waited(root: Path, url: str, seconds: str = "20") -> Outcome:
    return make(root, url).run("wait", environment={"DB_WAIT_SECONDS": seconds})


def test_a_database_that_is_there_is_ready_at_once(tmp_path: Path, database: str) -> None:
    outcome = waited(tmp_path, database)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("postdo: database ready (0.")


def test_a_wrong_password_stops_at_once_and_says_how_to_change_it(
    tmp_path: Path, database: str
) -> None:
    url = urlsplit(database)
    wrong = url._replace(netloc=f"{url.username}:not-this-one@{url.hostname}:{url.port}")
    project = make(tmp_path, wrong.geturl(), environment={"POSTDO_MODE": "production"})
    started = time.monotonic()
    outcome = project.run("wait")
    assert outcome.code == 2
    assert time.monotonic() - started < 10
    assert "the one in .env is not the one that the volume was created with" in outcome.err
    assert f"sh run.sh -0 psql, then \\password {url.username}" in outcome.err
    assert "not-this-one" not in outcome.err + outcome.out
    assert "Traceback" not in outcome.err


def test_a_missing_database_stops_at_once(tmp_path: Path, database: str) -> None:
    name = f"{urlsplit(database).path[1:]}_other"
    url = urlsplit(database)._replace(path=f"/{name}").geturl()
    outcome = make(tmp_path, url).run("wait", environment={"POSTDO_MODE": "production"})
    assert outcome.code == 2
    assert f"has no database '{name}'" in outcome.err
    _, command, statement = outcome.err.partition(
        "create the database: sh run.sh -0 psql -U postdo_superuser -d postgres -c "
    )
    assert command, outcome.err
    query(database, statement.strip().strip("'"))
    try:
        assert waited(tmp_path, url).code == 0
    finally:
        query(database, f'DROP DATABASE "{name}"')


def test_a_role_that_may_not_log_in_stops_at_once(tmp_path: Path, database: str) -> None:
    query(database, "CREATE ROLE postdo_nobody NOLOGIN PASSWORD 'x'")
    try:
        url = urlsplit(database)
        other = url._replace(netloc=f"postdo_nobody:x@{url.hostname}:{url.port}").geturl()
        outcome = waited(tmp_path, other)
    finally:
        query(database, "DROP ROLE postdo_nobody")
    assert outcome.code == 2
    assert "rejects user 'postdo_nobody'" in outcome.err


def test_a_database_that_never_comes_ends_in_time_with_the_reason(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome = waited(tmp_path, f"postgres://u:p@127.0.0.1:{free_port()}/d", "1.5")
    assert outcome.code == 4
    assert 1.5 < time.monotonic() - started < 10
    assert "did not answer within 2 s: Connection refused" in outcome.err
    assert outcome.out.count("waiting") == 1
    assert "Traceback" not in outcome.err


def test_a_host_without_an_address_is_not_up_yet(tmp_path: Path) -> None:
    outcome = waited(tmp_path, "postgres://u:p@no-such-host.invalid/d", "0")
    assert outcome.code == 4
    assert "no-such-host.invalid:5432 did not answer" in outcome.err


def test_a_database_that_comes_up_later_is_waited_for(tmp_path: Path, database: str) -> None:
    port = free_port()
    url = urlsplit(database)
    later = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{port}").geturl()
    process = make(tmp_path, later).start("wait")
    assert process.stdout is not None
    assert "waiting for at most 20 s" in process.stdout.readline()
    with forwarding(port, int(url.port or 0)):
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert rest.startswith("postdo: database ready (")


def test_too_many_connections_are_waited_for(tmp_path: Path, database: str) -> None:
    query(database, "CREATE ROLE postdo_one LOGIN PASSWORD 'x' CONNECTION LIMIT 1")
    try:
        url = urlsplit(database)
        other = url._replace(netloc=f"postdo_one:x@{url.hostname}:{url.port}").geturl()
        first = open_connection(other)
        process = make(tmp_path, other).start("wait")
        assert process.stdout is not None
        assert "too many connections" in process.stdout.readline()
        first.close()
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0, rest
    finally:
        query(database, "DROP ROLE postdo_one")


def test_another_engine_is_named(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        "postgres://u:p@h/d",
        settings="DATABASES['default']['ENGINE'] = 'django.db.backends.sqlite3'",
    )
    outcome = project.run("wait")
    assert outcome.code == 2
    assert "django.db.backends.sqlite3', but postdo works only with PostgreSQL" in outcome.err
    remedy = outcome.err.partition("next: ")[2]
    assert remedy.startswith("write in ")
    assert 'DATABASES = {"default": dj_database_url.config()}' in remedy


def test_a_server_too_old_for_django_is_said_at_once(tmp_path: Path, database: str) -> None:
    settings = (
        "from django.db.backends.postgresql.features import DatabaseFeatures\n"
        "DatabaseFeatures.minimum_database_version = (99,)"
    )
    outcome = make(tmp_path, database, settings=settings).run("wait")
    assert outcome.code == 2
    assert "PostgreSQL 99 or later is required" in outcome.err


def test_a_url_with_a_bare_slash_in_the_password_is_explained_and_not_shown(
    tmp_path: Path,
) -> None:
    outcome = Project(make(tmp_path, "").root, "postgres://u:pa/ss@h:5432/d").run("wait")
    assert outcome.code == 2
    assert "percent-encode it" in outcome.err
    assert "'pa'" not in outcome.err


def test_settings_that_cannot_be_imported_name_the_line(tmp_path: Path) -> None:
    project = make(tmp_path, "postgres://u:p@h/d", settings="import no_such_package")
    outcome = project.run("wait")
    assert outcome.code == 2
    assert "No module named 'no_such_package'" in outcome.err
    assert f"{tmp_path}/config/settings.py:" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("state", "text", "problem"),
    [
        ("28P01", "", Problem.WRONG_PASSWORD),
        ("3D000", "", Problem.NO_DATABASE),
        ("57P03", "", Problem.NOT_UP),
        ("53300", "", Problem.NOT_UP),
        (None, "FATAL:  the database system is starting up", Problem.NOT_UP),
        (None, "FATAL:  the database system is shutting down", Problem.NOT_UP),
        (None, "FATAL:  sorry, too many clients already", Problem.NOT_UP),
        (
            None,
            'could not translate host name "db" to address: Name or service not known',
            Problem.NOT_UP,
        ),
        (None, "[Errno -3] Temporary failure in name resolution", Problem.NOT_UP),
        (None, 'FATAL:  role "u" does not exist', Problem.NO_ROLE),
        ("28000", 'FATAL:  role "u" does not exist', Problem.NO_ROLE),
        ("28000", 'FATAL:  no pg_hba.conf entry for host "1.2.3.4"', Problem.NOT_ALLOWED),
        (None, 'FATAL:  permission denied for database "d"', Problem.NOT_ALLOWED),
        (None, 'FATAL:  database "d" does not exist', Problem.NO_DATABASE),
        (
            None,
            'FATAL:  database "d" does not exist\n'
            "DETAIL:  It seems to have just been dropped or renamed.",
            Problem.NOT_UP,
        ),
        (None, "FATAL:  Passwort-Authentifizierung", Problem.UNKNOWN),
        (
            None,
            'connection to server at "localhost" (::1), port 5432 failed: Connection refused\n'
            'connection to server at "localhost" (127.0.0.1), port 5432 failed: FATAL:  '
            'password authentication failed for user "u"',
            Problem.WRONG_PASSWORD,
        ),
    ],
)
def test_each_reason_for_no_connection_is_told_apart(
    state: str | None, text: str, problem: Problem
) -> None:
    assert classify(state, text) is problem


@pytest.mark.parametrize(
    "text",
    [
        'connection to server at "h" (::1), port 1 failed: FATAL:  the reason\n',
        'connection failed: connection to server at "::1", port 1 failed: FATAL:  the reason',
        'connection to server on socket "/run/.s.PGSQL.1" failed: the reason\n\tIs the server',
    ],
)
def test_a_message_says_the_reason_without_the_address(text: str) -> None:
    assert message(Exception(text)) == "the reason"


@contextmanager
def forwarding(port: int, target: int) -> Iterator[None]:
    """A port that leads to another one: a server that comes up late."""
    with closing(socket.create_server(("127.0.0.1", port))) as server:

        def pump(source: socket.socket, sink: socket.socket) -> None:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                upstream = socket.create_connection(("127.0.0.1", target))
                for pair in ((client, upstream), (upstream, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield
