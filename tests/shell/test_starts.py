"""What -0 and -1 do in which order, and what they take back. (They run for real in stack.)

The docker here is a fake: it shows what run.sh asks for, also where no engine can be had, and lets
a step fail or hang at will.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from waiting import until

from .fakes import FAKE_CERTIFICATE, FakeDocker
from .machine import Clone
from .terminal import CTRL_C, Terminal

SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD")
FIRST_RELEASE = [
    "build web",
    "up * db",
    "run --rm * web true",
    "up * web-blue",
    "up * db proxy",
]


def live(clone: Clone) -> str | None:
    """What Caddy would read: the service that is live."""
    path = clone.state / "live" / clone.environment["PROJECT_NAME"] / "upstream"
    return path.read_text() if path.exists() else None


def give_certificate(docker: FakeDocker) -> None:
    """A proxy that runs already and has a certificate for its name."""
    docker.answer("*exec id-proxy *", out=FAKE_CERTIFICATE)
    docker.has_container("proxy")


def make_live(clone: Clone, service: str) -> None:
    """A production of which that service is live."""
    folder = clone.state / "live" / clone.environment["PROJECT_NAME"]
    folder.mkdir(parents=True)
    (folder / "upstream").write_text(service)


def assert_in_order(calls: list[str], patterns: list[str]) -> None:
    """Each pattern (with * for anything) fits a call, one after the other."""
    rest = iter(calls)
    for pattern in patterns:
        head, _, tail = pattern.partition("*")
        assert any(call.startswith(head) and call.endswith(tail) for call in rest), (
            f"{pattern!r} is missing, or comes too early, in:\n" + "\n".join(calls)
        )


@pytest.mark.every_shell
def test_the_first_production_start_goes_its_way_with_a_fake_docker(
    clone: Clone, tmp_path: Path
) -> None:
    docker = FakeDocker(tmp_path / "docker")
    docker.answer("info *", out="/var/lib/docker [name=seccomp,profile=builtin]")
    clone.first.append(docker.folder)
    result = clone.run("-0").assert_ok()
    assert_in_order(docker.compose_calls(), FIRST_RELEASE)
    assert sum(call.startswith("info ") for call in docker.calls()) == 1, "it takes its time"
    assert live(clone) == "web-blue"
    assert f":{clone.environment['HTTP_PORT']}/\n         plain HTTP" in result.out
    assert "password in .env" in result.out
    assert "outcome=live\n" in (clone.state / "releases/1").read_text()


@pytest.mark.parametrize(("options", "root"), [("", False), (" name=rootless", True)])
def test_a_rootless_engine_works_as_its_own_root_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, *, options: str, root: bool
) -> None:
    docker.answer("info *", out=f"/home/me/docker [name=seccomp,profile=builtin{options}]")
    dash_clone.run("-0").assert_ok()
    (prepared,) = [call for call in docker.compose_calls() if call.startswith("run --rm")]
    assert ("--user 0:0 " in prepared) == root, prepared


def test_the_first_development_start_goes_its_way_with_a_fake_docker(
    clone: Clone, tmp_path: Path
) -> None:
    docker = FakeDocker(tmp_path / "docker")
    clone.first.append(docker.folder)
    result = clone.run("-1").assert_ok()
    assert_in_order(docker.compose_calls(), ["build web", "up -d --wait *"])
    assert f"http://127.0.0.1:{clone.environment['DEV_PORT']}/" in result.out
    assert clone.env()["DJANGO_SUPERUSER_PASSWORD"] in result.out, "made for development, so shown"


def test_debug_port_runs_development_under_a_debugger_and_production_as_ever_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    def debugs(flag: str, port: str) -> bool:
        before = len(docker.calls())
        said = dash_clone.run(flag, DEBUG_PORT=port).assert_ok().out
        found = any("docker-compose.debug.yml" in call for call in docker.calls()[before:])
        assert (f"debugger 127.0.0.1:{port}\n" in said) == found
        return found

    assert debugs("-1", "5678")
    assert not debugs("-1", "")
    assert not debugs("-0", "5678")
    taken = dash_clone.run("-1", DEBUG_PORT=dash_clone.environment["DEV_PORT"])
    taken.assert_refused("DEBUG_PORT and DEV_PORT in the environment", "give each its own port")


def test_the_two_modes_never_meet_with_a_fake_docker(dash_clone: Clone, docker: FakeDocker) -> None:
    project = dash_clone.environment["PROJECT_NAME"]
    for flag, mine, other in (("-0", "prod", "dev"), ("-1", "dev", "prod")):
        before = len(docker.calls())
        for arguments in ((flag,), (flag, "stop"), (flag, "logs")):
            dash_clone.run(*arguments)
        calls = [call for call in docker.calls()[before:] if call.startswith("compose --project")]
        assert calls
        assert all(f" -p {project}-{mine} " in call for call in calls)
        assert not any(f"-{other}" in call or f".{other}.yml" in call for call in calls)


@pytest.mark.parametrize(("domain", "https"), [("", False), ("www.example.com", True)])
def test_https_is_added_with_a_domain_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, domain: str, https: bool
) -> None:
    give_certificate(docker)
    out = dash_clone.run("-0", DOMAIN=domain).assert_ok().out
    assert any("docker-compose.https.yml" in call for call in docker.calls()) is https
    assert ("https://www.example.com" in out) is https


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        ("localhost,127.0.0.1,[::1]", "localhost"),
        ("localhost,127.0.0.1,[::1],server,192.0.2.7", "192.0.2.7"),
        ("localhost,server,192.0.2.7,shop.example.com,10.0.0.1", "shop.example.com"),
        (".example.com,192.0.2.7", "192.0.2.7"),
        ("*", "localhost"),
        ("", "localhost"),
    ],
)
def test_the_start_ends_with_an_address_that_others_can_use_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, hosts: str, address: str
) -> None:
    out = dash_clone.run("-0", ALLOWED_HOSTS=hosts).assert_ok().out
    assert f"  site   http://{address}:{dash_clone.environment['HTTP_PORT']}/\n" in out
    assert f"http://{address}/" in dash_clone.run("-0", ALLOWED_HOSTS=hosts, HTTP_PORT="80").out


def test_an_override_of_the_users_own_comes_last_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    (dash_clone.root / "docker-compose.override.yml").write_text("services: {}\n")
    give_certificate(docker)
    dash_clone.run("-0", DOMAIN="www.example.com").assert_ok()
    calls = [call for call in docker.calls() if call.startswith("compose --project")]
    for call in calls:
        files = [word for word in call.split() if word.endswith(".yml")]
        assert files[-1].endswith("/docker-compose.override.yml"), call


def test_a_new_version_becomes_the_other_colour_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-blue")
    docker.has_container("web-blue")
    dash_clone.run("-0").assert_ok()
    assert live(dash_clone) == "web-green"
    assert_in_order(docker.compose_calls(), ["up * web-green", "up * db proxy", "stop web-blue"])


@pytest.mark.parametrize("step", ["*build*", "*up * db", "*run * web true", "*up * web-green"])
def test_a_release_that_fails_leaves_the_old_version_live_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, step: str
) -> None:
    make_live(dash_clone, "web-blue")
    docker.has_container("web-blue")
    # One that is well is left as it is until the release has passed on it.
    docker.has_container("db", "unhealthy" if step.endswith(" db") else "healthy")
    docker.has_container("web-green", "unhealthy")
    docker.answer("*logs*id-*", out="this is why")
    docker.answer(f"compose {step}", out="this is why", status=1)
    result = dash_clone.run("-0")
    assert result.status == 1, result
    assert result.err.count("error: ") == 1, result
    assert "this is why" in result.err
    assert live(dash_clone) == "web-blue"
    assert not any(call.startswith("stop web-blue") for call in docker.compose_calls())
    record = dash_clone.state / "releases/1"
    assert record.exists() is (step != "*build*"), "a build that fails is no release"
    assert step == "*build*" or "outcome=failed\n" in record.read_text()
    assert not (dash_clone.state / "lock-prod").exists()


@pytest.mark.parametrize("step", ["*build*", "*up * db", "*run * web true", "*up * web-blue"])
def test_ctrl_c_at_each_stage_of_production_takes_it_back_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, step: str
) -> None:
    docker.answer(f"compose {step}", out="hanging", hangs=True)
    with Terminal(dash_clone, "-0") as terminal:
        logs = dash_clone.state / "log"
        until(lambda: any("hanging" in log.read_text() for log in logs.glob("*")), "the step")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        until(lambda: not terminal.processes(), "the end of all that it started")
    assert live(dash_clone) is None
    assert not (dash_clone.state / "lock-prod").exists()
    if step != "*build*":
        assert docker.compose_calls()[-2:] == ["rm --stop --force web-blue", "stop db"]


def test_ctrl_c_while_development_starts_stops_what_it_started_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("compose *up *", out="hanging", hangs=True)
    with Terminal(dash_clone, "-1") as terminal:
        until(lambda: any(" up " in call for call in docker.calls()), "the start")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    assert_in_order(docker.compose_calls(), ["up *", "stop web pgadmin", "stop db"])


def test_what_is_live_already_is_never_taken_back_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    # Ctrl-C in the moment after the switch.
    dash_clone.add_command(
        "late",
        '. "$ROOT/commands/production.sh"\n'
        "main() { prepare_environment; new=green db_was=stopped; switch_to green; undo_release; }",
    )
    dash_clone.run("late")
    assert live(dash_clone) == "web-green"
    assert docker.compose_calls() == []


def test_production_is_stopped_from_the_outside_in_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    dash_clone.run("-0", "stop").assert_ok()
    stops = ["stop proxy", "stop web-blue web-green", "stop db"]
    assert_in_order(docker.compose_calls(), stops)


def test_no_command_but_reset_removes_a_volume_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    for arguments in (("-0",), ("-0", "stop"), ("-1",), ("-1", "stop"), ("-0", "--no-build")):
        dash_clone.run(*arguments)
    for flag in ("-0", "-1", "-2"):
        refused = dash_clone.run(flag, "reset")
        assert refused.status == 2
        assert "reset --yes" in refused.err or flag == "-0"
    for call in docker.calls():
        words = call.split()
        if words[:2] == ["image", "prune"]:
            continue  # no volume is an image
        assert not {"down", "prune", "--volumes", "-v"} & set(words) or words[0] == "run", call
        assert words[:2] != ["volume", "rm"]


def test_reset_removes_the_volume_of_development_alone_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    dash_clone.run("-1", "reset", "--yes").assert_ok()
    dash_clone.run("-2", "reset", "--yes").assert_ok()
    removals = [call for call in docker.calls() if " down " in call]
    assert len(removals) == 2
    for call in removals:
        assert f" -p {dash_clone.environment['PROJECT_NAME']}-dev " in call
        assert "prod" not in call


def test_the_boot_builds_and_pulls_nothing_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    refused = dash_clone.run("-0", "--no-build")
    refused.assert_refused("has not been built here yet", "build and start it first: sh run.sh -0")
    make_live(dash_clone, "web-green")
    dash_clone.run("-0", "--no-build").assert_ok()
    calls = docker.compose_calls()
    assert not [call for call in calls if call.split()[0] in ("build", "pull", "run")]
    assert all("--no-build" in call for call in calls if call.startswith("up "))


@pytest.mark.parametrize(
    ("words", "status"),
    [("compose * build web", 1), ("*run --rm * web true", 3), ("*up *web-blue", 1)],
)
def test_a_release_that_fails_while_the_site_is_stopped_says_how_to_bring_it_back(
    dash_clone: Clone, docker: FakeDocker, words: str, status: int
) -> None:
    make_live(dash_clone, "web-green")
    facts = "outcome=refused\nwhat=the reason\nnext=the remedy" if status > 1 else ""
    docker.answer(words, result=facts, status=status)

    result = dash_clone.run("-0")

    assert result.status == status
    assert "to serve the previous version meanwhile: sh run.sh -0 --no-build" in result.err
    assert "migrated for the new one" not in result.err


def test_after_the_migrations_the_version_before_is_named_with_that(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-green")
    docker.answer("*run --rm * web true", result="applied=shop.0001")
    docker.answer("*up *web-blue", status=1)

    said = dash_clone.run("-0").err

    assert "sh run.sh -0 --no-build (the database was migrated for the new one)" in said


def test_where_nothing_was_released_and_where_it_is_what_failed_it_is_not_named(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("compose * up *", status=1)
    assert "--no-build" not in dash_clone.run("-0").err
    make_live(dash_clone, "web-green")
    assert "--no-build" not in dash_clone.run("-0", "--no-build").err
    docker.answer("compose * up *")
    facts = "outcome=not-undone\nwhat=x\nnext=y"
    docker.answer("*run --rm * web true", result=facts, status=5)
    assert "--no-build" not in dash_clone.run("-0").err


def test_the_log_keeps_no_secret_with_a_fake_docker(dash_clone: Clone, docker: FakeDocker) -> None:
    docker.answer("compose *build*", out="built")
    for arguments in (("-0",), ("-1",), ("-0", "stop"), ("-1", "stop"), ("-2", "stop")):
        dash_clone.run(*arguments)
    logs = [path.read_text() for path in (dash_clone.state / "log").iterdir()]
    assert len(logs) == 5
    assert any("built" in text for text in logs)
    env = dash_clone.env()
    assert not [key for key in SECRETS if any(env[key] in text for text in logs)]
    # Nor does any process's command line, which every user of the machine can read.
    assert not [key for key in SECRETS if any(env[key] in call for call in docker.calls())]


@pytest.mark.parametrize("loses_first", [False, True])
def test_a_volume_of_another_postgresql_is_not_started_on_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, loses_first: bool
) -> None:
    """Also where Docker loses what the container says that looks into the volume."""
    docker.answer("volume inspect*", status=0)
    dash_clone.environment["POSTGRES_IMAGE"] = "postgres:17"
    answer = "major=16\nimage_major=17"
    docker.answer("run --rm --network none*", out=answer, loses_first=loses_first)
    result = dash_clone.run("-1")
    result.assert_refused("created by PostgreSQL 16, but the image is PostgreSQL 17", "postgres:16")
    assert not [call for call in docker.compose_calls() if call.startswith("up")]


ANOTHER_ORDER = "changed\tshop\tde\t2.36\t2.41\nindex\tshop\titem_name\titem"


def has_served(clone: Clone, docker: FakeDocker) -> None:
    """Blue served here, and everything is stopped; its indexes have another order."""
    folder = clone.state / "live" / clone.environment["PROJECT_NAME"]
    folder.mkdir(parents=True)
    (folder / "upstream").write_text("web-blue")
    for service in ("db", "web-blue", "proxy"):
        docker.has_container(service, "stopped")
    docker.answer("exec * sh /etc/postdo/collation.sh look *", out=ANOTHER_ORDER)


def test_the_boot_starts_what_served_with_old_indexes_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    has_served(dash_clone, docker)

    result = dash_clone.run("-0", "--no-build")

    assert result.status == 0, result
    assert "item_name" in result.err
    assert "sh run.sh -0 reindex" in result.err
    # A person who starts it is told before anybody is let in.
    dash_clone.run("-0").assert_refused("these indexes may miss rows", "sh run.sh -0 reindex --yes")


@pytest.mark.parametrize("why", ["another image", "no container"])
def test_the_boot_does_not_start_what_a_new_image_sorts_otherwise_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, why: str
) -> None:
    has_served(dash_clone, docker)
    if why == "another image":
        (dash_clone.root / "docker-compose.override.yml").touch()  # so Compose is asked
        docker.answer("compose *config --images db", out="postgres:17")
        docker.answer("image inspect --format {{.Id}} postgres:17", out="sha256:new")
        docker.answer("run --rm --network none --entrypoint getconf *", out="glibc 2.41")
    else:
        docker.answer("ps -aq *com.docker.compose.service=db *")

    result = dash_clone.run("-0", "--no-build")

    result.assert_refused("these indexes may miss rows", "sh run.sh -0 reindex --yes")


def test_a_server_that_still_starts_is_waited_for_and_not_asked_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.has_container("db", "starting")
    wrong = "what=PostgreSQL does not\nnext=wait"
    docker.answer("exec * sh /etc/postdo/roles.sh check *", out=wrong)

    dash_clone.run("-1").assert_ok()


def test_a_container_without_the_kits_files_is_replaced_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    """The clone was moved, or its folder replaced by another one."""
    docker.has_container("db")
    docker.answer("exec id-db test -r /etc/postdo/roles/settle.sql", status=1)

    dash_clone.run("-1").assert_ok()

    assert any("--force-recreate db" in call for call in docker.compose_calls())


def test_a_swap_that_cannot_be_made_is_refused_before_the_site_stops_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    """The database postgres cannot be renamed by who is connected to it."""
    dash_clone.environment["POSTGRES_DB"] = "postgres"
    docker.has_container("db")

    result = dash_clone.run("-0", "restore", "--swap")

    result.assert_refused("cannot rename the database postgres", "set POSTGRES_DB=site in .env")
    assert not any(call.startswith("stop") for call in docker.compose_calls())


RESTORED = "app|0001\napp|0002"


@pytest.mark.parametrize(
    ("fails", "status", "says"),
    [
        ("nothing", 0, "the site now serves the restored data"),
        ("* exec *swap.sql", 1, "both are unchanged. The previous version is still serving."),
    ],
)
def test_a_swap_for_the_same_code_lets_requests_wait_and_starts_the_site_anew(
    dash_clone: Clone, docker: FakeDocker, fails: str, status: int, says: str
) -> None:
    for service in ("db", "proxy", "web-blue"):
        docker.has_container(service)
    make_live(dash_clone, "web-blue")
    docker.answer("compose *names.sql", out="postdo\nrestored")
    docker.answer("compose *migrations.sql", out=RESTORED)
    docker.answer(fails, status=1)

    result = dash_clone.run("-0", "restore", "--swap")

    assert result.status == status, result
    assert says in result.out + result.err
    calls = [call.split(" ./")[-1] for call in docker.calls()]
    order = ("hold.sh held", " stop web-blue", "swap.sql", "--no-recreate", "hold.sh end")
    seen = [word for call in calls for word in order if word in call]
    assert seen == list(order)
    assert not any(call.endswith(" stop proxy") for call in docker.compose_calls())


def test_a_swap_for_other_code_stops_the_site(dash_clone: Clone, docker: FakeDocker) -> None:
    for service in ("db", "proxy", "web-blue"):
        docker.has_container(service)
    make_live(dash_clone, "web-blue")
    docker.answer("compose *names.sql", out="postdo\nrestored")
    docker.answer("compose *migrations.sql", out=RESTORED)
    docker.answer("compose *-d restored *migrations.sql", out="app|0001")

    result = dash_clone.run("-0", "restore", "--swap")

    assert "start the site      sh run.sh -0" in result.out, result
    assert "stop proxy" in docker.compose_calls()
    assert not any("hold.sh" in call for call in docker.calls())
