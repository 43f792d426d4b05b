"""docker-compose.override.yml: what the kit sees in it, and what it refuses by name.

Compose itself reads the file; no engine is needed. That it reaches the containers: tests/stack.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .machine import PROJECT, Clone, Toolbox

KIT = " db web pgadmin copy web-blue web-green web-job proxy "


@pytest.fixture
def awk(toolbox: Toolbox) -> str:
    """The simplest awk of this machine."""
    return str(toolbox.awks()["busybox"])


def seen(awk: str, folder: Path, text: str, mode: str = "prod") -> list[str]:
    """What lib/override.awk says of an override file, as Compose writes that file out."""
    (folder / "docker-compose.override.yml").write_text(text)
    read = ["docker", "compose", "-f", "docker-compose.override.yml", "--profile", "*"]
    options = ["config", "--no-normalize", "--no-consistency"]
    done = subprocess.run([*read, *options], cwd=folder, capture_output=True, text=True, check=True)
    variables = {"mode": mode, "kit": KIT, "image": "shop-web:", "on": ",search,"}
    given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
    return subprocess.run(
        [awk, *given, "-f", str(PROJECT / "lib" / "override.awk")],
        input=done.stdout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


def test_services_of_the_site_are_told_from_those_of_the_kit(
    awk: str, has_compose: None, tmp_path: Path
) -> None:
    text = """
services:
  redis: {image: "redis:7"}
  web: {environment: {A: "services:"}, volumes: ["./media:/media"]}
  worker: {image: "shop-web:next", command: [python, manage.py, work]}
  once: {image: "redis:7", profiles: [tool]}
  sonic: {image: "sonic:1", profiles: [index, search]}
  "9": {image: "shop-webhook:1", environment: {TEXT: "a\\nservices:\\n  web-blue:\\n"}}
  pgadmin: {environment: {A: b}}
  proxy: {volumes: ["./certificates:/certificates:ro"]}
  db: {command: [-c, work_mem=64MB]}
volumes:
  web-green: {}
"""
    for mode in ("prod", "dev"):
        found = seen(awk, tmp_path, text, mode)
        early = ["early 9", "early redis", "early sonic"]
        assert sorted(found) == [*early, "late worker", "manual once", "media /media", "web"], mode


@pytest.mark.usefixtures("has_compose")
@pytest.mark.parametrize(
    ("web", "media"),
    [
        ('{volumes: ["files:/app/media", "search:/search"]}', ["media /app/media"]),
        ("{volumes: [{type: bind, source: ./x, target: /x/uploads}]}", ["media /x/uploads"]),
        ('{volumes: ["media:/search"]}', []),
        ('{environment: {MEDIA_ROOT: /app/media}, volumes: ["files:/app/media"]}', []),
        ('{volumes: ["files:/app/media"], environment: [MEDIA_ROOT=/app/media]}', []),
    ],
)
def test_a_place_for_uploads_that_the_site_is_not_told_of_is_seen(
    awk: str, tmp_path: Path, web: str, media: list[str]
) -> None:
    text = f"services: {{web: {web}, a: {{image: x, volumes: ['./x:/media']}}}}\n"
    text += "volumes: {files: {}, search: {}, media: {}}\n"
    assert [line for line in seen(awk, tmp_path, text) if line.startswith("media")] == media


OTHER_UPLOADS = """
main() {
    prepare_environment
    OVERRIDE="media /app/media"
    warn_of_other_uploads
}
"""


def test_uploads_in_a_volume_of_ones_own_are_not_lost_without_a_word(dash_clone: Clone) -> None:
    dash_clone.has_started()
    dash_clone.add_command("trial", OTHER_UPLOADS)

    assert "set MEDIA_ROOT=/app/media in .env" in dash_clone.run("trial").err

    dash_clone.set_in_env(MEDIA_ROOT="/app/media")
    dash_clone.run("trial").assert_ok()


@pytest.mark.usefixtures("has_compose")
@pytest.mark.parametrize(
    ("text", "modes", "expected"),
    [
        (
            "web-blue: {environment: {A: b}}",
            {"prod"},
            ("environment of web-blue alone", "write it under web"),
        ),
        ("web-green: {image: x}", {"prod"}, ("image of web-green alone", "write it under web")),
        ("copy: {mem_limit: 2g}", {"prod"}, ("changes copy", "remove copy from")),
        ("web: {image: mine}", {"prod", "dev"}, ("gives web another image", "APT_PACKAGES")),
        (
            "web: {container_name: site}",
            {"prod", "dev"},
            ("container_name", "remove container_name"),
        ),
        ("web: {network_mode: host}", {"prod", "dev"}, ("network_mode", "remove network_mode")),
        ("db: {profiles: [x]}", {"prod", "dev"}, ("gives db a profile", "remove profiles from db")),
        (
            'db: {ports: ["127.0.0.1:5432:5432"]}',
            {"prod"},
            ("publishes ports of db", "PROD_DB_PORT"),
        ),
        ('db: {ports: ["5432:5432"]}', {"prod"}, ("publishes ports of db", "only on 127.0.0.1")),
    ],
)
def test_what_cannot_be_is_named_with_what_to_do_instead(
    awk: str, tmp_path: Path, text: str, modes: set[str], expected: tuple[str, str]
) -> None:
    for mode in ("prod", "dev"):
        bad = [
            line
            for line in seen(awk, tmp_path, f"services: {{{text}}}", mode)
            if line.startswith("bad ")
        ]
        assert len(bad) == (mode in modes)
        what, remedy = expected
        assert all(what in line and remedy in line.partition(" [")[2] for line in bad)


@pytest.mark.parametrize("command", [("up", "-d", "db"), ("down", "-v"), ("ps",), ("config",)])
def test_plain_docker_compose_says_what_to_use_and_does_nothing(
    has_compose: None, command: tuple[str, ...]
) -> None:
    done = subprocess.run(
        ["docker", "compose", *command], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "use sh run.sh -0, -1 or -2 in place of docker compose" in done.stderr
