"""status for machines: 0 well, 1 ill, 2 nothing answers. (For real: tests/stack/test_status.py.)"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from documents import text_of

from .fakes import FakeDocker
from .machine import Clone, start_of
from .terminal import CTRL_C, Terminal
from .test_backup import IN_A_BUCKET
from .test_starts import make_live

WELL, ILL, DOWN = 0, 1, 2
PAGE = "200 for /readyz"


def site(docker: FakeDocker, answer: str, **states: str) -> None:
    """A production whose proxy gives a visitor that answer, with services in these states."""
    for service in ("proxy", "web-blue", "db"):
        docker.has_container(service, states.get(service.replace("-", "_"), "healthy"))
    docker.answer("exec -i id-web-blue python -I -S - /readyz proxy 80", out=answer)


@pytest.mark.parametrize(
    "case",
    [
        (PAGE, {}, WELL),
        ("404 for /readyz", {}, WELL),
        (PAGE, {"db": "unhealthy"}, ILL),
        (PAGE, {"proxy": "starting"}, ILL),
        ("503 for /readyz: no database", {}, ILL),
        ("500 for /readyz", {"db": "stopped"}, ILL),
        ("no answer for /readyz on port 80: refused", {}, DOWN),
        ("no answer for /readyz on port 80: no such name", {"proxy": "stopped"}, DOWN),
        ("", {}, DOWN),
        (PAGE, {"web_blue": "stopped"}, DOWN),
        (PAGE, {"web_blue": "stopped", "proxy": "stopped", "db": "stopped"}, DOWN),
    ],
)
@pytest.mark.parametrize("mode", [("-0",), ()], ids=["-0", "no mode"])
def test_it_ends_with_what_a_visitor_gets(
    dash_clone: Clone,
    docker: FakeDocker,
    mode: tuple[str, ...],
    case: tuple[str, dict[str, str], int],
) -> None:
    answer, states, status = case
    make_live(dash_clone, "web-blue")
    site(docker, answer, **states)

    told = dash_clone.run(*mode, "status")

    assert (told.status, told.err) == (status, ""), told


def test_a_site_that_gives_no_page_is_not_called_healthy(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-blue")
    site(docker, "503 for /readyz: no database")

    said = dash_clone.run("-0", "status").out

    assert "  web-blue   unhealthy  live\n" in said
    assert "  visitors   get 503 for /readyz: no database\n" in said


def test_a_mode_that_nobody_started_is_down_if_it_is_asked_for_alone(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    assert dash_clone.run("status").status == WELL
    for flag in ("-0", "-1", "-2"):
        assert dash_clone.run(flag, "status").status == DOWN


def test_without_an_engine_a_released_production_is_down(dash_clone: Clone) -> None:
    make_live(dash_clone, "web-blue")

    assert dash_clone.run("status").status == DOWN
    assert dash_clone.run("-0", "status").status == DOWN


# --- The page ---

ANSWERED = '{"logger": "gunicorn.access", "status": %s, "bytes": 1}'
NOT_DELIVERED = '{"level":"error","logger":"http.log.error","request":{},"status":502}'
GIGABYTE = 1073741824
UPSTREAMS = (  # as Caddy's admin API answers: what is busy twice; the last is a hold's
    '[{"address":"172.18.0.4:8000","num_requests":2,"fails":0},'
    '{"address":"172.18.0.4:8000","num_requests":2,"fails":0},'
    '{"address":"172.18.0.5:8000","num_requests":1,"fails":0},'
    '{"address":"172.18.0.4:18000","num_requests":7,"fails":0}]'
)


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A production that is as it should be: release 2 serves, and last night's backup is there."""
    dash_clone.has_started()
    make_live(dash_clone, "web-blue")
    site(docker, PAGE)
    docker.answer("inspect --format {{.State.StartedAt}}*", out="2026-11-30T09:00:00.123456Z")
    docker.answer("image inspect --format {{.Id}} *:blue", out="sha256:1")
    docker.answer("image inspect --format *postdo.parts*", out="live,tasks")
    docker.answer("stats *", out="id-web-blue 66.5MiB / 1GiB\nid-db 1.5GiB / 8GiB")
    answers = [ANSWERED % status for status in (200, 404, 200)]
    docker.answer("logs *--since 5m id-web-blue", out="\n".join(answers))
    docker.answer("exec id-proxy sh /etc/caddy/site/start.sh upstreams", out=UPSTREAMS)
    releases = dash_clone.state / "releases"
    releases.mkdir(mode=0o700)
    for number in (1, 2):
        (releases / str(number)).write_text(
            f"began=2026-11-30 09:00:0{number}\nby=ana\nversion=v{number}\n"
            f"image=sha256:{number - 1}\noutcome=live\n"
        )
    (dash_clone.state / "jobs").mkdir(mode=0o700)
    (dash_clone.state / "jobs/.checked").write_text(f"{time.time():.0f}\n")
    (dash_clone.state / "jobs/clearsessions").write_text(
        "began=2026-11-30 03:30:01\nlog=.postdo/log/x.log\nseconds=2\nexit=0\n"
    )
    (dash_clone.root / "backups").mkdir()
    (dash_clone.root / "backups/shop.dump").write_text("x")
    return dash_clone


