"""Find out whose migration it is: one that came with a package needs other remedies.

Nobody can edit the migrations of an installed package, so "change the migration" is no help there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from postdo.base.formatting import listed
from postdo.rehearsal.trace import Step

WORD = re.compile(r"\w+")
# What a person can do instead; the package is named before.
STAY = "keep the version that production runs"
REPLACE = "put a corrected copy of its migrations in the project (MIGRATION_MODULES)"


@dataclass(frozen=True)
class Origins:
    """Which packages the pending migrations came with.

    ``packages``: by migration (``app.name``), empty for the project's own. ``steps``: of the
    rehearsal, which show which migration works on which table.
    """

    packages: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def of_migration(self, name: str) -> str:
        """The package that a migration came with; empty for the project's own."""
        return self.packages.get(name, "")

    def of_tables(self, tables: Iterable[str]) -> str:
        """The packages whose migrations alone work on these tables; empty if any is our own."""
        found: dict[str, None] = {}
        for table in tables:
            names = set(WORD.findall(table.partition(".")[2] or table))
            working = [step.migration for step in self.steps if _works_on(step, table, names)]
            owners = {self.packages.get(one, "") for one in working if one in self.packages}
            if not owners or "" in owners:
                return ""
            found.update(dict.fromkeys(sorted(owners)))
        return listed(list(found))


def _works_on(step: Step, table: str, names: set[str]) -> bool:
    seen = {*(lock.table for lock in step.locks), *(effect.table for effect in step.effects)}
    if table in seen or table in step.rewrites:
        return True
    return any(names <= set(WORD.findall(one.sql)) for one in step.statements)
