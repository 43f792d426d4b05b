"""The parts of bench/ that decide; the whole of it needs Docker and wrk."""

import ast
import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from bench import __main__ as command_line
from bench import load, project, report, stacks
from bench.process import BenchError, run

WRK = """\
Running 2s test @ http://127.0.0.1:1/
  Latency Distribution
     50%   10.00ms
     99%  183.20ms
  1135 requests in 2.00s, 1.20MB read
{trouble}Requests/sec:    567.31
Transfer/sec:    612.00KB
"""


def test_rate_and_latency_are_read() -> None:
    assert load.parse(WRK.format(trouble=""), "u") == load.Load(rate=567.31, p99=183.20 * 1e-3)


@pytest.mark.parametrize(
    "trouble",
    [
        "  Non-2xx or 3xx responses: 1\n",
        "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
    ],
)
def test_a_rate_with_failed_requests_is_refused(trouble: str) -> None:
    with pytest.raises(BenchError, match=trouble.strip()):
        load.parse(WRK.format(trouble=trouble), "u")


@pytest.mark.parametrize("count", [0, 1, 23])
def test_the_history_has_as_many_migrations_as_asked_for(tmp_path: Path, count: int) -> None:
    app = tmp_path / "app"
    project.write_history(app, count)
    written = sorted(app.glob("migrations/0*.py"))
    assert len(written) == count
    for path in (*written, app / "models.py"):
        ast.parse(path.read_text(encoding="utf-8"))


def test_an_altered_field_is_altered_in_the_models_too(tmp_path: Path) -> None:
    project.write_history(tmp_path / "app", project.PER_MODEL)
    models = (tmp_path / "app" / "models.py").read_text(encoding="utf-8")
    assert "max_length=200" in models
    assert "max_length=50" not in models


def rows(kit_seconds: float, kit_rate: float) -> list[report.Row]:
    return [
        report.Row("prepare/500", "entrypoint", "s", {"tutorial": [4.0], "kit": [kit_seconds]}),
        report.Row("query/rate", "page", "/s", {"tutorial": [50.0], "kit": [kit_rate]}, True),
    ]


@pytest.mark.parametrize(
    ("kit_seconds", "kit_rate", "verdicts"),
    [(0.4, 600.0, ["met", "met"]), (0.6, 499.0, ["NOT MET", "NOT MET"])],
)
def test_an_aim_that_is_missed_is_said(
    kit_seconds: float, kit_rate: float, verdicts: list[str]
) -> None:
    aims = report.Report({}, 1, 1, rows(kit_seconds, kit_rate)).aims()
    assert [line.rpartition("; ")[2] for line in aims] == verdicts


@pytest.mark.parametrize(
    ("key", "unit", "most"),
    [("query/p99", "ms", 70), ("memory/db", "MiB", 80), ("image", "MiB", 60), ("rebuild", "s", 3)],
)
def test_an_aim_of_the_kit_alone_is_its_median(key: str, unit: str, most: int) -> None:
    for kit, said in ((most - 1.0, "met"), (most + 1.0, "NOT MET")):
        row = report.Row(key, "  of the row", unit, {"tutorial": [9.0], "kit": [kit, kit, 999.0]})
        (aim,) = report.Report({}, 1, 1, [row]).aims()
        assert aim.startswith("of the row: ")
        assert aim.endswith(f"; {said}")
        assert f"aim: under {report.figure(most, unit)}" in aim


def test_what_has_no_aim_is_not_judged() -> None:
    row = report.Row("plain/p99", "page", "ms", {"tutorial": [9.0], "kit": [999.0]})
    assert report.Report({}, 1, 1, [row]).aims() == []


def test_the_table_shows_the_median_and_the_ratio() -> None:
    row = report.Row("k", "title", "s", {"tutorial": [3.0, 1.0, 2.0], "kit": [0.5]})
    text = report.Report({}, 3, 1, [row]).as_text()
    assert "2.00 s (1.00-3.00)" in text
    assert "4 x" in text


def test_json_has_every_sample() -> None:
    samples = defaultdict(list, {"tutorial": [3.0, 1.0, 2.0], "kit": [0.5]})
    rows = [report.Row("k", "  title", "s", samples)]
    written = json.loads(json.dumps(report.Report({}, 3, 1, rows).as_json()))
    assert written["rows"][0]["samples"] == samples
    assert written["rows"][0]["ratio"] == 4.0


def test_the_kit_is_not_configured_by_the_callers_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOMAIN", "www.example.com")
    monkeypatch.setenv("SECRET_KEY", "somebody's")
    assert not {"DOMAIN", "SECRET_KEY"} & set(stacks.own_environment())


def test_a_failed_program_shows_its_last_lines() -> None:
    with pytest.raises(BenchError, match=r"status 3(.|\n)*what went wrong"):
        run(["sh", "-c", "echo what went wrong >&2; exit 3"])


def test_a_bench_that_fails_or_is_interrupted_says_so_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: list[str]) -> int:
        raise BenchError("it failed", "repeat it")

    def is_interrupted(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "end_on_signals", lambda: None)
    monkeypatch.setattr(sys, "argv", ["bench", "slow"])
    for command, status, said in (
        (fails, 1, "error: it failed\n  next: repeat it\n"),
        (is_interrupted, 130, "interrupted; everything that was made is removed\n"),
    ):
        monkeypatch.setitem(command_line.COMMANDS, "slow", command)
        assert (command_line.main(), capsys.readouterr().err) == (status, said)
