"""postdo_tasks/: how Celery's programs are started, and what their health check asks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from documents import PROJECT

from postdo_tasks import __main__ as program
from postdo_tasks import health


@pytest.mark.parametrize(
    ("quota", "cpus"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("?", 4)]
)
def test_a_worker_has_a_process_for_each_cpu_that_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cpus: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    (tmp_path / "cpu.max").write_text(quota)

    assert program.usable_cpus(tmp_path) == cpus


def test_the_options_of_a_worker_are_those_of_the_environment() -> None:
    environment = {
        "TASKS_POOL": "threads",
        "TASKS_CONCURRENCY": "7",
        "TASKS_QUEUES": "default,slow",
        "POSTDO_WORKER": "blue",
        "LOG_LEVEL": "WARNING",
    }
    given = program.options("worker", environment)

    assert given[:3] == ["-A", "postdo_tasks.app", "worker"]
    assert {"--pool=threads", "--concurrency=7", "--queues=default,slow"} <= set(given)
    assert {"--hostname=celery@worker-blue", "--loglevel=WARNING"} <= set(given)


def test_without_queues_those_of_the_app_are_served() -> None:
    assert not [word for word in program.options("worker", {}) if word.startswith("--queues")]


def test_a_pool_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="2"):
        program.options("worker", {"TASKS_POOL": "gevent"})
    said = capsys.readouterr().err
    assert "the package gevent is not installed" in said
    assert "web/requirements/tasks.in" in said


@pytest.fixture(autouse=True)
def lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a beat with RedBeat has written the name of its lock."""
    path = tmp_path / "lock"
    path.write_text("redbeat::lock")
    monkeypatch.setattr(health, "BEAT_LOCK", path)
    return path


@pytest.mark.parametrize(("program_name", "key"), [("worker", "alive:blue"), ("beat", "lock")])
@pytest.mark.parametrize(("answer", "problem"), [(b":1\r\n", False), (b":0\r\n", True)])
def test_healthy_is_who_has_its_key_in_redis(
    monkeypatch: pytest.MonkeyPatch, program_name: str, key: str, answer: bytes, problem: bool
) -> None:
    """With a Redis that gives one answer."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for reply in (b"+OK\r\n", answer):  # SELECT, EXISTS
                    asked.append(connection.recv(200))
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/2"
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        monkeypatch.setenv("POSTDO_WORKER", "blue")
        assert bool(health.main(program_name)) is problem
        thread.join()

    assert asked[0] == b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"
    assert asked[1].startswith(b"*2\r\n$6\r\nEXISTS\r\n")
    assert key.encode() in asked[1]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: TornadoServer/6.5\r\n\r\nOK", ""),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "HTTP/1.1 500 Internal Server Error"),
        (b"", "Flower answers ''"),
    ],
)
def test_healthy_is_a_flower_that_answers(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, problem: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(health, "FLOWER", server.getsockname())

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(200).startswith(b"GET /healthcheck HTTP/1.")
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        said = health.main("flower")
        thread.join()

    assert problem in said
    assert bool(said) is bool(problem)


def test_beat_with_a_scheduler_without_a_lock_is_healthy_once_it_has_started(
    monkeypatch: pytest.MonkeyPatch, lock: Path
) -> None:
    """Such as the one whose schedule is edited in the admin."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    lock.unlink()
    with pytest.raises(OSError, match="lock"):
        health.main("beat")
    lock.write_text("")

    assert health.main("beat") == ""


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("", "redbeat::lock"),
        ("redbeat_key_prefix='shop:'", "shop::lock"),
        ("redbeat_redis_url='redis://elsewhere'", ""),
        ("beat_scheduler='django_celery_beat.schedulers:DatabaseScheduler'", ""),
    ],
)
def test_beat_says_which_lock_it_holds(tmp_path: Path, lock: Path, settings: str, key: str) -> None:
    """`celery -A postdo_tasks.app beat` imports the project's app, here that of a file."""
    (tmp_path / "shop.py").write_text(
        f"import celery\napp = celery.Celery('shop')\napp.conf.update({settings})\n"
    )
    code = (
        "import pathlib, sys\n"
        "from postdo_tasks import health\n"
        "health.BEAT_LOCK = pathlib.Path('lock')\n"
        "sys.argv = ['celery', 'beat']\n"
        "import postdo_tasks.app\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{PROJECT}:{tmp_path}",
        "CELERY_APP": "shop",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert lock.read_text() == key


# --- A task that ends its process each time ------------------------------------------------------

# With a folder as the broker, and a count of its own, in place of Redis.
STUBBORN = """
import os, sys
from celery import Celery
from postdo_tasks.request import Request

folder = sys.argv.pop(1)
app = Celery("stubborn", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": folder, "data_folder_out": folder},
    task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True,
    worker_lost_wait=0.1,  # in place of 10 seconds
)
app.Task.Request = "postdo_tasks.request:Request"

class Counting:
    stopping = False
    counted = 0

    def note_loss(self, task):
        self.counted += 1
        if self.counted == 5:
            work.delay()
        return self.counted

Request.watch = Counting()

@app.task
def kill_me():
    print("begun", flush=True)
    os.kill(os.getpid(), 9)

@app.task
def work():
    print("worked", flush=True)

kill_me.delay()
app.worker_main(["worker", "--pool=prefork", "--concurrency=1", "--loglevel=INFO"])
"""


def test_a_task_that_ends_its_process_each_time_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(STUBBORN)
    queue = tmp_path / "queue"
    queue.mkdir()
    worker = subprocess.Popen(
        [sys.executable, str(program), str(queue)],
        cwd=tmp_path,  # kombu writes its files here
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    try:
        for line in worker.stdout or ():
            said += line
            if "worked" in line:
                break
    finally:
        worker.send_signal(signal.SIGQUIT)
        said += worker.communicate(timeout=60)[0]

    assert said.count("begun") == 5, said
    assert "kill_me ended its process 5 times" in said
    assert "worked" in said, "what comes after it is done"
