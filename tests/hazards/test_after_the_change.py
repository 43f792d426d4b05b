"""What comes after the change, or beside it, does not make it look like something else."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from waiting import until

from .site import Site
from .steps import ADD, ENDS_SECONDS, NOT_ATOMIC, run_python

CLOSED = "the report cannot be written: No space left on device"
VACUUM = "migrations.RunSQL('VACUUM shop_item', '')"
# After the COMMIT our own sessions are gone, as after a failover.
LOSE_ALL = """
from django.db import connection, transaction
def lose():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                       "WHERE datname = current_database() AND pid <> pg_backend_pid()")
if not connection.settings_dict["NAME"].startswith("postdo_scratch"):
    transaction.on_commit(lose)
"""
ONLY_HERE = (
    "DO $$ BEGIN IF current_database() !~ '^postdo_scratch' THEN "
    "RAISE EXCEPTION 'only in production'; END IF; END $$"
)
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep.120'"
SUPERUSER = {
    "DJANGO_SUPERUSER_USERNAME": "alice",
    "DJANGO_SUPERUSER_EMAIL": "alice@example.com",
    "DJANGO_SUPERUSER_PASSWORD": "long and not common",
}


def swapped(site: Site) -> None:
    """What cannot run in one transaction."""
    site.migration("0002_add", ADD)
    site.migration("0003_vacuum", VACUUM, after="0002_add", header=NOT_ATOMIC)


def command(site: Site, *arguments: str) -> list[str]:
    return [*site.project.python, "-m", "postdo", *arguments]


def variables(site: Site, **more: str) -> dict[str, str]:
    return site.project.variables({"MAKEMIGRATIONS": "off", **site.environment, **more})


def test_a_lock_session_lost_after_the_commit_is_no_failure(site: Site, tmp_path: Path) -> None:
    """HAZARDS 52: old backups stay, and that is all."""
    site.migration("0002_add", ADD)
    run_python(site, "0003_lose", LOSE_ALL, after="0002_add")

    done = site.ends_done(POSTDO_BACKUPS=str(tmp_path / "backups"))

    assert "all migrations are applied, but old backups could not be removed" in done.err


def test_the_superuser_is_made_after_a_swap(site: Site) -> None:
    swapped(site)

    done = site.ends_done("prepare", ON_DOWNTIME="allow", **SUPERUSER)

    assert "superuser alice created" in done.out
    assert site.sql("SELECT username FROM auth_user") == [("alice",)]


def test_a_superuser_that_fails_after_the_migrations_does_not_call_them_undone(site: Site) -> None:
    refuse = "ALTER TABLE auth_user ADD CONSTRAINT nobody CHECK (username <> 'alice')"
    site.migration("0002_rule", f"migrations.RunSQL({refuse!r}, '')")

    ended = site.run("prepare", ON_INCOMPATIBLE="allow", **SUPERUSER)

    assert ended.code == 5, ended.out + ended.err
    assert "failed and not undone: " in ended.err
    assert "the migrations stay applied: shop.0002_rule" in ended.err
    assert site.recorded()[-1] == "0002_rule"


@pytest.mark.parametrize("by_swap", [False, True], ids=["transaction", "swap"])
def test_nobody_who_reads_what_is_said_is_no_failure(site: Site, by_swap: bool) -> None:
    if by_swap:
        swapped(site)
    else:
        site.migration("0002_add", ADD)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as closed:
        done = subprocess.run(
            command(site, "migrate"),
            cwd=site.root,
            env=variables(site, ON_DOWNTIME="allow"),
            stdout=closed,
            stderr=closed,
            check=False,
            timeout=ENDS_SECONDS,
        )
    assert done.returncode == 0
    assert site.recorded()[-1] == ("0003_vacuum" if by_swap else "0002_add")


@pytest.mark.parametrize("arguments", [("plan",), ("plan", "--json")], ids=" ".join)
def test_a_report_that_cannot_be_written_is_said(site: Site, arguments: tuple[str, ...]) -> None:
    site.migration("0002_add", ADD)
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command(site, *arguments),
            cwd=site.root,
            env=variables(site),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=ENDS_SECONDS,
        )
    assert ended.returncode == 2, ended.stderr
    assert CLOSED in ended.stderr


def test_backups_of_what_is_undone_do_not_pile_up(site: Site, tmp_path: Path) -> None:
    site.migration("0002_add", f"{ADD}, migrations.RunSQL({ONLY_HERE!r})")
    for _ in range(2):
        site.ends_undone("only in production", POSTDO_BACKUPS=str(tmp_path / "backups"))
    assert list((tmp_path / "backups").glob("*-20*")) == []


def test_a_look_keeps_no_backup(site: Site, tmp_path: Path) -> None:
    """It would push out one from before a change."""
    site.migration("0002_add", ADD)
    for command_ in ("plan", "rehearse"):
        looked = site.run(command_, POSTDO_BACKUPS=str(tmp_path / "backups"))
        assert looked.code == 0, looked.err
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("where", ["in the rehearsal", "in the change"])
def test_what_is_stopped_leaves_no_backup(site: Site, tmp_path: Path, where: str) -> None:
    here = "~" if where == "in the rehearsal" else "!~"
    waits = f"SELECT pg_sleep(120) WHERE current_database() {here} '^postdo_scratch'"
    site.migration("0002_add", f"{ADD}, migrations.RunSQL({waits!r})")
    before = site.untouched()
    process = site.start("migrate", POSTDO_BACKUPS=str(tmp_path / "backups"))
    until(lambda: site.sql(ASLEEP) == [(1,)], "the migration to wait")
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=ENDS_SECONDS)

    assert process.returncode == 128 + signal.SIGTERM, printed
    assert list((tmp_path / "backups").iterdir()) == []
    assert site.untouched() == before
    ((outcome,),) = site.sql("SELECT outcome FROM postdo_journal.run ORDER BY id DESC LIMIT 1")
    assert outcome == ("done" if where == "in the rehearsal" else "stopped")


@pytest.mark.parametrize("argument", ["0", "'no key, no site'"])
def test_settings_that_end_the_process_are_no_success(site: Site, argument: str) -> None:
    settings = site.root / "config/settings.py"
    settings.write_text(f"{settings.read_text()}\nimport sys\nsys.exit({argument})\n")

    ended = site.run("migrate")

    assert ended.code == 2, ended.out + ended.err
    assert "cannot be loaded: SystemExit: " in ended.err


def test_a_migration_that_is_only_recorded_is_named_though_nothing_is_pending(site: Site) -> None:
    """HAZARDS 21: faked between two releases."""
    site.migration("0002_add", ADD)
    assert "warning" not in site.run("migrate", REHEARSE="off").err
    site.migration("0003_more", ADD.replace("colour", "shade"), after="0002_add")
    site.sql("INSERT INTO django_migrations VALUES (DEFAULT, 'shop', '0003_more', now())")

    ended = site.run("migrate")

    assert ended.code == 0, ended.out + ended.err
    assert "recorded as applied, but postdo did not apply them: shop.0003_more" in ended.err


def test_an_edited_file_is_named_though_nothing_is_pending(site: Site) -> None:
    """HAZARDS 7; another style is no edit."""
    file = site.migration("0002_add", ADD)
    site.ends_done()
    written = file.read_text()
    for restyled in (
        f'"""Colours."""\nfrom __future__ import annotations\nimport os\n{written}',
        written.replace("import migrations, models", "import models, migrations"),
        written.replace("operations = ", "operations: list = "),
    ):
        assert restyled != written
        file.write_text(f"# says the same\n{restyled}")
        assert "warning" not in site.run("migrate").err, restyled

    file.write_text(written.replace("colour", "shade"))
    ended = site.run("migrate")

    assert ended.code == 0, ended.out + ended.err
    assert "edited after they were applied" in ended.err
    assert "shop.0002_add. The edits have no effect here" in ended.err


def test_the_backup_is_named(site: Site, tmp_path: Path) -> None:
    site.migration("0002_add", ADD)
    done = site.ends_done(POSTDO_BACKUPS=str(tmp_path / "backups"))
    (backup,) = (tmp_path / "backups").iterdir()
    assert f"postdo: backup from before the release: {backup}" in done.out
