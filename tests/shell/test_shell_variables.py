"""What a shell has set for other work changes nothing here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone

# name to a value that would be obeyed by Compose, pip, Python, PostgreSQL's clients or Git
LEFT_OVER = {
    "COMPOSE_ANSI": "always",
    "COMPOSE_FILE": "elsewhere.yml",
    "COMPOSE_PROJECT_NAME": "elsewhere",
    "COMPOSE_REMOVE_ORPHANS": "1",
    "COMPOSE_PROGRESS": "tty",
    "GIT_DIR": "/nowhere/.git",
    "GIT_WORK_TREE": "/nowhere",
    "PGHOST": "db.example.com",
    "PGOPTIONS": "-c search_path=elsewhere",
    "PGSERVICE": "elsewhere",
    "PGSSLMODE": "verify-full",
    "PIP_PREFIX": "/nowhere",
    "PIP_TARGET": "/nowhere",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
}


def test_what_is_left_over_in_the_shell_reaches_no_program(clone: Clone) -> None:
    clone.add_command("tell", 'main() { "$PYTHON_OF_TEST" -c "import os; print(*os.environ)"; }')
    clone.environment |= LEFT_OVER
    told = clone.run("tell", PYTHON_OF_TEST="python3", PIP_USER="1").assert_ok().out
    assert "PIP_USER" in told.split()
    assert set(LEFT_OVER) & set(told.split()) == set()


def test_a_virtual_environment_is_installed_into_although_pip_is_told_otherwise(
    dash_clone: Clone, tmp_path: Path
) -> None:
    """A package of this test's own: nothing is downloaded."""
    package = tmp_path / "package"
    (package / "shop_test_package").mkdir(parents=True)
    (package / "shop_test_package" / "__init__.py").touch()
    wheel = "shop_test_package-1-py3-none-any.whl"
    subprocess.run(
        ["python3", "-c", MAKE_WHEEL, str(package / wheel)], check=True, capture_output=True
    )
    (dash_clone.root / "own.txt").write_text(f"{package / wheel}\n")
    dash_clone.add_command(
        "install",
        'main() { make_state_folder "$STATE"; require_python; prepare_venv "$VENV" "$ROOT/own.txt"'
        ' && "$VENV/bin/python" -c "import shop_test_package as p; print(p.__file__)"; }',
    )
    dash_clone.environment |= LEFT_OVER
    told = dash_clone.run("install", PIP_USER="1", PIP_NO_INDEX="1").assert_ok().out
    assert str(dash_clone.state / "venv") in told


MAKE_WHEEL = """
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    info = "shop_test_package-1.dist-info/"
    wheel.writestr("shop_test_package/__init__.py", "")
    metadata = "Metadata-Version: 2.1\\nName: shop-test-package\\nVersion: 1\\n"
    wheel.writestr(info + "METADATA", metadata)
    tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    wheel.writestr(info + "WHEEL", tags)
    wheel.writestr(info + "RECORD", "")
"""


def test_the_build_is_buildkits_although_the_shell_says_otherwise(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    program = docker.folder / "docker"
    program.write_text(program.read_text().replace("printf '%s\\n' \"$*\"", NOTE))
    dash_clone.run("-0", DOCKER_BUILDKIT="0", COMPOSE_ANSI="always").assert_ok()
    builds = [call for call in docker.calls() if call.endswith(" build web")]
    assert builds
    assert all(call.startswith("buildkit=1 ansi= compose") for call in builds)


NOTE = 'printf \'buildkit=%s ansi=%s %s\\n\' "${DOCKER_BUILDKIT-}" "${COMPOSE_ANSI-}" "$*"'


@pytest.mark.parametrize("context", ["DOCKER_CONTEXT", "docker context use"])
def test_the_engine_of_another_context_is_named_with_the_way_back(
    dash_clone: Clone, docker: FakeDocker, context: str
) -> None:
    docker.answer("version --format*", err="Cannot connect to the Docker daemon", status=1)
    docker.answer("context inspect*staging", out="ssh://deploy@staging")
    given = {"DOCKER_CONTEXT": "staging"} if context == "DOCKER_CONTEXT" else {}
    if not given:
        docker.answer("context show", out="staging")
    remedy = "unset DOCKER_CONTEXT" if given else "docker context use default"
    dash_clone.environment |= given
    dash_clone.run("-0").assert_refused(
        "is not running at ssh://deploy@staging (Docker context staging)", remedy
    )


def test_the_engine_of_docker_host_is_named_with_the_way_back(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("version --format*", err="error during connect: timeout", status=1)
    dash_clone.run("-0", DOCKER_HOST="tcp://old.example:2376").assert_refused(
        "does not answer at tcp://old.example:2376 (from DOCKER_HOST)", "unset DOCKER_HOST"
    )


def test_with_the_default_engine_nothing_is_said_of_others(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("version --format*", err="Cannot connect to the Docker daemon", status=1)
    docker.answer("context show", out="default")
    refused = dash_clone.run("-0").assert_refused("the Docker engine is not running", "start it")
    assert "context" not in refused.err
    assert "DOCKER_HOST" not in refused.err


def test_every_name_is_one_that_run_sh_unsets() -> None:
    unset = (PROJECT / "run.sh").read_text().partition("\nunset ")[2].partition("\nexport")[0]
    assert set(LEFT_OVER) <= set(unset.replace("\\", " ").split())
