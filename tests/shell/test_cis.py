"""The CIS Docker Benchmark's rules (1.6.0) for images and containers, and who reaches what.

By what Compose makes of the files, and by the Dockerfile: no engine is needed. What the engine does
with it: tests/stack/test_isolation.py. The rules that are not met: bench/promises.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.promises import RULES as UNMET

from .machine import PROJECT

Service = Mapping[str, Any]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
LOOPBACK = "127.0.0.1"
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|_KEY|DATABASE_URL")
# Production with its optional parts, two of which exclude each other; and its drill.
PRODUCTION = (
    ("prod", "https", "db-port", "tasks.prod", "live.prod", "metrics.prod"),
    ("prod", "tasks-db.prod"),
    ("prod", "drill"),
)
OF_RUN_SH = (
    *("ALERT_WEBHOOKS", "HEARTBEAT_URL", "OFFSITE_SECRET", "OFFSITE_PASSPHRASE"),
    "PGADMIN_DEFAULT_PASSWORD",
)
DEVELOPMENT = ("dev", "debug", "tasks.dev")
SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/var", "/run")


def services(names: tuple[str, ...], folder: Path = PROJECT) -> dict[str, Any]:
    """What Compose makes of these files, which are in that folder: services and networks."""
    files = ["docker-compose.yml", *(f"docker-compose.{name}.yml" for name in names)]
    options = [word for file in files for word in ("-f", file)]
    done = subprocess.run(
        ["docker", "compose", *options, "--profile", "*", "config", "--format", "json"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "POSTDO_RUN": "yes",
            "PROD_DB_PORT": "5432",
            "POSTDO_DRILL_ENV": ".env.example",
            "POSTDO_DRILL_IMAGE": "postdo-web:release-1",
            "DEBUG_PORT": "5678",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    if "prod" in names:
        del found["services"]["pgadmin"]  # a name without a container
    return found


@pytest.fixture(scope="module")
def production(has_compose: None) -> list[dict[str, Any]]:
    return [services(names) for names in PRODUCTION]


@pytest.fixture(scope="module")
def development(has_compose: None) -> dict[str, Any]:
    return services(DEVELOPMENT)


def binds(service: Service) -> list[str]:
    return [one["source"] for one in service.get("volumes", []) if one["type"] == "bind"]


def is_ours(service: Service) -> bool:
    return "-web:" in service["image"]


def has_user(service: Service) -> bool:
    last = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1]
    return "user" in service or (is_ours(service) and last.split(":")[0] not in ("0", "root"))


def is_sensitive(source: str) -> bool:
    path = Path(source)
    return not path.is_relative_to(PROJECT) and (
        path == Path("/") or any(path.is_relative_to(folder) for folder in SENSITIVE)
    )


def writes_no_core(service: Service) -> bool:
    """Compose writes a limit of 0 as a number, as two, or leaves them out."""
    limit = service.get("ulimits", {}).get("core", 1)
    return not (any(limit.values()) if isinstance(limit, dict) else limit)


# Whether a service keeps a rule.
RULES: dict[str, Callable[[Service], bool]] = {
    "4.1": has_user,
    "5.1": lambda s: not any("apparmor" in one for one in s.get("security_opt", [])),
    "5.2": lambda s: not any("label" in one for one in s.get("security_opt", [])),
    "5.3": lambda s: s.get("cap_drop") == ["ALL"],
    "5.4": lambda s: not s.get("privileged"),
    "5.5": lambda s: not any(map(is_sensitive, binds(s))),
    "5.7": lambda s: all(int(port["published"]) > 1023 for port in s.get("ports", [])),
    "5.9": lambda s: s.get("network_mode") != "host",
    "5.10": lambda s: int(s.get("mem_limit", 0)) > 0,
    "5.11": lambda s: "cpu_shares" in s,
    "5.12": lambda s: bool(s.get("read_only")),
    "5.13": lambda s: all("host_ip" in port for port in s.get("ports", [])),
    "5.14": lambda s: s.get("restart", "no") in ("no", "on-failure:5"),
    "5.15": lambda s: s.get("pid") != "host",
    "5.16": lambda s: s.get("ipc") != "host",
    "5.17": lambda s: not s.get("devices") and not s.get("device_cgroup_rules"),
    "5.18": writes_no_core,
    "5.19": lambda s: not any("propagation" in one.get("bind", {}) for one in s.get("volumes", [])),
    "5.20": lambda s: s.get("uts") != "host",
    "5.21": lambda s: not any("seccomp" in one for one in s.get("security_opt", [])),
    "5.24": lambda s: "cgroup_parent" not in s,
    "5.25": lambda s: "no-new-privileges:true" in s.get("security_opt", []),
    "5.26": lambda s: "test" in s.get("healthcheck", {}) and not s["healthcheck"].get("disable"),
    "5.28": lambda s: 0 < s.get("pids_limit", 0) <= 4096,
    "5.29": lambda s: s.get("network_mode") != "bridge",
    "5.30": lambda s: s.get("userns_mode") != "host",
    "5.31": lambda s: not any("docker.sock" in source for source in binds(s)),
}
# Of development too, whose containers are otherwise open: they are built to be worked in.
ALWAYS = (
    *("5.1", "5.2", "5.4", "5.5", "5.9", "5.15", "5.16"),
    *("5.17", "5.20", "5.21", "5.24", "5.30", "5.31"),
)
NOT_SEEN_HERE = {"4.5", "4.8", "5.27"}


@pytest.mark.parametrize("number", RULES)
def test_production_keeps_a_rule_but_where_the_page_says_why_not(
    production: list[dict[str, Any]], number: str
) -> None:
    kept = RULES[number]
    broken = {
        name for found in production for name, one in found["services"].items() if not kept(one)
    }

    assert broken == {name for rule in UNMET if rule.number == number for name in rule.unmet}


def test_each_rule_that_is_not_met_is_one_that_is_looked_at() -> None:
    assert {rule.number for rule in UNMET} - RULES.keys() == NOT_SEEN_HERE


@pytest.mark.parametrize("number", ALWAYS)
def test_development_keeps_the_rules_that_protect_the_machine(
    development: dict[str, Any], number: str
) -> None:
    assert [n for n, one in development["services"].items() if not RULES[number](one)] == []


def test_other_machines_reach_the_proxy_alone(
    production: list[dict[str, Any]], development: dict[str, Any]
) -> None:
    """Whatever else has a port is for this machine."""
    everywhere = {
        (name, port["target"])
        for found in (*production, development)
        for name, one in found["services"].items()
        for port in one.get("ports", [])
        if port.get("host_ip") != LOOPBACK
    }

    assert everywhere == {("proxy", 80), ("proxy", 443)}


def test_the_proxy_shares_no_network_with_the_database_or_redis(
    production: list[dict[str, Any]],
) -> None:
    for found in production:
        networks = {name: set(one.get("networks", {})) for name, one in found["services"].items()}
        assert networks["proxy"] == {"frontend"}
        for name in {"db", "redis"} & networks.keys():
            assert "backend" in networks[name]
            assert not networks[name] & networks["proxy"], name
        assert networks["db"] <= {"backend", "reachable"}
        assert found["networks"]["backend"]["internal"] is True
        assert not any(one.get("enable_ipv6") for one in found["networks"].values())


def test_what_serves_reaches_no_backup_and_nothing_of_the_clone_that_it_could_change(
    production: list[dict[str, Any]],
) -> None:
    for found in production:
        for name, one in found["services"].items():
            mounts = [mount for mount in one.get("volumes", []) if mount["type"] == "bind"]
            writable = [mount["source"] for mount in mounts if not mount.get("read_only")]
            own = {"web": ["backups"], "archive": ["backups/archive/postdo"]}.get(name, [])
            assert writable == [f"{PROJECT}/{folder}" for folder in own], name


def test_no_container_of_the_site_has_a_secret_that_run_sh_alone_needs(
    has_compose: None, tmp_path: Path
) -> None:
    """The containers have all of .env, for the project's own keys, but for these."""
    for path in PROJECT.glob("docker-compose*.yml"):
        shutil.copy(path, tmp_path)
    keys = [*OF_RUN_SH, "OF_THE_PROJECT"]
    for file in (".env", ".env.example"):  # the second one stands for that of a drill
        (tmp_path / file).write_text("".join(f"{key}=hush-{key}\n" for key in keys))

    for names in PRODUCTION:
        for name, one in services(names, tmp_path)["services"].items():
            told = [value for value in one.get("environment", {}).values() if "hush-" in value]
            has_env = is_ours(one) and name != "metrics"
            assert told == (["hush-OF_THE_PROJECT"] if has_env else []), name


