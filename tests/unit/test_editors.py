"""What editors and git read in the clone: it agrees with what the kit itself uses."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from documents import text_of
from projects import REPOSITORY

HOOKS = text_of(".pre-commit-config.yaml")
HOOK = re.compile(
    r"- id: (?P<id>[\w-]+)\n +name: (?P<name>.+)\n +language: python\n"
    r' +additional_dependencies: \["(?P<package>[\w-]+)==(?P<version>[\w.]+)"\]\n'
    r" +entry: (?P<entry>.+)\n"
)
# What each hook finds, in a file that it could be about.
FAULTS = {
    "ruff-check": ("fault.py", "import os\n"),
    "ruff-format": ("fault.py", "x = {  'a':1 }\n"),
    "shellcheck": ("fault.sh", "#!/bin/sh\necho $1\n"),
    "shfmt": ("fault.sh", "#!/bin/sh\nif true;then echo 1;fi\n"),
}


def hooks() -> dict[str, dict[str, str]]:
    """Each hook by its id."""
    return {found["id"]: found.groupdict() for found in HOOK.finditer(HOOKS)}


def test_every_hook_is_local_and_of_the_version_that_lint_has() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", text_of("tests/requirements.txt"), re.MULTILINE))

    assert hooks().keys() == set(re.findall(r"- id: (\S+)", HOOKS)) == FAULTS.keys()
    assert re.findall(r"repo: (\S+)", HOOKS) == ["local"]
    for hook in hooks().values():
        assert hook["version"] == pinned[hook["package"]], hook["id"]


@pytest.mark.parametrize("name", FAULTS)
def test_each_hook_finds_a_fault_or_mends_it_as_lint_would(name: str, tmp_path: Path) -> None:
    file, text = FAULTS[name]
    path = tmp_path / file
    path.write_text(text)
    words = shlex.split(hooks()[name]["entry"])

    done = subprocess.run([*words, path], capture_output=True, text=True, check=False)

    assert done.returncode != 0 or path.read_text() != text, done
    for option in (word for word in words if word.startswith("-")):
        same = option in text_of("lib/tests.sh")
        assert same or option in {"--force-exclude", "--write"}, f"lint does without {option}"


def test_the_dev_container_runs_the_local_mode_on_the_python_of_the_images() -> None:
    settings = json.loads(text_of(".devcontainer/devcontainer.json"))
    (version,) = re.findall(
        r"POSTDO_PYTHON_IMAGE:-python:([\d.]+)-slim", text_of("docker-compose.dev.yml")
    )
    (port,) = re.findall(r"^LOCAL_PORT=(\d+)$", text_of(".env.example"), re.MULTILINE)

    assert settings["image"].endswith(f"/python:{version}")
    assert settings["forwardPorts"] == [int(port)]
    assert settings["postAttachCommand"] == "sh run.sh -2"
    venv = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert venv == "${containerWorkspaceFolder}/.postdo/venv/bin/python"
    assert REPOSITORY.joinpath("lib/python.sh").read_text().count('VENV="$STATE/venv"') == 1
