"""What a user sees who asks, or who mistypes; and that every command can be asked about."""

from __future__ import annotations

import re

import pytest

from .machine import PROJECT, Clone

COMMANDS = sorted(path.stem for path in (PROJECT / "commands").glob("*.sh"))
OF_A_MODE = {"production": "-0", "development": "-1", "local": "-2"}


@pytest.mark.every_shell
def test_run_sh_alone_prints_the_modes_and_every_command(clone: Clone) -> None:
    result = clone.run().assert_ok()
    for flag in OF_A_MODE.values():
        assert f"sh run.sh {flag}  " in result.out
    for name in set(COMMANDS) - set(OF_A_MODE):
        line = re.search(rf"^  {name} +(.+)$", result.out, re.MULTILINE)
        assert line, f"help does not list {name}:\n{result}"


@pytest.mark.parametrize("arguments", [("help",), ("-h",), ("--help",)])
def test_asking_for_help_in_any_way_gives_the_same(
    dash_clone: Clone, arguments: tuple[str, ...]
) -> None:
    assert dash_clone.run(*arguments).assert_ok().out == dash_clone.run().assert_ok().out


def test_help_of_each_command_gives_its_summary_and_usage(clone: Clone) -> None:
    for name in COMMANDS:
        result = clone.run("help", name).assert_ok()
        summary, usage, *_ = result.out.splitlines()
        assert summary.endswith("."), result
        assert usage.startswith("usage: "), result
        assert "main()" not in result.out


@pytest.mark.parametrize(("name", "flag"), OF_A_MODE.items())
def test_help_of_a_mode_is_found_by_its_flag(dash_clone: Clone, name: str, flag: str) -> None:
    by_flag = dash_clone.run("help", flag).assert_ok()
    assert by_flag.out == dash_clone.run("help", name).assert_ok().out
    assert f"usage: sh run.sh {flag}" in by_flag.out


def test_help_writes_nothing(clone: Clone) -> None:
    before = clone.files()
    clone.run("help")
    clone.run("help", "-0")
    assert clone.files() == before


def test_a_mistyped_command_is_refused_with_the_nearest(clone: Clone) -> None:
    clone.run("statsu").assert_refused("unknown command 'statsu'", "help", status=2)
    assert "did you mean status?" in clone.run("-0", "statsu").err
    assert "did you mean logs?" in clone.run("help", "log").err


@pytest.mark.parametrize("name", ["../run", "Stop", "a b", "*", "lib/log", "", "stop.sh"])
def test_what_cannot_be_the_name_of_a_command_runs_no_file(dash_clone: Clone, name: str) -> None:
    if name:
        dash_clone.run(name).assert_refused(f"unknown command '{name}'", "sh run.sh help", status=2)
    dash_clone.run("help", name or "-").assert_refused("unknown command", "run.sh help", status=2)


def test_an_unknown_option_is_refused_with_the_modes(clone: Clone) -> None:
    for option in ("-3", "--production", "-", "-01"):
        result = clone.run(option).assert_refused(f"unknown option '{option}'", "help", status=2)
        assert "-0 production, -1 development and -2 local" in result.err
    assert (
        "next: read the usage: sh run.sh help\n"
        in clone.run("-9", COMMAND="something of the user's").err
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("-0", "--fast"), "unknown argument '--fast'"),
        (("-0", "--no-build", "--approve", "0123456789ab"), "--no-build cannot be combined"),
        (("-0", "--approve", "0123456789ab", "--no-build"), "--no-build cannot be combined"),
        (("-0", "--no-build", "--concurrently"), "--no-build cannot be combined"),
        (("-0", "--no-build", "now"), "unknown argument 'now'"),
        (("-0", "--approve"), "--approve needs the checksum"),
        (("-0", "--approve", ""), "--approve needs the checksum"),
        (("-0", "--approve", "--no-build"), "--approve needs the checksum"),
        (("-0", "", "--no-build"), "unknown argument ''"),
        (("-1", "--no-build"), "unknown argument '--no-build'"),
        (("-2", "--no-build"), "unknown argument '--no-build'"),
        (("status", "now"), "unknown argument 'now'"),
        (("stop", "all"), "unknown argument 'all'"),
        (("doctor", "-v"), "unknown argument '-v'"),
        (("manage",), "manage needs a command"),
        (("dump",), "dump needs a file"),
        (("dump", "data.sql"), "'data.sql' does not end in .json"),
        (("load",), "load needs one file"),
        (("load", "a.json", "b.json"), "load needs one file"),
        (("service",), "service takes one argument"),
        (("service", "start"), "unknown argument 'start': service takes install, remove or status"),
        (("-1", "service", "install"), "only production (-0) can start at boot"),
        (("lint", "web"), "unknown argument 'web'"),
        (("init", "now"), "unknown argument 'now'"),
        (("reset", "--yes"), "reset needs a mode: -1 or -2"),
        (("-0", "reset", "--yes"), "no command of this kit deletes production's data"),
    ],
)
def test_wrong_usage_is_refused_with_where_to_read_on_and_writes_nothing(
    dash_clone: Clone, arguments: tuple[str, ...], what: str
) -> None:
    before = dash_clone.files()
    dash_clone.run(*arguments).assert_refused(what, "sh run.sh help", status=2)
    assert dash_clone.files() == before


def test_every_command_has_one_main_and_does_nothing_when_it_is_loaded() -> None:
    for name in COMMANDS:
        text = (PROJECT / "commands" / f"{name}.sh").read_text()
        assert text.startswith(f"# commands/{name}.sh: "), name
        assert text.splitlines()[1].startswith("# usage: "), name
        assert len(re.findall(r"^main\(\) \{", text, re.MULTILINE)) == 1, name
        for line in _outside_functions(text):
            assert re.match(r"^(#.*|[A-Z_]+=\S*( # .*)?|)$", line), f"{name} runs {line!r} at load"


def _outside_functions(text: str) -> list[str]:
    """The lines of a script that stand in no function; here documents count as inside."""
    inside = False
    lines = []
    for line in text.splitlines():
        if re.match(r"^[a-z_]+\(\) \{", line):
            inside = not line.endswith("}")
        elif inside and line == "}":
            inside = False
        elif not inside:
            lines.append(line)
    return lines
