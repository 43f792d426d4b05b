"""The steps of a production release: which, in which order, what each failure takes back and says.

commands/production.sh (or rollback.sh) is run with lib/ as it is, but for the functions that reach
the engine, the network or another file of the state: those only note that they were called, and
answer as the test says. So each situation takes no time. (Releases run for real in tests/stack.)
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from rewording import reword
from waiting import until

from .machine import PROJECT, Toolbox

NOTED = """
require_engine prepare_environment read_environment require_own_stack take_lock
remove_left_copy require_port warn_of_trusted_visitors
require_domain_leads_here note_twin get_other_certificates
export_compose_facts require_volume_major require_roles
require_disk build_image try_what_restarts start_database start_additions stop_additions
stop_database copy_for_rehearsal drop_copy keep_logs note_name in_proxy show_tail
smoke_test remove_old_images watch_new_version drain hold_requests release_requests
"""
HARNESS = """
set -eu
umask 077 # the proxy's own user reads what is live all the same
ROOT=$PROJECT STATE=$FOLDER ENV_FILE=/dev/null MODE=prod COMMAND= BACKUP_KEEP=3
HEALTH_PATH=/readyz
PROJECT_NAME=shop POSTGRES_USER=shop POSTGRES_DB=shop START_TIMEOUT=9
APP_VERSION=1.5 APP_REVISION=abc WEB_MEMORY=512m
for library in log result modes image compose explain prepare colours releases watch hooks \\
    dry_run hold maintenance copy; do
    . "$ROOT/lib/$library.sh"
done
. "$ROOT/commands/$SCRIPT.sh"

