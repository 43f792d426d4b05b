"""`python3 -m bench mutants`: which small faults in what decides does no test notice?

Each fault (`bench/faults.py`) is put into a copy of the tree, and the tests of that file are run
until one fails. mutmut and cosmic-ray were looked at: one changes code while it is imported, which
the programs that the tests start do not see, and neither knows shell.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.faults import Fault, faults
from bench.process import BenchError, end, run, undisturbed

ROOT = Path(__file__).resolve().parents[1]
EXPLAINED = Path("bench/explained.txt")
PYTHON = ROOT / ".postdo" / "test-venv" / "bin" / "python"
# A run of the tests that takes this many times as long as without a fault, and a minute, waits for
# something that does not come: the fault is noticed.
SLOWER = 5
SECONDS_MORE = 60
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # half of the time to start; none is used here


@dataclass(frozen=True)
class Target:
    """``sources``: files or folders with what decides. The tests that are to notice their faults.

    ``quick``: those that take seconds, the quickest first. ``slow``: the others.
    """

    sources: tuple[str, ...]
    quick: tuple[str, ...]
    slow: tuple[str, ...] = ()


# Which tests are to notice the faults of which sources. The one place that says so.
TARGETS = {
    "plan": Target(
        ("postdo/plan/decide.py", "postdo/plan/approval.py", "postdo/plan/refusals.py"),
        (
            "tests/unit/test_postdo_plan.py",
            "tests/unit/test_postdo_refusals.py",
            "tests/unit/test_postdo_approval.py",
            "tests/unit/test_postdo_plan_rehearsal.py",
            "tests/unit/test_postdo_plan_words.py",
            "tests/unit/test_postdo_plan_theirs.py",
            "tests/unit/test_postdo_plan_approval.py",
        ),
        ("tests/unit/test_postdo_limits.py",),
    ),
    "kept": Target(
        ("postdo/plan/kept.py",),
        ("tests/unit/test_postdo_kept_rules.py",),
        ("tests/unit/test_postdo_kept.py",),
    ),
    "commit": Target(
        ("postdo/executor/commit_status.py",),
        ("tests/unit/test_postdo_commit_status.py",),
        ("tests/unit/apply/test_postdo_one_transaction.py",),
    ),
    "table-locks": Target(
        ("postdo/apply/table_locks.py", "postdo/apply/lock_timeout.py"),
        ("tests/unit/test_postdo_table_locks.py",),
        ("tests/unit/apply/test_postdo_one_transaction_locks.py",),
    ),
    "advisory-lock": Target(
        ("postdo/base/advisory_lock.py",),
        ("tests/unit/test_postdo_advisory_lock.py",),
        ("tests/unit/test_postdo_race.py", "tests/unit/test_postdo_migrate.py"),
    ),
    "drift": Target(
        ("postdo/drift",),
        (
            "tests/unit/test_postdo_already_there.py",
            "tests/unit/test_postdo_drift_explained.py",
            "tests/unit/test_postdo_expected_rules.py",
            "tests/unit/test_postdo_try_repair.py",
            "tests/unit/test_postdo_wrong_record.py",
        ),
        (
            "tests/unit/test_postdo_drift.py",
            "tests/unit/test_postdo_expected_schema.py",
            "tests/hazards/test_drift.py",
            "tests/hazards/test_drift_objects.py",
        ),
    ),
    "shell-locks": Target(
        ("lib/lock.sh",),
        ("tests/shell/test_lock_functions.py",),
        ("tests/shell/test_locks.py", "tests/shell/test_failures.py"),
    ),
    "production": Target(
        (
            "commands/production.sh",
            "commands/rollback.sh",
            "lib/colours.sh",
            "lib/hooks.sh",
            "lib/prepare.sh",
            "lib/release_watch.sh",
            "lib/releases.sh",
        ),
        (
            "tests/shell/test_release_hooks.py",
            "tests/shell/test_release_options.py",
            "tests/shell/test_release_rollback.py",
            "tests/shell/test_release_steps.py",
            "tests/shell/test_release_watch.py",
            "tests/shell/test_release_streams.py",
            "tests/shell/test_release_companions.py",
        ),
        (
            "tests/shell/test_sets.py",
            "tests/shell/test_starts.py",
            "tests/shell/test_plan.py",
            "tests/shell/test_domain.py",
        ),
    ),
    "proxy": Target(
        ("lib/proxy.sh",),
        ("tests/shell/test_proxy.py",),
        ("tests/shell/test_release_steps.py", "tests/shell/test_starts.py"),
    ),
    "look": Target(
        ("lib/look.sh", "lib/checks.sh", "lib/compose.sh"),
        ("tests/shell/test_status.py",),
        ("tests/shell/test_watch.py", "tests/shell/test_modes.py"),
    ),
    "alerts": Target(
        ("lib/alerts.awk", "lib/bring_back.awk", "lib/checks.awk", "lib/limits.awk"),
        ("tests/unit/test_alerts.py",),
        ("tests/shell/test_watch.py",),
    ),
    "watch": Target(
        ("lib/watch.sh", "commands/watch.sh"),
        ("tests/shell/test_watch.py",),
    ),
    "jobs": Target(("lib/schedule.awk",), ("tests/shell/test_jobs.py",)),
    "backups": Target(
        (
            "postdo_backup/check.py",
            "postdo_backup/listing.py",
            "postdo_backup/manifest.py",
            "postdo_backup/retention.py",
            "postdo_backup/verified.py",
        ),
        (
            "tests/unit/test_backup_retention.py",
            "tests/unit/test_backup_mutations.py",
            "tests/unit/test_backup_listing.py",
        ),
        ("tests/unit/test_backup_sets.py", "tests/unit/test_backup_restore.py"),
    ),
}


def main(argv: list[str]) -> int:
    """Print each fault that no test noticed, and a table; 1 if one of them is not explained."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench mutants",
        description="Put small faults into what decides, one at a time, and say which ones no test "
        "notices. Works in a copy. Needs the environment of `sh run.sh test`.",
    )
    parser.add_argument("--target", action="append", choices=TARGETS, help="default: all of them")
    parser.add_argument("--sample", type=int, help="so many faults of each target; default: all")
    parser.add_argument("--seed", type=int, default=0, help="which sample; default 0")
    parser.add_argument(
        "--quick", action="store_true", help="run only the tests of each target that take seconds"
    )
    parser.add_argument("--source", default="", help="only sources with this in their path")
    arguments = parser.parse_args(argv)

    table, unexplained = [], 0
    with copy_of(ROOT) as tree:
        for name in arguments.target or TARGETS:
            target = TARGETS[name]
            chosen = [one for one in all_faults(tree, target) if arguments.source in one.path]
            if arguments.sample and arguments.sample < len(chosen):
                # A choice over faults, and no secret.
                chosen = random.Random(arguments.seed).sample(chosen, arguments.sample)  # noqa: S311
            tests = target.quick if arguments.quick else (*target.quick, *target.slow)
            left = list(unnoticed(tree, chosen, tests))
            known = sum(one.name in explained() for one in left)
            unexplained += len(left) - known
            noticed = len(chosen) - len(left)
            share = 100 * noticed // max(1, len(chosen))
            table.append(
                f"{name:<14} {len(chosen):>6} {noticed:>8} {share:>4} % {known:>10} "
                f"{len(left) - known:>6}"
            )
    print("target         faults  noticed         explained    new", *table, sep="\n")
    return 1 if unexplained else 0


