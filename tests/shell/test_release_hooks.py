"""The site owner's own programs: when they run, what they are told, what they can stop."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .machine import PROJECT
from .production import NOTED, UP, WAIT, Done, Production

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
    done = production.run(result=facts, WATCH_SECONDS="30", POSTDO_RELEASE_PASSWORD="secret")

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
    assert "POSTDO_RELEASE_PASSWORD" not in last


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
    assert samples.keys() == {*ALL_HOOKS, "alert"}
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