note() {
    printf '%s\\n' "$*" >>"$FOLDER/calls"
    case $* in $FAILS) return 1 ;; esac
}
for name in $NOTED; do eval "$name() { note $name \\"\\$@\\"; }"; done
sleep() {
    note sleep "$@"
    [ -z "$SIGNAL" ] || { kill -s "$SIGNAL" "$$" && SIGNAL=; }
}
compose() {
    note compose "$@" || return 1
    # The engine would make it, as root.
    case " $* " in *" up "*" proxy "*) [ -d "$FOLDER/live" ] || note "no live folder" ;; esac
    case " $* " in *" up "*) becomes=healthy ;; *" stop "*) becomes=stopped ;; *) return 0 ;; esac
    for word; do
        case $word in db | proxy | web-*) printf %s "$becomes" >"$FOLDER/states/$word" ;; esac
    done
}
docker() {
    note docker "$@" || return 1
    case "$*" in
    *postdo.image*) printf '%s' "$LABEL" ;;
    *image.version*) echo 2.0 ;;
    *image.revision*) echo def ;;
    *Id*next* | *Id*"$SERVES") echo sha256:1 ;;
    *Id*) echo sha256:0 ;;
    "image inspect "*release-*) case " $IMAGES " in *" ${3##*-} "*) ;; *) return 1 ;; esac ;;
    "image ls "*) printf '%s' "$LISTED" ;;
    "logs "*) cat "$FOLDER/logs" ;;
    *applied.sql) cat "$FOLDER/applied" ;;
    *RestartCount*Running*) printf '%s true' "$RESTARTS" ;;
    *" /proc/net/tcp "*) head -n 1 "$FOLDER/looks" | tr ';' '\\n' && sed -i 1d "$FOLDER/looks" ;;
    *RestartCount*) printf '%s' "$RESTARTS" ;;
    esac
}
open_log() {
    note open_log "$@"
    LOG_FILE=$FOLDER/log
    : >"$LOG_FILE"
}
one_off() {
    note one_off "$@"
    sh -c 'printf "%s %s" "${POSTDO_APPROVE-}" "${POSTDO_CONCURRENTLY-}"' >"$FOLDER/options"
    printf '%s\n' "$SAYS"
    cp "$FOLDER/to-come" "$RESULT_FOLDER/$RESULT" 2>/dev/null || true
    return "$ONE_OFF"
}
run_to_its_end() { note run_to_its_end "$@" && printf '%s\n' "$SAYS"; }
sync() { : >"$FOLDER/synced-${1##*/}"; }
live_folder() { printf '%s' "$FOLDER/live"; }
state_of() { cat "$FOLDER/states/$2" 2>/dev/null || printf stopped; }
container_of() { [ ! -e "$FOLDER/states/$2" ] || printf 'id-%s' "$2"; }
has_image() { [ "$HAS_IMAGE" = "$2 $3" ]; }
planned_for() { printf '%s' "$PLANNED"; }
additions() { printf '%s' "$ADDITIONS"; }
has_certificate() { [ -e "$FOLDER/certificate-$1" ]; }
wait_until() {
    note wait_until "$@" || return 1
    case $2 in has_certificate) : >"$FOLDER/certificate-$3" ;; *) shift && "$@" ;; esac
}
certificate_reason() { printf 'the reason'; }
certificate_remedy() { printf 'the remedy'; }
production_address() { printf 'http://shop/'; }
explain_unhealthy() { note explain_unhealthy "$@" && fail "$* is not healthy" "see"; }
place_of() { printf .env; }
is_locked() { false; }
in_web() { cat "$FOLDER/git-$1" 2>/dev/null; }
give_back() { :; }
release_locks() { :; }
start_ticker() { :; }
handle_signals
mkdir -p "$RESULT_FOLDER"
UNDO=$UNDO_AT_START
HOOKS=$FOLDER/hooks
HOOK_SECONDS=${LIMIT:-$HOOK_SECONDS}
"$MAIN" "$@"
"""
START = [
    "require_engine",
    "prepare_environment",
    "require_own_stack prod",
    "take_lock prod",
    "open_log prod",
    "remove_left_copy",
    "require_port HTTP_PORT prod",
    "warn_of_trusted_visitors",
    "export_compose_facts",
    "require_volume_major prod",
    "require_roles prod",
]
BUILD = ["require_disk 1000", "build_image prod", "try_what_restarts"]
UP = "compose prod up -d --no-build --no-deps"
WAIT = "--wait --wait-timeout 9"


ADDRESS = " 1: 020011AC:1F40 0300%sAC:A1B2 %s 00000000:00000000 00:00000000 00000000 10001 0 7"
LISTENS = "  sl local_address rem_address st; 0: 00000000:1F40 00000000:0000 0A"
OPEN = f"{LISTENS};{ADDRESS % ('11', '01')}"
LEFT = f"{LISTENS};{ADDRESS % ('11', '08')}"  # its visitor has left, and it is at work
OVER = f"{LISTENS};{ADDRESS % ('11', '06')}"  # in TIME_WAIT
HEALTH = f"{LISTENS}; 1: 0100007F:1F40 0100007F:A1B2 01"
TO_THE_DATABASE = f"{LISTENS}; 1: 020011AC:A1B2 030011AC:1538 01"


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str
    calls: list[str]


class Production:
    """The state of a production, and its releases."""

    def __init__(self, folder: Path, toolbox: Toolbox) -> None:
        self.folder = folder
        self._toolbox = toolbox
        for name in ("states", "result"):
            (folder / name).mkdir()

    def serves(self, colour: str, **states: str) -> None:
        """A release before this one."""
        (self.folder / "live").mkdir()
        (self.folder / "live/upstream").write_text(f"web-{colour}")
        self.runs(**{"db": "healthy", "proxy": "healthy", f"web_{colour}": "healthy", **states})

    def runs(self, **states: str) -> None:
        for service, state in states.items():
            (self.folder / "states" / service.replace("_", "-")).write_text(state)

    def files(self) -> dict[str, str]:
        """Every file, but for what the test itself notes."""
        own = ("calls", "to-come")
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in own)
        return {str(path): path.read_text() for path in found}

    @property
    def live(self) -> str:
        path = self.folder / "live/upstream"
        return path.read_text() if path.exists() else ""

    def record(self, number: int) -> dict[str, str]:
        """What is kept of a release."""
        lines = (self.folder / f"releases/{number}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def released(self, *outcomes: str, **replaces: str) -> None:
        """Earlier releases, from number 1, of which the last one has the image that serves.

        Each replaced the last one before it that is live, or what `replaces` says: r3="1".
        """
        (self.folder / "releases").mkdir(exist_ok=True)
        before = ""
        for number, outcome in enumerate(outcomes, start=1):
            image = 1 if number == len(outcomes) else 100 + number
            (self.folder / f"releases/{number}").write_text(
                f"version=v{number}\nimage=sha256:{image}\noutcome={outcome}\n"
                f"replaces={replaces.get(f'r{number}', before)}\n"
            )
            before = str(number) if outcome == "live" else before

    def has_migrations(self, number: int, *names: str) -> None:
        """What a release recorded of its code."""
        with (self.folder / f"releases/{number}").open("a") as record:
            record.writelines(f"migration={name}\n" for name in names)

    def run(self, *arguments: str, result: str = "", **variables: str) -> Done:
        (self.folder / "to-come").write_text(result)
        (self.folder / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            self.argv(*arguments),
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, self.calls())

    def calls(self) -> list[str]:
        """What was called so far."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def argv(self, *arguments: str) -> list[str]:
        shell = self._toolbox.shell("dash").folders[0] / "sh"
        return [str(shell), "-c", HARNESS, "run.sh", *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        usual = {
            "PROJECT": str(PROJECT),
            "FOLDER": str(self.folder),
            "NOTED": NOTED,
            "SWITCH_SECONDS": str(self.folder / "switch-seconds"),
            "PATH": os.environ["PATH"],
            **dict.fromkeys(("FAILS", "HAS_IMAGE", "ADDITIONS", "DOMAIN", "PROD_DB_PORT"), ""),
            **dict.fromkeys(("DJANGO_SUPERUSER_EMAIL", "SAYS", "SIGNAL"), ""),
            "HTTPS_PORT": "443",
            "MAIN": "main",
            "LABEL": "production",
            "IMAGE": "",
            "UNDO_AT_START": "",
            "SMOKE_PATHS": "",
            "GIVEN": "",
            "SCRIPT": "production",
            "SERVES": "none",
            "IMAGES": "",
            "LISTED": "",
            "RESTARTS": "0",
            "TO_RESTART": "",
            "WATCH_SECONDS": "0",
            "KEEP_RELEASES": "5",
            "PLANNED": "keep",
            "ONE_OFF": "0",
        }
        return {**usual, **variables}


@pytest.fixture
def production(tmp_path: Path, toolbox: Toolbox) -> Production:
    return Production(tmp_path, toolbox)


def started(colour: str) -> list[str]:
    return [
        f"keep_logs {colour}",
        f"docker tag shop-web:next shop-web:{colour}",
        f"{UP} --force-recreate {WAIT} web-{colour}",
    ]


PREPARED = [
    "start_database prod",
    "start_additions prod",
    "copy_for_rehearsal prepare",
    "one_off web true",
    "drop_copy",
]


def served(colour: str) -> list[str]:
    return [
        f"smoke_test {colour}",
        "docker tag shop-web:next shop-web:release-1",
        "remove_old_images",
    ]


def around(*additions: str) -> list[str]:
    return [f"{UP} {WAIT} {' '.join(('db', *additions, 'proxy'))}", "in_proxy reload"]


NUMBERED = "docker image inspect --format {{.Id}} shop-web:next"
LIVE = "docker image inspect --format {{.Id}} shop-web:blue"
FIRST = [*START, *BUILD, NUMBERED, *PREPARED, *started("blue"), *served("blue"), *around()]
NEXT = [*START, *BUILD, LIVE, NUMBERED, *PREPARED, *started("green"), *served("green"), *around()]


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
        *NEXT[:-2],
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
STOPPED = ["stop_additions prod", "stop_database prod"]


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


# --- The smoke test, the watch, and going back ----------------------------------------------------


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
        ("restarting", "0", "healthy", "restarting"),
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


HEALTH_CHECK = "docker exec id-web-green python -I -S /opt/kit/healthcheck.py"
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


PENDING = "run_to_its_end prod -T --entrypoint python web-green -"
STARTED = f"{UP} web-green"


@pytest.mark.parametrize("states", [{"proxy": "stopped"}, {"db": "stopped"}])
def test_a_rollback_brings_up_a_site_that_the_live_version_cannot(
    production: Production, states: dict[str, str]
) -> None:
    """The live one may be why it is down, and --no-build would start just that."""
    production.serves("blue", web_blue="stopped", **states)
    production.released("live", "live")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2", ADDITIONS="worker")

    assert (done.status, done.err) == (0, "")
    assert ("start_database prod" in done.calls) is ("db" in states)
    assert (f"{UP} {WAIT} db worker proxy" in done.calls) is ("proxy" in states)
    assert production.live == "web-green"


def test_a_rollback_of_a_stopped_site_that_fails_stops_what_it_started(
    production: Production,
) -> None:
    production.serves("blue", web_blue="stopped", proxy="stopped", db="stopped")
    production.released("live", "live")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2", FAILS="smoke_test *")

    assert done.calls[-4:] == [
        "keep_logs green",
        "compose prod rm --stop --force web-green",
        *STOPPED,
    ]
    assert production.live == "web-blue"


@pytest.mark.parametrize("recorded", [True, False])
def test_a_rollback_applies_no_migration(production: Production, recorded: bool) -> None:
    """Such as after a restore: the database is older than the code that is asked for."""
    production.serves("blue")
    production.released("live", "live")
    said = "pending=shop.0002_name\npending=shop.0003_x"
    if recorded:
        said = "not asked"
        production.has_migrations(1, "shop.0001_initial", "shop.0002_name", "shop.0003_x")
        (production.folder / "applied").write_text("shop.0001_initial\nshop.0009_newer\n")
    done = production.run("1", SCRIPT="rollback", SERVES="blue", IMAGES="1 2", SAYS=said)

    assert done.status == 3
    assert "shop.0002_name, shop.0003_x" in done.err
    assert "The previous version is still serving." in done.err
    assert not any(" up " in call for call in done.calls)
    assert production.live == "web-blue"


def test_a_rollback_starts_nothing_to_compare_migrations(production: Production) -> None:
    production.serves("blue")
    production.released("live", "live")
    production.has_migrations(1, "auth.0001_initial", "shop.0001_initial")
    (production.folder / "applied").write_text("shop.0001_initial\nauth.0001_initial\nx.0001\n")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert (done.status, done.err) == (0, "")
    assert PENDING not in done.calls
    assert production.live == "web-green"


def test_a_release_that_did_not_record_its_migrations_is_asked_for_them(
    production: Production,
) -> None:
    """It was of an older kit, or the database cannot be asked."""
    production.serves("blue")
    production.released("live", "live")
    production.has_migrations(1, "shop.0001_initial")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert (done.status, done.err) == (0, "")
    assert done.calls.index(PENDING) < done.calls.index(STARTED)


def test_a_release_records_the_migrations_of_its_code(production: Production) -> None:
    facts = "outcome=done\nmigration=auth.0001_initial\nmigration=shop.0001_initial\n"
    production.run(result=facts)

    record = (production.folder / "releases/1").read_text()
    assert "\nmigration=auth.0001_initial\nmigration=shop.0001_initial\n" in record


@pytest.mark.parametrize(("restarts", "fails"), [("1", HEALTH_CHECK), ("0", f"{UP} web-green")])
def test_a_rollback_waits_for_no_version_that_has_ended(
    production: Production, restarts: str, fails: str
) -> None:
    production.serves("blue")
    production.released("live", "live")
    done = production.run(
        SCRIPT="rollback", SERVES="blue", IMAGES="1 2", FAILS=fails, RESTARTS=restarts
    )

    assert done.status == 1
    assert "explain_unhealthy prod web-green" in done.calls
    assert production.live == "web-blue"


def test_a_rollback_that_is_refused_leaves_what_was_built_last_to_the_live_version(
    production: Production,
) -> None:
    """For sh run.sh drift, and for services of the site's image."""
    production.serves("blue")
    production.released("live", "live")
    done = production.run(
        SCRIPT="rollback",
        SERVES="blue",
        IMAGES="1 2",
        FAILS=f"{UP} *",
        ONE_OFF="3",
        result="outcome=refused\nwhat=no such column\nnext=do that\n",
    )

    assert done.status == 3
    assert "no such column" in done.err
    tags = [call for call in done.calls if call.endswith("shop-web:next")]
    assert tags[-1] == "docker tag shop-web:blue shop-web:next"


@pytest.mark.parametrize(("given", "asked"), [("", "/ /shop/=200"), (" SMOKE_PATHS ", "/new/=200")])
def test_a_rollback_asks_for_what_its_release_was_asked_for(
    production: Production, given: str, asked: str
) -> None:
    """A page that came later is missing there, and that is no reason to stay."""
    production.serves("blue")
    production.run(SMOKE_PATHS="/ /shop/=200")
    assert production.record(1)["smoke"] == "/ /shop/=200"

    (production.folder / "live/upstream").write_text("web-blue")
    production.released("live", "live")
    with (production.folder / "releases/1").open("a") as record:
        record.write("smoke=/ /shop/=200\n")
    done = production.run(
        SCRIPT="rollback",
        SERVES="blue",
        IMAGES="1 2",
        SMOKE_PATHS="/new/=200",
        NOTED=NOTED.replace("smoke_test", ""),
        GIVEN=given,
        FAILS="docker exec -i *",
    )

    calls = [call for call in done.calls if call.startswith("docker exec -i")]
    assert calls == [f"docker exec -i id-web-green python -I -S - shop http 400 {asked}"]
    assert "web-green failed its smoke test" in done.err
    assert "SMOKE_PATHS=/ sh run.sh rollback 1" in done.err


def test_a_rollback_takes_the_services_of_the_sites_image_along(production: Production) -> None:
    production.serves("blue")
    production.released("live", "live")
    production.has_migrations(1, "shop.0001_initial")
    (production.folder / "applied").write_text("shop.0001_initial\n")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert done.calls[-2:] == ["compose prod stop web-blue", "start_additions prod late"]
    tags = [call for call in done.calls if call.startswith("docker tag")]
    assert tags == [
        "docker tag shop-web:release-1 shop-web:green",
        "docker tag shop-web:green shop-web:next",
    ]


@pytest.mark.parametrize(
    ("outcomes", "images", "arguments", "target"),
    [
        (["live", "live"], "1 2", [], "1"),
        (
            ["live", "failed", "live"],
            "1 2 3",
            [],
            "1",
        ),  # what never served is no place to go back to
        (["live", "taken-back", "live"], "1 2 3", [], "1"),
        (["live", "live", "live"], "1 3", [], "1"),  # no image of 2
        (["live", "live", "live"], "1 2 3", ["1"], "1"),
    ],
)
def test_a_rollback_serves_the_release_before(
    production: Production, outcomes: list[str], images: str, arguments: list[str], target: str
) -> None:
    production.serves("blue")
    production.released(*outcomes)
    last = len(outcomes)
    done = production.run(*arguments, SCRIPT="rollback", SERVES="blue", IMAGES=images)

    assert (done.status, done.err) == (0, "")
    assert f"docker tag shop-web:release-{target} shop-web:green" in done.calls
    steps = [call for call in done.calls if call.startswith(("compose", "smoke", "drain"))]
    assert "keep_logs green" in done.calls, "what it had is replaced"
    assert done.calls.index(PENDING) < done.calls.index(STARTED)
    assert steps == [
        STARTED,
        "smoke_test green",
        "drain blue",
        "compose prod stop web-blue",
    ]
    assert production.live == "web-green"
    assert f"rolled-back-to={target} " in (production.folder / f"releases/{last}").read_text()


@pytest.mark.parametrize(
    ("outcomes", "images", "arguments", "says"),
    [
        ([], "", [], "no earlier release"),
        (["live"], "1", [], "no earlier release"),
        (["live", "live"], "1 2", ["2"], "release 2 is serving already"),
        (["taken-back", "live"], "2", ["1"], "release 1 ended as taken-back"),
        (["failed", "live"], "1 2", [], "no earlier release"),
        (["live", "live"], "2", ["1"], "no longer exists"),
        (["live", "live"], "1 2", ["7"], "no release 7"),
    ],
)
def test_a_rollback_to_nothing_is_refused_and_nothing_starts(
    production: Production, outcomes: list[str], images: str, arguments: list[str], says: str
) -> None:
    production.serves("blue")
    production.released(*outcomes)
    done = production.run(*arguments, SCRIPT="rollback", SERVES="blue", IMAGES=images)

    assert done.status == 1
    assert says in done.err
    assert not any(call.startswith("compose") for call in done.calls)
    assert production.live == "web-blue"


def test_after_a_rollback_and_a_release_it_is_not_the_version_that_was_left(
    production: Production,
) -> None:
    production.serves("blue")
    production.released("live", "live", "live", r3="1")  # 2 was bad: back to 1, then 3 with a fix
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2 3")

    assert "docker tag shop-web:release-1 shop-web:green" in done.calls


def test_a_release_records_what_it_replaces(production: Production) -> None:
    production.serves("blue")
    production.released("live", "live")
    production.run(SERVES="blue", IMAGES="1 2")

    assert production.record(3)["replaces"] == "2"


def test_a_release_of_the_same_image_that_failed_is_not_what_serves(
    production: Production,
) -> None:
    production.serves("blue")
    production.released("live", "live", "failed")
    (production.folder / "releases/2").write_text("image=sha256:1\noutcome=live\nreplaces=1\n")
    done = production.run(SCRIPT="releases", SERVES="blue", IMAGES="1 2")

    assert [(line.split()[0], line.split()[-1]) for line in done.out.splitlines()[1:]] == [
        ("3", "failed"),
        ("2", "live"),
        ("1", "replaced"),
    ]


def test_the_table_of_releases_is_portuguese_in_the_same_columns(production: Production) -> None:
    production.serves("blue")
    production.released("live", "taken-back", "interrupted", "live")
    listed = {"SCRIPT": "releases", "SERVES": "blue", "IMAGES": "1 4"}
    english, portuguese = (
        production.run(LC_ALL=locale, **listed).out.splitlines()
        for locale in ("C.UTF-8", "pt_BR.UTF-8")
    )

    column = english[0].index("outcome")
    assert portuguese[0][column:].split() == ["resultado", "migrações", "aplicadas"]
    said = ["no ar", "interrompido", "revertido", "anterior"]
    assert [line[column:].strip() for line in portuguese[1:]] == said
    assert [line[:column] for line in portuguese[1:]] == [line[:column] for line in english[1:]]


def test_a_run_that_ends_after_the_switch_has_kept_its_image(production: Production) -> None:
    """Else the next rollback would pass over this release."""
    production.serves("blue")
    done = production.run(NOTED=f"{NOTED} end_release", FAILS="end_release live")

    assert production.live == "web-green"
    assert "docker tag shop-web:next shop-web:release-1" in done.calls


@pytest.mark.parametrize(("switched", "outcome"), [(True, "live"), (False, "interrupted")])
def test_what_serves_is_recorded_as_live_however_the_run_ended(
    production: Production, switched: bool, outcome: str
) -> None:
    production.serves("green" if switched else "blue")
    production.released("unfinished")
    known = {"release_number": "1", "release_began": "1", "new": "green"}
    done = production.run("INT", "130", MAIN="interrupted", UNDO_AT_START="record_failure", **known)

    assert done.status == 130
    assert production.record(1)["outcome"] == outcome


def test_what_serves_is_listed_as_live_also_if_its_run_was_killed(production: Production) -> None:
    production.serves("blue")
    production.released("live", "unfinished")
    done = production.run(SCRIPT="releases", SERVES="blue", IMAGES="1 2")

    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == ["live", "replaced"]


@pytest.mark.parametrize(
    ("images", "dropped"),
    [
        ("9=a 8=b 7=c next=a blue=a green=b", "7"),
        ("9=a 8=b next=a blue=a green=b", ""),
        ("9=a 8=a 7=a 6=b next=a blue=a green=a", ""),  # of one image: only .env had changed
        ("9=a 8=a 7=b 6=b 5=c blue=a green=b", "5"),
        ("10=a 9=b 8=c 7=d blue=a green=d", "8"),  # a rollback had brought 7 back
    ],
)
def test_only_what_nobody_would_go_back_to_is_removed(
    production: Production, images: str, dropped: str
) -> None:
    pairs = [pair.split("=") for pair in images.split()]
    listed = "".join(
        f"{'release-' if tag.isdecimal() else ''}{tag} sha256:{image}\n" for tag, image in pairs
    )
    done = production.run(MAIN="images_to_drop", LISTED=listed, KEEP_RELEASES="2")

    assert done.out.split() == [f"shop-web:release-{number}" for number in dropped.split()]


@pytest.mark.parametrize("arguments", [["--fast"], ["1", "2"], ["x"]])
def test_a_rollback_takes_a_number_alone(production: Production, arguments: list[str]) -> None:
    done = production.run(*arguments, SCRIPT="rollback")

    assert (done.status, done.calls) == (2, [])


# --- Options, ports and names ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--approve"], "needs the checksum"),
        (["--approve", "--no-build"], "needs the checksum"),
        (["--aprove", "x"], "unknown argument '--aprove'"),
        (["--no-build", "--approve", "x"], "cannot be combined"),
        (["--concurrently", "--no-build"], "cannot be combined"),
        (["--dry-run", "--no-build"], "cannot be combined"),
        (["--approve", "x", "--dry-run"], "cannot be combined"),
    ],
)
def test_what_it_does_not_know_is_refused_before_anything(
    production: Production, arguments: list[str], says: str
) -> None:
    done = production.run(*arguments)

    assert (done.status, done.calls) == (2, [])
    assert says in done.err


