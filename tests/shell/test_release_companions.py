"""A part's companions (worker-blue, worker-green) are released with their colour.

Without an engine, as in test_release_steps.py: the part `tasks` is on, with redis, worker and beat.
"""

from __future__ import annotations

import pytest

from .production import (
    BUILD,
    LIVE,
    NOTED,
    NUMBERED,
    PREPARED,
    START,
    UP,
    WAIT,
    Production,
    around,
    served,
    started,
)

ON = {"COMPOSE_PROFILES": "tasks", "ADDITIONS": "redis beat"}


def test_a_companion_starts_before_the_switch_and_stops_with_its_colour(
    production: Production,
) -> None:
    production.serves("blue", worker_blue="healthy")
    done = production.run(**ON)

    assert (done.status, done.err) == (0, "")
    assert [call for call in done.calls if "FLOWER_PORT" not in call] == [
        *[*START, *BUILD, LIVE, NUMBERED, *PREPARED, *started("green", "worker")],
        *[*served("green"), *around("redis", "beat")],
        *["drain blue", "compose prod stop web-blue worker-blue"],
    ]
    assert production.live == "web-green"


def test_a_companion_that_does_not_start_stops_the_release(production: Production) -> None:
    production.serves("blue", worker_blue="healthy")
    done = production.run(**ON, FAILS=f"{UP} --force-recreate {WAIT} web-green worker-green")

    assert done.status != 0
    assert "explain_unhealthy prod db web-green worker-green" in done.calls
    assert done.calls[-1] == "compose prod rm --stop --force web-green worker-green"
    assert production.live == "web-blue"


@pytest.mark.parametrize("state", ["stopped", "unhealthy"])
def test_a_colour_whose_companion_is_not_well_is_released_again(
    production: Production, state: str
) -> None:
    production.serves("blue", worker_blue=state)
    done = production.run(**ON, HAS_IMAGE="web-blue shop-web:next")

    assert "Already up to date" not in done.out
    assert production.live == "web-green"


def test_nothing_is_released_while_the_companions_are_of_this_version(
    production: Production,
) -> None:
    production.serves("blue", worker_blue="healthy")
    done = production.run(**ON, HAS_IMAGE="web-blue shop-web:next")

    assert "Already up to date" in done.out


@pytest.mark.parametrize(
    ("new", "restarts", "old", "worse"),
    [
        ("healthy", "0", "healthy", False),
        ("unhealthy", "0", "healthy", True),
        ("stopped", "0", "healthy", True),
        ("healthy", "1", "healthy", True),
        ("unhealthy", "0", "unhealthy", False),  # what both need does not work
    ],
)
def test_a_new_version_is_worse_if_its_companion_is(
    production: Production, new: str, restarts: str, old: str, worse: bool
) -> None:
    production.serves("green", web_blue="healthy", worker_green=new, worker_blue=old)
    (production.folder / "logs").touch()
    done = production.run(
        *["green", "blue", "0 0"],
        **{**ON, "MAIN": "worse_than_before", "watch_began": "1", "WORKER_RESTARTS": restarts},
    )

    assert done.out == ("its worker stopped or is unhealthy" if worse else "")


@pytest.mark.parametrize(("restarted", "kept"), [("inspect * id-redis", True), ("nothing", False)])
def test_what_came_of_a_restart_of_redis_takes_no_good_version_back(
    production: Production, restarted: str, kept: bool
) -> None:
    """The new worker ended, because it heard nothing any more."""
    production.serves("blue", worker_blue="healthy", redis="healthy", beat="healthy")
    (production.folder / "logs").touch()
    done = production.run(
        **ON,
        **{"NOTED": NOTED.replace("watch_new_version", ""), "WATCH_SECONDS": "3"},
        **{"WORKER_RESTARTS": "1", "RESTARTED": restarted},
    )

    assert (done.status == 0) is kept
    assert ("its worker stopped or is unhealthy" in done.err) is not kept
    assert production.live == ("web-green" if kept else "web-blue")