def as_json(clone: Clone) -> dict[str, Any]:
    """What `status --json` writes."""
    told = clone.run("status", "--json")
    assert told.err == "", told
    found: dict[str, Any] = json.loads(told.out)
    return found


def problems(clone: Clone) -> dict[str, str]:
    """What is wrong with production, and what to do about it."""
    return {one["what"]: one["next"] for one in as_json(clone)["production"]["problems"]}


def test_a_production_that_is_well_says_what_it_uses_and_has_done(shop: Clone) -> None:
    said = shop.run("-0", "status").out

    assert "  --  " not in said, "no problem"
    assert "  memory     web-blue 66 MB of 1.0 GB, db 1.5 GB of 8.0 GB\n" in said
    assert "  requests   3 in the last 5 minutes, of which 0 failed; 3 under way\n" in said
    assert "  release    2, of 2026-11-30 09:00:02 by ana\n" in said
    assert re.search(r"^  backup     backups/shop.dump, of \d{4}-\d\d-\d\d ", said, re.MULTILINE)
    assert (
        "  job        clearsessions (daily 03:30), done after 2 s, of 2026-11-30 03:30:01\n" in said
    )
    assert re.search(r"^  disk       .* free \(/", said, re.MULTILINE)


def test_of_a_set_the_status_says_whether_it_is_verified(shop: Clone, docker: FakeDocker) -> None:
    manifest = shop.root / "backups/postdo-prod-20261130T184500Z/manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("{}")

    before = as_json(shop)["production"]["backup"]
    digest = hashlib.sha256(b"{}").hexdigest()
    (manifest.parent / "verified.json").write_text(f'{{"manifest_sha256": "{digest}"}}')
    after = shop.run("-0", "status").out
    shop.set_in_env(**IN_A_BUCKET)
    docker.answer("image inspect *postdo.parts*", out="s3")
    in_a_bucket = shop.run("-0", "status").out
    (shop.root / "backups/shop.dump").touch()
    older = as_json(shop)["production"]["backup"]

    assert (before["path"], before["verified"]) == (f"backups/{manifest.parent.name}", "no")
    assert re.search(
        r"^  backup     backups/postdo-prod-\S+, of .*\), verified$", after, re.MULTILINE
    )
    assert ", verified, without the uploads in the bucket https://s3.example.com/uploads\n" in (
        in_a_bucket
    )
    assert (older["path"], older["verified"]) == ("backups/shop.dump", None)
    assert (before["bucket"], older["bucket"]) == ("", "https://s3.example.com/uploads")