@pytest.mark.parametrize(
    ("arguments", "inherited", "options"),
    [
        ([], {}, " "),
        ([], {"POSTDO_APPROVE": "theirs", "POSTDO_CONCURRENTLY": "theirs"}, " "),
        (["--approve", "abc"], {}, "abc "),
        (["--approve", "abc"], {"POSTDO_APPROVE": "theirs"}, "abc "),
        (["--concurrently"], {}, " 1"),
        (["--concurrently", "--approve", "abc"], {}, "abc 1"),
    ],
)
def test_the_options_alone_reach_the_preparation(
    production: Production, arguments: list[str], inherited: dict[str, str], options: str
) -> None:
    done = production.run(*arguments, **inherited)

    assert done.status == 0
    assert (production.folder / "options").read_text() == options


TAKEN = "docker tag registry/shop:2 shop-web:next"


@pytest.mark.parametrize("here", [True, False])
def test_an_image_that_was_built_elsewhere_is_released_without_a_build(
    production: Production, here: bool
) -> None:
    missing = "" if here else "docker image inspect registry/shop:2"
    done = production.run(IMAGE="registry/shop:2", FAILS=missing)

    assert (done.status, done.err) == (0, "")
    assert not any(call.startswith("build_image") for call in done.calls)
    assert done.calls.index(TAKEN) < done.calls.index("start_database prod")
    assert ("docker pull --quiet registry/shop:2" in done.calls) is not here
    # Only what this run has downloaded: the other one is somebody's.
    assert ("docker image rm registry/shop:2" in done.calls) is not here
    record = production.record(1)
    facts = {"version": "2.0", "revision": "def", "from": "registry/shop:2", "outcome": "live"}
    assert {key: record[key] for key in facts} == facts


