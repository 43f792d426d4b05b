"""`backup verify` and `restore` of a set: the steps, and where each of them stops.

What the containers do is tested in tests/unit/test_backup_restore.py, all of it in tests/stack.
"""

from __future__ import annotations

import hashlib
import os
import signal
from fnmatch import fnmatch
from pathlib import Path

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import Clone
from .test_starts import make_live

OLD, NEW = "20261129T184500Z", "20261130T184500Z"
FACTS = """mode=prod
made-at=2026-11-30T18:45:00Z
dump-bytes=1000
uploads=yes
postgresql-major=18
postgresql-image=postgres:18
postgresql-image-id=sha256:db
release-number=7
release-revision=abcdef
release-image-id=sha256:site
tables=12
rows=345
outcome=done"""
ENV = """PROJECT_NAME=of-the-set
POSTGRES_USER=setuser
POSTGRES_DB=setdb
SMOKE_PATHS=/shop/
"""
DAMAGED = "outcome=failed\nwhat=database.dump was changed\nnext=use another set"
DIFFERENT = (
    "outcome=failed\nwhat=X does not restore: a row\nnext=use another\n"
    "damaged=yes\ndetail=table t has 1"
)
FULL = "outcome=failed\nwhat=the disk is full (pg_restore: no space)\nnext=free some"
WROTE = "set=postdo-prod-20261201T000000Z\nbytes=1\noutcome=done"


def write_set(clone: Clone, stamp: str, mode: str = "prod") -> Path:
    """What run.sh itself looks at in a set."""
    folder = clone.root / f"backups/{clone.environment['PROJECT_NAME']}-{mode}-{stamp}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(f"{{{stamp}}}")
    return folder


def write_settings(clone: Clone) -> None:
    """What `extract` does, which is not the fake docker's work."""
    (clone.state / "drill").mkdir(mode=0o700, parents=True)
    (clone.state / "drill/env").write_text(ENV)


def note_verified(folder: Path) -> None:
    found = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "verified.json").write_text(f'{{"manifest_sha256": "{found}"}}')


