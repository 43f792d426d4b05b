"""Production is closed: what is published, what a container may do, what its image holds."""

from __future__ import annotations

import json
import re

import pytest

from .clone import Clone
from .engine import docker

SERVICES = ("db", "proxy", "web")
# Of the proxy: KILL, SETGID, SETUID and NET_BIND_SERVICE (capabilities(7)).
LISTED = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


def service(clone: Clone, name: str) -> str:
    """The service behind a word: the site is the live colour."""
    return clone.live() if name == "web" else name


def test_nothing_but_the_proxy_publishes_a_port(production: Clone) -> None:
    published = {
        name: {port for port, hosts in one.facts()["NetworkSettings"]["Ports"].items() if hosts}
        for name, one in production.containers("prod", running=True).items()
    }

    assert published == {"db": set(), production.live(): set(), "proxy": {"80/tcp"}}


def test_from_other_networks_the_proxy_alone_is_reached_and_the_database_has_no_way_out(
    production: Clone,
) -> None:
    prod = production.project("prod")
    there = production.containers("prod")
    backend, frontend = f"{prod}_backend", f"{prod}_frontend"
    database, proxy = there["db"].address(backend), there["proxy"].address(frontend)
    web = there[production.live()].address(frontend)

    # Each pair of one that fails and one that does not, so that neither proves too little.
    # Twice: for each network that is made, as other tests do meanwhile, Docker deletes the jump to
    # its rules, and inserts it again.
    assert not (
        connects(production, frontend, database, 5432)
        and connects(production, frontend, database, 5432)
    )
    assert connects(production, backend, database, 5432)
    assert not connects(production, backend, proxy, 80)
    assert connects(production, frontend, proxy, 80)
    assert docker("network", "inspect", "--format", "{{.Internal}}", backend) == "true\n"

    # Whoever is in none of them, as another machine is, comes by the published port. By IPv6 there
    # is no other way either: no container has an address of it.
    for address, port in ((database, 5432), (web, 8000)):
        assert not (
            connects(production, "bridge", address, port)
            and connects(production, "bridge", address, port)
        ), address
    gateway = docker(
        "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"
    )
    published = int(production.environment["HTTP_PORT"])
    assert connects(production, "bridge", gateway.strip(), published)
    for name, one in production.containers("prod", running=True).items():
        for network in one.facts()["NetworkSettings"]["Networks"].values():
            assert network["GlobalIPv6Address"] == "", name


def connects(clone: Clone, network: str, address: str, port: int) -> bool:
    """Whether a container in that network can connect to an address."""
    try:
        docker(
            *("run", "--rm", "--network", network),
            *("--entrypoint", "python", f"{clone.name}-web:next"),
            *("-c", CONNECT, address, str(port)),
        )
    except Exception as error:  # noqa: BLE001 - read just below
        said = str(error)
        assert "TimeoutError" in said or "OSError" in said, said
        return False
    return True


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_cannot_write_to_its_image_nor_become_more(
    production: Clone, name: str
) -> None:
    container = production.containers("prod")[service(production, name)]

    for folder in ("/", "/etc", "/usr/bin", "/app" if name == "web" else "/opt"):
        refused = container.try_run("sh", "-c", f"echo x >{folder}/written-by-a-test")
        assert "Read-only file system" in refused.stderr, f"{folder}: {refused}"
    container.run("sh", "-c", "echo x >/tmp/written-by-a-test && rm /tmp/written-by-a-test")

    limits = container.run("cat", "/proc/1/limits")
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
    process = container.process()
    assert process["NoNewPrivs"] == "1"
    allowed = LISTED if name == "proxy" else 0
    assert int(process["CapEff"], 16) == allowed, process


@pytest.mark.parametrize("name", SERVICES)
def test_what_visitors_wait_for_comes_before_a_build(production: Clone, name: str) -> None:
    container = production.containers("prod")[service(production, name)]

    assert container.facts()["HostConfig"]["CpuShares"] > 1024  # of every other container


def test_gunicorn_is_the_first_process_and_runs_as_nobody_in_particular(production: Clone) -> None:
    web = production.containers("prod")[production.live()]

    assert "gunicorn" in web.run("cat", "/proc/1/cmdline").split("\0")[1]
    assert web.process()["Uid"].split() == ["10001"] * 4
    assert web.process()["Gid"].split() == ["10001"] * 4
    assert production.containers("prod")["db"].process()["Uid"].split()[0] not in ("0", "10001")


def test_the_image_has_no_compiler_no_pip_and_no_curl(production: Clone) -> None:
    web = production.containers("prod")[production.live()]

    for tool in ("gcc", "cc", "make", "pip", "pip3", "curl"):
        assert web.try_run("sh", "-c", f"command -v {tool}").stdout == "", tool
    assert "No module named pip" in web.try_run("python", "-m", "pip", "--version").stderr
    assert "No module named pip" in web.try_run("/usr/bin/env", "python3", "-m", "pip").stderr
    assert web.run("python", "-c", "import django; print('there')") == "there\n", "the control"


