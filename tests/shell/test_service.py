"""The systemd unit, as far as it can be had without systemd. (It boots for real in stack.)"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import fresh_clone
from .machine import Clone, ProjectFiles, Shell, Toolbox

FILL = """. "$ROOT/commands/service.sh"
main() {
    prepare_environment
    fill_unit production.service >"$ROOT/site.service"
    for name in jobs.service jobs.timer watch.service watch.timer; do
        fill_unit $name >"$ROOT/site-$name"
    done
}"""
# The folder's name, and how it stands between quotes in a unit (systemd.service(5), COMMAND LINES).
FOLDERS = [
    ("clone", "clone"),
    ("my site's", "my site's"),
    ('"quoted"', '\\"quoted\\"'),
    ("$HOME and 100%", "$$HOME and 100%%"),
    ("back\\slash&pipe|", "back\\\\slash&pipe|"),
]


def test_the_service_is_refused_where_systemd_does_not_run(clone: Clone) -> None:
    if Path("/run/systemd/system").is_dir():
        clone.run("service", "status").assert_refused("is not installed", "install", status=3)
        return
    for word in ("install", "remove", "status"):
        result = clone.run("service", word)
        result.assert_refused("not booted with systemd", f"sh {clone.root}/run.sh -0 --no-build")


@pytest.mark.every_shell
@pytest.mark.parametrize("name", FOLDERS, ids=lambda name: name[0])
def test_the_unit_names_the_clone_whatever_its_path(
    shell: Shell,
    toolbox: Toolbox,
    project_files: ProjectFiles,
    tmp_path: Path,
    name: tuple[str, str],
) -> None:
    folder, quoted = name
    clone = fresh_clone(tmp_path / folder, shell, toolbox, project_files)
    clone.add_command("fill", FILL)
    clone.run("fill").assert_ok()
    unit = clone.root / "site.service"
    text = unit.read_text()
    script = f'/bin/sh "{tmp_path}/{quoted}/run.sh"'
    assert f"ExecStart={script} -0 --no-build\n" in text
    assert f"ExecStop={script} -0 stop\n" in text
    jobs = (clone.root / "site-jobs.service").read_text()
    assert f"ExecStart={script} jobs --due\n" in jobs
    watch = (clone.root / "site-watch.service").read_text()
    assert f"ExecStart={script} -0 watch --minute\n" in watch
    assert "@" not in text + jobs + watch
    if shutil.which("systemd-analyze"):
        kinds = ("jobs.service", "jobs.timer", "watch.service", "watch.timer")
        names = ("site.service", *(f"site-{kind}" for kind in kinds))
        copies = [shutil.copy(clone.root / name, tmp_path / name) for name in names]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *copies],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
