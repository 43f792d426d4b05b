"""HAZARDS 57 to 59: what one transaction cannot hold, compared with Django's own migrate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .search_world import World, twin_of
from .site import Site
from .steps import ALLOWED, NOT_ATOMIC, run_python

ASKED = {"LOCK_SECONDS": "60", **ALLOWED}
MOOD = "CREATE TYPE mood AS ENUM ('sad')"
VALUE = "migrations.RunSQL(\"ALTER TYPE mood ADD VALUE 'ok'\", '')"
USE = "migrations.RunSQL(\"CREATE TABLE felt AS SELECT 'ok'::mood AS mood\", '')"
SECOND = (
    "from django.db import connections\n"
    "apps.get_model('shop', 'Item').objects.update(note='first')\n"
    "other = connections['default'].copy()\n"
    "other.cursor().execute(\"SET lock_timeout = '1s'; UPDATE shop_item SET note = 'second'\")\n"
    "other.close()"
)
DURABLE = (
    "from django.db import transaction\n"
    "with transaction.atomic(durable=True):\n"
    "    apps.get_model('shop', 'Item').objects.update(note='durable')"
)
# In one transaction it is not possible; the rehearsal outside of one succeeds, the swap fails.
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
FAILS_AT_LAST = (
    "from django.db import connection\n"
    "if not connection.in_atomic_block:\n"
    "    with connection.cursor() as cursor:\n"
    f"        cursor.execute({COMMENT!r}, [connection.settings_dict['NAME']])\n"
    "        if cursor.fetchone() == (None,):  # what is rehearsed on says that it is a copy\n"
    "            raise ValueError('not this time')\n"
) + DURABLE


def make_enum(site: Site, *, right: bool) -> None:
    """Adds the value and uses it: in a migration each if it is to work, or else in one."""
    first = VALUE if right else f"{VALUE}, {USE}"
    site.migration("0002_change", first)
    site.migration("0003_use", USE if right else "", after="0002_change")


def make_function(site: Site, body: str, *, right: bool) -> None:
    """Runs this; in a migration that is not atomic if it is to work."""
    run_python(site, "0002_change", body)
    file = site.root / "shop/migrations/0002_change.py"
    if right:
        before, dependencies, after = file.read_text().partition("    dependencies")
        file.write_text(f"{before}    {NOT_ATOMIC}\n{dependencies}{after}")


def make(site: Site, kind: str, *, right: bool) -> None:
    if kind.startswith("57"):
        make_enum(site, right=right)
    else:
        make_function(site, SECOND if kind.startswith("58") else DURABLE, right=right)


@dataclass(frozen=True)
class Kind:
    """``name``: with the hazard. ``says``: of what does not work with plain migrate either."""

    name: str
    says: tuple[str, ...]


KINDS = (
    Kind("57 enum", ("unsafe use of new value", "in a later migration than the one that adds it")),
    Kind("58 second connection", ("lock timeout", "use only the connection that Django passes")),
    Kind("59 durable", ("durable",)),
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def test_what_needs_a_swap_is_asked_and_ends_as_plain_migrate_does(site: Site, kind: Kind) -> None:
    site.sql(MOOD)
    make(site, kind.name, right=True)
    site.environment["ON_DRIFT"] = "allow"  # the type was made by hand
    site.ends_refused("would block writes for about", "--approve ", **ASKED)
    with twin_of(site) as twin:
        site.ends_done(ON_DOWNTIME="allow", **ASKED)
        succeeds(twin)
        twin.assert_equals_twin()


def test_what_plain_migrate_cannot_do_either_is_refused(site: Site, kind: Kind) -> None:
    site.sql(MOOD)
    make(site, kind.name, right=False)
    site.environment["ON_DRIFT"] = "allow"
    with twin_of(site) as twin:
        assert twin.migrate_twin().code != 0
    site.ends_refused("shop.0002_change failed in the rehearsal", *kind.says, **ASKED)
    site.ends_refused("shop.0002_change", ON_DOWNTIME="allow", **ASKED)


def test_a_swap_leaves_the_one_backup_that_was_rehearsed(site: Site, tmp_path: Path) -> None:
    make_function(site, DURABLE, right=True)
    folder = tmp_path / "backups"
    kept = {"POSTDO_BACKUPS": str(folder), "BACKUP_KEEP": "9"}
    site.ends_done(ON_DOWNTIME="allow", **kept, **ASKED)
    (backup,) = folder.iterdir()
    assert backup.suffix == ""


def test_a_swap_that_is_undone_leaves_no_backup(site: Site, tmp_path: Path) -> None:
    make_function(site, FAILS_AT_LAST, right=True)
    folder = tmp_path / "backups"
    kept = {"POSTDO_BACKUPS": str(folder), "BACKUP_KEEP": "9"}
    site.ends_undone("not this time", "swap: copied", ON_DOWNTIME="allow", **kept, **ASKED)
    assert list(folder.iterdir()) == []


def succeeds(twin: World) -> None:
    plain = twin.migrate_twin()
    assert plain.code == 0, plain.err