@pytest.mark.parametrize(
    ("label", "fails", "says"),
    [
        ("", "", "is not a production image of this kit"),
        ("production", "docker *registry/shop:2", "not be downloaded"),
    ],
)
def test_another_image_is_not_released(
    production: Production, label: str, fails: str, says: str
) -> None:
    production.serves("blue")
    done = production.run(IMAGE="registry/shop:2", LABEL=label, FAILS=fails)

    assert done.status == 1
    assert says in done.err
    assert TAKEN not in done.calls
    assert "start_database prod" not in done.calls


def test_a_dry_run_names_the_image_and_takes_nothing(production: Production) -> None:
    production.serves("blue")
    done = production.run("--dry-run", IMAGE="registry/shop:2", WATCH_SECONDS="0")

    assert "image       registry/shop:2, downloaded if it is not here\n" in done.out
    assert "changed in web/" not in done.out
    assert not any(call.startswith(("docker pull", "docker tag")) for call in done.calls)


@pytest.mark.parametrize("script", ["production", "deploy"])
def test_a_dry_run_tells_each_step_and_does_nothing(production: Production, script: str) -> None:
    production.serves("blue")
    production.released("live", "failed", "live", "live")
    for number, seconds in ((1, 40), (2, 600), (3, 12), (4, 14)):
        with (production.folder / f"releases/{number}").open("a") as record:
            record.write(f"seconds={seconds}\nrevision=abc\n")
    changed = "shop/migrations/0002_b.py\nshop/views.py\nshop/migrations/__init__.py\n"
    (production.folder / "git-diff").write_text(changed)
    (production.folder / "git-ls-files").write_text("shop/migrations/0003_c.py\n")
    before = production.files()
    done = production.run(
        "--dry-run",
        SCRIPT=script,
        SERVES="blue",
        IMAGES="1 3 4",
        PLANNED="replace",
        NOTED=f"{NOTED} tell_restart",
        WATCH_SECONDS="30",
        DRAIN_SECONDS="20",
        SMOKE_PATHS="/ /shop/=200",
    )

    assert (done.status, done.err) == (0, "")
    for line in (
        "web/ at 1.5; v4 is serving",
        ".env or a Compose file has changed",
        "get the image and rehearse them: sh run.sh plan",
        "serves: shop/migrations/0002_b.py shop/migrations/0003_c.py\n",
        "start       web-green\n",
        "smoke test  / /shop/=200\n",
        "watch       30 s, beside web-blue\n",
        "at most 20 s",
        "about 14 s from the built image to the switch (the last releases: 14 12 40)\n",
    ):
        assert line in done.out
    assert [
        call for call in done.calls if not call.startswith(("require_", "docker image in"))
    ] == [
        "read_environment",
        "export_compose_facts",
        "tell_restart db",
        "tell_restart proxy",
    ]
    assert production.files() == before
    assert production.live == "web-blue"


