"""The smoke test before a switch, the watch after it, and the drain of the old version."""

from __future__ import annotations

import os
import pty

import pytest
from waiting import until

from .production import NOTED, Done, Production

ADDRESS = " 1: 020011AC:1F40 0300%sAC:A1B2 %s 00000000:00000000 00:00000000 00000000 10001 0 7"
LISTENS = "  sl local_address rem_address st; 0: 00000000:1F40 00000000:0000 0A"
OPEN = f"{LISTENS};{ADDRESS % ('11', '01')}"
LEFT = f"{LISTENS};{ADDRESS % ('11', '08')}"  # its visitor has left, and it is at work
OVER = f"{LISTENS};{ADDRESS % ('11', '06')}"  # in TIME_WAIT
HEALTH = f"{LISTENS}; 1: 0100007F:1F40 0100007F:A1B2 01"
TO_THE_DATABASE = f"{LISTENS}; 1: 020011AC:A1B2 030011AC:1538 01"


def test_a_version_that_fails_its_smoke_test_gets_no_visitor(production: Production) -> None:
    production.serves("blue")
    done = production.run(FAILS="smoke_test *")

    assert done.status == 1
    assert "web-green failed its smoke test" in done.err
    assert done.calls[-2:] == ["keep_logs green", "compose prod rm --stop --force web-green"]
    assert production.live == "web-blue"
    assert production.record(1)["outcome"] == "failed"


def test_what_a_version_logged_in_its_smoke_test_is_shown(production: Production) -> None:
    """Its container is removed, and the page of an error says nothing."""
    (production.folder / "logs").write_text(
        '{"level": "INFO", "logger": "x", "message": "all the rest"}\n'
        '{"level": "ERROR", "logger": "x", "message": "what broke"}\n'
    )
    done = production.run(FAILS="smoke_test *")

    assert "  | " in done.err
    assert "what broke" in done.err
    assert "all the rest" not in done.err


def test_a_version_is_watched_only_beside_one_that_served(production: Production) -> None:
    first = production.run(WATCH_SECONDS="30")
    assert not any(call.startswith("watch") for call in first.calls)

    done = production.run(WATCH_SECONDS="30")

    assert "watch_new_version green blue" in done.calls
    assert done.calls.index("watch_new_version green blue") < done.calls.index(
        "compose prod stop web-blue"
    )


def test_a_version_that_is_worse_is_taken_back(production: Production) -> None:
    production.serves("blue")
    (production.folder / "logs").write_text('{"level": "ERROR", "message": "what broke"}\n')
    watched = {"watch_began": "1", "watch_reason": "it ended"}
    done = production.run(FAILS="watch_new_version *", WATCH_SECONDS="30", **watched)

    assert done.status == 1
    assert "what broke" in done.err
    assert "the new version was replaced by the previous one, because it ended" in done.err
    assert done.calls[-1] == "compose prod stop web-green"
    assert production.live == "web-blue"
    assert production.record(1)["outcome"] == "taken-back"


def test_a_version_is_taken_back_also_where_no_log_can_be_read(production: Production) -> None:
    production.serves("green")
    production.released("live")
    known = {"release_number": "1", "release_began": "1", "watch_began": "1", "watch_reason": "X"}
    done = production.run("green", "blue", MAIN="take_back", FAILS="docker logs *", **known)

    assert "the new version was replaced by the previous one, because X" in done.err
    assert production.live == "web-blue"
    assert "docker image rm shop-web:release-1" in done.calls, "no place to roll back to"
    assert production.record(1)["outcome"] == "taken-back"


def test_what_serves_again_is_recorded_before_the_new_version_is_stopped(
    production: Production,
) -> None:
    production.serves("green")
    production.released("live")
    stop = "compose prod stop web-green"
    known = {"release_number": "1", "release_began": "1", "watch_began": "1", "watch_reason": "X"}
    done = production.run("green", "blue", MAIN="take_back", FAILS=stop, **known)

    assert done.calls[-2:] == [stop, "show_tail"]
    assert production.live == "web-blue"
    assert production.record(1)["outcome"] == "taken-back"


