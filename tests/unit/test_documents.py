"""README and the other documents agree with the code: commands, paths, messages, versions."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from documents import (
    CODE_SPAN,
    FENCE,
    PROJECT,
    blocks,
    commands,
    project_files,
    prose,
    section,
    text_of,
)

README = text_of("README.md")
PORTUGUESE = text_of("README.pt-BR.md")
TROUBLESHOOTING = text_of("docs/troubleshooting.md")
README_LINES = 250  # what somebody reads before they decide; the rest is in docs/
# Written by the kit or by the user; a clean clone has none of them.
MADE = (".env", ".postdo/", "backups/", "docker-compose.override.yml")
# The project of the worked example, and the other place where requirements may be.
EXAMPLE = ("web/mysite/", "web/requirements.txt")
OF_A_MODE = {"production": "-0", "development": "-1", "local": "-2"}
KEY = r"^(# )?[A-Z][A-Z0-9_]*="
# A code span that names a file: it has a slash or a suffix of ours, and is nothing else.
PATH = re.compile(r"(?=.*/|.*\.(?:md|py|sh|txt|yml)$)[\w.][\w.-]*(?:/[\w.-]+)*/?")
# `"heading" in docs/page.md`, in a message.
QUOTED = re.compile(r'\\?"([^"\\]+)\\?" in ([\w/.-]+\.md)')
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What a reader searches for: `**`error: ... ...`**`, where an ellipsis stands for what differs.
MESSAGE = re.compile(r"\*\*`([^`]+)`\*\*")
SOURCES = ("run.sh", "lib/", "commands/", "image/", "postdo/", "embedded_postgres/")


def sources() -> dict[str, str]:
    """The code that prints messages, by path; a string that goes over two lines is joined."""
    texts = {name: text_of(name) for name in project_files() if name.startswith(SOURCES)}
    return {name: re.sub(r'"\s*\n\s*f?"', "", text) for name, text in texts.items()}


# --- The configuration ----------------------------------------------------------------------------


def test_env_example_explains_every_key_above_its_line() -> None:
    paragraphs = text_of(".env.example").split("\n\n")
    with_keys = [text for text in paragraphs if re.search(KEY, text, re.MULTILINE)]
    unexplained = [text for text in with_keys if not re.match(r"# \S.*\s", text)]

    assert len(with_keys) > 30
    assert unexplained == []


def test_the_readme_sends_its_reader_to_env_example_for_the_keys() -> None:
    assert "](.env.example)" in README
    assert not re.search(r"^\| `[A-Z][A-Z0-9_]*` \|", README, re.MULTILINE), "a second list of keys"


# --- The quick tests ------------------------------------------------------------------------------


def test_the_quick_tests_are_there_and_every_folder_without_docker_has_some() -> None:
    lines, bare = (
        [line for line in text_of(name).splitlines() if not line.startswith("#")]
        for name in ("tests/quick.txt", ".ci/machine/bare.txt")
    )

    for line in lines:
        path, _, test = line.partition("::")
        assert not test or f"\ndef {test}(" in text_of(path), line
        assert (PROJECT / path).is_file(), line
    assert {Path(line).parts[1] for line in lines} == {"unit", "shell", "hazards"}
    assert sorted(set(lines)) == sorted(lines)
    assert set(bare) < set(lines), "the shorter list for a machine that has nothing"
    assert len(set(bare)) == len(bare)


# --- The commands ---------------------------------------------------------------------------------


def test_the_readme_shows_every_command() -> None:
    used = {word for command in commands(README) for word in command.split()}
    names = {path.stem for path in (PROJECT / "commands").glob("*.sh")}

    assert {name for name in names if OF_A_MODE.get(name, name) not in used} == set()


def test_the_readme_begins_with_the_two_commands_that_a_newcomer_needs() -> None:
    first = commands(blocks_in_order(README)[0])

    assert first == ["sh run.sh -2", "sh run.sh test"]


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= README_LINES


def test_no_command_of_the_readme_has_to_be_edited_for_another_project_name() -> None:
    named = [line for line in commands(README) if re.search(r"\bpostdo-(prod|dev)\b", line)]

    assert named == []


def blocks_in_order(text: str) -> list[str]:
    """The sh blocks, each with its fence again."""
    return [f"```sh\n{block}```" for block in blocks(text, "sh")]


# --- The README in Portuguese ---------------------------------------------------------------------


def headings(text: str) -> list[int]:
    """The level of each heading, in order."""
    return [len(signs) for signs in re.findall(r"^(#+) ", prose(text), re.MULTILINE)]


def fences(text: str) -> list[tuple[str, list[str]]]:
    """Each code block: its language, and its commands without comments if it is shell."""
    found = [(language, f"```{language}\n{body}```") for language, body in FENCE.findall(text)]
    return [(language, commands(block)) for language, block in found]


def links_elsewhere(text: str) -> Counter[str]:
    """The targets of the links, but for those to a heading of the page and to the translation."""
    ours = ("#", "README")
    return Counter(link for link in LINK.findall(prose(text)) if not link.startswith(ours))


def test_the_readme_in_portuguese_is_in_step() -> None:
    """Sections, commands, links, and whatever is quoted: keys of .env, paths, options."""
    spans, translated = (Counter(CODE_SPAN.findall(prose(text))) for text in (README, PORTUGUESE))

    assert headings(PORTUGUESE) == headings(README)
    assert fences(PORTUGUESE) == fences(README)
    assert links_elsewhere(PORTUGUESE) == links_elsewhere(README)
    assert translated - spans == spans - translated, "README.pt-BR.md quotes other words"


def test_each_readme_leads_to_the_other_in_its_first_lines() -> None:
    assert "](README.pt-BR.md)" in README[:500]
    assert "](README.md)" in PORTUGUESE[:500]


# --- Links and paths ------------------------------------------------------------------------------

DOCUMENTS = [name for name in project_files() if name.endswith(".md")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(document: str) -> None:
    links = [link for link in LINK.findall(prose(text_of(document))) if "://" not in link]

    assert [link for link in links if not leads_somewhere(link, PROJECT / document)] == []


def leads_somewhere(link: str, document: Path) -> bool:
    """Whether the file of a link is there, and in it the heading that the link names."""
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    if not anchor:
        return target.exists()
    titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
    return anchor in map(anchor_of, titles)


def anchor_of(title: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", ["README.md", "README.pt-BR.md", "CONTRIBUTING.md"])
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    text = text_of(document)
    spans = {span for span in CODE_SPAN.findall(prose(text)) if PATH.fullmatch(span)}

    assert spans, "it names files"
    assert {span for span in spans if not is_there(span)} == set()


def test_each_change_of_the_table_is_made_in_a_file_that_is_there() -> None:
    table = section(text_of("CONTRIBUTING.md"), "To change something, open")
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    named = {row: CODE_SPAN.findall(row.split("|")[2]) for row in rows}

    assert len(rows) > 30
    assert [row for row, files in named.items() if not files] == []
    assert {file for files in named.values() for file in files if not is_there(file)} == set()


def is_there(path: str) -> bool:
    """Whether it is in the project, in short for something in web/, or rightly not there yet."""
    at_a_user = path.startswith((*MADE, *EXAMPLE))
    return at_a_user or any((folder / path).exists() for folder in (PROJECT, PROJECT / "web"))


def test_the_layout_names_what_there_is_and_nothing_of_the_top_is_missing() -> None:
    tree = blocks(section(text_of("CONTRIBUTING.md"), "How the code is laid out"), "text")[0]
    named = {name for line in tree.splitlines() for name in re.split(r"  +", line)[0].split(", ")}
    top = {name.split("/")[0] + ("/" if "/" in name else "") for name in project_files()}
    # Hidden ones belong to tools; the documents are named below the tree; .dev.yml and so on in it.
    understood = re.compile(r"\.|[A-Z]+($|\.)|pyproject\.toml|docker-compose\.|docs/")

    assert {name for name in named if not is_there(name)} == set()
    assert {name for name in top if name not in tree and not understood.match(name)} == set()


def test_every_decision_that_a_file_refers_to_is_written() -> None:
    missing = {
        f"{name}: {page}"
        for name in project_files()
        if not name.endswith((".png", ".ico", ".txt"))
        for page in re.findall(r"docs/decisions/[\w-]+\.md", text_of(name))
        if not (PROJECT / page).exists()
    }
    assert missing == set()


# --- Messages -------------------------------------------------------------------------------------


def messages() -> list[str]:
    """The messages that the troubleshooting is about."""
    return MESSAGE.findall(TROUBLESHOOTING)


def refusals() -> list[str]:
    """The messages of the table "What a refusal means"."""
    table = section(text_of("docs/migrations.md"), "What a refusal means")
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


@pytest.mark.parametrize("message", messages() + refusals())
def test_every_message_that_a_page_explains_is_one_that_the_code_prints(message: str) -> None:
    words = re.sub(r"^(error|warning): ", "", message)
    pieces = [piece.strip(": ") for piece in words.split("…") if piece.strip(": ")]
    assert any(len(piece) >= len("in .env is") for piece in pieces), "too little to search for"
    printed = re.compile(".{0,150}?".join(map(re.escape, pieces)))

    assert any(printed.search(text) for text in sources().values()), f"nothing prints {message!r}"


def test_the_troubleshooting_has_the_errors_that_a_user_meets_first() -> None:
    said = " ".join(messages())

    for piece in ("is taken by", "not running", "no permission", "another run.sh", "MB left"):
        assert piece in said


def test_what_a_message_or_env_says_about_a_document_is_in_it() -> None:
    texts = [*sources().values(), text_of(".env.example").replace("\n# ", " ")]
    quoted = {
        found
        for text in texts
        for found in re.findall(r'\\?"([^"\\]+)\\?" in ([\w/.-]+\.md)', text)
    }

    assert quoted, "the code refers to the documents"
    assert {found for found in quoted if not is_told(*found)} == set()


def is_told(topic: str, document: str) -> bool:
    """Whether a document has a heading of those words, or an entry that begins with them."""
    text = text_of(document)
    return bool(re.search(rf"^#+ {re.escape(topic)}$", text, re.MULTILINE)) or f"*{topic}*" in text


# --- Versions -------------------------------------------------------------------------------------


def test_the_versions_that_the_readme_asks_for_are_those_that_run_sh_asks_for() -> None:
    floors = dict(re.findall(r"^(\w+)_FLOOR=([\d.]+)$", text_of("lib/engine.sh"), re.MULTILINE))
    floors |= dict(re.findall(r"^(\w+)_FLOOR=([\d.]+)$", text_of("lib/python.sh"), re.MULTILINE))

    for name, words in (("ENGINE", "Docker Engine"), ("COMPOSE", "Compose"), ("PYTHON", "Python")):
        for text in (section(README, "The parts"), section(PORTUGUESE, "As partes")):
            assert f"{words} {floors[name]} " in text.replace("\n", " ")


def test_the_readme_updates_the_images_that_production_is_made_of() -> None:
    composed = [text_of(name) for name in ("docker-compose.yml", "docker-compose.prod.yml")]
    used = set(re.findall(r"^ +image: ([\w./-]+:[\w.-]+)$", "\n".join(composed), re.MULTILINE))
    used |= set(
        re.findall(r"^(?:FROM |ARG \w+_IMAGE=)(\S+:\S+)", text_of("Dockerfile"), re.MULTILINE)
    )

    assert set(re.findall(r"docker pull (\S+)", README)) == used
