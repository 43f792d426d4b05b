"""What the build of the image says of requirements and static files that cannot be as they are.

The scripts run here as in the Dockerfile, with a Python and a pip that only note their call.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone

NOTES = '#!/bin/sh\nprintf "%s\\n" "$*" >>"${0%/*}/../calls"\n'
FAILS = """#!/bin/sh
case $* in
*collectstatic*)
    echo "ValueError: The file 'vendor/chart.js.map' could not be found with <x.Storage object>"
    exit 1
    ;;
esac
"""


CHECKS = """#!/bin/sh
case $* in
"manage.py check") echo "shop.W001: said by manage.py"; exit CHECK ;;
"-m postdo check "*) echo "said by postdo"; exit POSTDO ;;
esac
"""


def run_in_build(folder: Path, script: str, python: str, *arguments: str) -> tuple[int, str]:
    """A script of image/ in the project's folder; returns its status and what it says."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("pip", "python"):
        (tools / name).write_text(python)
        (tools / name).chmod(0o755)
    (folder / "venv").mkdir(exist_ok=True)
    without_git = folder / "tools"
    without_git.mkdir()
    for name in (
        "sh",
        "sed",
        "grep",
        "find",
        "head",
        "tail",
        "chmod",
        "cat",
        "env",
        "mktemp",
        "tr",
    ):
        program = next(Path(p) / name for p in os.get_exec_path() if (Path(p) / name).exists())
        (without_git / name).symlink_to(program)
    done = subprocess.run(
        ["sh", PROJECT / "image" / script, *arguments],
        cwd=folder,
        env={
            "PATH": f"{tools}:{without_git}",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "VENV": str(folder / "venv"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "git+https://git.example/shop.git@v1#egg=shop",
        "shop @ git+https://git.example/shop.git",
        "-e git+ssh://git@git.example/shop.git#egg=shop",
    ],
)
def test_a_requirement_from_git_names_what_is_missing(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "prod.txt").write_text("-r base.txt\n")
    (tmp_path / "requirements" / "base.txt").write_text(f"# git+https://x\nDjango\n{line}\n")
    status, said = run_in_build(tmp_path, "install.sh", NOTES, "production")
    assert status == 1
    assert "what=web/requirements/base.txt installs from git, but the build has no git" in said
    assert "add git to APT_BUILD_PACKAGES" in said
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("line", ["-e ./libs/shop", "./libs/shop[extra]", "--editable=./libs/shop"])
def test_a_package_in_web_libs_is_installed_as_it_is(tmp_path: Path, line: str) -> None:
    (tmp_path / "libs" / "shop").mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text(f"Django\n{line}\n-e git_is_a_name\n")
    status, said = run_in_build(tmp_path, "install.sh", NOTES, "production")
    assert status == 0, said
    kept = "./libs/shop[extra]" if "[" in line else "./libs/shop"
    assert (tmp_path / "requirements.txt").read_text() == f"Django\n{kept}\n-e git_is_a_name\n"
    assert "--requirement requirements.txt" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("target", ["production", "development"])
def test_production_has_djangos_translations_without_what_they_were_compiled_from(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "requirements.txt").write_text("Django\n")
    packages = tmp_path / "venv" / "lib" / "python3.13" / "site-packages"
    for package in ("django", "shop"):
        folder = packages / package / "locale" / "de" / "LC_MESSAGES"
        folder.mkdir(parents=True)
        (folder / "django.po").touch()
        (folder / "django.mo").touch()
    status, said = run_in_build(tmp_path, "install.sh", NOTES, target)
    assert status == 0, said
    left = sorted(str(path.relative_to(packages)) for path in packages.rglob("django.?o"))
    sources = [path for path in left if path.endswith(".po")]
    assert len(left) - len(sources) == 2
    assert [path.split("/")[0] for path in sources] == (
        ["shop"] if target == "production" else ["django", "shop"]
    )


@pytest.mark.parametrize("path", ["./packages/shop", "../shop", "./libs/other"])
def test_a_package_elsewhere_is_refused_with_where_to_put_it(tmp_path: Path, path: str) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "requirements.txt").write_text(f"Django\n-e {path}  # ours\n")
    status, said = run_in_build(tmp_path, "install.sh", NOTES, "development")
    assert status == 1
    assert f"what=web/requirements.txt installs {path}, which is not in web/libs/" in said
    assert "move it into web/libs/" in said


def test_a_missing_source_map_is_named_with_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "manage.py").touch()
    status, said = run_in_build(tmp_path, "collect.sh", FAILS, "stamp", "cache")
    assert status == 1
    assert "what=collectstatic failed: a static file refers to vendor/chart.js.map, which" in said
    assert "add an empty file static/vendor/chart.js.map to one of your app" in said


@pytest.mark.parametrize(
    ("check", "postdo", "what"),
    [
        (0, 0, ""),
        (0, 3, ""),
        (1, 0, "what=manage.py check found problems"),
        (1, 1, "what=manage.py check found problems"),
        (0, 1, "what=the migrations could not be checked"),
    ],
)
def test_a_build_ends_with_what_its_checks_say(
    tmp_path: Path, check: int, postdo: int, what: str
) -> None:
    (tmp_path / "manage.py").touch()
    python = CHECKS.replace("CHECK", str(check)).replace("POSTDO", str(postdo))
    status, said = run_in_build(tmp_path, "collect.sh", python, "stamp", "cache")
    assert status == (1 if what else 0), said
    assert what in said
    assert "shop.W001: said by manage.py" in said
    assert ("said by postdo" in said) == (check == 0)


@pytest.mark.parametrize(
    ("lock", "tool"), [("uv.lock", "uv export"), ("poetry.lock", "poetry exp")]
)
def test_a_lock_without_requirements_says_how_to_write_them(
    dash_clone: Clone, docker: FakeDocker, lock: str, tool: str
) -> None:
    for path in (dash_clone.root / "web" / "requirements").iterdir():
        path.unlink()
    (dash_clone.root / "web" / lock).touch()
    for mode in ("-0", "-1"):
        dash_clone.run(mode).assert_refused(f"web/ has a {lock} but no requirements.txt", tool)
    assert not any(" build " in call for call in docker.calls())


@pytest.mark.parametrize("name", ["production.txt", "prod.txt"])
def test_requirements_are_found_by_the_names_that_the_image_knows(
    dash_clone: Clone, docker: FakeDocker, name: str
) -> None:
    folder = dash_clone.root / "web" / "requirements"
    for path in folder.iterdir():
        path.unlink()
    (folder / name).write_text("Django\n")
    dash_clone.run("-0").assert_ok()


def test_an_image_of_postgresql_that_cannot_lend_its_programs_says_what_to_do(
    tmp_path: Path,
) -> None:
    """Alpine's pg_dump needs its own C library, which the site's image does not have."""
    tools = {"find": "echo /usr/local/bin/pg_dump", "ldd": "echo /lib/ld-musl-x86_64.so.1"}
    for name, line in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", PROJECT / "image" / "postgresql.sh", tmp_path / "out"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    what, remedy = done.stderr.split("\n")[1:3]
    assert what.startswith("what=PostgreSQL's image is based on Alpine")
    assert remedy.startswith("next=set POSTGRES_IMAGE in .env to an image based on Debian")