def test_what_is_wrong_stands_first_with_its_remedy(shop: Clone, docker: FakeDocker) -> None:
    docker.has_container("db", "stopped")

    lines = shop.run("-0", "status").out.splitlines()

    assert lines[1:3] == [
        "  --   db is stopped",
        "       next: start it: sh run.sh -0; why it stopped: sh run.sh -0 logs db",
    ]


def test_while_requests_are_held_the_site_is_held_and_not_down(
    shop: Clone, docker: FakeDocker
) -> None:
    held = shop.state / "lock-hold"
    held.write_text(f"{os.getpid()} {start_of(os.getpid())} 2026-11-30 10:00:00\n")
    no_answer(shop, docker)

    found = as_json(shop)["production"]
    docker.answer("exec id-proxy sh */hold.sh held", status=1)
    after = shop.run("-0", "status")

    assert found["state"] == "held"
    assert found["visitors"] == "no answer yet: requests are held"
    (problem,) = (one for one in found["problems"] if "held" in one["what"])
    assert problem["what"].startswith("requests are held since 2026-11-30 10:00:00, until process ")
    assert problem["next"].endswith(f"kill {os.getpid()}")
    assert after.status == DOWN


LINKED = {
    "live_image": "postgres:18", "live_major": "18", "other_image": "postgres:17",
    "other_major": "17", "state": "linked",
}  # fmt: skip
TURNED = {
    "live_image": "postgres:17", "live_major": "17", "other_image": "postgres:18",
    "other_major": "18", "state": "linked",
}  # fmt: skip
KEPT = {"live_image": "postgres:18", "other_image": "postgres:17", "state": "switched"}


def upgrade(clone: Clone, **facts: str) -> None:
    """What is kept of an `upgrade-db`."""
    path = clone.state / f"clusters-{clone.environment['PROJECT_NAME']}"
    path.write_text("".join(f"{key}={value}\n" for key, value in facts.items()))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (LINKED, "on postgres:18, beside postgres:17; next: keep it and remove the other: "),
        (LINKED, "upgrade-db --finish; go back: sh run.sh -0 upgrade-db --back"),
        (TURNED, "on postgres:17, beside postgres:18; next: switch to it again: sh run.sh -0 "),
        (KEPT, "go back, without what was written since: sh run.sh -0 upgrade-db --back"),
        (
            {"live_image": "postgres:17", "state": "left"},
            "on postgres:17; next: move the data: sh run.sh -0 upgrade-db; or set POSTGRES_IMAGE",
        ),
    ],
)
def test_an_upgrade_of_postgresql_that_is_not_finished_is_shown_with_what_is_open(
    shop: Clone, facts: dict[str, str], said: str
) -> None:
    upgrade(shop, **facts)

    (line,) = [one for one in shop.run("-0", "status").out.splitlines() if "  upgrade " in one]

    assert said in line
    assert problems(shop) == {}
    assert as_json(shop)["production"]["upgrade"]["live"] == facts["live_image"]


def killed_copy(clone: Clone, _: FakeDocker) -> None:
    upgrade(clone, live_image="postgres:17", other_image="postgres:18", state="copying")


def killed_switch(clone: Clone, _: FakeDocker) -> None:
    (clone.state / f"switching-{clone.environment['PROJECT_NAME']}").touch()


def no_backup(clone: Clone, _: FakeDocker) -> None:
    (clone.root / "backups/shop.dump").unlink()


def old_backup(clone: Clone, _: FakeDocker) -> None:
    two_days_ago = time.time() - 2.1 * 86400
    os.utime(clone.root / "backups/shop.dump", (two_days_ago, two_days_ago))


def errors(_: Clone, docker: FakeDocker) -> None:
    docker.answer("logs *--since 5m id-proxy", out="\n".join([NOT_DELIVERED] * 6))


def little_memory(_: Clone, docker: FakeDocker) -> None:
    docker.answer("stats *", out="id-web-blue 1000MiB / 1GiB")


