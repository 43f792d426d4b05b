"""HAZARDS 22, 45: what PostgreSQL shows in other words once it was dumped and restored."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import replace

import pytest

from embedded_postgres import Cluster
from embedded_postgres.binaries import choose

from .by_hand import ALLOWED
from .site import Site

SHOWN = "SELECT o.id FROM shop_order o JOIN shop_item i ON i.{name} IN ('a', o.word, 'item 7')"
MADE = f"""
ALTER TABLE shop_order ADD word varchar(50);
ALTER TABLE shop_item
    ADD CONSTRAINT words CHECK (name = ANY (ARRAY['a', note]) OR name <> 'x'),
    ADD CONSTRAINT kinds CHECK (name <> ALL (ARRAY['x', 'y']::varchar(50)[])),
    ADD CONSTRAINT sized CHECK (price BETWEEN -1 AND 900 AND price <> 901 AND name <> ''),
    ADD CONSTRAINT gone CHECK (name NOT IN ('p', 'q'));
CREATE INDEX by_kind ON shop_item (price) WHERE name IN ('item 1', 'item 2');
CREATE VIEW shown AS {SHOWN.format(name="name")};
"""
CHANGED = f"""
ALTER TABLE shop_item DROP CONSTRAINT gone;
CREATE OR REPLACE VIEW shown AS {SHOWN.format(name="title")} WHERE i.title NOT IN ('b', o.word);
"""


@pytest.fixture
def worded(site: Site) -> Site:
    site.migration("0002_made", f"migrations.RunSQL({MADE!r})")
    site.ends_done(**ALLOWED)
    return site


def test_a_column_is_renamed_in_definitions_that_a_dump_puts_into_other_words(
    worded: Site,
) -> None:
    operations = 'migrations.RenameField("item", "name", "title")'
    worded.migration(
        "0003_title", f"{operations}, migrations.RunSQL({CHANGED!r})", after="0002_made"
    )
    worded.ends_done(**ALLOWED)
    assert worded.run("drift").code == 0


def test_after_a_restored_backup_nothing_is_another_schema(worded: Site, postgres: Cluster) -> None:
    """The journal of the restored database has the words from before."""
    dump = [choose().program("pg_dump"), "--no-owner", worded.project.url]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    with postgres.fresh_database(f"restored_{secrets.token_hex(4)}") as url:
        psql = [choose().program("psql"), "-q", "-v", "ON_ERROR_STOP=1", url]
        subprocess.run(psql, input=text, check=True, capture_output=True, text=True)
        site = replace(worded, project=replace(worded.project, url=url))
        assert "exactly what the migrations produce" in site.run("drift").out
        operations = 'migrations.RenameField("item", "name", "title")'
        site.migration(
            "0003_title", f"{operations}, migrations.RunSQL({CHANGED!r})", after="0002_made"
        )
        site.ends_done(**ALLOWED)
        assert site.run("drift").code == 0