# --- The image ----------------------------------------------------------------------------------


def instructions(word: str) -> list[str]:
    """The instructions of that kind, each as one line."""
    joined = re.sub(r"\\\n", "", DOCKERFILE)
    return re.findall(rf"^{word}\s+(.*)$", joined, re.MULTILINE)


def test_packages_are_listed_and_installed_in_one_step_and_nothing_is_fetched_by_add() -> None:
    """Rules 4.7 and 4.9."""
    runs = [text for text in instructions("RUN") if "apt-get update" in text]

    assert runs
    assert all("apt-get install" in text for text in runs)
    assert instructions("ADD") == []


def test_no_secret_is_given_to_a_build() -> None:
    """Rule 4.10. Arguments and variables stay in the image's history; secrets are mounted."""
    given = [*instructions("ARG"), *instructions("ENV")]

    assert [text for text in given if SECRET.search(text.partition("=")[0])] == []
    assert any("--mount=type=secret" in text for text in instructions("RUN")), "the control"


def test_the_build_sees_nothing_but_what_is_listed() -> None:
    """So that .env, backups and the repository never reach an image."""
    lines = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert not allowed & {".env", "backups/", ".git/", ".postdo/", "docker-compose.override.yml"}
    assert {"**/.env", "**/.env.*", "**/.git"} <= set(lines)