def test_a_dry_run_before_the_first_release(production: Production) -> None:
    done = production.run("--dry-run", WATCH_SECONDS="30")

    assert (done.status, done.err) == (0, "")
    assert "web/ at 1.5, for the first release" in done.out
    assert "smoke test  /readyz / /admin/login/\n" in done.out
    assert "not known before the first release" in done.out
    assert not any(word in done.out for word in ("watch ", "drain ", "changed in web/"))


def test_a_dry_run_of_what_serves_says_so(production: Production) -> None:
    production.serves("blue")
    production.released("live")
    (production.folder / "releases/1").write_text(
        "version=1.5\nrevision=abc\nimage=sha256:1\noutcome=live\n"
    )
    for name in ("git-diff", "git-ls-files"):
        (production.folder / name).touch()
    done = production.run("--dry-run", SERVES="blue", IMAGES="1")

    assert "web/ at 1.5, which is serving" in done.out
    assert "since the release that serves: none\n" in done.out


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({}, ["HTTP_PORT"]),
        ({"DOMAIN": "shop.example"}, ["HTTP_PORT", "HTTPS_PORT"]),
        ({"DOMAIN": "shop.example", "HTTPS_PORT": ""}, ["HTTP_PORT"]),
        ({"PROD_DB_PORT": "5440"}, ["HTTP_PORT", "PROD_DB_PORT"]),
    ],
)
def test_every_port_that_is_used_is_looked_at_first(
    production: Production, variables: dict[str, str], ports: list[str]
) -> None:
    done = production.run(**variables)

    assert [call for call in done.calls if call.startswith("require_port")] == [
        f"require_port {port} prod" for port in ports
    ]