def test_what_the_proxy_could_not_deliver_counts_for_the_old_version_too(
    production: Production,
) -> None:
    production.serves("blue")
    (production.folder / "logs").write_text(ANSWERED % 200 * 90 + OF_THE_PROXY * 10)

    assert production.run("blue", MAIN="answers_before", watch_began="1").out == "100 10\n"


@pytest.mark.parametrize(
    ("hosts", "asked"),
    [
        ("localhost,127.0.0.1,[::1]", "localhost"),
        ("localhost,127.0.0.1,[::1],box,10.0.0.7", "10.0.0.7"),
        (".shop.example", "shop.example"),
        ("localhost,.shop.example,www.shop.example", "www.shop.example"),
        ("*", "localhost"),
    ],
)
def test_a_version_is_asked_under_a_name_that_it_answers_to(
    production: Production, hosts: str, asked: str
) -> None:
    assert production.run(MAIN="known_address", ALLOWED_HOSTS=hosts).out == f"{asked}\n"


ANSWERED = '{"logger": "gunicorn.access", "message": "x", "status": %s, "bytes": 1}\n'
OF_THE_PROJECT = '{"level": "INFO", "logger": "shop", "message": "x", "status": 502}\n'
OF_THE_PROXY = '{"level":"error","logger":"http.log.error","request":{},"status":504}\n'


@pytest.mark.parametrize(
    ("good", "bad", "before", "worse"),
    [
        (0, 0, "0 0", False),
        (0, 4, "0 0", False),  # a handful is bad luck
        (0, 5, "0 0", True),
        (980, 20, "1000 0", True),  # two of a hundred
        (996, 4, "1000 0", False),
        (980, 20, "1000 10", False),  # it was never better
        (970, 30, "1000 10", True),
    ],
)
def test_worse_is_more_errors_than_before(
    production: Production, good: int, bad: int, before: str, worse: bool
) -> None:
    production.serves("green", web_blue="healthy")
    answers = ANSWERED % 200 * good + ANSWERED % 500 * bad
    (production.folder / "logs").write_text(answers + OF_THE_PROJECT * 9)
    done = production.run("green", "blue", before, MAIN="worse_than_before", watch_began="1")

    assert (f"{bad} of {good + bad} requests failed" in done.out) is worse
    assert bool(done.out) is worse


@pytest.mark.parametrize(
    ("state", "restarts", "old", "reason"),
    [
        ("healthy", "1", "healthy", "started again"),
        ("unhealthy", "0", "healthy", "unhealthy"),
        ("restarting", "0", "healthy", "it stopped"),
        ("stopped", "0", "healthy", "it stopped"),
        ("healthy", "0", "healthy", ""),
        ("starting", "0", "healthy", ""),
        ("unhealthy", "0", "unhealthy", ""),
        ("healthy", "1", "stopped", ""),
    ],
)
def test_worse_is_what_ends_or_is_ill_while_the_old_version_is_well(
    production: Production, state: str, restarts: str, old: str, reason: str
) -> None:
    production.serves("green", web_green=state, web_blue=old)
    (production.folder / "logs").write_text("")
    done = production.run(
        "green", "blue", "0 0", MAIN="worse_than_before", watch_began="1", RESTARTS=restarts
    )

    assert (done.out == "") is (reason == "")
    assert reason in done.out


WATCHES = {
    "NOTED": NOTED.replace("watch_new_version", ""),
    "WATCH_SECONDS": "600",
}


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_who_ends_the_watch_keeps_the_new_version_and_one_colour_runs(
    production: Production, signal: str
) -> None:
    production.serves("blue")
    (production.folder / "logs").touch()
    done = production.run(**WATCHES, SIGNAL=signal)

    assert (done.status, done.err) == (0, "")
    assert done.calls[-2:] == ["drain blue", "compose prod stop web-blue"]
    assert production.live == "web-green"
    assert production.record(1)["outcome"] == "live"


