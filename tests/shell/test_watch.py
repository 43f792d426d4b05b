"""`watch`: what it starts again, whom it tells, when it does neither. (For real: tests/stack.)"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import small_file_system
from receivers import Receiver, receiver
from results import Result
from waiting import until

from .fakes import FakeDocker
from .machine import PROJECT, Clone, Toolbox, start_of
from .test_failures import fill
from .test_release_rollback import record
from .test_starts import make_live
from .test_status import PAGE, site

STATES = "ps -a --no-trunc*"
WELL, ILL, DOWN = 0, 1, 2
STARTS = r"""case $1 in
start | restart)
    for id; do :; done
    name=${id#id-}
    sed -i "s/\b$name $id [^']*/$name $id running Up 1 second (healthy)/" "$here/docker"
    ;;
esac
"""


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker, chat: Receiver) -> Clone:
    """A production that is well, and whose owner is told by a webhook."""
    dash_clone.has_started()
    make_live(dash_clone, "web-blue")
    live(dash_clone, "meant-to-run").touch()
    site(docker, PAGE)
    runs(docker)
    program = docker.folder / "docker"
    program.write_text(
        program.read_text().replace("here=${0%/*}\n", f"here=${{0%/*}}\n{STARTS}", 1)
    )
    docker.answer("inspect --format {{.HostConfig.RestartPolicy.Name}} *", out="unless-stopped")
    docker.answer("inspect --format {{if .State.OOMKilled}}*", out="exit code 137")
    (dash_clone.root / "backups").mkdir()
    (dash_clone.root / "backups/shop.dump").write_text("x")
    set_in_env(dash_clone, chat)
    return dash_clone


def set_in_env(clone: Clone, chat: Receiver, **more: str) -> None:
    """Without the limits that are those of the machine of tests."""
    limits = "disk_mb=0 disk_hours=0 memory_percent=0"
    values = {"ALERT_WEBHOOKS": f"{chat.address}/hook", "ALERT_LIMITS": limits, **more}
    clone.set_in_env(SCHEDULE_CLEARSESSIONS="", BACKUP_AT="", **values)


def live(clone: Clone, name: str) -> Path:
    return clone.state / "live" / clone.environment["PROJECT_NAME"] / name


def runs(docker: FakeDocker, **states: str) -> None:
    """What Docker says of the containers: running, or as a test says."""
    names = ("db", "web-blue", "web-green", "proxy")
    found = {
        name: states.get(name.replace("-", "_"), "running Up 2 hours (healthy)") for name in names
    }
    found["web-green"] = states.get("web_green", "exited Exited (0) 2 days ago")
    docker.answer(STATES, out="\n".join(f"{name} id-{name} {how}" for name, how in found.items()))


KILLED = "exited Exited (137) 1 second ago"


def started(docker: FakeDocker) -> list[str]:
    """The containers that were started or restarted, in order."""
    calls = (call.split() for call in docker.calls())
    return [" ".join(words) for words in calls if words[0] in {"start", "restart"}]


def hold(clone: Clone, name: str, command: str) -> None:
    """A lock that a command of another run.sh has, which is at work: the test itself."""
    pid = os.getpid()
    (clone.state / f"lock-{name}").write_text(
        f"{pid} {start_of(pid)} 2026-11-30 10:00:00 ({command})\n"
    )


def watch(clone: Clone, status: int = WELL) -> Result:
    done = clone.run("-0", "watch")
    assert (done.status, done.err) == (status, ""), done
    return done


def test_a_look_at_a_production_that_is_well_starts_nothing_and_tells_nobody(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    said = watch(shop).out
    assert said.startswith("production ")
    assert "--  " not in said
    assert (started(docker), chat.requests) == ([], [])


def test_that_the_machine_or_docker_was_started_again_is_told_once(
    shop: Clone, docker: FakeDocker, chat: Receiver, tmp_path: Path
) -> None:
    """What came back by itself, of which no container tells."""
    shop.environment["XDG_RUNTIME_DIR"] = str(tmp_path)
    pid = tmp_path / "docker.pid"
    pid.touch()
    for _ in range(2):
        watch(shop)
    assert chat.requests == [], "the first look does not know what was before"

    os.utime(pid, (1, 1))
    site(docker, "no answer for /readyz on port 80: refused")
    shop.run("-0", "watch")
    assert [one.fields["state"] for one in chat.posts()] == [], "it is told once it is over"
    site(docker, PAGE)
    for _ in range(2):
        watch(shop)
    starts = shop.state / "watch/starts"
    starts.write_text(starts.read_text().replace("machine=", "machine=before-"))
    for _ in range(2):
        watch(shop)

    told = [(one.fields["state"], one.fields["text"].splitlines()[0]) for one in chat.posts()]
    name = shop.environment["PROJECT_NAME"]
    assert told == [
        ("done", f"{name}: Docker was started again, and visitors get 200 for /readyz"),
        ("done", f"{name}: this machine was started again, and visitors get 200 for /readyz"),
    ]


def test_a_container_that_was_killed_is_started_and_told_of_once(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    runs(docker, web_blue=KILLED, db=KILLED)

    said = watch(shop).out
    runs(docker)
    watch(shop)
    watch(shop)

    assert started(docker) == ["start id-db", "start id-web-blue"]
    assert "  back      web-blue had stopped (exit code 137) and was started again; it is" in said
    assert "  told      json 127.0.0.1: 200 ok\n" in said
    (told,) = chat.posts()
    assert told.fields["state"] == "done"
    assert (
        "db had stopped (exit code 137) and was started again; it is healthy after"
        in (told.fields["text"])
    )
    assert told.fields["subject"].endswith("(and 1 more)")


def test_the_other_color_and_what_runs_once_are_left_alone(shop: Clone, docker: FakeDocker) -> None:
    runs(docker, web_green=KILLED)
    watch(shop)
    docker.answer("inspect --format {{.HostConfig.RestartPolicy.Name}} *", out="no")
    runs(docker, proxy=KILLED)
    watch(shop, ILL)
    assert started(docker) == []


def test_a_site_that_is_unhealthy_for_long_is_restarted(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    docker.answer("exec -i id-web-blue python -I -S - /readyz proxy 80", out="503 for /readyz")
    runs(docker, web_blue="running Up 2 hours (unhealthy)")
    for _ in range(3):
        watch(shop, ILL)
        assert started(docker) == []
        make_older(shop)

    said = watch(shop, ILL).out

    assert started(docker) == ["restart --time 10 id-web-blue"]
    assert "web-blue was unhealthy for too long and was restarted; it is healthy after" in said
    states = [one.fields["state"] for one in chat.posts()]
    assert states == ["problem", "done"], "first that it is unhealthy, then what was done"


@pytest.mark.parametrize("why", ["stopped", "release", "hold", "maintenance", "not ours"])
def test_nothing_is_started_where_a_person_is_at_work(
    shop: Clone, docker: FakeDocker, chat: Receiver, why: str
) -> None:
    if why == "stopped":
        live(shop, "meant-to-run").unlink()
    elif why == "release":
        hold(shop, "prod", "production")
    elif why == "hold":
        hold(shop, "hold", "hold")
    elif why == "maintenance":
        (live(shop, "maintenance")).mkdir()
        (live(shop, "maintenance") / "page.html").touch()
    else:
        docker.answer("ps -a *working_dir*", out="/srv/another")
    runs(docker, web_blue=KILLED, db=KILLED, proxy=KILLED)
    for name in ("web-blue", "db", "proxy"):
        docker.has_container(name, "stopped")

    for _ in range(2):
        shop.run("-0", "watch")
        make_older(shop)

    assert (started(docker), chat.requests) == ([], [])


def make_older(clone: Clone) -> None:
    """Let the looks so far have been a minute earlier."""
    path = clone.state / "watch/troubles"
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    older = [[one[0], *(str(max(int(n) - 60, 0)) for n in one[1:3]), *one[3:]] for one in lines]
    path.write_text("".join("\t".join(one) + "\n" for one in older))


def test_a_switch_that_was_killed_is_ended_as_a_boot_does_it_and_told_of(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    """PostgreSQL's own container is of the old data, and is not what may be started."""
    mark = shop.state / f"switching-{shop.environment['PROJECT_NAME']}"
    mark.touch()
    runs(docker, db=KILLED)
    docker.has_container("db", "stopped")
    hold(shop, "prod", "upgrade-db")
    shop.run("-0", "watch")
    assert docker.compose_calls() == [], "it may still be at work"
    (shop.state / "lock-prod").unlink()

    shop.run("-0", "watch")

    assert started(docker) == []
    assert [call for call in docker.compose_calls() if call.startswith("up ") and " db" in call]
    (told,) = chat.posts()
    assert (
        "upgrade-db was killed during its switch, and the site was started" in (told.fields["text"])
    )


def test_during_a_backup_it_is_started_all_the_same(shop: Clone, docker: FakeDocker) -> None:
    hold(shop, "prod", "backup")
    runs(docker, proxy=KILLED)
    watch(shop)
    assert started(docker) == ["start id-proxy"]


def test_stop_is_remembered_and_a_start_at_boot_too(shop: Clone, docker: FakeDocker) -> None:
    assert shop.run("-0", "stop").status == 0
    assert not live(shop, "meant-to-run").exists()
    docker.answer("compose --project*", err="Error response from daemon: not today", status=1)
    docker.has_container("web-blue", "stopped")
    shop.run("-0", "--no-build")
    assert live(shop, "meant-to-run").exists(), "what could not be started yet is meant to run"


def test_what_does_not_stay_up_is_left_after_six_tries_and_told(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    (shop.state / "watch").mkdir(mode=0o700)
    now = int(time.time())
    tries = "".join(f"{now - 60 * n} web-blue\n" for n in range(1, 7))
    (shop.state / "watch/tries").write_text(tries)
    docker.has_container("web-blue", "stopped")
    runs(docker, web_blue=KILLED)

    for _ in range(2):
        watch(shop, DOWN)
        make_older(shop)

    assert started(docker) == []
    texts = [one.fields["text"] for one in chat.posts()]
    assert sum("was started too often in an hour" in text for text in texts) == 1
    assert sum("web-blue is stopped" in text for text in texts) == 1


def test_a_problem_is_told_once_and_its_end_once(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    set_in_env(shop, chat, ALERT_LIMITS="disk_mb=900000000 memory_percent=0")
    for _ in range(2):
        watch(shop)
    set_in_env(shop, chat)
    for _ in range(7):
        make_older(shop)
    watch(shop)
    watch(shop)

    first, last = (one.fields for one in chat.posts())
    assert (first["state"], last["state"]) == ("problem", "ended")
    assert first["text"].splitlines()[-1] == (
        "  next: free some disk space (docker image prune, docker builder prune)"
    )
    assert ": over: the disk of " in last["subject"]
    assert "over after 0 min: the disk of " in last["text"]


def test_on_a_full_disk_the_kits_own_build_cache_goes_once_an_hour_and_nothing_else(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    ours = record(1, "[project 3/4] COPY web/ ./") + record(2, "[project 3/4] COPY web/ ./")
    docker.answer("buildx du --verbose", out=ours + record(3, "[3/4] COPY theirs/ ./"))
    watch(shop)
    pruned = "buildx prune --force --filter id=^(id1|id2)$ --filter until=1h"
    assert pruned not in docker.calls()

    set_in_env(shop, chat, ALERT_LIMITS="disk_mb=900000000 memory_percent=0")
    for _ in range(2):
        watch(shop)

    name = shop.environment["PROJECT_NAME"]
    assert [call for call in docker.calls() if "prune" in call] == [
        f"image prune --force --filter label=com.docker.compose.project={name}-prod",
        pruned,
    ]


def test_an_engine_that_is_gone_is_told_without_it(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    docker.answer("*", err="Cannot connect to the Docker daemon", status=1)
    for _ in range(2):
        watch(shop, DOWN)
        make_older(shop)
    (told,) = chat.posts()
    assert "the Docker engine is not running" in told.fields["text"]


def test_without_python_an_image_that_is_here_sends(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    shop.has_python = False
    runs(docker, proxy=KILLED)
    docker.answer("run --rm -i --network host*", out="told=json 127.0.0.1: 200 ok")
    assert "  told      json 127.0.0.1: 200 ok\n" in watch(shop).out
    docker.answer("run --rm -i --network host*", status=125)
    make_older(shop)
    assert "  not told  sender: neither this machine has Python" in watch_again(shop, docker)
    shop.has_python = True
    watch(shop)
    assert len(chat.posts()) == 1, "it is told as soon as somebody can be"


def watch_again(shop: Clone, docker: FakeDocker) -> str:
    (shop.state / "watch/tries").write_text("")
    runs(docker, proxy=KILLED)
    return watch(shop).out


def test_a_hook_is_told_too(shop: Clone, docker: FakeDocker, chat: Receiver) -> None:
    set_in_env(shop, chat, ALERT_WEBHOOKS="")
    said = shop.run("-0", "watch").out
    assert "nobody is told: set ALERT_WEBHOOKS or ALERT_EMAIL in .env" in said
    hook = shop.root / "hooks/alert"
    hook.write_text('#!/bin/sh\nprintf "%s\\n" "$POSTDO_SUBJECT" "$POSTDO_TEXT" >>told\n')
    hook.chmod(0o755)
    runs(docker, proxy=KILLED)
    assert "  told      hooks/alert: status 0\n" in watch(shop).out
    assert "proxy had stopped" in (shop.root / "told").read_text()
    hook.write_text("#!/bin/sh\nexit 3\n")
    assert "  not told  hooks/alert: status 3\n" in watch_again(shop, docker)


def test_the_heartbeat_is_pinged_at_each_look(shop: Clone, chat: Receiver) -> None:
    set_in_env(shop, chat, HEARTBEAT_URL=f"{chat.address}/beat")
    watch(shop)
    watch(shop)
    assert [one.path for one in chat.requests] == ["/beat", "/beat"]


def test_on_a_full_disk_it_still_tells_and_remembers_that_it_did(
    shop: Clone, docker: FakeDocker, chat: Receiver, tmp_path: Path
) -> None:
    kept = shutil.copytree(shop.state, tmp_path / "kept")
    with small_file_system(shop.state, "size=8m"):
        shutil.copytree(kept, shop.state, dirs_exist_ok=True)
        watch(shop)
        fill(shop.state)
        set_in_env(shop, chat, ALERT_LIMITS="disk_mb=900000000 memory_percent=0")
        for _ in range(2):
            watch(shop)
        assert len(chat.posts()) == 1


def test_for_a_timer_it_starts_again_what_ends_within_the_minute(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    command = shop.root / "commands/watch.sh"
    text = (
        command.read_text().replace("MINUTE=50\n", "MINUTE=9\n").replace("POLL=5\n", "POLL=0.2\n")
    )
    command.write_text(text)
    with shop.start("-0", "watch", "--minute") as run:
        looked = shop.state / "watch/looked"
        until(looked.exists, "the first look")
        assert shop.run("-0", "watch", "--minute").text == "", "an earlier one is at work"
        runs(docker, proxy=KILLED)
        until(lambda: "start id-proxy" in docker.calls(), "the proxy to be started")
        runs(docker)
        until(chat.posts, "somebody to be told")
        assert run.wait(30) == WELL


def test_every_awk_decides_alike(toolbox: Toolbox, tmp_path: Path) -> None:
    """What is decided: tests/unit/test_alerts.py."""
    facts = "number\tp.disk.free\t1\ntext\tp.disk.path\t/srv\nnumber\tp.restarts.db\t3\n"
    (tmp_path / "samples").write_text("900 disk=5 restarts.db=1\n")
    (tmp_path / "troubles").write_text("old\t1\t2\t3\t4\twhat\tnext\n")
    (tmp_path / "tries").write_text("700 web\n800 web\n")
    checks = ("limits.awk", "checks.awk"), ["samples", "facts=yes", "-"], facts
    alerts = ("alerts.awk",), ["troubles", "problems=yes", "-"], "disk\tfull\tfree some\n"
    starts = ("bring_back.awk",), ["tries", "services=yes", "-"], "db stopped 0\nweb stopped 0\n"
    settings = {"at": "p", "now": "1000", "frozen": "none", "delivered": "yes", "limits": ""}
    given = [word for key, value in settings.items() for word in ("-v", f"{key}={value}")]
    for programs, files, text in (checks, alerts, starts):
        read = [word for name in programs for word in ("-f", str(PROJECT / "lib" / name))]
        said = {
            subprocess.run(
                [awk, *given, *read, *files],
                cwd=tmp_path,
                input=text,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for awk in toolbox.awks().values()
        }
        assert len(said) == 1, said
        assert said.pop().count("\n") >= 2


def test_a_test_shows_what_each_channel_answered(shop: Clone, chat: Receiver) -> None:
    set_in_env(shop, chat, HEARTBEAT_URL=f"{chat.address}/beat")
    told = shop.run("alert", "test").assert_ok().out
    assert told == ("  told      json 127.0.0.1: 200 ok\n  told      heartbeat 127.0.0.1: 200 ok\n")
    assert chat.posts()[0].fields["state"] == "test"
    chat.status = 404
    done = shop.run("alert", "test")
    assert "  not told  json 127.0.0.1: 404 no such channel\n" in done.out
    done.assert_refused("not all of them took it", "sh run.sh alert test")
    set_in_env(shop, chat, ALERT_WEBHOOKS="", HEARTBEAT_URL="")
    shop.run("alert", "test").assert_refused("there is nobody to tell", "ALERT_WEBHOOKS")
    shop.run("alert").assert_refused("alert takes one argument", "help alert", status=2)


def test_no_list_of_processes_and_no_message_shows_an_address(
    shop: Clone, docker: FakeDocker, chat: Receiver
) -> None:
    set_in_env(shop, chat, ALERT_WEBHOOKS=f"{chat.address}/sesame,http://127.0.0.1:1/sesame")
    shop.has_python = False
    done = shop.run("alert", "test")
    assert "sesame" not in done.text
    assert "sesame" not in "\n".join(docker.calls())
