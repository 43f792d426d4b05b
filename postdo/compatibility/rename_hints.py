"""What looks like a rename that was written as removal and addition (HAZARDS 3). Pure.

Django's autodetector writes it so when nobody answers its question, and the data are lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from postdo.base.formatting import table as short
from postdo.rehearsal.trace import Loss, Rename
from postdo.schema.catalogue import Catalogue

Shape = dict[str, str]  # column → type


def hints(
    losses: Iterable[Loss], before: Catalogue, after: Catalogue, renames: Iterable[Rename] = ()
) -> tuple[str, ...]:
    """What to write instead, for each lost column or table that looks renamed.

    That is one for which there is a new one of the same type or form. ``renames``: those that
    really were renamed, which are not new.
    """
    old, new = _shapes(before), _shapes(after)
    for one in renames:
        if one.column:
            new.get(one.table, {}).pop(one.to, None)
        else:
            new.pop(one.to, None)
    found = (_hint(loss, old, new) for loss in losses)
    return tuple(hint for hint in found if hint)


def _hint(loss: Loss, old: dict[str, Shape], new: dict[str, Shape]) -> str:
    was = old.get(loss.table, {})
    if loss.kind == "column":
        type_ = was.get(loss.name)
        fresh = {name: of for name, of in new.get(loss.table, {}).items() if name not in was}
        became = sorted(name for name, of in fresh.items() if of == type_)
        return _written(loss.name, became, "RenameField", "values")
    if loss.kind == "table":
        became = sorted(short(name) for name in new.keys() - old.keys() if new[name] == was)
        return _written(short(loss.table), became, "RenameModel", "rows")
    return ""


def _written(name: str, became: list[str], operation: str, kept: str) -> str:
    if not became:
        return ""
    return f"if {name} became {' or '.join(became)}, write {operation} instead: it keeps the {kept}"


def _shapes(catalogue: Catalogue) -> dict[str, Shape]:
    found: dict[str, Shape] = {table: {} for table in catalogue.tables}
    for entry in catalogue.of("column"):
        found.setdefault(entry.table, {})[entry.name] = entry.facts["type"]
    return found
