"""Which mode a command means, what it may touch, and from where it can be run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import fresh_clone
from .fakes import FakeDocker
from .machine import PATIENCE, Clone, ProjectFiles, Shell, Toolbox

ON_A_MODE = [("stop",), ("logs",), ("manage", "check"), ("shell",), ("psql",), ("dump", "x.json")]
ODD_NAME = '-it\'s my "site", été & `id`; $HOME 100%|\\d*'


def test_with_no_mode_running_a_command_asks_which_one(clone: Clone) -> None:
    for name, *arguments in ON_A_MODE:
        result = clone.run(name, *arguments)
        result.assert_refused(
            "no mode was given, and none is running", f"sh run.sh -0 {name}", status=2
        )
        assert "-1 (development) or -2 (local)" in result.err
    assert not (clone.root / "x.json").exists()
    assert not (clone.root / ".env").exists()


def test_load_asks_which_mode_too(dash_clone: Clone) -> None:
    (dash_clone.root / "data.json").write_text("[]")
    dash_clone.run("load", "data.json").assert_refused("no mode was given", "-0 load", status=2)
    dash_clone.run("load", "gone.json").assert_refused("cannot read gone.json", "dump wrote")


def test_what_only_looks_writes_nothing_before_the_first_start(clone: Clone) -> None:
    before = clone.files()
    for arguments in (("status",), ("doctor",), ("help",)):
        clone.run(*arguments).assert_ok()
        assert clone.files() == before, arguments
    stopped = clone.run("-2", "status")
    assert (stopped.status, stopped.err) == (2, ""), "2: it is down"
    assert clone.files() == before


def test_status_says_of_each_mode_how_to_start_it(clone: Clone) -> None:
    result = clone.run("status").assert_ok()
    assert result.out.splitlines() == [
        "Docker: Docker is not installed",
        "local        stopped   (start: sh run.sh -2)",
    ]


def test_doctor_names_what_is_there_and_what_is_missing_with_the_remedy(clone: Clone) -> None:
    out = clone.run("doctor").assert_ok().out
    assert "  --   Docker is not installed\n       next: install Docker Engine 25 or newer" in out
    assert f"  ok   Python: {clone.toolbox.python}/python3\n" in out
    assert "  --   -0 production\n  --   -1 development\n  ok   -2 local\n" in out


def test_doctor_ends_with_an_error_where_no_mode_can_run(clone: Clone) -> None:
    clone.has_python = False
    result = clone.run("doctor").assert_refused("no mode can run here", "one of the steps above")
    assert "Python 3.10 or newer is not installed" in result.out


def test_doctor_shows_what_is_wrong_in_env(clone: Clone) -> None:
    clone.first_start()
    assert "  ok   .env\n" in clone.run("doctor").assert_ok().out
    clone.set_in_env(LOG_LEVEL="loud", WEB_MEMORYS="blue")
    result = clone.run("doctor")
    assert result.status == 1
    assert "  --   LOG_LEVEL in .env is 'loud'\n       next: set it to DEBUG" in result.out
    clone.set_in_env(LOG_LEVEL="INFO")
    result = clone.run("doctor").assert_ok()
    assert "nothing reads WEB_MEMORYS" in result.out
    assert "  ok   .env\n" in result.out


@pytest.mark.every_shell
def test_a_command_works_from_any_folder(clone: Clone, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clone.run("status", cwd=elsewhere).assert_ok()
    clone.run("init", cwd=elsewhere).assert_ok()
    assert (clone.root / ".env").exists()
    assert list(elsewhere.iterdir()) == []
    # CDPATH would have cd print where it goes, and go elsewhere.
    clone.run("status", cwd=tmp_path, CDPATH=str(elsewhere)).assert_ok()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox", "ash", "bash-itself"], indirect=True)
def test_a_clone_may_have_any_path_under_every_shell(
    shell: Shell, toolbox: Toolbox, project_files: ProjectFiles, tmp_path: Path
) -> None:
    clone = fresh_clone(tmp_path / ODD_NAME, shell, toolbox, project_files)
    clone.run().assert_ok()
    clone.run("help", "-0").assert_ok()
    clone.run("doctor").assert_ok()
    env = clone.first_start()
    assert len(env["SECRET_KEY"]) == 64
    clone.run("status").assert_ok()
    clone.run("stop").assert_refused("no mode was given", "-0 stop", status=2)
    clone.set_in_env(HTTP_PRT="1")
    assert "nothing reads HTTP_PRT" in clone.run("status").err
    clone.add_command("hold", "main() { take_lock prod; open_log test; step Work true; }")
    clone.run("hold").assert_ok()
    assert [path.name for path in clone.state.iterdir()] == ["log"]
    clone.has_python = False
    clone.run("-2").assert_refused("Python 3.10 or newer is not installed", "install it")


def test_a_user_without_privileges_can_use_a_clone_of_their_own(nobodys_clone: Clone) -> None:
    clone = nobodys_clone
    clone.has_python = False  # this machine's may be out of that user's sight
    env = clone.first_start()
    assert (clone.root / ".env").stat().st_uid == clone.root.stat().st_uid
    assert len(env["POSTGRES_PASSWORD"]) == 24
    clone.run("status").assert_ok()
    clone.run("stop").assert_refused("no mode was given", "-0 stop", status=2)
    clone.run("-2").assert_refused("Python 3.10 or newer is not installed", "install it")
    assert clone.state.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in clone.state.iterdir()} == {"log"}


def test_a_user_who_may_not_write_in_the_clone_is_told_so(nobodys_clone: Clone) -> None:
    for path in (nobodys_clone.root, *nobodys_clone.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    nobodys_clone.run("status").assert_ok()
    result = nobodys_clone.run("init")
    result.assert_refused(f"cannot write to {nobodys_clone.root}/.env", "make")
    nobodys_clone.root.chmod(0o755)


@pytest.mark.every_shell
def test_a_dev_server_that_an_earlier_run_left_behind_is_ended_and_no_other(
    shell: Shell, toolbox: Toolbox, project_files: ProjectFiles, tmp_path: Path
) -> None:
    clone = fresh_clone(tmp_path / ODD_NAME, shell, toolbox, project_files)
    address = f"127.0.0.1:{clone.environment['LOCAL_PORT']}"
    sleeper = [sys.executable, "-ISc", "import time; time.sleep(600)", "manage.py", "runserver"]
    with (
        subprocess.Popen([*sleeper, address], cwd=clone.root / "web") as left_behind,
        subprocess.Popen([*sleeper, address], cwd=tmp_path) as elsewhere,
        subprocess.Popen([*sleeper, f"{address}0"], cwd=clone.root / "web") as on_another_port,
    ):
        try:
            clone.has_python = False
            result = clone.run("-2").assert_refused(
                "Python 3.10 or newer is not installed", "install it"
            )
            assert "stopping the local server that an earlier run left behind" in result.out
            assert left_behind.wait(PATIENCE) == -signal.SIGTERM
            assert elsewhere.poll() is None
            assert on_another_port.poll() is None
        finally:
            for process in (left_behind, elsewhere, on_another_port):
                process.kill()


def test_the_version_is_that_of_the_repository_around_web(dash_clone: Clone) -> None:
    dash_clone.add_command(
        "version", 'main() { export_version; say "$APP_VERSION $APP_REVISION"; }'
    )
    assert dash_clone.run("version").assert_ok().out == "unversioned unversioned\n"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "run.sh"], ["commit", "-qm", "x"], ["tag", "v1.2"]):
        subprocess.run([*git, *command], cwd=dash_clone.root, check=True)
    version, revision = dash_clone.run("version").assert_ok().out.split()
    assert version == "v1.2"
    assert revision in {path.read_text().strip() for path in branches(dash_clone.root)}


def branches(repository: Path) -> list[Path]:
    """The files that say what the branches of a repository point to."""
    return [path for path in (repository / ".git/refs/heads").rglob("*") if path.is_file()]


TASKS_OF_LOCAL = """
. "$ROOT/commands/local.sh"
main() {
    read_environment
    LOCAL_DATABASE=docker
    export_tasks_broker
    announce
    say "broker ${CELERY_BROKER_URL-none}"
}
"""


@pytest.mark.parametrize(
    ("worker", "said", "broker"),
    [
        ("healthy", "are done by the worker of -1", "redis://127.0.0.1:49153/0"),
        ("stopped", "run in the process of the site", "none"),
    ],
)
def test_tasks_of_the_local_mode_go_to_the_worker_of_development_if_it_runs(
    dash_clone: Clone, docker: FakeDocker, worker: str, said: str, broker: str
) -> None:
    dash_clone.first_start()
    dash_clone.set_in_env(COMPOSE_PROFILES="tasks")
    dash_clone.add_command("tell", TASKS_OF_LOCAL)
    docker.has_container("worker", worker)
    docker.has_container("redis")
    docker.answer("port id-redis 6379/tcp", out="127.0.0.1:49153")

    told = dash_clone.run("tell").assert_ok().out

    assert f"  tasks     {said}" in told
    assert told.endswith(f"broker {broker}\n")
