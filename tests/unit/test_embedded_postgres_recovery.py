"""The embedded PostgreSQL after kill -9, Ctrl-C, a full disk, and whatever else stops it midway."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from embedded_support import Embedded, kill_9
from programs import small_file_system
from waiting import until


def moments(embedded: Embedded) -> dict[str, Callable[[], bool]]:
    """Points of a first start at which it can be interrupted, and how to see that they came."""
    server = embedded.home / "server"
    return {
        "while initdb runs": (server / "data.new").exists,
        "when the data is made": (server / "data").exists,
        "while the server starts": (server / "data" / "postmaster.pid").exists,
    }


MOMENTS = ["while initdb runs", "when the data is made", "while the server starts"]


def test_kill_9_of_the_server_loses_nothing(existing: Embedded) -> None:
    before = existing.start()
    existing.query("CREATE TABLE kept AS SELECT 42 AS answer")
    kill_9(before["pid"])
    after = existing.start()
    assert after["pid"] != before["pid"]
    assert existing.query("SELECT answer FROM kept") == "42"


def test_an_orphan_that_does_not_end_is_ended_before_the_next_server(existing: Embedded) -> None:
    report = existing.start()
    client = psycopg2.connect(
        host="127.0.0.1", port=existing.port, user="site", password=existing.password, dbname="site"
    )
    orphan = client.info.backend_pid
    os.kill(orphan, signal.SIGSTOP)  # busy and deaf, as in a long sort
    kill_9(report["pid"])
    assert existing.is_anything_alive()
    after = existing.start()
    assert not Path(f"/proc/{orphan}/cwd").exists()
    assert after["state"] == "running"
    client.close()


def test_stop_ends_orphans_too(existing: Embedded) -> None:
    report = existing.start()
    client = psycopg2.connect(
        host="127.0.0.1", port=existing.port, user="site", password=existing.password, dbname="site"
    )
    os.kill(client.info.backend_pid, signal.SIGSTOP)
    kill_9(report["pid"])
    existing.stop()
    assert not existing.is_anything_alive()
    client.close()


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(existing: Embedded) -> None:
    report = existing.start()
    pid_file = existing.data / "postmaster.pid"
    stale = pid_file.read_text()
    kill_9(report["pid"])
    until(lambda: not existing.is_anything_alive(), "the killed server's children")
    # After a restart of the machine, the pid of yesterday's server may be anybody's.
    with subprocess.Popen(["sleep", "600"]) as innocent:
        pid_file.write_text(stale.replace(str(report["pid"]), str(innocent.pid), 1))
        assert existing.status()["state"] == "stopped"
        assert "No PostgreSQL was running" in existing.stop()
        pid_file.write_text(stale.replace(str(report["pid"]), str(innocent.pid), 1))
        existing.start()
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_of_the_caller_harms_no_later_start(embedded: Embedded, moment: str) -> None:
    starting = embedded.begin(embedded.start_command())
    until(moments(embedded)[moment], moment)
    starting.kill()
    starting.wait()
    assert embedded.start()["state"] == "running"
    embedded.query("CREATE TABLE works ()")
    assert not (embedded.home / "server" / "data.new").exists()


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_nothing_half_started(embedded: Embedded, moment: str) -> None:
    starting = embedded.begin(embedded.start_command())
    until(moments(embedded)[moment], moment)
    os.killpg(starting.pid, signal.SIGINT)
    status = starting.wait(60)
    if status == 130:
        assert not embedded.is_anything_alive()
        assert not (embedded.home / "server" / "data.new").exists()
    else:  # it was done before the signal came
        assert status == 0
        assert embedded.status()["state"] == "running"
    assert embedded.start()["state"] == "running"


def test_ctrl_c_in_the_terminal_is_not_for_the_server(existing: Embedded) -> None:
    # What run.sh does: start the database, then the dev server in the foreground.
    script = '"$@" && echo started >"$MARK" && read -r forever'
    mark = existing.folder / "mark"
    os.environ["MARK"] = str(mark)
    shell = existing.begin(["sh", "-c", script, "sh", *existing.start_command()])
    until(mark.exists, "the start")
    os.killpg(shell.pid, signal.SIGINT)
    shell.wait()
    assert existing.status()["state"] == "running"
    assert existing.query("SELECT 1") == "1"


def test_a_half_made_cluster_is_not_taken_for_a_whole_one(existing: Embedded) -> None:
    # As a power failure in the middle of initdb leaves it.
    existing.data.rename(existing.home / "server" / "data.new")
    (existing.home / "server" / "data.new" / "global" / "pg_control").unlink()
    assert existing.status()["state"] == "absent"
    assert existing.start()["state"] == "running"


def test_a_server_that_cannot_start_shows_its_last_words(existing: Embedded) -> None:
    existing.start()
    existing.stop()
    with (existing.data / "postgresql.conf").open("a") as settings:
        settings.write("shared_preload_libraries = 'nowhere'\n")
    message = existing.failure(existing.start_command())
    assert 'could not access file "nowhere"' in message
    assert str(existing.home / "server" / "server.log") in message
    assert not existing.is_anything_alive()


def test_a_full_disk_is_named_and_the_next_start_with_room_works(embedded: Embedded) -> None:
    small = embedded.folder / "small"
    small.mkdir()
    with small_file_system(small, "size=20m"):
        embedded.home = small / "home"
        message = embedded.failure(embedded.start_command())
        assert f"the disk that holds {embedded.home}/server is full" in message
        assert not (embedded.home / "server" / "data.new").exists()
        assert embedded.status()["state"] == "absent"
        subprocess.run(["mount", "-o", "remount,size=400m", str(small)], check=True)
        assert embedded.start()["state"] == "running"
        embedded.stop()


def test_a_disk_that_fills_up_later_is_named_too(embedded: Embedded) -> None:
    small = embedded.folder / "small"
    small.mkdir()
    with small_file_system(small, "size=120m"):
        embedded.home = small / "home"
        embedded.start()
        embedded.stop()
        filler = small / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(200_000_000))
        message = embedded.failure(embedded.start_command())
        assert "full" in message or "No space left" in message
        assert not embedded.is_anything_alive()
        filler.unlink()
        assert embedded.start()["state"] == "running"
        embedded.stop()