CERTIFIED = [f"{UP} {WAIT} proxy", "in_proxy reload", "wait_until 9 has_certificate shop.example"]
SECURED = "note_name shop.example"


def test_a_domain_gets_its_certificate_before_the_release_and_leads_to_https_after_it(
    production: Production,
) -> None:
    done = production.run(DOMAIN="shop.example")

    assert (done.status, done.err) == (0, "")
    assert done.calls[7:10] == [
        "require_port HTTPS_PORT prod",
        "require_domain_leads_here",
        "note_twin",
    ]
    at = done.calls.index(BUILD[-1]) + 1
    assert done.calls[at : at + 5] == [*CERTIFIED, NUMBERED, PREPARED[0]]
    assert done.calls[-4:] == [*around(), SECURED, "get_other_certificates"]
    assert (production.folder / "live/https-shop.example").exists()


def test_a_domain_that_has_its_certificate_waits_for_none(production: Production) -> None:
    (production.folder / "certificate-shop.example").touch()
    done = production.run(DOMAIN="shop.example")

    assert CERTIFIED[-1] not in done.calls
    assert (production.folder / "live/https-shop.example").exists()


def test_a_domain_without_a_certificate_is_not_led_to_https(production: Production) -> None:
    done = production.run(MAIN="lead_to_https", DOMAIN="shop.example")

    assert (done.status, done.calls) == (0, [])


