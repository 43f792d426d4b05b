"""The result file (docs/result-file.md): what a run came to, as facts and in no message."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from projects import REPOSITORY, Outcome, Project, make, make_shop
from rehearsing import migrated

from postdo.base.result import Facts

PRICE = 'migrations.AddField("Item", "price", models.IntegerField(db_default=0))'
TWICE = 'migrations.RunSQL("CREATE TABLE shop_item ()")'


def run(project: Project, *arguments: str, **environment: str) -> tuple[Outcome, dict[str, str]]:
    """A run, and its facts; those of a list in one text, a line each."""
    result = project.root / "result/facts"
    result.parent.mkdir(exist_ok=True)
    result.unlink(missing_ok=True)
    done = project.run(*arguments, environment={"POSTDO_RESULT": str(result), **environment})
    assert [path.name for path in result.parent.iterdir()] in ([], ["facts"]), "nothing half-done"
    facts: dict[str, str] = {}
    for line in result.read_text().splitlines() if result.exists() else ():
        key, _, value = line.partition("=")
        facts[key] = f"{facts[key]}\n{value}" if key in facts else value
    return done, facts


def test_a_value_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    facts = Facts()
    facts.add("what", "a\nb=c\x1b[2J\0\u2028d")
    facts.add("list", "one", "")
    facts.write(tmp_path / "facts", [("exit", 3)])

    assert (tmp_path / "facts").read_text() == "what=a b=c [2J d\nlist=one\nlist=\nexit=3\n"
    assert [path.name for path in tmp_path.iterdir()] == ["facts"]
    assert (tmp_path / "facts").stat().st_mode & 0o777 == 0o644


def test_each_ending_is_told_as_facts(tmp_path: Path, database: str) -> None:
    shop = migrated(make_shop(tmp_path / "shop", database, environment={"MAKEMIGRATIONS": "off"}))
    backups = str(tmp_path / "backups")
    shop.migration("shop", "0002_price", PRICE, after="0001_initial")

    done, facts = run(shop, "migrate", POSTDO_BACKUPS=backups)
    assert done.code == 0, done
    assert (facts["outcome"], facts["exit"], facts["command"]) == ("done", "0", "migrate")
    assert facts["applied"] == "shop.0002_price"
    assert "shop.0001_initial\nshop.0002_price" in facts["migration"]
    assert Path(facts["backup"]).parent == Path(backups)
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+ [0-9]+", facts["before"])
    assert "what" not in facts
    for line in facts["said"].splitlines():
        assert f"postdo: {line}\n" in done.out

    nothing, facts = run(shop, "migrate")
    assert (nothing.code, facts["outcome"]) == (0, "done")
    assert "applied" not in facts
    assert facts["migration"].endswith("shop.0001_initial\nshop.0002_price")

    shop.migration("shop", "0003_twice", TWICE, after="0002_price")
    refused, facts = run(shop, "migrate", "--json")
    assert (refused.code, facts["outcome"], facts["exit"]) == (3, "refused", "3")
    assert (facts["what"], facts["next"]) == (refused.report["what"], refused.report["next"])
    assert facts["detail"].splitlines() == [" ".join(x.split()) for x in refused.report["details"]]
    assert not {"applied", "migration"} & set(facts)


def test_a_server_that_cannot_be_started_is_no_success(tmp_path: Path, database: str) -> None:
    shop = make_shop(tmp_path, database)

    ended, facts = run(shop, "prepare", "--", "/nowhere/server")

    assert ended.code == 2
    assert facts["outcome"].splitlines()[-1] == "misconfigured"
    assert facts["what"].startswith("/nowhere/server")
    assert facts["applied"], "and the migrations are applied all the same"


def test_a_result_that_cannot_be_written_changes_no_ending(tmp_path: Path) -> None:
    project = make(tmp_path, "postgres://u:p@127.0.0.1:1/d")

    ended, facts = run(project, "wait", DB_WAIT_SECONDS="0", POSTDO_RESULT="/nowhere/facts")

    assert ended.code != 0
    assert facts == {}
    assert "warning: the result cannot be written to /nowhere/facts" in ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_is_told_and_a_kill_leaves_no_result(
    tmp_path: Path, number: signal.Signals
) -> None:
    result = tmp_path / "facts"
    project = make(tmp_path, "postgres://u:p@127.0.0.1:1/d")
    process = project.start("prepare", environment={"POSTDO_RESULT": str(result)})
    assert process.stdout is not None
    assert "waiting" in process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=30)

    if number is signal.SIGKILL:
        assert not result.exists()
    else:
        assert "outcome=stopped\nexit=143\n" in result.read_text()


def test_the_document_names_every_fact() -> None:
    code = "\n".join(path.read_text() for path in (REPOSITORY / "postdo").rglob("*.py"))
    ending = (REPOSITORY / "postdo/__main__.py").read_text().partition("def _write_result")[2]
    named = set(re.findall(r'facts\.add\(\s*"(\w+)"', code))
    named |= set(re.findall(r'\("(\w+)", ', ending.partition("\ndef ")[0]))
    whole = (REPOSITORY / "docs/result-file.md").read_text()
    document = whole.partition("`postdo_backup` writes one too")[0]

    rows = [line.split(" | ")[0] for line in document.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == named
