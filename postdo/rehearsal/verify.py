"""Compare a release with its rehearsal, just before COMMIT.

Between the rehearsal and the release, somebody may have changed the database, and a migration may
depend on the time or on chance. So the release looks at its own open transaction and refuses to
commit if the schema differs from the rehearsal's by definition, or if many more rows were changed
or deleted than were rehearsed. Each check raises ``Undone``: the caller rolls everything back.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import formatting
from postdo.base.errors import Undone
from postdo.rehearsal.trace import Effect
from postdo.schema.catalogue import Catalogue
from postdo.schema.diff import compare
from postdo.schema.normalize import worded

# Rows change between the copy and now, so effects need not be the same. What the site has changed
# since is known, but told with delay, and one row may be worth several: hence a tenth, and small
# tables are not judged by tenths.
ROW_SHARE = 0.1
ROW_SLACK = 100
SHOWN = 10  # lines in a message

AS_BEFORE = "nothing was applied; the database is unchanged"


def require_same_schema(
    session: BaseDatabaseWrapper, expected: Catalogue, actual: Catalogue
) -> None:
    """Raise ``Undone`` with what differs by definition; generated names may differ.

    ``session``: on the database that ``actual`` was just read from.
    """
    if expected.checksum == actual.checksum:
        return
    # The copy was restored from a dump, which changes the words of definitions.
    differences = compare(expected, worded(session, actual, expected))
    if differences:
        raise Undone(
            f"the schema differs from the rehearsal: {differences[0].what}",
            "try again, which rehearses again; if this repeats, find out who else changes the "
            "schema, or which migration depends on time or chance",
            details=(*(one.what for one in differences[:SHOWN]), AS_BEFORE),
        )


def require_same_rows(
    expected: tuple[Effect, ...], actual: tuple[Effect, ...], by_site: int
) -> None:
    """Raise ``Undone`` with the tables whose rows changed otherwise than in the rehearsal.

    ``by_site``: how many rows others have changed since the copy was made; that much may differ.
    """
    found = misfits(expected, actual, by_site)
    if found:
        raise Undone(
            f"rows changed differently than in the rehearsal: {found[0]}",
            "check what changed in these tables since the rehearsal, then try again, which "
            "rehearses again",
            details=(*found[:SHOWN], AS_BEFORE),
        )


def require_no_more_deleted(expected: tuple[Effect, ...], actual: tuple[Effect, ...]) -> None:
    """Raise ``Undone`` with the tables that would lose more rows than the approved plan said."""
    rehearsed = {effect.table: effect.deleted for effect in expected}
    found = [
        f"{formatting.table(now.table)}: {now.deleted} rows deleted, "
        f"{rehearsed.get(now.table, 0)} in the rehearsal"
        for now in actual
        if now.deleted > rehearsed.get(now.table, 0)
    ]
    if found:
        raise Undone(
            f"more rows would be lost than in the rehearsal: {found[0]}",
            "try again, which rehearses again",
            details=(*found[:SHOWN], AS_BEFORE),
        )


def misfits(
    expected: tuple[Effect, ...], actual: tuple[Effect, ...], by_site: int = 0
) -> tuple[str, ...]:
    """Where row counts differ by more than the site's own work explains, as sentences."""
    rehearsed = {effect.table: effect for effect in expected}
    happened = {effect.table: effect for effect in actual}
    sentences = []
    for table in sorted(rehearsed.keys() | happened.keys()):
        nothing = Effect(table, 0, 0, 0)
        before, now = rehearsed.get(table, nothing), happened.get(table, nothing)
        sentences += [
            f"{formatting.table(table)}: {count} rows {verb}, {wanted} in the rehearsal"
            for verb, wanted, count in (
                ("inserted", before.inserted, now.inserted),
                ("updated", before.updated, now.updated),
                ("deleted", before.deleted, now.deleted),
            )
            if abs(count - wanted) > max(ROW_SLACK, ROW_SHARE * wanted) + by_site
        ]
    return tuple(sentences)
