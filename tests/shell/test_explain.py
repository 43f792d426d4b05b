"""What Docker could not do, in its own words: pull, make a container, build the image."""

from __future__ import annotations

import subprocess

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone, Toolbox

# As Compose 2.26 prints them.
NO_DNS = """ pgadmin Pulling
 pgadmin Error Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host
Error response from daemon: Get "https://registry.example/v2/": dial tcp: lookup registry.example: \
no such host"""
LIMIT = """ proxy Pulling
 proxy Error toomanyrequests: You have reached your pull rate limit.
Error response from daemon: toomanyrequests: You have reached your pull rate limit."""
NO_INIT = """ Container x-web-1  Creating
Error response from daemon: exec: "docker-init": executable file not found in $PATH"""
PORT = """ Container x-proxy-1  Starting
Error response from daemon: driver failed programming external connectivity on endpoint x: \
Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use"""
RUNTIME = """ Container x-db-1  Creating
Error response from daemon: unknown or invalid runtime name: nosuch"""
FAILURES = [
    (NO_DNS, "the image of pgadmin could not be pulled: Get ", "fix the DNS"),
    (LIMIT, "the image of proxy could not be pulled: toomanyrequests", "docker login"),
    (
        NO_INIT,
        'could not start a container: exec: "docker-init"',
        "install the missing docker-init",
    ),
    (PORT, "could not start a container: driver failed", "free that port"),
    (RUNTIME, "could not start a container: unknown or invalid runtime", "fix this cause"),
]


@pytest.mark.parametrize("mode", ["-0", "-1"])
@pytest.mark.parametrize("failure", FAILURES, ids=["dns", "limit", "init", "port", "runtime"])
def test_what_the_engine_says_is_shown_and_nobody_else_is_blamed(
    dash_clone: Clone, docker: FakeDocker, mode: str, failure: tuple[str, str, str]
) -> None:
    said, what, remedy = failure
    # Containers of an earlier run, which are well, or not, and say something.
    docker.has_container("web", "starting")
    docker.answer("logs *", out="old lines of another run")
    docker.answer("compose * up *", err=said, status=1)

    result = dash_clone.run(mode)

    result.assert_refused(what, remedy)
    assert f", then run: sh run.sh {mode}" in result.err
    assert said.splitlines()[-1] in result.err
    assert "old lines" not in result.err


