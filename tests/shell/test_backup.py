"""`backup`: how the container is started, and what is told of its end. (For real: tests/stack.)"""

from __future__ import annotations

import os
import shlex
import signal

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import Clone

WROTE = "set=postdo-prod-20261130T184500Z\nbytes=4711\noutcome=done\nexit=0"
FAILED = "outcome=failed\nexit=1\nwhat=the disk is full\nnext=free some"

IN_A_BUCKET = {
    "COMPOSE_PROFILES": "s3",
    "S3_ENDPOINT": "https://s3.example.com/",
    "S3_BUCKET": "uploads",
    "S3_ACCESS_KEY": "a",
    "S3_SECRET_KEY": "b",
}


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A production whose live color is blue, and a server with roles."""
    dash_clone.has_started()
    docker.has_container("db")
    live = dash_clone.state / "live" / dash_clone.environment["PROJECT_NAME"]
    live.mkdir(parents=True)
    (live / "upstream").write_text("web-blue")
    docker.answer("image inspect --format {{.Id}} *-web:blue", out="sha256:1")
    docker.answer("image inspect --format {{index*revision*", out="abcdef")
    docker.answer("*roles.sh superuser *", out="postdo_superuser")
    docker.answer("compose *exec *pg_dumpall *", out="CREATE ROLE site;")
    docker.answer("run * create *", result=WROTE)
    return dash_clone


def started(docker: FakeDocker) -> list[str]:
    """The words of the one container that was started."""
    (call,) = (call for call in docker.calls() if call.startswith("run "))
    return shlex.split(call)


def test_a_set_is_written_by_the_version_that_serves(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("volume inspect *-prod_prod-media")

    said = shop.run("-0", "backup", "--why", "import").assert_ok().out

    assert "Back up production ... done" in said
    assert "wrote backups/postdo-prod-20261130T184500Z (4711 bytes)" in said
    words, name = started(docker), shop.environment["PROJECT_NAME"]
    for word in (
        "container:id-db",
        f"{shop.root}:/site:ro",
        f"{shop.root}/backups:/backups",
        f"{shop.root}/postdo_backup:/opt/kit/postdo_backup:ro",
        f"{name}-prod_prod-media:/uploads:ro",
        f"{name}-web:blue",
        "postgresql://postdo_superuser@127.0.0.1/postdo",
        "sha256:1",
        "abcdef",
        "import",
    ):
        assert word in words
    assert "--uploads" in words
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert words[words.index("--workdir") + 1] == "/opt/kit", "where no module is the project's"
    assert words[words.index("--set") + 1].startswith(f"/backups/{name}-prod-2")
    assert list((shop.state / "result").iterdir()) == [], "not even the roles"


def test_a_set_says_that_uploads_in_a_bucket_are_not_in_it(shop: Clone, docker: FakeDocker) -> None:
    shop.set_in_env(**IN_A_BUCKET)

    said = shop.run("-0", "backup").assert_ok().out

    assert "  without the uploads: they are in the bucket https://s3.example.com/uploads," in said
    words = started(docker)
    assert words[words.index("--bucket") + 1] == "https://s3.example.com/uploads"


def test_what_the_rules_no_longer_keep_is_told(shop: Clone, docker: FakeDocker) -> None:
    shop.set_in_env(BACKUP_DAILY="3", BACKUP_WEEKLY="2", BACKUP_MONTHLY="1")
    facts = f"{WROTE}\nremoved=postdo-prod-1\nremoved=postdo-prod-2\nwarning=it is late"
    docker.answer("run * create *", result=facts)

    done = shop.run("-0", "backup")

    assert done.status == 0, done
    assert "  removed backups/postdo-prod-1, which" in done.out
    assert "  removed backups/postdo-prod-2, which" in done.out
    assert "warning: it is late" in done.err
    assert " --daily 3 --weekly 2 --monthly 1" in " ".join(started(docker))


COPIES = r"""case $1 in cp) mkdir -p "$3/bin" ;; esac
"""


def test_a_server_of_another_major_is_backed_up_with_the_programs_of_its_own_image(
    shop: Clone, docker: FakeDocker
) -> None:
    """As between the switch of `upgrade-db` and the next release."""
    program = docker.folder / "docker"
    program.write_text(
        program.read_text().replace("here=${0%/*}\n", f"here=${{0%/*}}\n{COPIES}", 1)
    )
    docker.answer("inspect --format {{.Image}}{{range* id-db", out="sha256:pg\nA=1\nPG_MAJOR=18")
    docker.answer("run *pg_dump * --version", out="pg_dump (PostgreSQL) 17.6 (Debian 17.6-1)")

    for _ in range(2):
        shop.run("-0", "backup").assert_ok()

    mount = f"--volume {shop.state}/postgresql-18:/opt/postgresql:ro "
    calls = docker.calls()
    assert [mount in call for call in calls if " create " in call] == [True, True]
    taken = [call for call in calls if "sh sha256:pg /postgresql.sh /opt/postgresql" in call]
    assert len(taken) == 1, "they are kept as long as the image is the same"

    docker.answer("run *pg_dump * --version", out="pg_dump (PostgreSQL) 18.1")
    shop.run("-0", "backup").assert_ok()
    assert mount not in docker.calls()[-1]


def test_backups_lists_what_there_is(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * list /backups", out="BACKUP  AGE")
    docker.answer("run * list /backups --json", out='{"backups": []}')

    assert shop.run("backups").assert_ok().out == "BACKUP  AGE\n"
    assert shop.run("backups", "--json").assert_ok().out == '{"backups": []}\n'
    assert all("--network none" in call for call in docker.calls() if call.startswith("run "))
    assert shop.run("backups", "more").status == 2


def test_without_a_volume_of_uploads_docker_is_not_let_make_one(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.run("-0", "backup").assert_ok()

    assert not [word for word in started(docker) if "prod-media" in word]


def test_a_backup_that_failed_says_why(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * create *", status=1, result=FAILED)

    failed = shop.run("-0", "backup")

    failed.assert_refused("the backup failed: the disk is full", "free some")
    assert "wrote" not in failed.out


def test_a_container_that_did_not_start_shows_what_docker_said(
    shop: Clone, docker: FakeDocker
) -> None:
    docker.answer("run * create *", status=125, err="docker: no such image")

    failed = shop.run("-0", "backup")

    failed.assert_refused("Back up production failed", "fix what the lines above say")
    assert "docker: no such image" in failed.err


def test_an_interrupted_backup_is_stopped_and_leaves_no_roles(
    shop: Clone, docker: FakeDocker
) -> None:
    docker.answer("run * create *", hangs=True)
    with shop.start("-0", "backup") as run:
        until(lambda: any(call.startswith("run ") for call in docker.calls()), "it to begin")
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does, which reaches docker too
        run.communicate()

    assert any(call.startswith("stop --time 10 ") for call in docker.calls())
    assert not list((shop.state / "result").glob("globals*"))


KEY = """# created: 2026-11-30T18:00:00Z
# public key: age1abc
AGE-SECRET-KEY-1XYZ"""


def test_the_key_is_made_once_and_shown_once(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * /opt/age/age-keygen *", out=KEY)

    made = shop.run("-0", "backup", "key").assert_ok()
    again = shop.run("-0", "backup", "key").assert_ok()

    assert "Get age, which encrypts backups ... done" in made.out
    assert made.out.endswith(f"\n\n{KEY}\n")
    assert shop.env()["BACKUP_RECIPIENT"] == "age1abc"
    assert (shop.root / ".env").stat().st_mode & 0o777 == 0o600
    key = shop.state / "backup-key"
    assert (key.read_text(), key.stat().st_mode & 0o777) == (f"{KEY}\n", 0o600)
    assert "the key is in .postdo/backup-key" in again.out
    assert "XYZ" not in again.out
    logs = "".join(path.read_text() for path in (shop.state / "log").iterdir())
    assert "XYZ" not in logs


def test_a_key_that_was_made_and_not_noted_is_the_key(shop: Clone, docker: FakeDocker) -> None:
    (shop.state / "backup-key").write_text(f"{KEY}\n")

    shop.run("-0", "backup", "key").assert_ok()

    assert shop.env()["BACKUP_RECIPIENT"] == "age1abc"
    assert not [call for call in docker.calls() if "age-keygen" in call]


@pytest.mark.parametrize(("out", "status"), [("", 1), ("nonsense", 0)])
def test_without_a_key_nothing_is_encrypted(
    shop: Clone, docker: FakeDocker, out: str, status: int
) -> None:
    docker.answer("run * /opt/age/age-keygen *", out=out, status=status)

    assert shop.run("-0", "backup", "key").status == 1

    assert shop.env()["BACKUP_RECIPIENT"] == ""
    assert not (shop.state / "backup-key").exists()


def test_a_key_that_is_elsewhere_is_only_used(shop: Clone, docker: FakeDocker) -> None:
    shop.set_in_env(BACKUP_RECIPIENT="age1other")

    assert "age1other" in shop.run("-0", "backup", "key").assert_ok().out
    shop.run("-0", "backup").assert_ok()

    (written,) = (call for call in docker.calls() if " create " in call)
    assert "--recipient age1other" in written
    assert f"{shop.state}/age:/opt/age:ro" in written
    assert any("/age.sh:ro" in call for call in docker.calls()), "age is fetched if it is gone"


def test_where_age_cannot_be_had_no_backup_is_written_in_the_clear(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.set_in_env(BACKUP_RECIPIENT="age1other")
    docker.answer("run * /age.sh *", status=100, err="Could not resolve 'packages.example'")

    refused = shop.run("-0", "backup")

    refused.assert_refused(
        "age could not be installed", "connect this machine to Debian's packages"
    )
    assert not [call for call in docker.calls() if " create " in call]


def test_what_was_never_built_has_nothing_to_write_it_with(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("image inspect *-web:blue", status=1)

    shop.run("-0", "backup").assert_refused(
        "production has not been built here yet", "sh run.sh -0"
    )


@pytest.mark.parametrize("arguments", [("--why",), ("more",), ("--why", "a", "b")])
def test_what_it_does_not_know_it_refuses(shop: Clone, arguments: tuple[str, ...]) -> None:
    assert shop.run("-0", "backup", *arguments).status == 2