def test_the_image_holds_no_secret(production: Clone) -> None:
    env = production.env()
    image = f"{production.name}-web:next"
    history = docker("image", "history", "--no-trunc", image) + docker("image", "inspect", image)
    files = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "sh", image),
        *("-c", 'grep -rIl -e "$0" -e "$1" /app /opt /venv /tmp /etc || true'),
        *(env["SECRET_KEY"], env["POSTGRES_PASSWORD"]),
    )

    assert files == ""
    for key in ("SECRET_KEY", "POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD"):
        assert env[key] not in history, key


def test_no_secret_is_in_a_log_or_in_a_list_of_processes(production: Clone) -> None:
    env = production.env()
    logs = (production.root / ".postdo/log").rglob("*.log")
    found = {"the log of run.sh": "".join(path.read_text(errors="replace") for path in logs)}
    for name, one in production.containers("prod", running=True).items():
        found[f"the log of {name}"] = one.log(100_000)
        found[f"the processes of {name}"] = one.run("sh", "-c", "cat /proc/[0-9]*/cmdline")

    assert "gunicorn" in found[f"the processes of {production.live()}"], "the control"
    assert "Booting worker" in found[f"the log of {production.live()}"], "the control"
    assert "Build the image" in found["the log of run.sh"], "the control"
    for key in ("SECRET_KEY", "POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD"):
        assert [place for place, text in found.items() if env[key] in text] == [], key


def test_the_image_says_which_version_it_is(production: Clone) -> None:
    inspected = json.loads(docker("image", "inspect", f"{production.name}-web:next"))[0]
    labels = inspected["Config"]["Labels"]

    # It may be built from files that another test has changed: then it says so.
    version = production.git("describe", "--always")
    revision = production.git("rev-parse", "HEAD")
    assert labels["org.opencontainers.image.revision"] == revision
    assert labels["org.opencontainers.image.version"] in (version, f"{version}-dirty")
    assert f"APP_REVISION={revision}" in inspected["Config"]["Env"]


@pytest.mark.parametrize("name", SERVICES)
def test_memory_logs_health_and_restart_are_seen_to(production: Clone, name: str) -> None:
    env = production.env()
    facts = production.containers("prod")[service(production, name)].facts()
    host = facts["HostConfig"]

    limits = {"web": env["WEB_MEMORY"], "proxy": env["PROXY_MEMORY"], "db": env["DB_MEMORY"]}
    assert host["Memory"] == in_bytes(limits[name])
    assert host["LogConfig"]["Type"] == "json-file"
    assert set(host["LogConfig"]["Config"]) == {"max-size", "max-file"}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert facts["State"]["Health"]["Status"] == "healthy"
    # `docker stop` waits longer than the server inside gives to requests, or to a checkpoint.
    floor = 60 if name == "db" else int(env["WEB_TIMEOUT"]) + 1
    assert facts["Config"]["StopTimeout"] >= floor


def test_nothing_can_take_all_processes_or_all_memory_of_the_machine(production: Clone) -> None:
    for name, container in production.containers("prod", running=True).items():
        host = container.facts()["HostConfig"]
        assert 0 < host["PidsLimit"] <= 4096, name
        assert host["Tmpfs"], name
        for folder, options in host["Tmpfs"].items():
            assert "size=" in options, f"{name} {folder}"


def test_who_gets_into_a_serving_process_finds_no_password_but_the_sites_own(
    production: Clone,
) -> None:
    env = production.env()
    running = production.containers("prod", running=True)
    first = "tr '\\0' '\\n' </proc/1/environ"
    # As its own user, which is root in none of them but the proxy's.
    serving = {name: one.run("sh", "-c", first) for name, one in running.items() if name != "db"}
    told = running["db"].environment

    assert env["POSTGRES_PASSWORD"] in serving[production.live()], "the control"
    for key in ("DJANGO_SUPERUSER_PASSWORD", "PGADMIN_DEFAULT_PASSWORD"):
        for name, environment in serving.items():
            assert env[key] not in environment, f"{key} in {name}"
    assert "POSTDO_RELEASE_PASSWORD" not in serving[production.live()]
    assert not any("PASSWORD" in key for key in told), told
    assert env["POSTGRES_PASSWORD"] not in told.values()


def test_the_sites_role_is_no_superuser_and_the_superuser_has_no_password(
    production: Clone,
) -> None:
    roles = "SELECT rolname, rolsuper, rolcreatedb FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"

    assert production.query("prod", roles).splitlines() == [
        "postdo|f|f",
        "postdo_release|f|t",
        "postdo_superuser|t|t",
    ]
    usable = "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL"
    asked = production.run("-0", "psql", "-U", "postdo_superuser", "-qAtc", usable)
    assert asked.out.split() == ["postdo"]


def in_bytes(size: str) -> int:
    """1g, 256m or 0 as a number of bytes."""
    units = {"m": 1024**2, "g": 1024**3}
    return int(size[:-1]) * units[size[-1]] if size[-1] in units else int(size)


def test_pgadmin_is_no_part_of_production(production: Clone) -> None:
    assert "pgadmin" not in production.compose("prod", "config", "--services")
    assert "pgadmin" in production.compose("dev", "config", "--services")
