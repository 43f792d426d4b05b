"""HAZARDS 62 to 64: the serving release, and the backup."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import pytest

from embedded_postgres import Cluster
from embedded_postgres.binaries import choose

from .site import Site
from .steps import ADD, ALLOWED

# --- 62: the serving release ------------------------------------------------------------------

RENAME = 'migrations.RenameField("item", "note", "remark")'
NOT_NULL = 'migrations.AddField("item", "size", models.IntegerField(default=0))'


@pytest.mark.parametrize("operation", [RENAME, NOT_NULL], ids=["rename", "not null"])
def test_what_the_serving_release_cannot_live_with_is_asked(site: Site, operation: str) -> None:
    # HAZARDS 62
    site.migration("0002_change", operation)
    refused = site.ends_refused("the running version (models of release-1) would fail")
    checksum = refused.err.split("--approve ")[1].split()[0].strip("`.,;)")
    site.ends_done("migrate", "--approve", checksum)


def test_nobody_is_asked_for_a_release_that_does_not_serve(site: Site) -> None:
    # HAZARDS 62
    site.migration("0002_change", RENAME)
    site.ends_done(POSTDO_SERVING="no")


# --- 63, 64: the backup -----------------------------------------------------------------------


def test_each_backup_was_restored_and_can_be_again(
    site: Site, tmp_path: Path, postgres: Cluster
) -> None:
    # HAZARDS 63
    folder = tmp_path / "backups"
    site.migration("0002_add", ADD)
    before = site.snapshot()
    site.ends_done(POSTDO_BACKUPS=str(folder))
    (backup,) = folder.iterdir()
    assert not backup.name.endswith(".part")
    with postgres.fresh_database(f"again_{secrets.token_hex(4)}") as url:
        restore = [choose().program("pg_restore"), "--no-owner", "--dbname", url, str(backup)]
        subprocess.run(restore, check=True, capture_output=True)
        again = Site(type(site.project)(site.root, url))
        assert again.snapshot() == before


def test_a_database_whose_backup_cannot_be_restored_is_refused(site: Site, tmp_path: Path) -> None:
    # HAZARDS 63: in a restore the search path is empty, so that the rule does not find its table
    folder = tmp_path / "backups"
    site.sql(
        "CREATE FUNCTION fine(integer) RETURNS boolean LANGUAGE sql AS"
        " 'SELECT $1 < (SELECT max(id) FROM shop_order)';"
        "ALTER TABLE shop_item ADD CONSTRAINT fine CHECK (fine(price))"
    )
    site.migration("0002_add", ADD.replace('"item"', '"order"'))
    site.ends_refused(
        "the database cannot be copied: pg_restore: ",
        'relation "shop_order" does not exist',
        POSTDO_BACKUPS=str(folder),
    )
    assert list(folder.iterdir()) == []
    site.sql("ALTER FUNCTION fine SET search_path = public")
    site.ends_done(POSTDO_BACKUPS=str(folder))
    assert len(list(folder.iterdir())) == 1


def test_no_more_backups_are_kept_than_wanted(site: Site, tmp_path: Path) -> None:
    # HAZARDS 63
    folder = tmp_path / "backups"
    site.migration("0002_add", ADD)
    values = {"POSTDO_BACKUPS": str(folder), "BACKUP_KEEP": "1", **ALLOWED}
    after = "0001_initial"
    for number in (2, 3):
        site.migration(f"000{number}_add", ADD.replace("colour", f"colour{number}"), after=after)
        after = f"000{number}_add"
        site.ends_done(**values)
    assert len(list(folder.iterdir())) == 1


def test_the_backup_of_a_refused_release_does_not_push_out_that_of_a_real_one(
    site: Site, tmp_path: Path
) -> None:
    # HAZARDS 63
    folder = tmp_path / "backups"
    values = {"POSTDO_BACKUPS": str(folder), "BACKUP_KEEP": "1"}
    site.migration("0002_add", ADD)
    site.ends_done(**values)
    (kept,) = folder.iterdir()
    site.migration("0003_drop", 'migrations.RemoveField("item", "note")', after="0002_add")
    site.ends_refused("would delete column shop_item.note", **values)
    assert list(folder.iterdir()) == [kept]


def test_programs_of_another_major_are_refused(site: Site, tmp_path: Path) -> None:
    # HAZARDS 64
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (programs / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 11.4'\n")
        (programs / name).chmod(0o755)
    site.migration("0002_add", ADD)
    site.ends_refused(str(programs), "11", POSTDO_PG_BIN=str(programs))