def failed_release(clone: Clone, _: FakeDocker) -> None:
    (clone.state / "releases/3").write_text("began=2026-11-30 10:00:00\noutcome=taken-back\n")


def no_answer(_: Clone, docker: FakeDocker) -> None:
    docker.answer("exec -i id-web-blue python *", out="no answer for /readyz on port 80: refused")


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        (no_backup, "there is no backup in backups/", "sh run.sh -0 backup"),
        (old_backup, "the last backup is more than 26 hours old", "sh run.sh -0 backup"),
        (errors, "6 of 9 requests failed in the last 5 minutes", "sh run.sh -0 logs web"),
        (little_memory, "web-blue uses more than 95 % of its memory", "raise WEB_MEMORY in .env"),
        (failed_release, "release (3, of 2026-11-30 10:00:00) ended as taken-back", "sh run.sh -0"),
        (killed_copy, "upgrade-db was interrupted", "remove the copy: sh run.sh -0 --no-build"),
        (killed_switch, "upgrade-db was killed during its switch", "sh run.sh -0 --no-build"),
        (no_answer, "visitors get no answer for /readyz", "sh run.sh -0 logs proxy"),
    ],
)
def test_each_problem_has_its_remedy(
    shop: Clone, docker: FakeDocker, change: Any, what: str, remedy: str
) -> None:
    assert problems(shop) == {}
    change(shop, docker)

    found = problems(shop)

    assert [remedy in found[one] for one in found if what in one] == [True], found


# --- --json ---

ROW = re.compile(r"^\| `([^`]+)` \| ([\w ]+) \| .+ \|$", re.MULTILINE)
KINDS: dict[str, type] = {"string": str, "integer": int, "list": list, "object": dict}


