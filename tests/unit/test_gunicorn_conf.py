"""gunicorn.conf.py: how many processes, what is logged, how it stops. With the real Gunicorn."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.signing import TimestampSigner
from gunicorns import APPLICATION, CONFIGURATION, ENVIRONMENT, GUNICORN, Server, serving, wait_for


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    """The configuration as a module."""
    loader = SourceFileLoader("gunicorn_conf", str(CONFIGURATION))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# ---- How many ----


def write(folder: Path, **files: str) -> Path:
    """A folder like /sys/fs/cgroup: `cpu__cfs_quota_us` is cpu/cpu.cfs_quota_us, `cpu` cpu.max."""
    names = {"max": "cpu.max", "quota": "cpu/cpu.cfs_quota_us", "period": "cpu/cpu.cfs_period_us"}
    for name, text in files.items():
        path = folder / names[name]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"max": "150000 100000"}, 1.5),
        ({"max": "max 100000"}, float("inf")),
        ({"quota": "50000", "period": "100000"}, 0.5),
        ({"quota": "-1", "period": "100000"}, float("inf")),
        ({}, float("inf")),
        ({"max": "nonsense"}, float("inf")),
    ],
    ids=["v2", "v2 without limit", "v1", "v1 without limit", "no cgroup", "unreadable"],
)
def test_the_cpu_quota_is_that_of_the_container(
    conf: ModuleType, tmp_path: Path, files: dict[str, str], expected: float
) -> None:
    assert conf.cpu_quota(write(tmp_path, **files)) == expected


@pytest.mark.parametrize(
    ("cpus", "environment", "expected"),
    [
        (2, {}, (2, 4)),
        (1, {}, (1, 4)),
        (64, {}, (10, 4)),  # 40 of 100 connections are one colour's
        (64, {"POSTGRES_MAX_CONNECTIONS": "500"}, (60, 4)),
        (4, {"POSTGRES_MAX_CONNECTIONS": "26"}, (1, 3)),
        (2, {"WEB_CONCURRENCY": "20"}, (20, 2)),
        (2, {"WEB_CONCURRENCY": "0", "WEB_THREADS": ""}, (2, 4)),
        (8, {"WEB_THREADS": "20"}, (2, 20)),
        (2, {"WEB_CONCURRENCY": "8", "WEB_THREADS": "5"}, (8, 5)),
    ],
)
def test_processes_and_threads_fit_the_cpus_and_the_connections(
    conf: ModuleType, cpus: int, environment: dict[str, str], expected: tuple[int, int]
) -> None:
    assert conf.processes_and_threads(cpus, environment) == expected


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"WEB_CONCURRENCY": "11", "WEB_THREADS": "4"}, "POSTGRES_MAX_CONNECTIONS"),
        ({"WEB_CONCURRENCY": "41"}, "WEB_CONCURRENCY"),
        ({"WEB_THREADS": "many"}, "WEB_THREADS"),
        ({"WEB_THREADS": "-1"}, "WEB_THREADS"),
        ({"POSTGRES_MAX_CONNECTIONS": "20"}, "POSTGRES_MAX_CONNECTIONS"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do_next(
    conf: ModuleType,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    named: str,
) -> None:
    with pytest.raises(SystemExit) as stopped:
        conf.processes_and_threads(2, environment)
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert [line[:8] for line in lines] == ["error: " + lines[0][7], "  next: "]
    assert named in "\n".join(lines)


# ---- With a server ----


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as running:
        yield running


NASTY = (
    b'GET /a"b\\c?x={"level":"ERROR"} HTTP/1.1\r\nHost: x\r\n\r\n',
    b"GET /%0a%0d{} HTTP/1.1\r\nHost: x\r\nUser-Agent: \xe2\x80\xa8 \xff\x85 }\r\n\r\n",
    b'GET / HTTP/1.1\r\nHost: x\r\nReferer: "},{"a":\t"b\r\nX-Forwarded-For: 1\xc2\x85{}\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a\n{"level": "forged"}\r\n\r\n',
    b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m\x00\r\n\r\n",
    b'GET /a\n{"level": "forged"} HTTP/1.1\r\nHost: x\r\n\r\n',
    b'GE"T\x01 / HTTP/1.1\r\nHost: x\r\n\r\n',
    b'\x16\x03\x01\n{"level": "forged"}\n\r\n\r\n',
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Zm9vCntiYXI6eA==\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
)


def test_no_request_can_break_or_forge_a_line_of_the_log(server: Server) -> None:
    for request in NASTY:
        assert server.send(request).startswith(b"HTTP/1.1 ")
    server.stop()
    entries = server.lines()
    assert {entry["level"] for entry in entries} <= {"INFO", "WARNING"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", entry["time"]) for entry in entries)
    quoted = [entry for entry in entries if entry.get("path", "").startswith('/a"b')]
    assert [entry["path"] for entry in quoted] == ['/a"b\\c?x={"level":"ERROR"}']
    # One line for each request, the first one included, whether it was served or refused.
    answered = [entry for entry in entries if entry["logger"] == "gunicorn.access"]
    refused = [entry for entry in entries if entry["message"].startswith("Invalid request")]
    served = [entry for entry in answered if entry["status"] == 200]
    assert len(served) + len(refused) == len(NASTY) + 1


def test_no_link_that_sets_a_password_is_in_the_log(server: Server) -> None:
    user = SimpleNamespace(
        pk=1, password="hash", last_login=None, email="", get_email_field_name=lambda: "email"
    )
    tokens, signer = PasswordResetTokenGenerator(), TimestampSigner(key="any", fallback_keys=[])
    tokens.secret = "any"
    reset = f"/accounts/reset/MQ/{tokens.make_token(user)}/"  # type: ignore[arg-type]
    sign_up = f"/accounts/sign-up/{signer.sign_object('a@b.example')}/"

    server.get(reset, Referer=f"https://shop.example{reset}")
    server.get(sign_up)
    server.stop()

    # Two threads may have answered, and the second one logged first.
    logged = [entry for entry in server.lines() if "/accounts" in entry.get("path", "")]
    first, second = sorted(logged, key=lambda entry: str(entry["path"]))
    assert first["path"] == "/accounts/reset/MQ/REDACTED/"
    assert first["referer"] == "https://shop.example/accounts/reset/MQ/REDACTED/"
    assert second["path"] == f"{sign_up.partition(':')[0]}REDACTED/"
    assert not any(link[-33:-1] in f"{first}{second}" for link in (reset, sign_up))


def test_a_health_check_is_logged_only_when_it_comes_from_outside(server: Server) -> None:
    server.get("/readyz")
    server.get("/readyz", **{"X-Forwarded-For": "192.0.2.7"})
    server.stop()
    logged = [entry for entry in server.lines() if entry.get("path") == "/readyz"]
    assert [entry["client"] for entry in logged] == ["192.0.2.7"]


def test_a_stop_waits_for_the_requests_in_flight_and_no_longer(server: Server) -> None:
    answers: list[tuple[int, bytes]] = []
    slow = threading.Thread(target=lambda: answers.append(server.get("/slow?seconds=2")))
    slow.start()
    wait_for(server.busy)
    seconds = server.stop()
    slow.join()
    assert answers == [(200, b"ok")]
    assert seconds < 3.5, f"stopped after {seconds:.1f} s for a request of 2 s"
    assert server.process.returncode == 0


def test_a_stop_with_nothing_in_flight_is_quick(server: Server) -> None:
    assert server.stop() < 1.5


def test_a_stop_that_comes_before_a_worker_listens_to_signals_is_not_lost(tmp_path: Path) -> None:
    configuration = tmp_path / "slow_to_boot.conf.py"
    configuration.write_text(
        "import pathlib, runpy, time\n"
        f"globals().update(runpy.run_path({str(CONFIGURATION)!r}))\n"
        "ours = post_fork\n"
        "def post_fork(server, worker):\n"
        "    ours(server, worker)\n"
        "    pathlib.Path('forked').touch()\n"
        "    time.sleep(1)\n"
    )
    server = Server(tmp_path, configuration)
    try:
        wait_for(tmp_path / "forked")
        assert server.stop() < 4
    finally:
        server.process.kill()
        server.process.wait()


def test_gunicorn_takes_every_setting_and_opens_no_control_socket(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    shown = subprocess.run(
        [*GUNICORN, "--config", str(CONFIGURATION), "--print-config"],
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT, "WEB_TIMEOUT": "45"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = dict(re.findall(r"^(\w+)\s+= (.*)$", shown, re.MULTILINE))
    expected = {
        "control_socket_disable": "True",
        "worker_tmp_dir": "/dev/shm",  # noqa: S108
        "preload_app": "True",
        "threads": "2",
        "workers": "2",
        "timeout": "45",
        "graceful_timeout": "45",
        "forwarder_headers": "[]",
    }
    assert {name: found.get(name) for name in expected} == expected
