"""Every command that a message or a document names can be typed as it stands there."""

from __future__ import annotations

import os
import re

from postdo.__main__ import _parser

from .machine import PROJECT, Clone

SOURCES = (
    *("lib", "commands", "postdo", "postdo_serving", "image", "db", "proxy", "pgadmin", "service"),
    *("embedded_postgres", "docs", "web", "create-super-user.py", "entrypoint.sh"),
    *("README.md", "CONTRIBUTING.md", ".env.example", "run.sh"),
)
ENDINGS = (".sh", ".awk", ".py", ".md", ".example", ".service", "")
# A mode, a command and options; what follows may be the rest of a sentence.
TYPED = re.compile(
    r"sh run\.sh(?P<mode> -[0-2]| MODE| %s| \$\(mode_flag \S+\)| \{flags?[^}]*\}| \[[-0-2|]+\])?"
    r"(?: (?P<command>[a-z][a-z-]+))?(?P<options>(?: --[a-z-]+)*)"
)
# What a message of postdo names: `postdo COMMAND`, and in the kit `sh run.sh COMMAND`.
OURS = re.compile(
    r"(?:\.postdo\(f?\"|\{postdo\} |\{COMMAND\} )(?P<command>[a-z]+)(?P<options>(?: --[a-z]+)*)"
)
# A start has its options without a command.
STARTS = {"-0": "production", "-1": "development", "-2": "local"}


NEWEST = """
. "$ROOT/commands/restore.sh"
main() { MODE=prod; newest_backup; printf ' '; MODE=dev; newest_backup; }
"""


def test_the_backup_that_a_restore_would_take_is_named(dash_clone: Clone) -> None:
    dash_clone.add_command("trial", NEWEST)
    assert dash_clone.run("trial").assert_ok().out == "NAME NAME"

    folder = dash_clone.root / "backups"
    folder.mkdir(exist_ok=True)
    names = ("shop-dev-1", "shop-prod-1", "shop-1-before", "shop-development-2.dump", "x.dump.part")
    for at, name in enumerate(names):
        (folder / name).touch()
        os.utime(folder / name, (at, at))

    assert dash_clone.run("trial").assert_ok().out == "shop-1-before shop-development-2.dump"


def named(what: re.Pattern[str]) -> dict[tuple[str, str, tuple[str, ...]], str]:
    """Mode, command and options of each that is named, with a file that does."""
    found = {}
    for name in SOURCES:
        top = PROJECT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.suffix in ENDINGS and path.is_file():
                for one in what.finditer(path.read_text(errors="replace")):
                    parts = {"mode": "", "command": "", **one.groupdict("")}
                    key = (parts["mode"].strip(), parts["command"], tuple(parts["options"].split()))
                    found[key] = str(path.relative_to(PROJECT))
    return found


def test_every_command_of_run_sh_that_is_named_can_be_typed() -> None:
    usages = {
        path.stem: re.sub(r"\n(?!#).*", "", path.read_text(), flags=re.DOTALL)
        for path in (PROJECT / "commands").glob("*.sh")
    }
    found = named(TYPED)
    assert len(found) > 50
    for (mode, command, options), place in found.items():
        usage = usages.get(command or STARTS.get(mode, "help"))
        said = f"{place} names: sh run.sh {mode} {command} {' '.join(options)}"
        assert usage, f"{said}: there is no such command"
        for option in options:
            assert option in usage, f"{said}: its usage has no {option}"
        if command and mode in STARTS:
            allowed = re.findall(r"sh run\.sh (\[?[-0-2|]+\]?)", usage)
            assert any(mode in one for one in allowed), f"{said}: not in this mode"


def test_every_command_of_postdo_that_is_named_can_be_typed_with_and_without_the_kit() -> None:
    found = named(OURS)
    assert len(found) > 2
    for (_, command, options), place in found.items():
        asked = [command, *(word for option in options for word in (option, "shop.0001_initial"))]
        _parser().parse_args(asked)  # exits where it does not understand
        assert (PROJECT / "commands" / f"{command}.sh").exists(), f"{place}: no sh run.sh {command}"