def test_a_terminal_that_goes_away_in_the_watch_ends_nothing(production: Production) -> None:
    """Such as that of an ssh whose connection drops. The log tells the rest."""
    production.serves("blue")
    (production.folder / "logs").touch()
    (production.folder / "to-come").touch()
    environment = production.environment(**{**WATCHES, "WATCH_SECONDS": "2"})
    pid, screen = pty.fork()
    if pid == 0:
        os.execvpe(production.argv()[0], production.argv(), environment)  # noqa: S606
    until(lambda: "sleep 1" in production.calls(), "the watch")
    os.close(screen)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert production.calls()[-2:] == ["drain blue", "compose prod stop web-blue"]
    assert "Stop blue ... " in (production.folder / "log").read_text()


@pytest.mark.parametrize(
    ("live", "stops"), [("healthy", True), ("unhealthy", False), ("stopped", False)]
)
def test_the_other_version_is_stopped_only_beside_one_that_works(
    production: Production, live: str, stops: bool
) -> None:
    """The switch back may have failed, on a full disk."""
    production.serves("green", web_green=live, web_blue="healthy")
    done = production.run(MAIN="leave_one_colour")

    assert ("compose prod stop web-blue" in done.calls) is stops


@pytest.mark.parametrize(("signal", "status"), [("INT", 130), ("TERM", 143)])
@pytest.mark.parametrize("script", ["production", "rollback"])
def test_who_ends_the_drain_leaves_one_colour(
    production: Production, script: str, signal: str, status: int
) -> None:
    production.serves("blue")
    production.released("live", "live")
    (production.folder / "looks").write_text(f"{OPEN}\n" * 9)
    ended = {"NOTED": NOTED.replace("drain", ""), "SIGNAL": signal, "DRAIN_SECONDS": "600"}
    done = production.run(SCRIPT=script, SERVES="blue", IMAGES="1 2", **ended)

    assert done.status == status
    assert f"interrupted (SIG{signal}), stopping the version that no longer serves" in done.err
    assert done.calls[-1] == "compose prod stop web-blue"
    assert production.live == "web-green"


# --- The drain ------------------------------------------------------------------------------------


def drained(production: Production, *looks: str, seconds: int = 600) -> Done:
    """What came of a drain whose looks at the old version's connections found these."""
    (production.folder / "looks").write_text("".join(f"{look}\n" for look in looks))
    production.serves("green", web_blue="healthy")
    noted = NOTED.replace("drain", "")
    known = {"WEB_TIMEOUT": "30", "DRAIN_SECONDS": str(seconds), "NOTED": noted}
    return production.run("blue", MAIN="stop_old_version", **known)


@pytest.mark.parametrize(
    ("looks", "waits"),
    [
        ([LISTENS, LISTENS], 1),
        ([OPEN, OPEN, LISTENS, LISTENS], 3),
        ([LISTENS, OPEN, LISTENS, LISTENS], 3),  # it was on its way at the first look
        ([LEFT, LISTENS, LISTENS], 2),
        ([OVER, HEALTH], 1),
        ([TO_THE_DATABASE, LISTENS], 1),
    ],
)
def test_the_old_version_is_stopped_when_its_last_request_has_ended(
    production: Production, looks: list[str], waits: int
) -> None:
    done = drained(production, *looks)

    assert (done.status, done.err) == (0, "")
    assert done.calls.count("sleep 0.2") == waits
    assert done.calls[-1] == "compose prod stop web-blue"


def test_what_is_open_at_the_end_of_the_drain_is_told(production: Production) -> None:
    done = drained(production, f"{OPEN};{OPEN}", seconds=0)

    assert done.status == 0
    assert "still open on blue after 0 s (DRAIN_SECONDS): 2. They have 30 s more to" in done.err
    assert done.calls[-1] == "compose prod stop web-blue"


def test_a_version_that_does_not_answer_the_look_is_stopped(production: Production) -> None:
    done = drained(production)

    assert (done.status, done.err) == (0, "")
    assert done.calls[-1] == "compose prod stop web-blue"
