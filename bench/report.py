"""What was measured, as values and as text."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from bench.load import CONNECTIONS

COLUMNS = {"tutorial": "tutorial", "kit": "this kit", "direct": "kit, no proxy"}
# Each aim: the most that the kit may need, in the row's unit, by the row's key.
AIMS = {
    "prepare": 0.5,  # however many migrations are applied
    "query/p99": 70.0,
    "memory/db": 80.0,
    "image": 60.0,
    "rebuild": 3.0,
}
RATE_AIM = 10.0  # times the tutorial's rate for a page with a query


@dataclass(frozen=True)
class Row:
    """One thing that was measured on both stacks.

    key: a stable name for programs. unit: s, ms, MiB or /s. more_is_better: for the ratio.
    samples: column (see COLUMNS) to the value of each round.
    """

    key: str
    title: str
    unit: str
    samples: dict[str, list[float]]
    more_is_better: bool = False

    def median(self, column: str) -> float:
        """The median of a column."""
        return statistics.median(self.samples[column])

    def ratio(self) -> float:
        """How many times better the kit is, as its visitors reach it; below 1: worse."""
        tutorial, kit = self.median("tutorial"), self.median("kit")
        return kit / tutorial if self.more_is_better else tutorial / kit


@dataclass
class Report:
    """Everything of one run: facts about the machine, and rows in the order of measuring."""

    facts: dict[str, str]
    rounds: int
    seconds: int
    rows: list[Row] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """For programs: everything, with medians and ratios."""
        rows = [
            {
                "key": row.key,
                "title": row.title.strip(),
                "unit": row.unit,
                "samples": row.samples,
                "median": {column: row.median(column) for column in row.samples},
                "ratio": row.ratio(),
            }
            for row in self.rows
        ]
        return {"facts": self.facts, "rounds": self.rounds, "seconds": self.seconds, "rows": rows}

    def as_text(self) -> str:
        """For people: a table of medians, the range in brackets, and whether the aims are met."""
        table = [["", *COLUMNS.values(), "x"], *map(cells, self.rows)]
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines = [f"{name + ':':<{widths[0]}}  {fact}" for name, fact in self.facts.items()]
        lines.append(
            f"medians of {self.rounds} rounds (least-most); "
            f"load by wrk, {CONNECTIONS} connections, {self.seconds} s a round"
        )
        lines.append("x: how many times better this kit is, through its proxy; below 1 it is worse")
        lines.append("")
        for line in table:
            first, *rest = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            lines.append("  ".join([first, *rest]).rstrip())
        return "\n".join([*lines, "", *self.aims()])

    def aims(self) -> list[str]:
        """The aims that this bench is for, and whether they were met."""
        found = []
        for row in self.rows:
            most = AIMS.get(row.key, AIMS.get(row.key.partition("/")[0]))
            if most is not None:
                value = row.median("kit")
                said, met = figure(value, row.unit), value < most
                aim = f"under {figure(most, row.unit)}"
                found.append(f"{row.title.strip()}: {said}; aim: {aim}; {verdict(met)}")
            if row.key == "query/rate":
                value = row.ratio()
                aim, met = f"{RATE_AIM:.0f} times", value >= RATE_AIM
                found.append(
                    f"{row.title}: {value:.1f} times the tutorial's; aim: {aim}; {verdict(met)}"
                )
        return found


def verdict(met: bool) -> str:
    """In words."""
    return "met" if met else "NOT MET"


def cells(row: Row) -> list[str]:
    """A row of the table."""
    values = [
        f"{figure(row.median(column), row.unit)} {spread(row.samples[column], row.unit)}"
        if column in row.samples
        else ""
        for column in COLUMNS
    ]
    return [row.title, *values, f"{row.ratio():.2g} x"]


def figure(value: float, unit: str) -> str:
    """A value with its unit, in the digits that are worth reading."""
    return f"{value:.2f} {unit}" if unit == "s" else f"{value:.0f} {unit}".replace(" /s", "/s")


def spread(samples: list[float], unit: str) -> str:
    """The least and the most."""
    digits = 2 if unit == "s" else 0
    return f"({min(samples):.{digits}f}-{max(samples):.{digits}f})"