@pytest.fixture
def shop(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A production with two sets, of which the images are all there."""
    dash_clone.has_started()
    make_live(dash_clone, "web-blue")
    for service in ("db", "proxy", "web-blue"):
        docker.has_container(service)
    docker.answer("image inspect --format {{range*sha256:db", out="PATH=/bin\nPG_MAJOR=18")
    docker.answer("image inspect --format {{index*postdo.image*sha256:site", out="production")
    docker.answer("image inspect --format {{index*revision*sha256:site", out="abcdef")
    docker.answer("ps -aq *project=*-drill *service=db *", out="drill-db")
    docker.answer("ps -aq *project=*-drill *service=web-job *", out="drill-site")
    docker.answer("run * usable *", result=FACTS)
    docker.answer("run * create *", result=WROTE)
    docker.answer("*roles.sh superuser *", out="postdo_superuser")
    docker.answer("compose *names.sql", out="postdo\nrestoring")
    docker.answer("compose *migrations.sql", out="app|0001")
    docker.answer("compose *major.sql", out="18")
    write_settings(dash_clone)
    write_set(dash_clone, OLD)
    write_set(dash_clone, NEW)
    return dash_clone


STEPS = {
    " usable ": "check",
    " extract ": "settings",
    " up -d --no-build --no-deps --wait --wait-timeout 180 db": "database",
    " create ": "backup",
    " restore /": "restore",
    " restore-uploads ": "uploads",
    "manage.py check": "site check",
    "python web-job -": "pending",
    "--no-deps web-job": "site",
    "python -I -S - ": "pages",
    " verified ": "note",
    "swap.sql": "swap",
    "discard.sql": "discard",
}


def steps(docker: FakeDocker) -> list[str]:
    """What was done with a set, in order."""
    found = (
        next((word for part, word in STEPS.items() if part in call), "") for call in docker.calls()
    )
    return [word for word in found if word]


# --- backup verify --------------------------------------------------------------------------------


def test_the_newest_set_that_was_not_verified_is_used(shop: Clone, docker: FakeDocker) -> None:
    said = shop.run("backup", "verify").assert_ok().out

    newest = f"{shop.environment['PROJECT_NAME']}-prod-{NEW}"
    assert f"verified: {newest} restores (12 tables, 345 rows), and release 7 starts on it." in said
    assert steps(docker) == [
        *("check", "settings", "database", "restore", "site check", "pending", "site"),
        *("pages", "pages", "note"),
    ]
    assert any(f"{newest}:rw" in call for call in docker.calls() if " verified " in call)
    assert not (shop.state / "drill").exists()


def test_the_next_one_is_older_and_then_all_are_verified(shop: Clone, docker: FakeDocker) -> None:
    older, newest = sorted((shop.root / "backups").iterdir())
    note_verified(newest)
    shop.run("backup", "verify")
    assert any(f"{older.name}:rw" in call for call in docker.calls())

    note_verified(older)
    assert "every set in backups/ is verified" in shop.run("backup", "verify").assert_ok().out

    (newest / "manifest.json").write_text("another one")
    write_settings(shop)
    before = len(docker.calls())
    shop.run("backup", "verify")
    assert any(f"{newest.name}:rw" in call for call in docker.calls()[before:])


def test_a_drill_has_a_project_of_its_own_and_the_settings_of_the_set(
    shop: Clone, docker: FakeDocker
) -> None:
    shop.run(
        "backup", "verify", f"backups/{shop.environment['PROJECT_NAME']}-prod-{OLD}"
    ).assert_ok()

    name = shop.environment["PROJECT_NAME"]
    composed = [call for call in docker.calls() if call.startswith("compose --project-directory")]
    assert composed
    for call in composed:
        assert f" -p {name}-drill " in call
        assert f"--env-file {shop.state}/drill/env" in call
        assert "docker-compose.drill.yml up" in call or "docker-compose.drill.yml run" in call
    (restore,) = (call for call in docker.calls() if " restore /" in call)
    assert "--network container:drill-db " in restore
    assert f"--label com.docker.compose.project={name}-drill" in restore
    assert restore.endswith("--database setdb --owner setuser")
    pages = [call for call in docker.calls() if "python -I -S - " in call]
    assert pages[0].endswith(" 400 /shop/")
    assert pages[1].endswith(" 500 /readyz / /admin/login/"), "the login, also with SMOKE_PATHS"


@pytest.mark.parametrize(
    ("fails", "what", "done"),
    [
        ("run * usable *", "cannot be used: database.dump was changed", 1),
        ("compose *drill.yml up * db", "PostgreSQL did not start for the drill", 3),
        ("run * restore /*", "X does not restore: a row", 4),
        ("compose *drill.yml run *manage.py check", "manage.py check fails on", 5),
        ("compose *drill.yml up * web-job", "release 7 does not start on", 7),
        ("exec *python -I -S - *", "release 7 does not answer as it should on", 8),
        ("run * verified *", "Record the verification failed", 10),
    ],
)
def test_each_step_that_fails_stops_it_and_is_told(
    shop: Clone, docker: FakeDocker, fails: str, what: str, done: int
) -> None:
    docker.answer(fails, status=1, result=DAMAGED if "usable" in fails else DIFFERENT)
    newest = max((shop.root / "backups").iterdir())

    refused = shop.run("backup", "verify")

    refused.assert_refused(what, "")
    assert len(steps(docker)) == done
    assert not (newest / "verified.json").exists()
    assert not (shop.state / "drill").exists(), "and the drill is gone"
    if "restore" in fails:
        assert "  | table t has 1\n" in refused.err


def test_a_set_that_is_no_good_is_verified_no_more(shop: Clone, docker: FakeDocker) -> None:
    newest = max((shop.root / "backups").iterdir())
    note_verified(newest)
    docker.answer("run * restore /*", status=1, result=DIFFERENT)

    shop.run("backup", "verify", newest.name).assert_refused("a row", "make another set")

    assert not (newest / "verified.json").exists()


def test_a_full_disk_of_this_machine_says_nothing_against_a_set(
    shop: Clone, docker: FakeDocker
) -> None:
    newest = max((shop.root / "backups").iterdir())
    note_verified(newest)
    docker.answer("run * restore /*", status=1, result=FULL)

    refused = shop.run("backup", "verify", newest.name)

    refused.assert_refused("could not be verified: the disk is full", "free some")
    assert (newest / "verified.json").exists()
    assert not (shop.state / "drill").exists(), "and the drill is gone"


def test_migrations_that_are_pending_are_named(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("compose *web-job -", out="pending=shop.0007_price\npending=shop.0008_tax")

    shop.run("backup", "verify").assert_refused(
        "lacks migrations of release 7: shop.0007_price, shop.0008_tax", "make another set"
    )


@pytest.mark.parametrize(
    ("words", "answer", "what"),
    [
        ("image inspect *revision*sha256:site", "fedcba", "is not that of its release"),
        ("image inspect *postdo.image*sha256:site", "", "is not that of its release"),
        (
            "image inspect *sha256:db",
            "PG_MAJOR=17",
            "of PostgreSQL 18, but the image that it names",
        ),
    ],
)
def test_another_image_is_found_before_anything_starts(
    shop: Clone, docker: FakeDocker, words: str, answer: str, what: str
) -> None:
    docker.answer(words, out=answer)

    shop.run("backup", "verify").assert_refused(what, "make another set")

    assert steps(docker) == ["check"]


def test_where_the_image_of_its_release_is_gone_the_live_one_starts_and_that_is_said(
    shop: Clone, docker: FakeDocker
) -> None:
    docker.answer("image inspect sha256:site", status=1)
    docker.answer("image inspect --format {{.Id}} *-web:blue", out="sha256:live")

    said = shop.run("backup", "verify")

    assert said.status == 0, said
    assert "so the live version will start on it" in said.err
    assert "and the live version starts on it" in said.out
    assert any("--site live --image-id sha256:live" in call for call in docker.calls())


def test_a_drill_does_not_fill_the_disk_of_production(shop: Clone, docker: FakeDocker) -> None:
    huge = FACTS.replace("dump-bytes=1000", f"dump-bytes={10**15}")
    docker.answer("run * usable *", result=huge)

    shop.run("backup", "verify").assert_refused("MB are needed", "free some disk space")

    assert steps(docker) == ["check"]


def test_what_a_killed_drill_left_is_removed_by_the_next(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * restore /*", hangs=True)
    with shop.start("backup", "verify") as run:
        until(lambda: "restore" in steps(docker), "it to restore")
        os.killpg(run.pid, signal.SIGKILL)
    docker.answer("run * restore /*")
    docker.answer("ps -a --filter *-drill --format *", out="container c1\ncontainer c2")
    docker.answer("network ls --filter *-drill --format *", out="network n1")
    docker.answer("volume ls --filter *-drill --format *", out="volume v1")
    before = len(docker.calls())

    shop.run("backup", "verify")

    after = docker.calls()[before:]
    removed = [
        "rm --force --volumes c1",
        "rm --force --volumes c2",
        "network rm n1",
        "volume rm v1",
    ]
    assert [call for call in after if call in removed][:4] == removed
    first = next(number for number, call in enumerate(after) if " usable " in call)
    assert after.index("volume rm v1") < first


# What is called in each step of a drill and of a restore, in order, and what it answers.
DRILLED: dict[str, str] = {
    "run * usable *": FACTS,
    "run * extract *": "",
    "compose *drill.yml up * db": "",
    "run * restore /*": "",
    "compose *drill.yml run *manage.py check": "",
    "compose *drill.yml up * web-job": "",
    "exec *python -I -S - *": "",
    "run * verified *": "",
}
RESTORED: dict[str, str] = {
    "run * usable *": FACTS,
    "run * create *": WROTE,
    "run * restore /*": "",
    "run * restore-uploads *": "",
    "compose *swap.sql*": "",
}


def killed_at(clone: Clone, docker: FakeDocker, words: str, *arguments: str) -> None:
    """Everything is killed while that call is at work."""
    before = len(docker.calls())

    def is_called() -> bool:
        return any(fnmatch(call, words) for call in docker.calls()[before:])

    docker.answer(words, hangs=True)
    with clone.start(*arguments) as run:
        until(is_called, words)
        os.killpg(run.pid, signal.SIGKILL)


def test_a_drill_that_is_killed_at_any_step_verifies_nothing(
    shop: Clone, docker: FakeDocker
) -> None:
    newest = max((shop.root / "backups").iterdir())
    for words, answer in DRILLED.items():
        killed_at(shop, docker, words, "backup", "verify")
        assert not (newest / "verified.json").exists()
        docker.answer(words, result=answer)

    assert "verified: " in shop.run("backup", "verify").assert_ok().out


def test_two_drills_at_once_are_one(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * restore /*", hangs=True)
    with shop.start("backup", "verify"):
        until(lambda: "restore" in steps(docker), "it to restore")

        shop.run("backup", "verify").assert_refused(
            "another run.sh is running here (drill)", "kill"
        )


def test_a_release_need_not_wait_for_a_drill(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * restore /*", hangs=True)
    with shop.start("backup", "verify"):
        until(lambda: "restore" in steps(docker), "it to restore")

        shop.run("-0", "backup").assert_ok()

        assert (shop.state / "drill/result").is_dir(), "and its results are its own"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("backup", "verify", "nothing"), "there is no backup nothing"),
        (("backup", "verify", "--all"), "unknown argument"),
        (("backup", "verify", "a", "b"), "unknown argument"),
        (("-1", "backup", "verify"), "only sets of production can be verified"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    shop: Clone, docker: FakeDocker, arguments: tuple[str, ...], what: str
) -> None:
    refused = shop.run(*arguments)

    assert what in refused.err
    assert refused.status in {1, 2}
    assert steps(docker) == []


# --- restore --------------------------------------------------------------------------------------


def test_the_newest_set_takes_the_place_of_the_data(shop: Clone, docker: FakeDocker) -> None:
    said = shop.run("-0", "restore", "--yes").assert_ok().out

    assert "the site now serves the restored data" in said
    assert steps(docker) == ["check", "backup", "restore", "uploads", "swap"]
    (restore,) = (call for call in docker.calls() if " restore /" in call)
    assert f"-prod-{NEW}:ro" in restore
    assert "--database restoring" in restore
    assert "--roles" not in restore, "they are there"
    (swap,) = (call for call in docker.calls() if "swap.sql" in call)
    assert "-v restored=restoring" in swap
    (made,) = (call for call in docker.calls() if " create " in call)
    assert "--why before-restore" in made
    (uploads,) = (call for call in docker.calls() if " restore-uploads " in call)
    assert f"{shop.environment['PROJECT_NAME']}-prod_prod-media:/files" in uploads


def test_nobody_is_asked_where_nobody_can_answer(shop: Clone, docker: FakeDocker) -> None:
    name = f"{shop.environment['PROJECT_NAME']}-prod-{NEW}"

    shop.run("-0", "restore").assert_refused(
        f"{name}, made 2026-11-30T18:45:00Z, would replace the data of production",
        f"sh run.sh -0 restore --yes {name}",
        2,
    )

    assert steps(docker) == ["check"]


def test_a_damaged_set_is_passed_over_unless_it_was_asked_for(
    shop: Clone, docker: FakeDocker
) -> None:
    docker.answer(f"run * usable */sets/*-prod-{NEW}*", status=1, result=DAMAGED)
    name = f"{shop.environment['PROJECT_NAME']}-prod-{NEW}"

    shop.run("-0", "restore", "--yes", name).assert_refused("database.dump was changed", "another")
    assert steps(docker) == ["check"]

    went_on = shop.run("-0", "restore", "--yes")
    assert went_on.status == 0, went_on
    assert f"{name} cannot be used: database.dump was changed" in went_on.err
    assert any(f"-prod-{OLD}:ro" in call for call in docker.calls() if " restore /" in call)


def test_uploads_in_a_bucket_are_not_said_to_be_back(shop: Clone, docker: FakeDocker) -> None:
    facts = FACTS.replace("uploads=yes", "uploads=\nbucket=https://s3.example.com/uploads")
    docker.answer("run * usable *", result=facts)

    said = shop.run("-0", "restore", "--yes").assert_ok().out

    assert "its uploads are in the bucket https://s3.example.com/uploads, not in the set" in said
    assert "Put its uploads back" not in said


def test_a_second_restore_does_not_bring_back_what_the_first_has_replaced(
    shop: Clone, docker: FakeDocker
) -> None:
    replaced = f"{FACTS}\nwhy=before-restore"
    docker.answer(f"run * usable */sets/*-prod-{NEW}*", result=replaced)

    shop.run("-0", "restore", "--yes").assert_ok()
    assert any(f"-prod-{OLD}:ro" in call for call in docker.calls() if " restore /" in call)

    name = f"{shop.environment['PROJECT_NAME']}-prod-{NEW}"
    shop.run("-0", "restore", "--yes", name).assert_ok()
    assert any(f"-prod-{NEW}:ro" in call for call in docker.calls() if " restore /" in call)


def test_without_a_good_set_nothing_happens(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("run * usable *", status=1, result=DAMAGED)

    refused = shop.run("-0", "restore", "--yes")

    refused.assert_refused("there is no set in backups/ that can be restored", "bring one")
    assert steps(docker) == ["check", "check"]


def test_the_major_of_the_server_is_asked_before_anything_changes(
    shop: Clone, docker: FakeDocker
) -> None:
    newer = "outcome=failed\nwhat=it is of PostgreSQL 19\nnext=use an older set"
    docker.answer("run * usable * --major 18", status=1, result=newer)
    name = f"{shop.environment['PROJECT_NAME']}-prod-{NEW}"

    shop.run("-0", "restore", "--yes", f"backups/{name}").assert_refused("PostgreSQL 19", "older")

    assert steps(docker) == ["check"]


@pytest.mark.parametrize(
    ("words", "answer", "what"),
    [
        ("compose *names.sql", "postdo\nreplaced", 'the database "replaced" of an earlier restore'),
        ("ps -q *oneoff=True*", "id", "a manage command is using the database"),
        ("run * usable *", "", "is not a set of production"),
    ],
)
def test_what_stands_in_the_way_is_told_before_anything_changes(
    shop: Clone, docker: FakeDocker, words: str, answer: str, what: str
) -> None:
    docker.answer(words, out=answer, result=FACTS.replace("mode=prod", "mode=dev"))

    shop.run("-0", "restore", "--yes").assert_refused(what, "")

    assert steps(docker) == ["check"]


@pytest.mark.parametrize(
    ("fails", "what", "done"),
    [
        ("run * create *", "the backup failed", ["check", "backup"]),
        (
            "run * restore /*",
            "nothing has changed, because X",
            ["check", "backup", "restore", "discard"],
        ),
        (
            "run * restore-uploads *",
            "the database is unchanged, because X",
            ["check", "backup", "restore", "uploads", "discard"],
        ),
    ],
)
def test_a_restore_that_fails_changes_no_row_of_the_site(
    shop: Clone, docker: FakeDocker, fails: str, what: str, done: list[str]
) -> None:
    docker.answer(fails, status=1, result=DIFFERENT)

    refused = shop.run("-0", "restore", "--yes")

    assert refused.status == 1
    assert what in refused.err
    assert steps(docker) == done
    assert not any(" stop " in f"{call} " for call in docker.compose_calls())


def test_a_restore_that_is_killed_at_any_step_can_be_repeated(
    shop: Clone, docker: FakeDocker
) -> None:
    for words, answer in RESTORED.items():
        before = len(docker.calls())
        killed_at(shop, docker, words, "-0", "restore", "--yes")
        assert words.endswith("swap.sql*") or "swap.sql" not in "".join(docker.calls()[before:])
        docker.answer(words, result=answer)

    shop.run("-0", "restore", "--yes").assert_ok()

    assert steps(docker)[-1] == "swap"


def test_a_set_of_other_migrations_stops_the_site(shop: Clone, docker: FakeDocker) -> None:
    docker.answer("compose *-d restoring *migrations.sql", out="app|0001\napp|0002")

    said = shop.run("-0", "restore", "--yes").out

    assert "start the site      sh run.sh -0" in said
    assert "stop proxy" in docker.compose_calls()


def test_only_a_set_takes_yes(shop: Clone) -> None:
    assert shop.run("-0", "restore", "--yes", "--swap").status == 2
