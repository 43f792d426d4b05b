"""The shell sources as a whole: what linters that look at one file at a time cannot see."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from programs import needed

from .machine import PROJECT, Shell, Toolbox

SOURCES = [
    PROJECT / "run.sh",
    *sorted(PROJECT.glob("lib/*.sh")),
    *sorted(PROJECT.glob("commands/*.sh")),
]


@pytest.mark.every_shell
def test_every_shell_can_read_every_file(shell: Shell) -> None:
    for path in SOURCES:
        subprocess.run([shell.folders[0] / "sh", "-n", path], check=True)


@pytest.mark.parametrize("name", ["mawk", "busybox"])
def test_every_awk_can_read_every_program(toolbox: Toolbox, name: str) -> None:
    needed(name)
    awk = toolbox.awks()[name]
    for program in PROJECT.glob("lib/*.awk"):
        # Some are read after another one, as their second line says.
        usage = program.read_text().splitlines()[1]
        files = re.findall(r"-f (lib/[\w.-]+)", usage) or [f"lib/{program.name}"]
        assert files[-1] == f"lib/{program.name}", usage
        options = [option for file in files for option in ("-f", file)]
        done = subprocess.run(
            [awk, *options], cwd=PROJECT, input=b"", capture_output=True, check=False, env={}
        )
        # 1 is an answer of some. What an awk cannot read, it complains about.
        assert (done.returncode in (0, 1), done.stderr) == (True, b""), program.name


def test_no_variable_is_unused_or_never_set(tmp_path: Path) -> None:
    # .shellcheckrc turns these two off, because a file's globals are used in others. Here all
    # files are one.
    whole = tmp_path / "whole.sh"
    whole.write_text("#!/bin/sh\n" + "\n".join(path.read_text() for path in SOURCES))
    folders = os.pathsep.join([f"{sys.prefix}/bin", os.environ["PATH"]])
    checker = shutil.which("shellcheck", path=folders)
    assert checker, "shellcheck is one of tests/requirements.txt"
    found = subprocess.run(
        [
            checker,
            "--norc",
            "--extended-analysis=false",  # two thirds of the time, and of no use to these two
            "--include=SC2034,SC2154",
            "--format=gcc",
            whole,
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    by_eval = {"port", "doctor_port", "explain_limit", "changed_now"}  # by eval, of a key
    left = [
        line
        for line in found.splitlines()
        if (name := re.search(r"(?:warning|note): (\w+) ", line)) and name[1] not in by_eval
    ]
    assert left == []


def test_every_function_is_used() -> None:
    texts = {path: path.read_text() for path in SOURCES}
    whole = "\n".join(re.sub(r"(?m)#.*$", "", text) for text in texts.values())
    names = re.findall(r"(?m)^([a-z_]+)\(\) \{", whole)
    # A mode's own, called as "stop_$MODE"; a service's own.
    modes = {f"{verb}_{mode}" for verb in ("stop", "look_at") for mode in ("prod", "dev", "local")}
    by_name = {"main", *modes, "try_new_db", "try_new_proxy", "try_new_redis"}
    words = Counter(re.findall(r"\w+", whole))
    unused = [name for name in set(names) - by_name if words[name] < 2]
    assert unused == []


def test_no_two_functions_in_lib_have_one_name() -> None:
    names = [
        name
        for path in SOURCES
        if path.parent.name == "lib"
        for name in re.findall(r"(?m)^([a-z_]+)\(\) \{", path.read_text())
    ]
    assert sorted(names) == sorted(set(names))


def test_a_failure_inside_a_substitution_is_not_swallowed() -> None:
    # fail in $(...) ends the subshell alone: a function that can fail is not called as an argument.
    whole = {path: path.read_text() for path in SOURCES}
    bodies = re.findall(r"(?ms)^([a-z_]+)\(\) \{(.*?)^\}", "\n".join(whole.values()))
    failing = {name for name, body in bodies if re.search(r"\b(fail|usage_error)\b", body)}
    failing -= {"fail", "usage_error", "main"}
    for path, text in whole.items():
        for line in text.splitlines():
            for name in re.findall(r"\$\(([a-z_]+)\b", line):
                checked = re.search(rf"^\s*[a-z_]+=\$\({name}\b.*\) \|\|", line)
                assert name not in failing or checked, f"{path.name}: {line.strip()}"