def test_what_the_engine_says_of_the_preparation_is_shown(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("*run --rm * web true", err=NO_INIT, status=125)

    dash_clone.run("-0").assert_refused(
        'preparing the database failed: the Docker engine says: exec: "docker-init"',
        "install the missing docker-init",
    )


@pytest.mark.parametrize(
    "said",
    [
        "container x-web-1 is unhealthy",
        "container x-web-1 exited (1)",
        "dependency failed to start: container x-db-1 is unhealthy",
        "application not healthy after 3m0s",
    ],
)
def test_a_container_that_fails_by_itself_is_the_one_that_is_shown(
    dash_clone: Clone, docker: FakeDocker, said: str
) -> None:
    docker.has_container("db")
    docker.has_container("web", "unhealthy")
    docker.answer("logs --since * id-web", out="this is why")
    docker.answer("compose * up *", err=f" Container x-web-1  Error\n{said}", status=1)

    result = dash_clone.run("-1")

    result.assert_refused(
        "web did not become healthy; its last log lines are above", "sh run.sh -1"
    )
    assert "  | this is why" in result.err


# --- The build ------------------------------------------------------------------------------------

STEP = "[requirements-production 1/1] RUN sh /image/install.sh production"
REASON = "pip could not install web/requirements/prod.txt"
REMEDY = (
    "fix what the lines above say (if a package needs a compiler, set APT_BUILD_PACKAGES in .env)"
)


def build_log(*lines: str) -> str:
    """What BuildKit prints of a step that fails, with its copy of the last lines."""
    noise = [f"Collecting package-{number}" for number in range(30)]
    after = [f"  line {number} after it" for number in range(40)]
    said = [*noise, "before it", *lines, *after, "", f"what={REASON}", f"next={REMEDY}"]
    step = "".join(f"#15 {10 + at / 100:.2f} {line}\n" for at, line in enumerate(said))
    copy = "".join(f"12.34 {line}\n" for line in said[-10:])
    other = "#14 [kit 3/3] RUN x\n#14 9.1 ERROR: of another step, which did not fail\n#14 DONE 1s"
    end = 'ERROR: process "sh" did not complete successfully: exit code: 1'
    return (
        f"{other}\n#15 {STEP}\n{step}#15 {end}\n------\n > {STEP}:\n{copy}------\n"
        f"Dockerfile:50\n--------------------\n  50 | >>> RUN x\n--------------------\n"
        f"failed to solve: {end}"
    )


BUILDS = [
    ("      src/x.c:1:10: fatal error: Python.h: No such file or directory", "python3-dev"),
    ("      x.c:9:1: fatal error: libxml/xpath.h: No such file or directory", "APT_BUILD_PACKAGES"),
    ("      ./psycopg.h:3:10: fatal error: libpq-fe.h: No such file or directory", "libpq-dev"),
    ("      Error: pg_config executable not found.", "psycopg[binary]"),
    ("      error: command 'gcc' failed: No such file or directory", '"gcc libc6-dev"'),
    ("ERROR: No matching distribution found for djago", "fix what the lines above say"),
    ("ERROR: Could not find a version that satisfies the requirement x", "fix what"),
    ("ModuleNotFoundError: No module named 'pkg_resources'", "fix what the lines above say"),
    ("E: Unable to locate package libfoo", "fix what the lines above say"),
    ("EOFError: EOF when reading a line", "give the build a login in .netrc"),
    ("  fatal: could not read Username for 'https://git.example': No such", "docs/additions.md"),
    ("ERROR: HTTPSConnectionPool: Read timed out. i/o timeout", "check the network"),
]


@pytest.mark.parametrize(("cause", "remedy"), BUILDS, ids=[one[0].strip() for one in BUILDS])
def test_the_cause_of_a_failed_build_is_named_and_shown(
    dash_clone: Clone, docker: FakeDocker, cause: str, remedy: str
) -> None:
    docker.answer("compose * build web", err=build_log(cause), status=1)

    result = dash_clone.run("-0")

    result.assert_refused(f"could not be built: {REASON}: {cause.strip()}", remedy)
    shown = [line for line in result.err.splitlines() if line.startswith("  | ")]
    assert f"  | {cause}" in shown
    assert "  | before it" in shown
    assert "  |   line 39 after it" in shown, "and its last lines"
    assert len(shown) < 25
    assert shown.count(f"  | {cause}") == 1, "not Docker's copy of them"
    assert "Collecting" not in result.err
    assert "another step" not in result.err


def test_a_base_image_that_cannot_be_pulled_is_the_cause(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    why = "failed to do request: Head: dial tcp: lookup registry.example: no such host"
    said = (
        f"#2 [internal] load metadata for x:1\n#2 ERROR: {why}\n------\nfailed to solve: x: {why}"
    )
    docker.answer("compose * build web", err=said, status=1)

    result = dash_clone.run("-0")

    result.assert_refused(f"the image could not be built: {why}", "fix the DNS")


def test_every_awk_finds_the_same_cause(toolbox: Toolbox) -> None:
    log = build_log(BUILDS[0][0])
    for awk in toolbox.awks().values():
        for want, found in (("cause", "src/x.c:1:10: fatal error"), ("lines", "before it\n")):
            program = [str(awk), "-v", f"want={want}", "-f", str(PROJECT / "lib/build.awk")]
            done = subprocess.run(program, input=log, capture_output=True, text=True, check=True)
            assert found in done.stdout, awk