def all_faults(root: Path, target: Target) -> list[Fault]:
    """Of all sources of a target."""
    paths = [root / source for source in target.sources]
    files = [file for path in paths for file in (sorted(path.glob("*.py")) or [path])]
    return [
        fault
        for file in files
        for fault in faults(str(file.relative_to(root)), file.read_text(encoding="utf-8"))
    ]


def explained() -> dict[str, str]:
    """The faults that need no test, each with the reason: a line, and the indented one below it."""
    lines = (ROOT / EXPLAINED).read_text(encoding="utf-8").splitlines()
    told = [line for line in lines if line and not line.startswith("#")]
    return dict(zip(told[::2], (reason.strip() for reason in told[1::2]), strict=True))


@contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    """The files of a clone as they are, in a repository of their own; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        folder.chmod(0o755)  # some tests work as another user
        names = run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], folder=root
        )
        for name in filter(None, names.split("\0")):
            if (root / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name, follow_symlinks=False)
        run(["git", "init", "--quiet"], folder=folder)
        run(["git", "add", "--all"], folder=folder)
        yield folder
    finally:
        with undisturbed():
            shutil.rmtree(folder, ignore_errors=True)


def unnoticed(tree: Path, chosen: Sequence[Fault], tests: Sequence[str]) -> Iterator[Fault]:
    """Those of these faults with which all of these tests pass, printed as they are found."""
    began = time.monotonic()
    if notices(tree, tests, None):
        raise BenchError(
            f"without any fault, these tests fail in a copy of the clone: {' '.join(tests)}",
            f"repeat them in the clone: sh run.sh test {' '.join(tests)}",
        )
    limit = SLOWER * (time.monotonic() - began) + SECONDS_MORE
    for number, fault in enumerate(chosen, 1):
        began = time.monotonic()
        with put_in(tree / fault.path, fault.text, number):
            noticed = notices(tree, tests, limit)
        word = "noticed" if noticed else "explained" if fault.name in explained() else "NOT NOTICED"
        seconds = time.monotonic() - began
        print(f"{number}/{len(chosen)} {seconds:.0f} s {word}: {fault.path}:{fault.line}", end="")
        print(f"\n    {fault.old}\n    {fault.new}" if word == "NOT NOTICED" else "", flush=True)
        if not noticed:
            yield fault


@contextmanager
def put_in(file: Path, text: str, number: int) -> Iterator[None]:
    """Inside, the file has this text.

    Python knows what it has compiled by the size of a file and the second in which it was written,
    so each text of it gets a second of its own.
    """
    before, since = file.read_bytes(), file.stat().st_mtime
    try:
        file.write_text(text, encoding="utf-8")
        os.utime(file, (since + number, since + number))
        yield
    finally:
        file.write_bytes(before)
        os.utime(file, (since, since))


def notices(tree: Path, tests: Sequence[str], seconds: float | None) -> bool:
    """Whether one of these tests fails, or does not come to its end in time."""
    with subprocess.Popen(
        [PYTHON, "-m", "pytest", "-x", "-q", *tests],
        cwd=tree,
        env={**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}", **NO_PLUGINS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(seconds) != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            end(process)
