"""What releases lost, as values, as text, and as docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.traffic import HTTP2, TITLES, Kept, Tally

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
COLUMNS = (
    "release",
    "times",
    *TITLES.values(),
    "over HTTP/2",
    "failed",
    "done twice",
    "missing",
    "slowest",
)
HEAD = """\
# Reliability: what is lost during a release

`python3 -m bench releases`, `watch`, `latency`, `tasks` and `under-fault` write this page. You
can run them too ([bench](../bench/README.md)). Visitors use a site all the time while it is
released, through the proxy by HTTPS: one half over HTTP/1.1, the other over HTTP/2, with up to
four requests at once. Each keeps its connection over pauses of up to 20 seconds. Nothing is lost
if *failed*, *done twice* and *missing* are 0.

- *GET* is a page with a query. *POST* writes a number to a table. *3 s* is a request that takes
  3 seconds. *5 MB* is an upload that takes 5 to 10 seconds.
- *failed*: no connection, a connection reset, an answer that was cut, an answer with another status
  or body than the right one, or none within 60 seconds. A POST is never sent again. A GET is sent
  once more, as browsers do, if a kept connection broke before anything of the answer came, and
  that is counted below.
- *done twice*: a number is in the table more than once. *missing*: its POST was answered, and it is
  not in the table.
- *slowest*: the longest that a GET or a POST took. Visitors, site and builds share the machine.
"""
SECTION = """\
## {heading}

{note}

**{verdict}**

{table}

{facts}
"""
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
# What can be measured: the heading of its section, and what the table does not say.
RELEASED, KILLED, OUTCOMES = "released", "killed", "outcomes"
PARTS = {
    RELEASED: (
        "One release after the other",
        "Each changes one line. Every fifth also adds a column to the table that is written to.",
    ),
    KILLED: (
        "Killed in each step",
        "`run.sh` and its children are killed by `kill -9` in the middle of a step (of one that "
        "takes no time: at\nits end), in a release with a new column. `sh run.sh -0`, run again, "
        "then brings it into service.",
    ),
    OUTCOMES: (
        "Releases that do not go well",
        "*refused*: it would drop a column with values. *undone*: its migration fails in "
        "production, after a\nrehearsal that went well. *unhealthy*: it does not start. *smoke "
        "test failed*: a page is not there.\n*taken back*: a version that answers every twentieth "
        "request with status 500, until the watch takes it\nback. These answers are its own, and "
        "are not in *failed*: they were {faults}. *rolled back*: a release,\n`rollback`, and the "
        "release again.",
    ),
}

WATCH, LATENCY = "The watch", "How long visitors wait during a release"
TASKS = "Tasks"
FAULTS = "Under fault"
HEADINGS = [
    *(heading for heading, _ in PARTS.values()),
    WATCH,
    LATENCY,
    TASKS,
    FAULTS,
]  # in the order of the page


@dataclass(frozen=True)
class Row:
    """What was released under traffic, and what came of it.

    part: of PARTS. title: how it was released. times: how often. seconds: of traffic.
    """

    part: str
    title: str
    times: int
    seconds: float
    tally: Tally
    kept: Kept

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.tally.failed.values())

    @property
    def is_clean(self) -> bool:
        """Nothing was lost."""
        return not (self.failed or self.kept.doubled or self.kept.missing)

    def cells(self) -> list[str]:
        """As text, in the order of COLUMNS."""
        counts = [
            self.times,
            *(self.tally.of_kind(kind) for kind in TITLES),
            self.tally.over(HTTP2),
            self.failed,
            len(self.kept.doubled),
            len(self.kept.missing),
        ]
        return [self.title, *(f"{count:,}" for count in counts), f"{self.tally.slowest:.1f} s"]

    def told(self) -> list[str]:
        """What was lost, for a person who looks for the reason."""
        lines = list(self.tally.failures)
        lines += [f"done twice: {number}" for number in self.kept.doubled]
        lines += [f"missing: {number}" for number in self.kept.missing]
        return [f"{self.title}: {line}" for line in lines]


def total(rows: list[Row]) -> list[str]:
    """The cells of the last line."""
    tallies = [row.tally for row in rows]
    counts = [
        sum(row.times for row in rows),
        *(sum(tally.of_kind(kind) for tally in tallies) for kind in TITLES),
        sum(tally.over(HTTP2) for tally in tallies),
        sum(row.failed for row in rows),
        sum(len(row.kept.doubled) for row in rows),
        sum(len(row.kept.missing) for row in rows),
    ]
    slowest = max(tally.slowest for tally in tallies)
    return ["all", *(f"{count:,}" for count in counts), f"{slowest:.1f} s"]


def as_table(rows: list[Row]) -> str:
    """In Markdown."""
    cells = [row.cells() for row in rows] + ([total(rows)] if len(rows) > 1 else [])
    return table(COLUMNS, cells)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; all columns but the first are numbers."""
    ruler = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, ruler, *rows])


def listed(facts: Mapping[str, str]) -> str:
    """In Markdown."""
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def verdict(rows: list[Row]) -> str:
    """In a sentence."""
    requests = sum(row.tally.requests for row in rows)
    if all(row.is_clean for row in rows):
        return f"Of {requests:,} requests none was lost."
    failed, doubled, missing = total(rows)[-4:-1]
    return (
        f"Of {requests:,} requests {failed} failed; "
        f"of the orders {doubled} were done twice, and {missing} are missing."
    )


def as_section(part: str, rows: list[Row], facts: dict[str, str]) -> str:
    """What was measured of a part, with where and how."""
    heading, note = PARTS[part]
    counted = {
        "connections": f"{sum(row.tally.connections for row in rows):,} opened",
        "GETs sent once more": f"{sum(row.tally.repeated for row in rows):,}",
        "requests per second": f"{sum(row.tally.requests for row in rows) / seconds(rows):.0f}",
    }
    return SECTION.format(
        heading=heading,
        note=note.format(faults=sum(row.tally.faults for row in rows)),
        verdict=verdict(rows),
        table=as_table(rows),
        facts=listed(facts | counted),
    )


def seconds(rows: list[Row]) -> float:
    """How long there was traffic."""
    return sum(row.seconds for row in rows)


def as_page(before: str, rows: list[Row], facts: dict[str, str]) -> str:
    """The page with what was measured now; what it said `before` of another part stays."""
    measured = {
        heading: as_section(part, of_part, facts)
        for part, (heading, _) in PARTS.items()
        if (of_part := [row for row in rows if row.part == part])
    }
    return with_sections(before, measured)


def with_sections(before: str, measured: Mapping[str, str]) -> str:
    """The whole page, with these sections (heading to text) in place of those before."""
    texts = {**sections(before), **measured}
    kept = [texts[heading] for heading in HEADINGS if heading in texts]
    return "\n".join([HEAD, *(f"{text.strip()}\n" for text in kept)])


def sections(page: str) -> dict[str, str]:
    """Those of a page, by heading."""
    _, *pieces = HEADING.split(page)
    told = zip(pieces[::2], pieces[1::2], strict=True)
    return {heading: f"## {heading}{text}" for heading, text in told}


def written() -> str:
    """What stands in docs/reliability.md."""
    return PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""


def write(page: str) -> None:
    """Into docs/reliability.md."""
    PAGE.write_text(page, encoding="utf-8")
