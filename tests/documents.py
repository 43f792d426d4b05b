"""What the documents say, in pieces that a test can compare with the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
COMMENT = re.compile(r"\s+#\s.*$")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")


def text_of(path: str) -> str:
    """A file of the project; `path` is relative to its top."""
    return (PROJECT / path).read_text()


def project_files() -> list[str]:
    """Every file of the project, tracked or new but not ignored, relative to its top."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(name for name in listed.split("\0") if name and (PROJECT / name).is_file())


def blocks(text: str, language: str) -> list[str]:
    """The code blocks in that language, in order, without what indents them in a list."""
    return [
        re.sub(r"^ {3}|^ {2}", "", body, flags=re.MULTILINE)
        for found, body in FENCE.findall(text)
        if found == language
    ]


def prose(text: str) -> str:
    """The text without its code blocks."""
    return FENCE.sub("", text)


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"there is no heading {title!r}"
    return found[2]


def commands(text: str) -> list[str]:
    """Every command that the reader is told: the lines of sh blocks, and `sh run.sh ...` in prose.

    Without comments, each once, in the order in which they appear.
    """
    told = [line for block in blocks(text, "sh") for line in block.splitlines()]
    told += [span for span in CODE_SPAN.findall(prose(text)) if span.startswith("sh run.sh ")]
    return list(dict.fromkeys(COMMENT.sub("", line).strip() for line in told if line.strip()))