def test_redis_gets_its_new_limit_while_requests_wait(production: Production) -> None:
    """Compose makes another container of it, which the preparation does not need."""
    production.serves("blue", worker_blue="healthy", redis="healthy", proxy="healthy")
    tried = {
        "MAIN": "try_what_restarts",
        "NOTED": NOTED.replace("try_what_restarts", ""),
        "LIBRARIES": "restarts",
        "env_known": " ",
        "PLANNED_TO_REPLACE": "redis",
        "REDIS_MEMORY": "300m",
        "DB_MEMORY": "1g",
    }
    said = production.run(**ON, **tried)
    assert (said.status, said.err) == (0, "")
    assert "Redis will restart at the end (changed in .env: REDIS_MEMORY)" in said.out

    full = production.run(**ON, **tried, USED="200000000")
    assert full.status == 1
    assert "raise REDIS_MEMORY in .env" in full.err

    beside = {"MAIN": "start_additions", "NOTED": NOTED.replace("start_additions", "")}
    production.run("prod", **ON, **beside, LIBRARIES="override", TO_RESTART=" redis")
    assert production.calls() == [f"{UP.replace(' --no-build', '')} {WAIT} beat"]

    done = production.run(**ON, TO_RESTART=" redis")
    held = done.calls.index("hold_requests")
    assert done.calls[held + 1 : held + 3] == [f"{UP} {WAIT} redis", "release_requests"]
    assert "Restart Redis while requests wait" in done.out


def test_a_rollback_starts_and_stops_the_companions_too(production: Production) -> None:
    production.serves("blue", worker_blue="healthy")
    production.released("live", "live")
    production.has_migrations(1, "shop.0001")
    (production.folder / "applied").write_text("shop.0001\n")
    done = production.run(**ON, SCRIPT="rollback", SERVES="blue", IMAGES="1 2", RESTARTS="0")

    assert done.status == 0, done.err
    assert f"{UP} web-green worker-green" in done.calls
    assert "compose prod stop web-blue worker-blue" in done.calls
    assert production.live == "web-green"


def test_a_part_that_was_switched_off_is_stopped_with_the_colour_that_had_it(
    production: Production,
) -> None:
    """Compose itself knows nothing of them any more."""
    production.serves("blue", worker_blue="healthy")
    done = production.run()

    assert done.status == 0, done.err
    stopped = ["docker stop id-worker-blue", "docker rm id-worker-blue"]
    assert done.calls[-3:] == ["compose prod stop web-blue", *stopped]


def test_a_service_of_the_users_own_is_none_of_a_part_that_is_off(production: Production) -> None:
    """They have started their redis themselves, with a profile in docker-compose.override.yml."""
    production.serves("blue", redis="healthy", beat="healthy")
    done = production.run(MANUAL="redis")

    assert done.status == 0, done.err
    assert [call for call in done.calls if call.startswith("docker rm")] == ["docker rm id-beat"]


SWAP = {"SCRIPT": "restore", "MAIN": "swap_while_requests_wait", "LIBRARIES": "database"}


@pytest.mark.parametrize("on", [True, False])
def test_a_restore_lets_tasks_end_before_it_holds_the_requests(
    production: Production, on: bool
) -> None:
    production.serves("blue", worker_blue="healthy")
    done = production.run(**(ON if on else {}), **SWAP)

    assert done.status == 0, done.err
    held = done.calls.index("hold_requests")
    assert done.calls[:held] == (["compose prod stop worker-blue"] if on else [])
    started = f"{UP} --no-recreate {WAIT} web-blue" + (" worker-blue redis beat" if on else "")
    assert done.calls.count(started) == 1


@pytest.mark.parametrize("fails", ["compose prod stop worker-blue", "compose prod exec *"])
def test_a_restore_that_fails_starts_the_worker_again(production: Production, fails: str) -> None:
    production.serves("blue", worker_blue="healthy")
    done = production.run(**ON, **SWAP, FAILS=fails)

    assert done.status != 0
    started = [call for call in done.calls if "--no-recreate" in call]
    assert started == [f"{UP} --no-recreate {WAIT} web-blue worker-blue redis beat"]


@pytest.mark.parametrize("on", [True, False])
def test_a_boot_waits_for_a_companion_that_is_starting(production: Production, on: bool) -> None:
    """Docker has started both, and the site was faster: that is no reason for a release."""
    production.serves("blue", worker_blue="healthy")
    done = production.run("--no-build", **(ON if on else {}), HAS_IMAGE="web-blue shop-web:next")

    waited = "wait_until 9 companions_have_started blue"
    assert done.status == 0, done.err
    assert "Already up to date" in done.out
    assert (waited in done.calls[: done.calls.index("try_what_restarts")]) is on


