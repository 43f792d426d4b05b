"""With the part `live` a colour has a server of streams, which visitors reach and leave with it.

Without an engine, as in test_release_steps.py.
"""

from __future__ import annotations

import re

import pytest

from .production import NOTED, Production

ON = {"COMPOSE_PROFILES": "live"}
LISTENS = "   0: 00000000:1F40 00000000:0000 0A"
OPEN = "   1: 030014AC:1F40 020014AC:9C40 01"
DRAINS = {"NOTED": NOTED.replace("drain", ""), "WEB_TIMEOUT": "30", "MAIN": "stop_old_version"}


def told(production: Production) -> list[str]:
    """For which colours the proxy is told of a server of streams."""
    return sorted(path.name for path in (production.folder / "live").glob("live-*"))


def test_the_proxy_is_told_of_the_new_server_of_streams_before_the_switch(
    production: Production,
) -> None:
    production.serves("blue", live_blue="healthy")
    done = production.run(**ON, DRAIN_SECONDS="600")

    assert (done.status, done.err) == (0, "")
    assert told(production) == ["live-web-green"]
    assert production.live == "web-green"
    drained, streams, stopped = done.calls[-3:]
    assert (drained, stopped) == ("drain blue", "compose prod stop web-blue live-blue")
    # What the drain of the requests has left of DRAIN_SECONDS.
    assert re.fullmatch(r"drain blue (600|59\d) open_streams", streams)


def test_a_version_without_the_part_serves_all_paths_itself(production: Production) -> None:
    production.serves("blue", live_blue="healthy")
    (production.folder / "live/live-web-green").touch()
    done = production.run()

    assert done.status == 0, done.err
    assert told(production) == []
    assert not any("open_streams" in call for call in done.calls)


def test_a_version_that_is_brought_back_by_the_watch_gets_its_streams_back(
    production: Production,
) -> None:
    production.serves("green", web_blue="healthy", live_blue="healthy", live_green="healthy")
    done = production.run("blue", **ON, MAIN="switch_to")

    assert done.status == 0, done.err
    assert told(production) == ["live-web-blue"]


@pytest.mark.parametrize(
    ("looks", "seconds", "said"),
    [
        ([LISTENS] * 4, 600, ""),
        ([LISTENS, LISTENS, OPEN, LISTENS, LISTENS], 600, ""),
        ([LISTENS, f"{OPEN};{OPEN}"], 0, "closing 2 streams on blue with code 1012"),
    ],
)
def test_streams_stay_for_the_drain_and_are_then_closed(
    production: Production, looks: list[str], seconds: int, said: str
) -> None:
    (production.folder / "looks").write_text("".join(f"{look}\n" for look in looks))
    production.serves("green", web_blue="healthy", live_blue="healthy")
    done = production.run("blue", **ON, **DRAINS, DRAIN_SECONDS=str(seconds))

    assert (done.status, done.err) == (0, "")
    assert said in done.out
    assert ("closing" in done.out) is bool(said)
    assert done.calls[-1] == "compose prod stop web-blue live-blue"


def test_a_hold_does_not_wait_for_streams(production: Production) -> None:
    """They write nothing, and would not end."""
    (production.folder / "looks").write_text(f"{LISTENS}\n" * 2)
    production.serves("blue", live_blue="healthy")
    done = production.run("blue", **ON, **{**DRAINS, "MAIN": "drain"}, DRAIN_SECONDS="600")

    looked_at = {call.split()[2] for call in done.calls if "/proc/net/tcp" in call}
    assert looked_at == {"id-web-blue"}
