"""The steps of a release: which, in which order, what each failure takes back and says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from rewording import reword

from .machine import PROJECT, Toolbox
from .production import (
    BUILD,
    FIRST,
    NEXT,
    PROXY_TAGGED,
    START,
    STOPPED,
    UP,
    WAIT,
    Production,
    around,
)


def test_the_first_release(production: Production) -> None:
    done = production.run()

    assert (done.status, done.err) == (0, "")
    assert done.calls == FIRST
    assert production.live == "web-blue"
    assert not (production.folder / "switch-seconds").exists(), "nobody was served before"
    record = production.record(1)
    assert {key: record[key] for key in ("version", "revision", "image", "outcome")} == {
        "version": "1.5",
        "revision": "abc",
        "image": "sha256:1",
        "outcome": "live",
    }
    assert (production.folder / "live/upstream").stat().st_mode & 0o777 == 0o644
    synced = [path.name for path in production.folder.glob("synced-*")]
    assert sorted(synced) == ["synced-live", "synced-upstream.new"], "a power cut loses nothing"


def test_the_next_release_takes_the_other_colour_and_stops_the_old_one(
    production: Production,
) -> None:
    production.serves("blue")
    done = production.run(ADDITIONS="worker beat")

    assert (done.status, done.err) == (0, "")
    assert done.calls == [
        *NEXT[: -len(around())],
        *around("worker", "beat"),
        "drain blue",
        "compose prod stop web-blue",
    ]
    assert production.live == "web-green"
    assert 2 <= int((production.folder / "switch-seconds").read_text()) < 600


@pytest.mark.parametrize(
    ("fails", "status"), [("no", 0), ("hold_requests*", 0), (f"{UP} {WAIT} db", 1)]
)
def test_postgresql_restarts_while_requests_wait_and_they_are_let_through(
    production: Production, fails: str, status: int
) -> None:
    production.serves("blue")
    done = production.run(TO_RESTART=" db proxy", FAILS=fails)

    assert done.status == status, done
    held = done.calls.index("hold_requests")
    assert done.calls[held : held + 3] == ["hold_requests", f"{UP} {WAIT} db", "release_requests"]
    assert production.live == "web-green"


def test_a_release_under_maintenance_is_one_like_any_other_and_says_that_it_is_on(
    production: Production,
) -> None:
    production.serves("blue")
    page = production.folder / "live/maintenance/page.html"
    page.parent.mkdir()
    page.write_text("closed")
    done = production.run(WATCH_SECONDS="30")

    assert (done.status, done.err) == (0, "")
    assert "watch_new_version green blue" in done.calls
    assert production.live == "web-green"
    assert "note   maintenance is on: visitors get its page" in done.out
    assert page.read_text() == "closed"


def test_a_colour_that_an_interrupted_run_left_is_stopped(production: Production) -> None:
    production.serves("blue", web_green="healthy")
    done = production.run(HAS_IMAGE="web-blue shop-web:next")

    assert done.calls[-2:] == ["drain green", "compose prod stop web-green"]


@pytest.mark.parametrize(
    ("state", "image", "planned", "stays"),
    [
        ("healthy", "web-blue shop-web:next", "keep", True),
        ("unhealthy", "web-blue shop-web:next", "keep", False),
        ("healthy", "", "keep", False),
        ("healthy", "web-blue shop-web:next", "replace", False),
    ],
)
def test_what_serves_this_version_already_goes_on(
    production: Production, state: str, image: str, planned: str, stays: bool
) -> None:
    production.serves("blue", web_blue=state)
    done = production.run(HAS_IMAGE=image, PLANNED=planned)

    assert done.status == 0
    assert production.live == ("web-blue" if stays else "web-green")
    assert ("Already up to date" in done.out) is stays
    if stays:
        assert done.calls == [*START, *BUILD, *around()]


# --- What fails -----------------------------------------------------------------------------------


UNDONE = ["keep_logs blue", "compose prod rm --stop --force web-blue"]


@pytest.mark.parametrize("was_running", [True, False])
@pytest.mark.parametrize(
    "step",
    [
        "start_database prod",
        "copy_for_rehearsal prepare",
        "docker tag *",
        f"{UP} --force-recreate {WAIT} web-blue",
    ],
)
def test_what_fails_before_the_switch_is_taken_back(
    production: Production, step: str, was_running: bool
) -> None:
    if was_running:
        production.runs(db="healthy")
    done = production.run(FAILS=step)

    assert done.status != 0
    # What starts the database says so itself.
    assert done.err.count("error: ") == (step != "start_database prod")
    undone = UNDONE if was_running else [*UNDONE, *STOPPED]
    assert done.calls[-len(undone) :] == undone
    assert production.live == ""
    assert production.record(1)["outcome"] == ("refused" if "copy" in step else "failed")


@pytest.mark.parametrize("switched", [True, False])
def test_an_interruption_after_the_switch_takes_nothing_back(
    production: Production, switched: bool
) -> None:
    production.serves("green" if switched else "blue")
    done = production.run(MAIN="undo_release", new="green", db_was="stopped")

    undone = ["keep_logs green", "compose prod rm --stop --force web-green", *STOPPED]
    assert (done.status, done.calls) == (0, [] if switched else undone)


def test_what_cannot_be_noted_is_a_warning_and_no_failure(production: Production) -> None:
    production.serves("blue")
    for name in ("releases/1", "switch-seconds"):
        (production.folder / name).mkdir(parents=True)
    done = production.run()

    assert (done.status, production.live) == (0, "web-green")
    assert done.err.count("warning: cannot write ") >= 2


@pytest.mark.parametrize(("proxy", "stops"), [("healthy", False), ("stopped", True)])
def test_a_proxy_that_does_not_start_lets_nobody_in(
    production: Production, proxy: str, stops: bool
) -> None:
    production.serves("blue", proxy=proxy, db="stopped")
    done = production.run(FAILS=f"{UP} {WAIT} *")

    assert done.status == 1
    assert "explain_unhealthy prod db web-green proxy" in done.calls
    after = done.calls[done.calls.index("explain_unhealthy prod db web-green proxy") + 1 :]
    everything = ["compose prod stop proxy web-blue web-green", *STOPPED]
    assert after == (everything if stops else ["compose prod stop web-blue"])


def test_a_colour_that_does_not_get_healthy_is_explained(production: Production) -> None:
    done = production.run(FAILS=f"{UP} --force-recreate *")

    assert "explain_unhealthy prod db web-blue" in done.calls
    assert "web-blue is not healthy" in done.err


ENDINGS = [
    ("refused", 3, True),
    ("undone", 4, True),
    ("not-undone", 5, False),
    ("misconfigured", 1, True),
]


@pytest.mark.parametrize(("outcome", "status", "says_what_serves"), ENDINGS)
def test_how_the_preparation_ended_is_told_with_its_remedy(
    production: Production, outcome: str, status: int, says_what_serves: bool
) -> None:
    production.serves("blue")
    facts = f"outcome={outcome}\nwhat=this happened\nnext=do that\ndetail=one\ndetail=two\n"
    done = production.run(result=facts, ONE_OFF="1")

    assert done.status == status
    error, remedy = done.err.splitlines()[-3:-1]
    assert "  | one\n  | two\n" in done.err
    assert error.startswith("error: ")
    assert ": this happened" in error
    assert remedy.startswith("  next: do that")
    assert error.endswith("The previous version is still serving.") is says_what_serves
    assert production.live == "web-blue"


def test_no_two_endings_are_told_in_the_same_words(production: Production) -> None:
    errors = {
        production.run(result=f"outcome={outcome}\nwhat=x\nnext=y\n", ONE_OFF="1").err.splitlines()[
            0
        ]
        for outcome, _, _ in ENDINGS
    }
    assert len(errors) == len(ENDINGS)


@pytest.mark.parametrize(
    ("status", "log", "error", "remedy"),
    [
        ("137", "", "WEB_MEMORY (512m)", "raise WEB_MEMORY"),
        ("1", "", "status 1", "sh run.sh -0"),
        ("125", "Error response from daemon: no such thing", "no such thing", "sh run.sh -0"),
        ("125", "Error response from daemon: x509: unknown", "x509", "certificate"),
    ],
)
def test_a_preparation_that_left_no_result_is_explained(
    production: Production, status: str, log: str, error: str, remedy: str
) -> None:
    production.serves("blue")
    (production.folder / "to-come").unlink(missing_ok=True)
    done = production.run(ONE_OFF=status, SAYS=log)

    assert done.status == 1
    assert "show_tail" in done.calls
    first, second = done.err.splitlines()[:2]
    assert error in first
    assert remedy in second
    assert first.endswith("The previous version is still serving.")


def test_what_was_migrated_is_told(production: Production) -> None:
    done = production.run(result="said=go: 3 migrations\nwarning=look at that\n")

    assert "\n  go: 3 migrations\n  warning: look at that\n" in done.out


# --- The boot -------------------------------------------------------------------------------------


NO_BUILD = [
    *START,
    "docker image inspect shop-web:blue",
    "docker tag shop-web:blue shop-web:next",
]


def test_the_boot_starts_what_served_last_all_at_once(production: Production) -> None:
    production.serves("blue", db="stopped", proxy="stopped", web_blue="stopped")
    done = production.run("--no-build", DOMAIN="", OWN_ADDITIONS="worker")

    assert (done.status, done.err) == (0, "")
    assert done.calls == [
        *NO_BUILD,
        "start_database prod",
        PROXY_TAGGED,
        f"compose prod up -d --no-build {WAIT} db web-blue proxy worker",
        "limit_proxy_memory 1",
    ]
    assert production.live == "web-blue"


def test_a_boot_after_a_power_cut_in_the_watch_leaves_one_colour(production: Production) -> None:
    production.serves("blue", web_blue="starting", web_green="healthy")
    done = production.run("--no-build")

    assert done.status == 0
    assert done.calls[-2:] == ["drain green", "compose prod stop web-green"]


def test_after_a_switch_that_was_killed_a_site_that_looks_well_is_not_trusted(
    production: Production,
) -> None:
    """For half a minute Docker calls one healthy whose database lets nobody in."""
    production.serves("blue", db="stopped")
    mark = production.folder / "switching-shop"
    mark.touch()

    done = production.run("--no-build", DOMAIN="", HAS_IMAGE="web-blue shop-web:next")

    assert done.status == 0
    assert "start_database prod" in done.calls, "it opens the database"
    assert f"compose prod up -d --no-build {WAIT} db web-blue proxy" in done.calls
    assert not mark.exists()


def test_the_boot_asks_nobody_where_a_domain_leads(production: Production) -> None:
    production.serves("blue", web_blue="stopped")
    done = production.run("--no-build", DOMAIN="shop.example")

    assert not {"require_domain_leads_here", "note_twin"} & set(done.calls)


@pytest.mark.parametrize(("proxy", "stops"), [("healthy", False), ("stopped", True)])
def test_a_boot_that_fails_stops_what_it_started(
    production: Production, proxy: str, stops: bool
) -> None:
    production.serves("blue", db="stopped", proxy=proxy, web_blue="stopped")
    done = production.run("--no-build", FAILS="compose prod up *")

    assert done.status == 1
    failed = done.calls.index("explain_unhealthy prod db web-blue proxy")
    assert done.calls[failed + 1 :] == (
        ["compose prod stop proxy web-blue web-green", *STOPPED] if stops else []
    )


def test_while_it_serves_a_changed_env_comes_as_a_release_of_the_same_image(
    production: Production,
) -> None:
    production.serves("blue")
    done = production.run("--no-build")

    released = NEXT[len(START) + len(BUILD) - 1 :]
    look = "docker image inspect --format"
    label = '{{index .Config.Labels "org.opencontainers.image.%s"}}'
    assert done.calls == [
        *NO_BUILD,
        *(f"{look} {label % fact} shop-web:next" for fact in ("version", "revision")),
        *released,
        "drain blue",
        "compose prod stop web-blue",
    ]


@pytest.mark.parametrize("live", [False, True])
def test_without_a_version_that_was_built_there_is_nothing_to_start(
    production: Production, live: bool
) -> None:
    if live:
        production.serves("blue")
    done = production.run("--no-build", FAILS="docker image inspect *")

    assert done.status == 1
    assert "sh run.sh -0" in done.err
    assert done.calls[: len(START)] == START
    assert len(done.calls) == len(START) + live


# --- The end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "there", "missing"),
    [
        ({}, ["http://shop/", "plain HTTP", "service install"], ["admin"]),
        ({"DOMAIN": "shop.example"}, ["http://shop/"], ["plain HTTP"]),
        ({"DJANGO_SUPERUSER_EMAIL": "a@shop.example"}, ["/admin/   a@shop.example"], []),
    ],
)
def test_the_end_says_where_it_is_and_what_comes_next(
    production: Production, variables: dict[str, str], there: list[str], missing: list[str]
) -> None:
    out = production.run(**variables).out

    assert all(words in out for words in (*there, "sh run.sh -0 logs"))
    assert not any(words in out for words in missing)


# --- In other words -------------------------------------------------------------------------------


ENDS = {
    "goes well": {"result": "said=go: 3 migrations\napplied=shop.0002\n"},
    "is refused": {"result": "outcome=refused\nwhat=x\nnext=y\n", "ONE_OFF": "3"},
    "fails without a result": {"ONE_OFF": "1"},
    "does not become healthy": {"FAILS": f"{UP} {WAIT} *"},
    "fails its smoke test": {"FAILS": "smoke_test *"},
    "is taken back": {"FAILS": "watch_new_version *", "WATCH_SECONDS": "30"},
    "rolls back": {"SCRIPT": "rollback", "SERVES": "blue", "IMAGES": "1 2"},
}


@pytest.fixture(scope="module")
def reworded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shell of the kit, with every message in other words."""
    folder = tmp_path_factory.mktemp("reworded")
    for name in ("lib", "commands"):
        shutil.copytree(PROJECT / name, folder / name)
    assert reword(folder) > 300
    return folder


@pytest.mark.parametrize("end", ENDS)
def test_in_other_words_a_release_takes_the_same_steps(
    tmp_path: Path, toolbox: Toolbox, reworded: Path, end: str
) -> None:
    done, said = [], []
    for name, project in (("usual", PROJECT), ("other", reworded)):
        (tmp_path / name).mkdir()
        production = Production(tmp_path / name, toolbox)
        production.serves("blue")
        production.released("live", "live")
        one = production.run(**{"PROJECT": str(project), **ENDS[end]})
        calls = [re.sub(r"\b\d{9,}\b", "a time", call) for call in one.calls]
        done.append((one.status, production.live, calls, len(one.err.splitlines())))
        said.append(one.out + one.err)
    assert done[0] == done[1]
    assert said[0] != said[1]
