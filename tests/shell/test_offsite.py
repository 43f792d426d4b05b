"""Copies off the machine: how restic's container is started, and what is told of its end.

restic itself and real servers: tests/unit/test_backup_offsite.py; the container: tests/stack.
"""

from __future__ import annotations

import json
import re
import shlex

import pytest

from .fakes import FakeDocker
from .machine import Clone
from .test_jobs import make_due
from .test_nightly import BACKUP, NIGHTLY, problems
from .test_starts import make_live

SET = "postdo-prod-20261130T033000Z"
PLACE = "s3:https://s3.example.com/bucket/shop"
PASSPHRASE = "correct-horse-battery"
COPIED = "2026-11-30T03:31:00Z"


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A production whose sets are copied to a bucket."""
    dash_clone.has_started()
    dash_clone.set_in_env(
        OFFSITE=PLACE, OFFSITE_PASSPHRASE=PASSPHRASE, OFFSITE_USER="me", OFFSITE_SECRET="hidden"
    )
    docker.answer("run *postdo_backup.offsite*", result=f"set={SET}\noutcome=done\nexit=0")
    return dash_clone


def started(docker: FakeDocker) -> list[str]:
    """The words of the one container of restic that was started."""
    (call,) = (call for call in docker.calls() if "postdo_backup.offsite" in call)
    return shlex.split(call)


def know(clone: Clone) -> None:
    """Let copies have been made."""
    folder = clone.state / "offsite"
    folder.mkdir(parents=True, exist_ok=True)
    lines = (f"address={PLACE}", f"set={SET}", f"copied={COPIED}", f"restored={COPIED}")
    (folder / "facts").write_text("\n".join(lines) + "\n")


def test_sets_are_copied_by_a_container_that_is_told_secrets_by_its_environment(
    shop: Clone, docker: FakeDocker
) -> None:
    know(shop)
    said = shop.run("backup", "offsite").assert_ok().out

    assert f"Copy the sets to {PLACE} ... done" in said
    assert f"copied; sets at {PLACE}: 1" in said
    words, name = started(docker), shop.environment["PROJECT_NAME"]
    for word in (f"{shop.root}/backups:/backups", f"{shop.state}/offsite:/offsite", name, "copy"):
        assert word in words
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert words[words.index("--daily") + 1] == "7"
    assert not [call for call in docker.calls() if PASSPHRASE in call or "hidden" in call]
    assert "--env OFFSITE_PASSPHRASE" in " ".join(words)
    built = [call for call in docker.calls() if call.startswith("build ")]
    assert len(built) == 1


def test_its_image_is_built_once_and_again_when_it_would_be_another(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.run("backup", "offsite").assert_ok()
    (first,) = (call for call in docker.calls() if call.startswith("build "))
    label = re.search(r"postdo.offsite=(\d+)", first)
    assert label
    docker.answer("image inspect --format *postdo.offsite*", out=label[1])

    shop.run("backup", "offsite").assert_ok()
    assert len([call for call in docker.calls() if call.startswith("build ")]) == 1

    shop.set_in_env(PYTHON_IMAGE="python:3.12-slim")
    shop.run("backup", "offsite").assert_ok()
    assert "PYTHON_IMAGE=python:3.12-slim" in [
        word for call in docker.calls() if call.startswith("build ") for word in call.split()
    ]


def test_a_folder_of_this_machine_is_mounted_if_it_is_there(
    shop: Clone, docker: FakeDocker
) -> None:
    folder = shop.root.parent / "disk"
    shop.set_in_env(OFFSITE=str(folder))
    shop.run("backup", "offsite").assert_ok()
    assert f"{folder}:{folder}" not in started(docker)

    folder.mkdir()
    shop.run("backup", "offsite").assert_ok()
    assert f"--volume {folder}:{folder} " in docker.calls()[-1]


def test_without_a_passphrase_one_is_made_for_the_operator_who_puts_it_into_env(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.set_in_env(OFFSITE_PASSPHRASE="")
    refused = shop.run("backup", "offsite")
    refused.assert_refused("OFFSITE_PASSPHRASE in .env is empty", "keep this line where")
    line = re.search(r"OFFSITE_PASSPHRASE=([A-Za-z0-9_-]{32})$", refused.err, re.MULTILINE)
    assert line
    assert not [call for call in docker.calls() if call.startswith(("run ", "build "))]

    shop.set_in_env(OFFSITE_PASSPHRASE=line[1])
    shop.run("backup", "offsite").assert_ok()


def test_without_a_place_there_is_nothing_to_copy_to(shop: Clone) -> None:
    shop.set_in_env(OFFSITE="")
    shop.run("backup", "offsite").assert_refused("OFFSITE in .env is empty", "docs/backups.md")


def test_what_went_wrong_is_told(shop: Clone, docker: FakeDocker) -> None:
    what, remedy = "no server answers at s3.example.com, port 443", "check OFFSITE in .env"
    docker.answer("run *offsite*", status=1, result=f"what={what}\nnext={remedy}")
    shop.run("backup", "offsite").assert_refused(what, remedy)

    docker.answer("run *offsite*", status=125, err="docker: no such image")
    shop.run("backup", "offsite").assert_refused("restic failed", "fix what the lines above say")

    docker.answer("build *", status=1, err="no network")
    docker.answer("image inspect --format *postdo.offsite*", out="")
    shop.run("backup", "offsite").assert_refused("restic could not be built", "Debian's packages")


def test_two_copies_at_once_are_refused_also_if_run_sh_was_killed(
    shop: Clone, docker: FakeDocker
) -> None:
    name = f"{shop.environment['PROJECT_NAME']}-offsite"
    docker.answer(f"inspect --format {{{{.State.Running}}}} {name}", out="true")

    refused = shop.run("backup", "offsite")

    refused.assert_refused("a copy that was begun earlier is still at work", f"docker stop {name}")


def test_a_set_is_fetched_and_without_a_name_those_there_are_listed(
    shop: Clone, docker: FakeDocker
) -> None:
    assert SET in shop.run("backup", "fetch").assert_ok().out.splitlines()
    assert started(docker)[-1] == "list"

    said = shop.run("backup", "fetch", SET).assert_ok().out

    assert f"fetched: backups/{SET}" in said
    assert docker.calls()[-1].endswith(f" fetch {SET}") or any(
        call.endswith(f" fetch {SET}") for call in docker.calls()
    )


@pytest.mark.parametrize("arguments", [("offsite", "more"), ("fetch", "a", "b")])
def test_what_it_does_not_know_it_refuses(shop: Clone, arguments: tuple[str, ...]) -> None:
    assert shop.run("backup", *arguments).status == 2
    assert shop.run("-1", "backup", arguments[0]).status == 2


def test_the_night_copies_and_status_tells_of_a_place_that_does_not_answer(
    shop: Clone, docker: FakeDocker
) -> None:
    make_live(shop, "web-blue")
    for service in ("proxy", "web-blue", "db"):
        docker.has_container(service)
    own = (shop.root / "commands/backup.sh").read_text().replace("main() {", "own_main() {", 1)
    stub = BACKUP.replace("main()", "stub()")
    choose = 'main() { case $1 in offsite) own_main "$@" ;; *) stub "$@" ;; esac; }'
    shop.add_command("backup", f"{own}\n{stub}\n{choose}")
    shop.set_in_env(SCHEDULE_CLEARSESSIONS="")
    make_due(shop, NIGHTLY)
    assert f"no backup was copied to {PLACE} yet" in problems(shop)
    what = "no server answers at s3.example.com, port 443"
    docker.answer("run *offsite*", status=1, result=f"what={what}\nnext=check OFFSITE")

    shop.run("jobs", "--due")

    (told,) = [one for one in problems(shop) if "nightly" in one]
    assert told.endswith(f": {what}")

    know(shop)
    docker.answer("run *offsite*", result=f"set={SET}\noutcome=done\nexit=0")
    shop.run("jobs", NIGHTLY).assert_ok()
    found = problems(shop)
    assert [one for one in found if "nightly" in one or "copied" in one] == []
    status = json.loads(shop.run("-0", "status", "--json").out)["production"]["offsite"]
    assert (status["place"], status["sets"], status["copied"]) == (PLACE, 1, COPIED)
    assert f"  offsite    {PLACE}, sets: 1, copied {COPIED}" in shop.run("-0", "status").out
