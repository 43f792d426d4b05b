"""`hold`: requests wait while a command runs, and never longer. (By Caddy: tests/stack.)"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import Clone
from .test_starts import make_live

HOLD = "exec -i id-proxy sh /etc/caddy/site/hold.sh hold 300"
HELD = "exec id-proxy sh /etc/caddy/site/hold.sh held"
DRAIN = "exec id-web-blue cat /proc/net/tcp /proc/net/tcp6"
END = "exec id-proxy sh /etc/caddy/site/hold.sh end"


@pytest.fixture
def proxy(dash_clone: Clone, docker: FakeDocker) -> FakeDocker:
    """A proxy that runs, and can hold requests."""
    return can_hold(dash_clone, docker)


def can_hold(clone: Clone, docker: FakeDocker) -> FakeDocker:
    make_live(clone, "web-blue")
    docker.has_container("proxy")
    docker.has_container("web-blue")
    return docker


def steps(docker: FakeDocker) -> list[str]:
    """What the proxy was told, and the command, in order; that it holds, at any time before."""
    calls = [call for call in docker.calls() if call in (HELD, DRAIN, END, "a restart")]
    return [call for call, before in zip(calls, ["", *calls], strict=False) if call != before]


@pytest.mark.every_shell
def test_the_command_runs_while_requests_wait(clone: Clone, tmp_path: Path) -> None:
    proxy = can_hold(clone, FakeDocker(tmp_path / "fake-docker"))
    clone.first.append(proxy.folder)

    run = clone.run("hold", "docker", "a restart")

    assert (run.status, run.out) == (0, ""), run
    assert steps(proxy) == [HELD, DRAIN, "a restart", END]
    assert HOLD in proxy.calls()


def test_its_output_and_its_exit_code_are_those_of_hold(
    dash_clone: Clone, proxy: FakeDocker
) -> None:
    run = dash_clone.run("hold", "sh", "-c", "echo said; exit 7")

    assert (run.status, run.out) == (7, "said\n"), run
    assert steps(proxy) == [HELD, DRAIN, END]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interruption_ends_it(
    dash_clone: Clone, proxy: FakeDocker, number: signal.Signals, status: int, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    command = f"trap 'exit 1' TERM; : >'{runs}'; while :; do sleep 0.1; done"
    with dash_clone.start("hold", "sh", "-c", command) as run:
        until(runs.exists, "the command to run")
        os.killpg(run.pid, number)
        run.communicate()

    assert run.returncode == status
    assert steps(proxy)[-1] == END


def test_requests_that_take_long_are_not_waited_for(dash_clone: Clone, proxy: FakeDocker) -> None:
    proxy.answer(DRAIN, out="  0: 050012AC:1F40 040012AC:9C40 01 00000000:00000000")
    limit = dash_clone.root / "lib/hold.sh"
    limit.write_text(limit.read_text().replace("DRAIN_LIMIT=10", "DRAIN_LIMIT=1"))

    run = dash_clone.run("hold", "docker", "a restart")

    assert run.status == 0
    assert "some requests were still running after 1 s" in run.err
    assert steps(proxy) == [HELD, DRAIN, "a restart", END]


def test_the_command_does_not_run_if_requests_do_not_wait(
    dash_clone: Clone, proxy: FakeDocker
) -> None:
    proxy.answer(HELD, status=1)

    dash_clone.run("hold", "docker", "a restart").assert_refused("holding requests failed", "fix")

    assert steps(proxy) == [HELD, END]


def test_without_a_proxy_there_is_nothing_to_hold(dash_clone: Clone, docker: FakeDocker) -> None:
    run = dash_clone.run("hold", "docker", "a restart")

    run.assert_refused("the proxy is not running", "sh run.sh -0")
    assert "a restart" not in docker.calls()


def test_the_command_has_its_own_environment(dash_clone: Clone, proxy: FakeDocker) -> None:
    secret = dash_clone.first_start()["SECRET_KEY"]
    assert secret

    run = dash_clone.run("hold", "sh", "-c", 'echo "$SECRET_KEY-$LOG_LEVEL"', LOG_LEVEL="DEBUG")

    assert run.out == "-DEBUG\n"


def test_a_word_of_the_kits_own_is_no_command(dash_clone: Clone, proxy: FakeDocker) -> None:
    assert dash_clone.run("hold", "say", "something").status == 127
    dash_clone.run("hold").assert_refused("hold needs a command", "help hold", status=2)


def test_requests_wait_until_the_database_answers_again(
    dash_clone: Clone, proxy: FakeDocker
) -> None:
    """`docker restart` ends before that."""
    proxy.has_container("db")
    script = """
    state_of() {
        [ "$2" = db ] || { echo healthy; return; }
        [ -e "$STATE/restarted" ] || { echo healthy; return; }
        echo look >>"$STATE/looks"
        if [ "$(wc -l <"$STATE/looks")" -lt 3 ]; then echo starting; else echo healthy; fi
    }
    """
    library = dash_clone.root / "lib/hold.sh"
    library.write_text(library.read_text() + script)

    run = dash_clone.run("hold", "sh", "-c", f": >'{dash_clone.state}/restarted'")

    assert run.status == 0, run
    assert (dash_clone.state / "looks").read_text().count("look") == 3
    assert steps(proxy)[-1] == END
