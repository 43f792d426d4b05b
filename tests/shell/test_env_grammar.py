"""One .env, three readers: what run.sh reads from it is what Compose and python-dotenv read."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .machine import PROJECT, Clone, Toolbox

DOTENV_AWK = PROJECT / "lib" / "dotenv.awk"
COMPOSE_FILE = "services: {x: {image: none, env_file: [own.env]}}\n"

# Texts in which a reader could go wrong, and plain ones between them.
PIECES = st.sampled_from(
    [*"ab1=é:/@-_.,!*()[]{}<>|&;~`?%+^€", " ", "\t", "#", "'", '"', "$", "\\", " #", "$$", "${a}"]
)
TEXT = st.lists(PIECES, max_size=8).map("".join)
VALUE = st.one_of(
    TEXT,
    TEXT.map(lambda text: f"'{text}'"),
    TEXT.map(lambda text: f'"{text}"'),
    st.tuples(st.sampled_from(["", " ", "\t"]), TEXT, st.sampled_from([" ", " # c", "\t#c"])).map(
        "".join
    ),
    st.tuples(TEXT.map(lambda text: f"'{text}'"), st.sampled_from([" ", " # c", "#c"])).map(
        "".join
    ),
)
LINE = st.tuples(st.sampled_from(["", "export ", "  ", "export\t"]), VALUE)


@pytest.fixture(scope="module")
def awks(toolbox: Toolbox) -> list[list[str]]:
    """Every awk of this machine, as the beginning of a command line."""
    return [[str(program), "-f", str(DOTENV_AWK)] for program in toolbox.awks().values()]


def read_by_awk(awk: list[str], text: str) -> tuple[dict[str, str], set[int]]:
    """What run.sh reads: the values, and the numbers of the lines that it refuses."""
    done = subprocess.run(awk, input=text.encode(), capture_output=True, check=True)
    values, refused = {}, set()
    for line in done.stdout.decode().splitlines():
        kind, number, name, value = line.split(" ", 3)
        assert value[0] + value[-1] == "[]"
        if kind == "key":
            values[name] = value[1:-1].replace("\1", "\n")
        else:
            refused.add(int(number))
    return values, refused


def read_by_compose(text: str) -> dict[str, str]:
    """What the containers get by env_file, according to `docker compose config`."""
    with tempfile.TemporaryDirectory(prefix="postdo-env-") as folder:
        Path(folder, "own.env").write_text(text, newline="")
        Path(folder, "compose.yml").write_text(COMPOSE_FILE)
        command = ["docker", "compose", "-f", "compose.yml", "config", "--format", "json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    environment = json.loads(done.stdout)["services"]["x"].get("environment", {})
    # config prints what could be read again as a Compose file, so it doubles each $.
    return {key: value.replace("$$", "$") for key, value in environment.items()}


def read_by_python(text: str) -> dict[str, str | None]:
    """What the settings get outside of containers."""
    with tempfile.NamedTemporaryFile("w", newline="", suffix=".env") as file:
        file.write(text)
        file.flush()
        return dict(dotenv_values(file.name, encoding="utf-8-sig"))  # as web/config/env.py


def as_file(lines: list[tuple[str, str]], end: str, last: str) -> str:
    """The lines of an .env file, a key of its own for each; the last may lack its end."""
    texts = [f"{before}K{i}={value}" for i, (before, value) in enumerate(lines)]
    return end.join(texts) + last


ENDS = {"lines": st.lists(LINE, min_size=1, max_size=40), "end": st.sampled_from(["\n", "\r\n"])}
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def accepted(awk: list[str], text: str) -> tuple[str, dict[str, str]]:
    """The file without the lines that run.sh refuses, and what it reads from the others."""
    _, refused = read_by_awk(awk, text)
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    kept = "".join(line for number, line in enumerate(lines, 1) if number not in refused)
    values, still_refused = read_by_awk(awk, kept)
    assert not still_refused
    return kept, values


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(**ENDS, last=st.sampled_from(["", "\n", "\r\n"]))
def test_what_run_sh_reads_is_what_python_dotenv_reads(
    awks: list[list[str]], lines: list[tuple[str, str]], end: str, last: str
) -> None:
    text, values = accepted(awks[0], as_file(lines, end, last))
    assert read_by_python(text) == values


@settings(max_examples=10, deadline=None, suppress_health_check=QUIET)
@given(**ENDS, last=st.sampled_from(["", "\n", "\r\n"]))
def test_what_run_sh_reads_is_what_compose_reads(
    awks: list[list[str]], has_compose: None, lines: list[tuple[str, str]], end: str, last: str
) -> None:
    text, values = accepted(awks[0], as_file(lines, end, last))
    assert read_by_compose(text) == values


@settings(max_examples=20, deadline=None, suppress_health_check=QUIET)
@given(**ENDS)
def test_every_awk_reads_the_same(
    awks: list[list[str]], lines: list[tuple[str, str]], end: str
) -> None:
    text = as_file(lines, end, end)
    if len(awks) < 2:
        pytest.skip("needs a second awk: busybox or gawk")
    first, *others = [read_by_awk(awk, text) for awk in awks]
    assert all(other == first for other in others)


CASES = {
    "a bare value": ("A=one", {"A": "one"}),
    "spaces inside, none around": ("A=one two \t", {"A": "one two"}),
    "a comment behind": ("A=one # two", {"A": "one"}),
    "a # without a space": ("A=one#two", {"A": "one#two"}),
    "single quotes": ("A='$one # \\two \"'", {"A": '$one # \\two "'}),
    "double quotes": ('A="one # it\'s"', {"A": "one # it's"}),
    "empty": ("A=\nB=''", {"A": "", "B": ""}),
    "export": ("export A=1\nexport  B=2\nexported=3", {"A": "1", "B": "2", "exported": "3"}),
    "Windows lines": ("A=1\r\n\r\n# two\r\nB='2'\r\n", {"A": "1", "B": "2"}),
    "no end of line": ("A=1\nB=2", {"A": "1", "B": "2"}),
    "comments": ("# A=1\n\n  # B=2\nC=3", {"C": "3"}),
    "the same key again": ("A=1\nB=2\nA=3", {"A": "3", "B": "2"}),
    "an equals sign": ("A=b=c==", {"A": "b=c=="}),
    "a space before the value": ("A= 1", {"A": "1"}),
    "letters of the world": ("A=é€ü", {"A": "é€ü"}),
    "a byte order mark before a comment": ("\ufeff# A=0\nA=1", {"A": "1"}),
    "a byte order mark before a key": ("\ufeffA=1\nB=2", {"A": "1", "B": "2"}),
    "a private key": (
        "A='-----BEGIN KEY-----\nab+/=#c\n  d\n\n-----END KEY-----'\nB=2",
        {"A": "-----BEGIN KEY-----\nab+/=#c\n  d\n\n-----END KEY-----", "B": "2"},
    ),
    "several lines in double quotes": (
        'A="one\nB=2\nit\'s" # c\nC=3',
        {"A": "one\nB=2\nit's", "C": "3"},
    ),
}
REFUSED = [
    "words", "A B=1", "A =1", "-A=1", "1A=1", "A", "A='open", 'A="open', "A='a'b", "A=a$b",
    'A="$a"', "A=a\\b", 'A="a\\n"', "A='a\\'b'", "A='a\\\\b'", "A='${a}'", "A=a\t#b", "A= #b",
    "A: 1",
]  # fmt: skip


@pytest.mark.parametrize(("text", "values"), CASES.values(), ids=CASES)
def test_the_readers_agree_on(
    awks: list[list[str]], has_compose: None, text: str, values: dict[str, str]
) -> None:
    for awk in awks:
        assert read_by_awk(awk, text) == (values, set())
    assert read_by_python(text) == values
    assert read_by_compose(text) == values


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_readers_could_read_in_two_ways_is_refused(
    awks: list[list[str]], line: str
) -> None:
    for awk in awks:
        assert read_by_awk(awk, f"GOOD=1\n{line}\nALSO=2\n") == ({"GOOD": "1", "ALSO": "2"}, {2})


@pytest.mark.every_shell
def test_a_shell_gets_the_value_as_it_stands_in_the_file(clone: Clone) -> None:
    clone.add_command("tell", 'main() { prepare_environment; say "[$DJANGO_SUPERUSER_PASSWORD]"; }')
    clone.first_start()
    for value in (" a b ", "$HOME `id` $(id)", '"; id; "', "*", "a\\nb", "-n", "é€", "%s%d", "]"):
        clone.set_in_env(DJANGO_SUPERUSER_PASSWORD=f"'{value}'")
        assert clone.run("tell").assert_ok().out == f"[{value}]\n"
