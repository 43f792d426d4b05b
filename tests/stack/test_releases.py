"""Releases that are tested before they serve, watched after it, and rolled back."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from .clone import Clone
from .engine import docker
from .test_errors import STILL_SERVING
from .test_recovery import Background
from .test_schema_changes import FIELDS, add_shop, change, with_fields
from .visitor import answering, asking
from .waiting import eventually

VISITORS = 4
# In place of the site's own answer, for every so many requests of each process.
MIDDLEWARE = """
import itertools, os, signal, threading
from django.http import HttpResponseServerError


def middleware(get_response):
    numbers = itertools.count(1)

    def answer(request):
        number = next(numbers)
        {fault}
        return get_response(request)

    return answer
"""
SOME_FAIL = "if number % 50 == 0: raise RuntimeError('one in fifty')"
# As PID 1 of its container, Gunicorn's master. It ends with all of its processes.
ENDS_LATER = "if number == 1: threading.Timer(8, os.kill, (os.getppid(), signal.SIGTERM)).start()"
# A request that lasts until somebody makes a file in its container.
HELD = (
    'if "held" in request.GET: '
    'print("held", flush=True); '
    'list(iter(lambda: os.path.exists("/tmp/go") or threading.Event().wait(0.1), True))'
)
UPLOAD = """
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
default_storage.save("cat.jpg", ContentFile(b"kept"))
"""


@pytest.fixture
def site(own: Clone) -> Iterator[Clone]:
    """Production with an application `shop`; its files are put back."""
    if not (own.root / "web/shop").exists():
        add_shop(own)
        settings = "web/config/settings/prod.py"
        own.write(settings, '\nMIDDLEWARE = [*MIDDLEWARE, "core.fault.middleware"]\n', add=True)
        own.write("web/core/fault.py", MIDDLEWARE.format(fault=HELD))
        own.write("web/core/note.py", '"""The first."""\n')
        own.git("add", "web")
        own.git("commit", "--quiet", "--message", "A place for faults")
    if not own.visitor("HTTP_PORT").is_up():
        own.run("-0")
    with own.restored():
        yield own


def load(clone: Clone) -> AbstractContextManager[Counter[str]]:
    """Inside, several visitors ask all the time."""
    return asking([clone.visitor("HTTP_PORT") for _ in range(VISITORS)], "/", pause=0.1)


def fault(clone: Clone, text: str) -> None:
    clone.write("web/core/fault.py", MIDDLEWARE.format(fault=text))


def version(clone: Clone, name: str) -> None:
    """Other code, committed, so that it has a version of its own."""
    clone.write("web/core/note.py", f'"""{name}"""\n')
    clone.git("add", "web")
    clone.git("commit", "--quiet", "--message", name)


def note(clone: Clone) -> str:
    """What version() has written into what is served, and the tests look for after a rollback."""
    return clone.containers("prod")[clone.live()].run("cat", "core/note.py")


def releases(clone: Clone) -> dict[int, str]:
    """Number to outcome, as `releases` lists them."""
    rows = [re.split(r"  +", line.strip()) for line in clone.run("releases").out.splitlines()]
    assert rows[0][:6] == ["number", "began", "by", "version", "seconds", "outcome"]
    return {int(row[0]): row[5] for row in rows[1:]}


def last_outcome(clone: Clone) -> str:
    """How the last release ended."""
    return next(iter(releases(clone).values()))


def test_a_version_that_fails_its_smoke_test_never_serves(site: Clone) -> None:
    version(site, "not as expected")
    live = site.live()

    with answering(site.visitor("HTTP_PORT"), "/"):
        failed = site.run("-0", ok=False, SMOKE_PATHS="/ /shop/=200 /=200:No%20such%20text")

    failed.refused(
        f"failed its smoke test. {STILL_SERVING}", "change SMOKE_PATHS in the environment"
    )
    assert "/shop/: answered 404, expected 200" in failed.err
    assert "the page does not contain 'No such text'" in failed.err
    assert site.live() == live
    assert site.runs_in("prod") == {"db", "proxy", live}
    assert last_outcome(site) == "failed"


def test_the_default_smoke_test_finds_an_error_on_the_first_page(site: Clone) -> None:
    site.replace(
        "web/core/views.py", "def home(", "def home(request): raise RuntimeError\n\n\ndef _home("
    )
    live = site.live()

    failed = site.run("-0", ok=False)

    failed.refused(STILL_SERVING, "change SMOKE_PATHS in .env")
    assert "/: answered 500, expected a status below 500" in failed.err
    assert site.live() == live


@pytest.mark.parametrize(
    ("text", "reason"), [(SOME_FAIL, "requests failed"), (ENDS_LATER, "it stopped")]
)
def test_a_version_that_turns_out_bad_is_taken_back(site: Clone, text: str, reason: str) -> None:
    fault(site, text)
    live = site.live()

    with load(site):
        failed = site.run("-0", ok=False, WATCH_SECONDS="60")

    failed.refused("the new version was replaced by the previous one", "release again")
    assert reason in failed.err
    assert text != SOME_FAIL or "one in fifty" in failed.err
    assert site.live() == live
    eventually(lambda: site.runs_in("prod") == {"db", "proxy", live}, "the old version alone")
    assert last_outcome(site) == "taken-back"
    with answering(site.visitor("HTTP_PORT"), "/"):
        site.run("-0", "status")


def test_a_kill_in_the_watch_and_ctrl_c_leave_the_new_version_and_both_can_be_rolled_back_to(
    site: Clone,
) -> None:
    version(site, "killed in its watch")
    live = site.live()
    with answering(site.visitor("HTTP_PORT"), "/"):
        run = site.start("-0", WATCH_SECONDS="600")
        run.said("Watch ")
        run.stop(signal.SIGKILL)
        killed = next(iter(releases(site)))
        site.run("-0", "--no-build")
    assert site.live() != live
    assert site.runs_in("prod") == {"db", "proxy", site.live()}
    version(site, "watched for long enough")
    live = site.live()
    run = site.start("-0", WATCH_SECONDS="600")
    run.said("Watch ")
    assert run.stop(signal.SIGINT).status == 0
    assert site.live() != live
    assert site.runs_in("prod") == {"db", "proxy", site.live()}

    with answering(site.visitor("HTTP_PORT"), "/"):
        said = site.run("rollback").out

    assert f"Release {killed} (" in said
    assert "killed in its watch" in note(site)


def test_a_rollback_serves_the_version_before_loses_no_request_and_brings_up_a_stopped_site(
    site: Clone,
) -> None:
    before = note(site)
    first = served(site)
    site.run("-0", "shell", "-c", UPLOAD)
    version(site, "second")
    site.run("-0")
    second = next(iter(releases(site)))

    with load(site) as statuses:
        said = site.run("rollback")

    assert set(statuses) == {"200"}, statuses
    assert f"Release {first} (" in said.out
    assert releases(site)[first] == "live"
    assert note(site) == before
    running = site.containers("prod")[site.live()]
    assert site.visitor("HTTP_PORT").get("/media/cat.jpg").text == "kept"
    held = Background(site.visitor("HTTP_PORT"), "/?held")
    eventually(lambda: "held" in running.log(1000).splitlines(), "the request to begin")
    old = site.live().removeprefix("web-")
    run = site.start("rollback", str(second), DRAIN_SECONDS="1")
    run.said(f"requests still open on {old} after 1 s (DRAIN_SECONDS): 1. They have 30 s more")
    running.run("touch", "/tmp/go")  # noqa: S108  in the container
    assert run.wait().status == 0
    assert "It runs." in held.answer().text
    assert "second" in note(site)

    site.run("-0", "stop")
    site.run("rollback")
    assert note(site) == before
    assert site.runs_in("prod") == {"db", "proxy", site.live()}
    site.run("-0", "status")


def served(clone: Clone) -> int:
    """The number of the release that is served."""
    (number,) = (number for number, outcome in releases(clone).items() if outcome == "live")
    return number


def test_a_rollback_to_code_that_cannot_use_the_schema_is_refused(site: Clone) -> None:
    left = {name: field for name, field in FIELDS.items() if name != "note"}
    change(site, left, 'migrations.RemoveField("thing", "note")')
    site.git("add", "web")
    site.git("commit", "--quiet", "--message", "Without a note")
    site.run("-0", ON_LOSS="allow", ON_INCOMPATIBLE="allow")
    live = site.live()

    with answering(site.visitor("HTTP_PORT"), "/"):
        refused = site.run("rollback", ok=False)

    refused.assert_refused("the database is ahead of this code", "restore", 3)
    assert "note" in refused.err
    assert site.live() == live
    assert site.runs_in("prod") == {"db", "proxy", live}


def test_only_the_images_of_the_last_releases_are_kept(site: Clone) -> None:
    for number in range(max(1, 3 - len(numbers_of_images(site)))):  # alone, it has one so far
        version(site, f"kept {number}")
        site.run("-0", KEEP_RELEASES="2")

    numbers = numbers_of_images(site)
    assert len(numbers) == 2
    unnamed = docker(
        "image",
        "ls",
        "--quiet",
        "--filter",
        "dangling=true",
        "--filter",
        f"label=com.docker.compose.project={site.name}-prod",
    )
    assert unnamed.split() == []
    number = next(one for one, outcome in releases(site).items() if outcome == "no image")
    gone = site.run("rollback", str(number), ok=False)
    gone.refused("no longer exists", "check out its code")
    nothing = site.run("rollback", "999", ok=False)
    nothing.refused("there is no release 999", "sh run.sh releases")


def numbers_of_images(clone: Clone) -> list[int]:
    """Of the releases whose images are there, the oldest first."""
    tags = docker("image", "ls", "--format", "{{.Tag}}", f"{clone.name}-web").split()
    return sorted(int(tag.removeprefix("release-")) for tag in tags if "release-" in tag)


def test_a_rollback_applies_no_migration(site: Clone) -> None:
    change(site, with_fields({}, site), 'migrations.RunSQL("SELECT 1", "SELECT 1")')
    version(site, "with the migration")
    site.run("-0")
    number = next(iter(releases(site)))
    *_, before, last = sorted(path.stem for path in site.root.glob("web/shop/migrations/0*.py"))
    site.run("-0", "manage", "--yes", "migrate", "shop", before)
    site.run("rollback")
    live = site.live()

    with answering(site.visitor("HTTP_PORT"), "/"):
        refused = site.run("rollback", str(number), ok=False)

    refused.assert_refused(f"that the database does not have: shop.{last}", "check out", 3)
    assert site.live() == live
    assert site.runs_in("prod") == {"db", "proxy", live}
