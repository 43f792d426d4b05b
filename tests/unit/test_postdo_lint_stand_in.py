"""squawk's advice, from a stand-in that answers in the form of squawk 2.70."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from postdo.base.config import read
from postdo.base.console import Console
from postdo.base.context import Run
from postdo.base.signals import StopSignals
from postdo.checks import lint
from postdo.checks.lint import advice
from postdo.plan.findings import Advice

# As squawk 2.70 does: finds what it knows line by line, or only what it cannot read.
STAND_IN = """#!{python}
import json, sys
text = sys.stdin.read()
open({log!r}, "a").write(json.dumps([sys.argv[1:], text]) + "\\n")
found = []
for number, line in enumerate(text.split("\\n")):
    def say(rule, message, line=number):
        found.append({{"file": "stdin", "line": line, "line_end": line, "column": 0,
                      "level": "Warning", "message": message, "help": None, "rule_name": rule}})
    if "NONSENSE" in line:
        say("syntax-error", "expected command")
    if "RENAME" in line:
        say("renaming-column", "Renaming a column may break existing clients.\\nSee the manual.")
    if "varchar" in line:
        say("prefer-text-field", "Use text.")
    if "DROP" in line:
        say("ban-drop-column", "Dropping a column may break existing clients.")
    if "ALTER" in line:
        say("require-lock-timeout", "Missing set lock_timeout")
if any(one["rule_name"] == "syntax-error" for one in found):
    found = [one for one in found if one["rule_name"] == "syntax-error"]
print(json.dumps(found))
sys.exit(1 if found else 0)
"""
RENAME = 'ALTER TABLE "shop_item" RENAME COLUMN "a" TO "b"'
RENAMED = "Renaming a column may break existing clients."


class Squawk:
    """A program in the place of squawk, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "squawk"
        self.log = folder / "log"
        self.write(STAND_IN.format(python=sys.executable, log=str(self.log)))

    def write(self, script: str) -> None:
        self.path.write_text(script)
        self.path.chmod(0o755)

    @property
    def asked(self) -> list[tuple[list[str], str]]:
        if not self.log.exists():
            return []
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]


@pytest.fixture
def squawk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Squawk:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    real = sys.base_prefix + "/bin/python3"
    one = Squawk(tmp_path)
    one.write(STAND_IN.format(python=real, log=str(one.log)))
    return one


@pytest.fixture
def run() -> Run:
    console = Console(io.StringIO(), io.StringIO())
    return Run(read({}, "config.settings"), console, StopSignals())


def warnings(run: Run) -> list[str]:
    assert isinstance(run.console.err, io.StringIO)
    return run.console.err.getvalue().splitlines()


def test_without_squawk_there_is_no_advice_and_no_word(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert advice(run, {"shop.0002_more": (RENAME,)}) == ()
    assert warnings(run) == []


def test_squawk_is_found_on_the_path_too(
    run: Run, squawk: Squawk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert advice(run, {"shop.0002_more": (RENAME,)}) != ()


def test_advice_names_the_migration_the_rule_and_the_first_line(run: Run, squawk: Squawk) -> None:
    found = advice(
        run,
        {
            "shop.0002_more": ('CREATE TABLE "shop_new" (\n"id" bigint,\n"b" text\n)', RENAME),
            "shop.0003_less": ('ALTER TABLE "shop_item" DROP COLUMN "c"', RENAME),
        },
        15,
    )
    assert found == (
        Advice("shop.0002_more", "renaming-column", RENAMED),
        Advice(
            "shop.0003_less", "ban-drop-column", "Dropping a column may break existing clients."
        ),
        Advice("shop.0003_less", "renaming-column", RENAMED),
    )
    ((arguments, text),) = squawk.asked
    assert arguments[-2:] == ["--pg-version", "15.0"]
    assert "--assume-in-transaction" in arguments
    assert text.endswith(RENAME + ";\n")


def test_the_same_advice_on_one_migration_is_given_once(run: Run, squawk: Squawk) -> None:
    assert len(advice(run, {"shop.0002_more": (RENAME, RENAME.replace("a", "c"))})) == 1


def test_what_is_done_anyway_and_what_django_chose_is_no_advice(run: Run, squawk: Squawk) -> None:
    sql = 'ALTER TABLE "shop_item" ADD COLUMN "x" varchar(50) NULL'
    assert advice(run, {"shop.0002_more": (sql,)}) == ()
    assert len(squawk.asked) == 1


def test_places_for_values_and_comments_are_no_obstacle(run: Run, squawk: Squawk) -> None:
    advice(
        run,
        {
            "shop.0002_more": (
                "--\n-- Add field x to item\n--\nALTER TABLE a ADD x int DEFAULT %s;",
                "ALTER TABLE a ADD y text DEFAULT %(given)s CHECK (y LIKE '5%%')",
                "-- THIS OPERATION CANNOT BE WRITTEN AS SQL",
                "",
            )
        },
    )
    ((_, text),) = squawk.asked
    assert text == (
        "ALTER TABLE a ADD x int DEFAULT NULL;\n"
        "ALTER TABLE a ADD y text DEFAULT NULL CHECK (y LIKE '5%');\n"
    )


def test_rows_that_a_migration_writes_are_not_sent(run: Run, squawk: Squawk) -> None:
    rows = (
        "UPDATE shop_item SET name = %s",
        "SELECT 1",
        "INSERT INTO django_migrations VALUES (1)",
    )
    assert advice(run, {"shop.0002_more": rows}) == ()
    assert squawk.asked == []


def test_a_statement_that_it_cannot_read_does_not_hide_the_others(run: Run, squawk: Squawk) -> None:
    found = advice(
        run,
        {
            "shop.0002_more": ("ALTER TABLE a NONSENSE", RENAME),
            "shop.0003_less": ("CREATE TABLE x (a int) ...", "DROP\nNONSENSE x"),
        },
    )
    assert found == (Advice("shop.0002_more", "renaming-column", RENAMED),)
    assert len(squawk.asked) == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "#!/bin/sh\necho 'Configuration error' >&2\nexit 1\n",
            "squawk failed: Configuration error",
        ),
        ("#!/bin/sh\nexit 3\n", "squawk failed: exit code 3"),
        ("#!/bin/sh\necho '[{}]'\n", "a form that is not known"),
        ("#!/bin/sh\necho '[1]'\n", "squawk failed"),
        ("#!/nowhere\n", "squawk cannot be started"),
        ("#!/bin/sh\nexec sleep 600\n", "squawk took longer than"),
    ],
)
def test_a_squawk_that_fails_is_one_line_of_warning_and_no_verdict(
    run: Run, squawk: Squawk, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(lint, "TIMEOUT_SECONDS", 0.5)
    squawk.write(script)
    assert advice(run, {"shop.0002_more": (RENAME,)}) == ()
    (line,) = warnings(run)
    assert said in line
