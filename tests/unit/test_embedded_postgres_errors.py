"""What the embedded PostgreSQL says when it cannot start: one clear line, and what to do next."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
from embedded_support import (
    AS_NOBODY,
    ROOT,
    Embedded,
    is_root,
    python_of_everybody,
)
from waiting import until

from embedded_postgres import binaries, ports

LISTEN = """
import socket, sys
listening = socket.create_server(("{host}", {port}))
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  a port of the test
def test_a_taken_port_names_the_process_that_has_it(embedded: Embedded, host: str) -> None:
    script = LISTEN.format(host=host, port=embedded.port)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], cwd="/", **pipes) as other:  # type: ignore[call-overload]
        other.stdout.readline()
        message = embedded.failure(embedded.start_command())
        assert re.search(rf"Port {embedded.port} on 127.0.0.1 is taken by python", message)
        assert f"pid {other.pid}, in /" in message
        assert "DEV_DB_PORT in .env" in message
        other.stdin.close()
    assert not embedded.data.exists()
    assert embedded.start()["state"] == "running"


@pytest.mark.skipif(not is_root(), reason="needs root, to be another user")
def test_where_the_process_is_hidden_its_user_is_named(embedded: Embedded) -> None:
    embedded.folder.chmod(0o755)
    embedded.start()
    question = [*AS_NOBODY, "sh", "-c", 'cd "$1" && exec "$2" -c "$3" "$4"', "sh"]
    code = "import sys; from embedded_postgres import ports; print(ports.holder(int(sys.argv[1])))"
    copy = embedded.folder / "code"
    shutil.copytree(ROOT / "embedded_postgres", copy / "embedded_postgres")
    words = [str(copy), python_of_everybody(), code, str(embedded.port)]
    done = embedded.run([*question, *words])
    assert done.stdout == "a process of user root\n", done.stderr


def test_two_clusters_on_one_port_name_each_other(existing: Embedded) -> None:
    first_home = existing.home
    first = existing.start()
    existing.home = existing.folder / "second"
    message = existing.failure(existing.start_command())
    assert f"taken by postgres (pid {first['pid']}, in {first_home}/server/data)" in message
    existing.home = first_home


def test_a_connection_in_time_wait_does_not_take_the_port() -> None:
    port = ports.free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # closing first is what leaves TIME_WAIT on the server's port
        client.close()
    assert ports.is_free(port)


@pytest.mark.parametrize(
    ("attribute", "value", "word"),
    [
        ("port", 0, "DEV_DB_PORT"),
        ("port", 70000, "DEV_DB_PORT"),
        ("user", "", "POSTGRES_USER"),
        ("user", "pg_me", "POSTGRES_USER"),
        ("user", "embedded_owner", "POSTGRES_USER"),
        ("user", "é" * 32, "POSTGRES_USER"),
        ("database", "", "POSTGRES_DB"),
        ("database", "d" * 64, "POSTGRES_DB"),
        ("password", "", "POSTGRES_PASSWORD"),
        ("password", "two\nlines", "POSTGRES_PASSWORD"),
    ],
)
def test_a_value_that_cannot_work_stops_before_anything_is_touched(
    embedded: Embedded, attribute: str, value: object, word: str
) -> None:
    setattr(embedded, attribute, value)
    assert word in embedded.failure(embedded.start_command(), code=2)
    assert not embedded.home.exists()


def test_a_missing_password_file_is_named(embedded: Embedded) -> None:
    words = embedded.start_command()
    embedded.password_file.unlink()
    assert str(embedded.password_file) in embedded.failure(words, code=2)


def test_the_password_can_come_from_standard_input(embedded: Embedded) -> None:
    words = embedded.start_command()
    words[words.index("--password-file") + 1] = "-"
    done = subprocess.run(
        words, input="from-stdin\n", text=True, env=embedded.environment(), check=False
    )
    assert done.returncode == 0
    assert embedded.query("SELECT 1") == "1"


def test_a_folder_that_cannot_be_made_is_named(embedded: Embedded) -> None:
    (embedded.folder / "file").touch()
    embedded.home = embedded.folder / "file" / "home"
    assert f"folder {embedded.home} cannot be created" in embedded.failure(
        embedded.start_command(), code=2
    )


def test_data_of_another_major_is_named_with_the_remedy(embedded: Embedded) -> None:
    embedded.binaries = "wheel"
    embedded.start()
    embedded.stop()
    major = (embedded.data / "PG_VERSION").read_text().strip()
    embedded.binaries = "system"
    if any(str(found.major) == major for found in binaries.available("system")):
        pytest.skip(f"the system has PostgreSQL {major} too")
    message = embedded.failure(embedded.start_command())
    assert f"The data was written by PostgreSQL {major}" in message
    assert f"Install PostgreSQL {major}" in message
    # With a free choice, the data decides.
    embedded.binaries = "auto"
    assert embedded.start()["source"] == "wheel"


def test_a_removed_owner_password_is_named(existing: Embedded) -> None:
    existing.start()
    (existing.home / "owner-password").unlink()
    assert "owner-password is missing" in existing.failure(existing.start_command())


def test_psql_without_a_server_says_how_to_start_one(embedded: Embedded) -> None:
    assert "sh run.sh -2" in embedded.failure(embedded.command("psql"))


def test_the_shell_can_ask_whether_the_wheel_is_needed(embedded: Embedded) -> None:
    ask = embedded.command("needs-wheel")
    assert embedded.run(ask).stdout == "no\n"
    # -S: a Python without installed packages, as in a fresh virtual environment.
    embedded.binaries = "wheel"
    ask = embedded.command("needs-wheel")
    ask.insert(1, "-S")
    assert embedded.run(ask).stdout == "yes\n"


def test_a_wrong_choice_of_binaries_in_the_environment_is_named(embedded: Embedded) -> None:
    words = [sys.executable, "-m", "embedded_postgres", "status", "--data", str(embedded.home)]
    os.environ["EMBEDDED_POSTGRES_BINARIES"] = "homebrew"
    try:
        assert "EMBEDDED_POSTGRES_BINARIES is 'homebrew'" in embedded.failure(words, code=2)
    finally:
        del os.environ["EMBEDDED_POSTGRES_BINARIES"]


def test_a_busy_cluster_is_waited_for(embedded: Embedded) -> None:
    embedded.start()
    embedded.stop()
    holder = embedded.begin(
        [sys.executable, "-c", "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); "
         "open(sys.argv[1] + '.held', 'w'); sys.stdin.read()", str(embedded.home / "lock")]
    )  # fmt: skip
    until((embedded.home / "lock.held").exists, "the lock")
    starting = embedded.begin(embedded.start_command())
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(1)
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait()
    assert starting.wait(60) == 0
