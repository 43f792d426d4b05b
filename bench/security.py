"""`python3 -m bench security`: does a test notice when a promise of docs/security.md is broken?

Each fault of bench/promises.py is put into a copy of the clone, one at a time, and the promise's
test is run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from bench.mutants import NO_PLUGINS, PYTHON, ROOT, copy_of, put_in
from bench.process import BenchError, end
from bench.promises import PROMISES, RULES, Fault, Promise

PAGE = ROOT / "docs/security.md"
LONGEST = 900.0  # seconds of one test; one that needs Docker builds an image first
NOT_YET, NOT_OURS = "not yet", "Caddy's own"
ROW = re.compile(r"^\| (.*) \| `.*` \| (\d{4}-\d\d-\d\d) \|$", re.MULTILINE)


def main(argv: list[str]) -> int:
    """Print a line for each promise; 1 if a test did not notice its fault."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench security",
        description="Break each promise of docs/security.md in a copy of the clone, and see "
        "whether its test notices. Needs the environment of `sh run.sh test`.",
    )
    parser.add_argument("--engine", action="store_true", help="also tests that need Docker")
    parser.add_argument("--only", default="", help="promises whose text or test has this in it")
    parser.add_argument("--write", action="store_true", help="write the days into docs/security.md")
    asked = parser.parse_args(argv)
    chosen = [
        (one, one.fault)
        for one in PROMISES
        if one.fault and asked.only in f"{one.text} {one.test}" and (asked.engine or not one.engine)
    ]
    text = PAGE.read_text(encoding="utf-8")
    days = noted(text)
    missed = 0
    with copy_of(ROOT) as tree, server() as url:
        for number, (one, fault) in enumerate(chosen, 1):
            notices = is_noticed(tree, one, fault, number, url)
            word = "noticed" if notices else "NOT NOTICED"
            print(f"{number}/{len(chosen)} {word}: {one.text}\n    {one.test}", flush=True)
            missed += not notices
            if notices:
                days[one.text] = f"{datetime.now(timezone.utc):%Y-%m-%d}"
            else:
                days.pop(one.text, None)
            if asked.write:
                PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), days), encoding="utf-8")
    return 1 if missed else 0


# --- The page -----------------------------------------------------------------------------------


def noted(text: str) -> dict[str, str]:
    """The day on which each promise's fault was noticed last, by what is promised."""
    return dict(ROW.findall(text))


def page(text: str, days: Mapping[str, str]) -> str:
    """The page with the tables of now."""
    for word, table in (("promises", promises(days)), ("rules", rules())):
        begin, finish = f"<!-- {word}: python3 -m bench security -->\n", f"\n<!-- end of {word} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + table + finish + rest.partition(finish)[2]
    return text


def promises(days: Mapping[str, str]) -> str:
    """The table of what is promised."""
    rows = [
        f"| {one.text} | `{one.test.rpartition('/')[2].rpartition('::')[2]}` "
        f"| {days.get(one.text, NOT_YET) if one.fault else NOT_OURS} |"
        for one in PROMISES
    ]
    return "\n".join(["| promise | test | its fault was noticed |", "| --- | --- | --- |", *rows])


def rules() -> str:
    """The table of the rules that are not met."""
    rows = [f"| {one.number} | {one.title} | {', '.join(one.unmet)} | {one.why} |" for one in RULES]
    return "\n".join(["| rule | | not met by | why |", "| --- | --- | --- | --- |", *rows])


# --- A fault ------------------------------------------------------------------------------------


def with_fault(fault: Fault, text: str) -> str:
    """The text of its file with the fault."""
    if (times := text.count(fault.old)) != 1:
        raise BenchError(
            f"{fault.file} has this {times} times: {fault.old}",
            "name in bench/promises.py what it has once",
        )
    return text.replace(fault.old, fault.new)


def is_noticed(tree: Path, one: Promise, fault: Fault, number: int, url: str) -> bool:
    """Whether the test passes as it is, and fails with the fault."""
    file = tree / fault.file
    broken = with_fault(fault, file.read_text(encoding="utf-8"))
    if " passed" not in (ending := run_test(tree, one.test, url)) or "failed" in ending:
        raise BenchError(
            f"without a fault this fails: {one.test} ({ending})", f"sh run.sh test {one.test}"
        )
    with put_in(file, broken, number):
        ending = run_test(tree, one.test, url)
    if "error" in ending or not ending:
        raise BenchError(
            f"with its fault this does not run: {one.test} ({ending})",
            "choose another fault in bench/promises.py: this one breaks more than the promise",
        )
    return "failed" in ending


def run_test(tree: Path, test: str, url: str) -> str:
    """How pytest ends in the copy: "1 failed in 2 s". The starter's tests run in web/."""
    environment = {**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}"}
    if test.startswith("web/"):
        folder, environment["DATABASE_URL"] = tree / "web", url
    else:
        folder, environment = tree, environment | NO_PLUGINS
    with subprocess.Popen(
        [PYTHON, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test.removeprefix("web/")],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return f"failed: it did not end within {LONGEST:.0f} s"
        finally:
            end(process)
    endings = re.findall(r"^(?:=+ )?(\d+ (?:passed|failed|error).*)$", said, re.MULTILINE)
    return str(endings[-1]).strip("= ") if endings else ""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL for the starter's own tests."""
    sys.path.insert(0, str(ROOT))
    from embedded_postgres import temporary_cluster  # noqa: PLC0415  of the test environment

    with temporary_cluster() as cluster:
        yield cluster.url("postgres")