@pytest.mark.parametrize(
    ("state", "started"),
    [("starting", False), ("healthy", True), ("unhealthy", True), ("stopped", True)],
)
def test_a_companion_has_started_when_it_is_well_or_ill(
    production: Production, state: str, started: bool
) -> None:
    production.runs(worker_blue=state, web_blue="healthy")
    done = production.run("blue", **ON, MAIN="companions_have_started")

    assert (done.status == 0) is started


# --- An image that was built without the part -----------------------------------------------------

LEFT_OUT = "COMPOSE_PROFILES has tasks, which this image was built without"


def test_a_rollback_to_before_a_part_serves_without_it(production: Production) -> None:
    """Its worker could not start, and neither could its site, whose settings would look for it."""
    production.serves("blue", worker_blue="healthy", redis="healthy", beat="healthy")
    production.released("live", "live")
    production.has_migrations(1, "shop.0001")
    (production.folder / "applied").write_text("shop.0001\n")
    done = production.run(
        **{**ON, "COMPOSE_PROFILES": "tasks,mine", "ADDITIONS": ""},
        **{"SCRIPT": "rollback", "SERVES": "blue", "IMAGES": "1 2", "BUILT_WITH": "mine,live"},
    )

    assert done.status == 0, done.err
    assert LEFT_OUT in done.err
    assert f"{UP} web-green" in done.calls
    assert production.live == "web-green"
    # Nobody would do what beat goes on to send.
    for left in ("worker-blue", "redis", "beat"):
        assert f"docker stop id-{left}" in done.calls


def test_a_rollback_to_a_version_with_a_part_starts_what_its_worker_needs(
    production: Production,
) -> None:
    """The live version does not have the part, so its Redis does not run."""
    production.serves("blue")
    production.released("live", "live")
    done = production.run(**ON, SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert done.status == 0, done.err
    started = done.calls.index(f"{UP} web-green worker-green")
    assert done.calls.index("start_additions prod") < started


@pytest.mark.parametrize("web", ["stopped", "healthy"])
def test_a_part_that_waits_for_its_release_does_not_keep_the_site_from_booting(
    production: Production, web: str
) -> None:
    production.serves("blue", web_blue=web, db=web, proxy=web)
    done = production.run("--no-build", **{**ON, "ADDITIONS": ""}, BUILT_WITH="")

    assert done.status == 0, done.err
    assert LEFT_OUT in done.err
    assert not any("worker" in call for call in done.calls if " up " in call)


BOOTED = f"compose prod up -d --no-build {WAIT} db web-blue proxy"
PARTS = f"{UP} {WAIT} redis worker-blue beat"


def test_a_boot_starts_the_site_before_its_parts(production: Production) -> None:
    production.serves("blue", db="stopped", proxy="stopped", web_blue="stopped")
    done = production.run("--no-build", **ON)

    assert done.status == 0, done.err
    site, port, parts = (
        done.calls.index(c) for c in (BOOTED, "require_port FLOWER_PORT prod", PARTS)
    )
    assert site < port < parts


@pytest.mark.parametrize("fails", [PARTS, "require_port FLOWER_PORT*"])
def test_a_part_that_does_not_start_leaves_a_booted_site_as_it_is(
    production: Production, fails: str
) -> None:
    production.serves("blue", db="stopped", proxy="stopped", web_blue="stopped")
    done = production.run("--no-build", **ON, FAILS=fails)

    assert done.status == 1
    assert not any(" stop " in call or " rm " in call for call in done.calls)
    assert (production.folder / "states/proxy").read_text() == "healthy"


@pytest.mark.parametrize(
    ("built", "missing"), [("tasks", ""), ("", "live tasks"), ("live", "tasks")]
)
def test_an_image_that_was_built_elsewhere_has_the_parts_that_are_on(
    production: Production, built: str, missing: str
) -> None:
    on = "live,tasks" if missing else "tasks,mine"
    done = production.run(COMPOSE_PROFILES=on, IMAGE="registry/shop:7", BUILT_WITH=built)

    assert (done.status == 0) is not bool(missing)
    assert (
        f"registry/shop:7 (IMAGE in the environment) was built without {missing}," in done.err
    ) is bool(missing)
    assert not any("up -d" in call for call in done.calls if missing)


def test_an_engine_that_cannot_tell_leaves_no_part_out(production: Production) -> None:
    asked = {**ON, "MAIN": "parts_missing_in", "BUILT_WITH": ""}

    assert production.run("shop-web:blue", **asked).out == "tasks"
    assert production.run("shop-web:blue", **asked, FAILS="docker image inspect *").out == ""
