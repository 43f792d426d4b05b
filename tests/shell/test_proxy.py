"""How production's proxy gets new settings, as calls: another Caddy takes over in its container."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .production import NOTED, PROXY_TAGGED, UP, WAIT, Production

LIVE = "/etc/caddy/live"
CURRENT = f"in_proxy current {LIVE}/settings"
STARTED = [f"{UP} {WAIT} proxy", "limit_proxy_memory 1", "in_proxy leave 30", CURRENT]
TRIED = {
    "MAIN": "try_what_restarts",
    "NOTED": NOTED.replace("try_what_restarts", ""),
    "LIBRARIES": "restarts",
    "env_known": " ",
}
LOGS = "docker logs --tail 20 id-proxy"


def take_over(*protocols: str) -> list[str]:
    return [
        "limit_proxy_memory 2",
        " ".join(["in_proxy next", *protocols]),
        "in_proxy old",
        "stop_accepting ",
        "in_proxy leave 30",
        "limit_proxy_memory 1",
    ]


def test_with_the_settings_that_it_has_nothing_happens_to_it(production: Production) -> None:
    production.serves("blue")

    done = production.run(MAIN="start_proxy")

    assert (done.status, done.calls) == (0, STARTED)


def test_with_others_another_caddy_takes_over(production: Production) -> None:
    production.serves("blue")

    done = production.run(MAIN="start_proxy", FAILS=CURRENT)

    assert (done.status, done.calls) == (0, [*STARTED, *take_over()])


def test_of_two_caddys_only_one_speaks_http_3(production: Production) -> None:
    """Packets of one visitor could reach either of them, and only one knows what to do."""
    production.serves("blue")

    done = production.run(MAIN="start_proxy", FAILS=CURRENT, DOMAIN="shop.example")

    assert done.calls == [*STARTED, *take_over("h1 h2"), *take_over()]


def test_if_the_other_one_does_not_start_the_first_one_serves_on(production: Production) -> None:
    production.serves("blue")

    for domain, next_one in (("", "in_proxy next"), ("shop.example", "in_proxy next h1 h2")):
        done = production.run(MAIN="start_proxy", FAILS=CURRENT, ALSO_FAILS=next_one, DOMAIN=domain)

        assert done.status == 1
        assert done.calls == [*STARTED, "limit_proxy_memory 2", next_one, LOGS]


def test_it_takes_over_also_where_the_first_one_cannot_be_kept_from_accepting(
    production: Production,
) -> None:
    production.serves("blue")

    done = production.run(MAIN="start_proxy", FAILS=CURRENT, ALSO_FAILS="stop_accepting*")

    assert (done.status, done.calls) == (0, [*STARTED, *take_over()])
    assert "connections that were being opened may have been lost" in done.out


def test_the_limit_of_memory_needs_no_other_container(production: Production) -> None:
    production.serves("blue")
    noted = NOTED.replace("limit_proxy_memory", "")

    done = production.run(MAIN="start_proxy", NOTED=noted, PROXY_MEMORY="300m")

    megabytes = 1024 * 1024
    limit = f"--memory {300 * megabytes} --memory-swap {600 * megabytes}"
    assert done.calls[1] == f"docker update {limit} id-proxy"


def test_no_limit_of_memory_is_all_of_the_machine(production: Production) -> None:
    production.serves("blue")
    noted = NOTED.replace("limit_proxy_memory", "")

    done = production.run(MAIN="start_proxy", NOTED=noted, PROXY_MEMORY="0")

    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert f"docker update --memory {machine} --memory-swap {2 * machine} id-proxy" in done.calls
    settings = (production.folder / "live/settings").read_text()
    assert f"GOMEMLIMIT={machine * 9 // 10}\n" in settings


def test_its_settings_are_read_as_they_are(production: Production, tmp_path: Path) -> None:
    """By a shell, in the container, that is not to do what a value says."""
    values = {"SITE_URL": "it's $(touch no) `touch no` \\ \"", "ACCESS_LOG": "on", "DOMAIN": ""}
    production.serves("blue")

    production.run(MAIN="start_proxy", **values)

    path = production.folder / "live/settings"
    assert path.stat().st_mode & 0o777 == 0o644, "the proxy's own user reads it"
    script = f'set -a; . {path}; printf "%s|" "$SITE_URL" "$ACCESS_LOG" "$DOMAIN" "$FRONT_NAMES"'
    here = tmp_path / "here"
    here.mkdir()
    read = subprocess.run(["sh", "-c", script], cwd=here, capture_output=True, check=True)
    assert read.stdout.decode() == f"{values['SITE_URL']}|on|none|none|"
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"PROXY_MEMORY": "1g"}, "changed in .env: PROXY_MEMORY"),
        ({"ACCESS_LOG": "on", "SITE_URL": "http://x"}, "changed in .env: ACCESS_LOG"),
        ({}, "proxy/Caddyfile has changed"),
    ],
)
def test_what_changes_is_said_before(
    production: Production, changed: dict[str, str], reason: str
) -> None:
    production.serves("blue")
    production.run(MAIN="start_proxy", ACCESS_LOG="off")
    tried = TRIED | {"env_known": " ACCESS_LOG DOMAIN PROXY_MEMORY "}
    new = f"{CURRENT}.new"

    done = production.run(FAILS=new, **{"ACCESS_LOG": "off", **tried, **changed})

    assert (done.status, done.calls) == (0, [new, f"in_proxy validate {LIVE}/settings.new"])
    assert f"take on its new settings at the end ({reason}): no request will be lost" in done.out


def test_settings_with_which_caddy_does_not_start_touch_nothing(production: Production) -> None:
    production.serves("blue")
    before = production.files()

    done = production.run(**TRIED, FAILS=f"{CURRENT}.new", ALSO_FAILS="in_proxy validate*")

    assert done.status == 1
    assert "the proxy was not restarted, because it would not start" in done.err
    after = production.files()
    assert {path for path in after if path not in before} <= {
        str(production.folder / name) for name in ("live/settings.new", "log")
    }


# --- A newer image -------------------------------------------------------------------------------

NEWER = {"CADDY_IS": "sha256:0123456789abcdef"}
PROGRAM = f"{LIVE}/caddy-0123456789ab"
ITS_VERSION = f"docker exec id-proxy {PROGRAM} version"


def copied(folder: Path) -> list[str]:
    target = folder / "live" / Path(PROGRAM).name
    return [
        "docker create caddy:2",
        f"docker cp --quiet id-created:/usr/bin/caddy {target}.new",
        "docker rm id-created",
        ITS_VERSION,
    ]


def test_the_program_of_a_newer_image_takes_over_in_the_same_container(
    production: Production,
) -> None:
    production.serves("blue")
    left = production.folder / "live/caddy-ba9876543210"
    left.touch()

    done = production.run(MAIN="start_proxy", FAILS=CURRENT, **NEWER)

    assert (done.status, done.err) == (0, "")
    assert done.calls == [*copied(production.folder), *STARTED, *take_over()]
    assert f"CADDY={PROGRAM}\n" in (production.folder / "live/settings").read_text()
    assert not left.exists()
    program = production.folder / "live" / Path(PROGRAM).name
    assert program.stat().st_mode & 0o777 == 0o755
    again = production.run(MAIN="start_proxy", **NEWER)
    assert again.calls == [ITS_VERSION, *STARTED]
    assert program.exists(), "a reboot starts it again"


def test_a_container_that_is_made_anew_has_the_newer_image_itself(production: Production) -> None:
    production.serves("blue", proxy="stopped")
    (production.folder / "live/caddy-0123456789ab").touch()

    for here in ({}, {"TO_RESTART": " proxy"}):
        done = production.run(MAIN="start_proxy", PROXY_HAS=NEWER["CADDY_IS"], **NEWER, **here)

        assert done.calls[0] == PROXY_TAGGED
        assert "CADDY=caddy\n" in (production.folder / "live/settings").read_text()
        assert not list(production.folder.glob("live/caddy-*"))
        production.runs(proxy="healthy")


def test_a_newer_image_is_said_before_and_tried(production: Production) -> None:
    production.serves("blue")
    production.run(MAIN="start_proxy")
    new = f"{CURRENT}.new"

    done = production.run(FAILS=new, **TRIED, **NEWER)

    validated = f"in_proxy validate {LIVE}/settings.new"
    assert done.calls == [*copied(production.folder), new, validated]
    assert "(CADDY_IMAGE is another image now): no request will be lost" in done.out


def test_where_its_program_cannot_run_in_there_the_container_is_replaced(
    production: Production,
) -> None:
    production.serves("blue")

    for fails in ("docker create *", ITS_VERSION):
        done = production.run(FAILS=fails, PLANNED="replace", **TRIED, **NEWER)

        assert done.status == 0
        assert PROXY_TAGGED in done.calls
        assert "The proxy will restart at the end" in done.out


@pytest.mark.parametrize(
    ("there", "build", "pulled"),
    [
        ({"CADDY_IS": "", "PROXY_HAS": ""}, "yes", True),
        ({"CADDY_IS": "", "PROXY_HAS": ""}, "no", True),
        ({"CADDY_IS": ""}, "yes", True),
        ({"CADDY_IS": ""}, "no", False),
        ({}, "yes", False),
    ],
)
def test_its_image_is_downloaded_if_it_is_not_here_but_not_by_a_boot(
    production: Production, there: dict[str, str], build: str, pulled: bool
) -> None:
    noted = NOTED.replace("require_proxy_image", "")

    done = production.run(MAIN="require_proxy_image", NOTED=noted, build=build, **there)

    assert done.calls == (["docker pull --quiet caddy:2"] if pulled else [])
    if pulled:
        refused = production.run(
            MAIN="require_proxy_image", NOTED=noted, build=build, FAILS="docker pull*", **there
        )
        assert refused.status == 1
        assert "CADDY_IMAGE in .env is the name of an image" in refused.err