def test_a_domain_whose_certificate_is_in_front_asks_for_none_and_leads_nowhere(
    production: Production,
) -> None:
    production.serves("blue")
    (production.folder / "live/https-shop.example").touch()  # from before, of its own certificate
    done = production.run(DOMAIN="shop.example", HTTPS_PORT="")

    assert (done.status, done.err) == (0, "")
    asked = ("wait_until", "require_domain_leads_here", "note_", "get_other_certificates")
    assert not [call for call in done.calls if call.startswith(asked)]
    assert not (production.folder / "live/https-shop.example").exists()
    assert "plain HTTP" not in done.out


def test_without_a_domain_nothing_is_led_to_https(production: Production) -> None:
    production.run()

    assert [path.name for path in (production.folder / "live").iterdir()] == ["upstream"]


@pytest.mark.parametrize("failing", [CERTIFIED[0], CERTIFIED[2]])
@pytest.mark.parametrize("proxy", ["healthy", "stopped"])
def test_without_a_certificate_nothing_is_released(
    production: Production, proxy: str, failing: str
) -> None:
    production.serves("blue", proxy=proxy)
    done = production.run(DOMAIN="shop.example", FAILS=failing)

    assert done.status == 1
    assert PREPARED[0] not in done.calls
    assert ("compose prod stop proxy web-blue web-green" in done.calls) is (proxy == "stopped")
    assert not set(STOPPED) & set(done.calls), "the database was running"
    if failing == CERTIFIED[2]:
        assert "shop.example: the reason" in done.err
        assert "next: the remedy; to serve without HTTPS, leave DOMAIN empty" in done.err


def test_what_was_started_for_a_certificate_stays_where_nothing_has_changed(
    production: Production,
) -> None:
    production.serves("blue", proxy="stopped")
    done = production.run(DOMAIN="shop.example", HAS_IMAGE="web-blue shop-web:next")

    assert done.status == 0
    assert "compose prod stop proxy web-blue web-green" not in done.calls


def test_a_site_that_has_its_certificate_and_was_switched_is_not_stopped_any_more(
    production: Production,
) -> None:
    done = production.run(DOMAIN="shop.example", FAILS=f"{UP} {WAIT} db proxy")

    assert done.status == 1
    assert production.live == "web-blue"
    assert done.calls[-1].startswith("explain_unhealthy ")


# --- Hooks ----------------------------------------------------------------------------------------

HOOK = """#!/bin/sh
echo "hook $POSTDO_HOOK $(cat {folder}/live/upstream 2>/dev/null)" >>{folder}/calls
env >{folder}/told-$POSTDO_HOOK
echo "what the hook says"
exit {status}
"""


def add_hook(production: Production, name: str, status: int = 0, text: str = HOOK) -> None:
    path = production.folder / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.format(folder=production.folder, status=status))
    path.chmod(0o755)


def hooks_of(done: Done) -> list[str]:
    """The hooks that ran, with what was live then."""
    return [call.removeprefix("hook ") for call in done.calls if call.startswith("hook ")]


def told(production: Production, name: str) -> dict[str, str]:
    """The environment of a hook that ran."""
    lines = (production.folder / f"told-{name}").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


ALL_HOOKS = ("pre-deploy", "pre-switch", "post-deploy", "deploy-failed", "post-rollback")


def test_each_hook_has_its_moment_in_a_release(production: Production) -> None:
    for name in ALL_HOOKS:
        add_hook(production, name)
    production.serves("blue")
    facts = "outcome=done\napplied=shop.0001_initial\napplied=shop.0002_b\n"
    done = production.run(result=facts, WATCH_SECONDS="30")

    assert (done.status, done.err) == (0, "")
    assert hooks_of(done) == ["pre-deploy web-blue", "pre-switch web-blue", "post-deploy web-green"]
    at = done.calls.index
    assert at("hook pre-deploy web-blue") < at("build_image prod")
    assert at("smoke_test green") < at("hook pre-switch web-blue")
    assert at("compose prod stop web-blue") < at("hook post-deploy web-green")
    first, last = told(production, "pre-deploy"), told(production, "post-deploy")
    assert (first["POSTDO_RELEASE"], first["POSTDO_VERSION"]) == ("", "1.5")
    assert told(production, "pre-switch")["POSTDO_CONTAINER"] == "id-web-green"
    expected = {
        "POSTDO_HOOK": "post-deploy",
        "POSTDO_SITE": "http://shop/",
        "POSTDO_RELEASE": "1",
        "POSTDO_REVISION": "abc",
        "POSTDO_OUTCOME": "live",
        "POSTDO_APPLIED": "shop.0001_initial shop.0002_b",
        "POSTDO_REASON": "",
        "POSTDO_LOG": str(production.folder / "log"),
    }
    assert {key: last[key] for key in expected} == expected
    assert last["POSTDO_SECONDS"].isdecimal()


@pytest.mark.parametrize("name", ["pre-deploy", "pre-switch"])
def test_a_hook_before_a_release_can_stop_it(production: Production, name: str) -> None:
    add_hook(production, name, status=7)
    add_hook(production, "post-deploy")
    production.serves("blue")
    done = production.run(NOTED=NOTED.replace("show_tail", ""))

    assert done.status == 1
    assert f"hooks/{name} stopped the release with status 7; its last lines are above" in done.err
    assert "  | what the hook says\n" in done.err
    assert "The previous version is still serving." in done.err
    assert hooks_of(done) == [f"{name} web-blue"]
    assert ("build_image prod" in done.calls) is (name == "pre-switch")
    assert ("compose prod rm --stop --force web-green" in done.calls) is (name == "pre-switch")
    assert production.live == "web-blue"


