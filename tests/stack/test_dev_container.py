"""The dev container: its own commands, in a container of the bare Python image.

Its image itself cannot be had here. What is as in it: a user without privileges, nothing of the kit
installed, and a volume for the state, which belongs to root until somebody says otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess

from .clone import Clone
from .engine import TOOL_IMAGE, Container, docker
from .waiting import eventually

USER = str(os.getuid() or 1000)


def test_its_commands_make_it_ready_and_serve_the_site(own: Clone) -> None:
    settings = json.loads((own.root / ".devcontainer/devcontainer.json").read_text())
    mount = settings["mounts"][0].replace("${devcontainerId}", own.name)
    mount = mount.replace("${containerWorkspaceFolder}", "/site")
    (port,) = settings["forwardPorts"]
    subprocess.run(["sh", "-c", settings["initializeCommand"]], cwd=own.root, check=True)
    subprocess.run(["chown", "-R", USER, own.root], check=True)
    options = ("--init", "--mount", mount, "-v", f"{own.root}:/site", "-w", "/site")
    made = docker("run", "-d", "--name", own.name, *options, TOOL_IMAGE, "sleep", "infinity")
    there = Container(made.strip())
    run = ("--user", USER, "--env", "HOME=/home/dev", there.id, "sh", "-c")
    try:
        there.run("useradd", "--uid", USER, "--create-home", "dev")
        there.run("chown", USER, ".postdo")  # the command does it by sudo, which is not in here
        docker("exec", *run, settings["postCreateCommand"], seconds=300)
        docker("exec", "-d", *run, settings["postAttachCommand"])
        ask = ("python3", "-I", "-S", "healthcheck.py", "/readyz", "127.0.0.1", str(port))
        eventually(lambda: there.try_run(*ask).stdout == "200 for /readyz\n", "the site", 120)
    finally:
        docker("rm", "--force", "--volumes", there.id)
        docker("volume", "rm", f"postdo-{own.name}")