def paths(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every key below a value, as docs/status-json.md writes it, with what it holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            here = re.sub(
                r"(services|memory|restarts|images)\.[\w-]+(?=$|\.days$)", r"\1.NAME", here
            )
            if not isinstance(inner, dict):
                yield here, inner
            yield from paths(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{path}[]")


DATABASE = "connections=9\nconnections_limit=100\ntransaction=3\nwraparound=1\nread_only=0"
TASKS = "waiting=3\nrunning=1\noldest=700\nfailed=2\nunknown=1\n"


def test_what_is_wrong_with_the_tasks_is_told(shop: Clone, docker: FakeDocker) -> None:
    for service in ("redis", "worker-blue", "beat", "flower"):
        docker.has_container(service)
    docker.answer("exec id-redis redis-cli *", out=TASKS)
    shop.set_in_env(COMPOSE_PROFILES="tasks")

    said = shop.run("-0", "status").out

    assert "3 waiting (the oldest for 700 s), 1 running, 2 failed in the last 24 hours" in said
    assert problems(shop).keys() == {
        "a task has been waiting for 700 s",
        "2 tasks failed in the last 24 hours",
        "1 tasks are kept that no worker knows by name",
    }


def test_a_part_that_the_version_was_built_without_is_named_once(
    shop: Clone, docker: FakeDocker
) -> None:
    docker.answer("image inspect --format *postdo.parts*", out="live")
    docker.has_container("live-blue")
    shop.set_in_env(COMPOSE_PROFILES="live,tasks")

    found = problems(shop)

    (what,) = found
    assert what == "COMPOSE_PROFILES has tasks, which the version that serves was built without"
    assert "sh run.sh -0" in found[what]


@pytest.mark.parametrize(
    ("service", "remedy"),
    [
        ("worker-blue", "raise WORKER_MEMORY in .env"),
        ("redis", "raise REDIS_MEMORY in .env"),
        ("live-blue", "raise WEB_MEMORY in .env"),
        ("beat", "mem_limit of beat in docker-compose.override.yml"),
    ],
)
def test_each_service_gets_more_memory_where_its_limit_is_set(
    shop: Clone, docker: FakeDocker, service: str, remedy: str
) -> None:
    for name in ("redis", "worker-blue", "live-blue", "beat", "flower"):
        docker.has_container(name)
    docker.answer("stats *", out=f"id-{service} 1000MiB / 1GiB")
    shop.set_in_env(COMPOSE_PROFILES="live,tasks")

    assert remedy in problems(shop)[f"{service} uses more than 95 % of its memory"]


def test_the_tasks_of_postgresql_are_told_in_the_same_way(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("image inspect --format *postdo.parts*", out="tasks-db")
    docker.has_container("worker-blue")
    docker.answer("exec -u postgres id-db psql *tasks.sql", out=TASKS)
    shop.set_in_env(COMPOSE_PROFILES="tasks-db")

    said = shop.run("-0", "status").out

    assert "3 waiting (the oldest for 700 s), 1 running, 2 failed in the last 24 hours" in said
    assert re.search(r"^  worker-blue +healthy", said, re.MULTILINE), said


def test_every_key_is_documented_and_of_its_type_and_every_documented_key_is_written(
    shop: Clone, docker: FakeDocker
) -> None:
    documented = dict(ROW.findall(text_of("docs/status-json.md")))
    docker.answer("exec -u postgres id-db psql *facts.sql", out=DATABASE)
    docker.answer("ps -aq --filter label=com.docker.compose.oneoff=False*", out="id-db")
    docker.answer("inspect --format {{.RestartCount}} {{index*", out="3 db")
    docker.answer("image inspect --format {{.Created}} *", out="2026-01-02T03:04:05Z")
    docker.has_container("db")
    upgrade(shop, **LINKED)
    whole = as_json(shop)
    docker.answer("*/data/caddy/certificates/*", out="")
    docker.has_container("redis")
    docker.answer("exec id-redis redis-cli *", out=TASKS)
    shop.set_in_env(DOMAIN="www.shop.example", COMPOSE_PROFILES="tasks", OFFSITE="/mnt/disk")
    with_problems = as_json(shop)
    shop.first.clear()
    without_engine = as_json(shop)

    written = {}
    for one in (whole, with_problems, without_engine):
        for path, value in paths(one):
            name = re.sub(r"^(development|local)\b", "MODE", path)
            if name not in documented:
                name = re.sub(r"^production\b", "MODE", name)
            written[name] = value
            kind, _, null = documented[name].partition(" or ")
            assert (value is None and null) or type(value) is KINDS[kind], (path, value)
    objects = {key for key, kind in documented.items() if kind == "object or null"}
    assert documented.keys() - written.keys() - objects == set()
    assert whole["production"]["memory"]["web-blue"]["limit"] == GIGABYTE
    assert whole["production"]["release"]["number"] == 2
    assert whole["format"] == 1
    assert "production" not in without_engine


def test_any_text_is_json(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("exec -i id-web-blue python *", out='503 for /readyz: a "b" \\ c\td é')

    assert as_json(shop)["production"]["visitors"] == '503 for /readyz: a "b" \\ c d é'


# --- --watch ---


def test_watch_shows_it_again_until_ctrl_c(shop: Clone) -> None:
    command = shop.root / "commands/status.sh"
    command.write_text(command.read_text().replace("EVERY=2 ", "EVERY=0.1 "))
    with Terminal(shop, "-0", "status", "--watch") as terminal:
        terminal.expect("visitors   get 200")
        terminal.screen = ""
        terminal.expect("visitors   get 200")
        terminal.press(CTRL_C)
        assert terminal.end() == 0
        assert terminal.screen.count("\033[2J") == 0, "nothing flickers"


def test_watch_is_for_a_terminal_and_nothing_else_is_an_option(shop: Clone) -> None:
    refused = shop.run("status", "--watch")

    refused.assert_refused("--watch needs a terminal", "sh run.sh help status", status=2)
    for words in (("--json", "--watch"), ("--quick",)):
        shop.run("status", *words).assert_refused("unknown argument", "help status", status=2)