@pytest.mark.parametrize(
    ("fails", "outcome", "reason", "live"),
    [
        ("build_image *", "", "", "web-blue"),
        ("smoke_test *", "failed", "web-green failed its smoke test", "web-blue"),
        ("watch_new_version *", "taken-back", "because it ended", "web-blue"),
        (f"{UP} {WAIT} *", "live", "is not healthy", "web-green"),
    ],
)
def test_a_release_that_does_not_go_well_is_told_at_its_end(
    production: Production, fails: str, outcome: str, reason: str, live: str
) -> None:
    add_hook(production, "deploy-failed")
    production.serves("blue")
    (production.folder / "logs").touch()
    known = {"watch_began": "1", "watch_reason": "it ended", "WATCH_SECONDS": "30"}
    done = production.run(FAILS=fails, **known)

    assert done.status == 1
    assert done.calls[-1] == f"hook deploy-failed {live}"
    facts = told(production, "deploy-failed")
    assert facts["POSTDO_OUTCOME"] == outcome
    assert reason in facts["POSTDO_REASON"]


@pytest.mark.parametrize("name", ["post-deploy", "post-rollback"])
def test_a_hook_after_a_release_that_fails_is_a_warning(production: Production, name: str) -> None:
    add_hook(production, name, status=1)
    add_hook(production, "deploy-failed")
    production.serves("blue")
    production.released("live", "live")
    script = "rollback" if name == "post-rollback" else "production"
    done = production.run(SCRIPT=script, SERVES="blue", IMAGES="1 2")

    assert done.status == 0
    assert f"warning: hooks/{name} failed; see " in done.err
    assert hooks_of(done) == [f"{name} web-green"]
    release = {"post-deploy": "3", "post-rollback": "1"}[name]
    assert told(production, name)["POSTDO_RELEASE"] == release


def test_a_hook_that_does_not_end_is_ended(production: Production) -> None:
    add_hook(production, "pre-deploy", text="#!/bin/sh\nexec sleep 600\n")
    production.serves("blue")
    done = production.run("pre-deploy", MAIN="hook_before", LIMIT="0.1")

    assert "hooks/pre-deploy did not end within 0.1 s" in done.err


@pytest.mark.parametrize("script", ["production", "rollback"])
def test_a_hook_that_cannot_run_is_no_hook_that_is_passed_over(
    production: Production, script: str
) -> None:
    add_hook(production, "pre-switch")
    (production.folder / "hooks/pre-switch").chmod(0o644)
    production.serves("blue")
    done = production.run(SCRIPT=script)

    assert done.status == 1
    assert "hooks/pre-switch is not executable" in done.err
    assert "chmod +x hooks/pre-switch" in done.err


def test_the_samples_are_hooks_that_a_shell_can_run(production: Production) -> None:
    samples = {path.stem: path for path in (PROJECT / "hooks").iterdir()}
    assert samples.keys() == set(ALL_HOOKS)
    assert all(os.access(path, os.X_OK) for path in samples.values())


@pytest.mark.parametrize("name", ["post-deploy", "deploy-failed", "post-rollback"])
def test_the_sample_tells_a_chat_in_json(production: Production, name: str, tmp_path: Path) -> None:
    curl = tmp_path / "bin/curl"
    curl.parent.mkdir()
    curl.write_text('#!/bin/sh\nfor word; do case $word in "{"*) printf %s "$word";; esac; done\n')
    curl.chmod(0o755)
    facts = {
        "PATH": f"{curl.parent}:{os.environ['PATH']}",
        "POSTDO_HOOK": name,
        "POSTDO_SITE": "https://shop.example/",
        "POSTDO_REASON": 'it said "no\\way"',
        "CHAT_WEBHOOK": "https://chat.example/hook",
        "POSTDO_APPLIED": "shop.0001",
    }
    others = ("RELEASE", "VERSION", "BY", "SECONDS")
    done = subprocess.run(
        ["sh", PROJECT / f"hooks/{name}.sample"],
        env=dict.fromkeys((f"POSTDO_{other}" for other in others), "1") | facts,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    text = json.loads(done.stdout)["text"]
    assert text.startswith("https://shop.example/: ")
    assert text.endswith("; migrated: shop.0001")
    assert (facts["POSTDO_REASON"] in text) is (name == "deploy-failed")


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


# --- The boot -------------------------------------------------------------------------------------

NO_BUILD = [
    *START,
    "docker image inspect shop-web:blue",
    "docker tag shop-web:blue shop-web:next",
]


def test_the_boot_starts_what_served_last_all_at_once(production: Production) -> None:
    production.serves("blue", db="stopped", proxy="stopped", web_blue="stopped")
    done = production.run("--no-build", DOMAIN="", ADDITIONS="worker")

    assert (done.status, done.err) == (0, "")
    assert done.calls == [
        *NO_BUILD,
        "start_database prod",
        f"compose prod up -d --no-build {WAIT} db web-blue proxy worker",
    ]
    assert production.live == "web-blue"


def test_a_boot_after_a_power_cut_in_the_watch_leaves_one_colour(production: Production) -> None:
    production.serves("blue", web_blue="starting", web_green="healthy")
    done = production.run("--no-build")

    assert done.status == 0
    assert done.calls[-2:] == ["drain green", "compose prod stop web-green"]


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
    assert done.calls == [
        *NO_BUILD,
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
