"""Every message of the project in other words, to see that nothing but people reads them.

Of Python what is raised or handed to the console, and all prose of the modules that make sentences;
of shell what is given to `fail`, `say` and their like, and what is assigned or printed to become a
part of that. Each longer word between two spaces gets another form; what a person types (commands,
keys, options) keeps its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shell_source import end_of_expansion, end_of_text

WORD = re.compile(r"(?<= )(?!next:)[a-z]{4,}(?=[ ,:;])")
# What these are called with is said to people.
SAYING = {"say", "tell", "warn", "ask", "Problem", "Reason", "blocked"}
# Their whole text is: apart from words that name what PostgreSQL or Django says.
PROSE = (
    "plan/remedies.py",
    "plan/approval.py",
    "plan/notes.py",
    "plan/decide.py",
    "plan/refusals.py",
    "plan/kept.py",
    "plan/origins.py",
    "report/sentences.py",
    "report/text.py",
    "rehearsal/diagnose.py",
    "journal/sources_output.py",
)
NOT_SAID = {"compile", "add_argument", "search", "match", "fullmatch", "sub", "get"}
SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|ALTER|CREATE|DROP|FROM|LOCK|SET|ANALYZE|pg_\w+)\b"
)
SHELL = re.compile(
    r"\b(?:(?:say|tell|fail|fail_site|warn|usage_error|step|step_failed|try|stop_with|printf) "
    r'|\w+=)(?=")'
)
PRINTED = re.compile(r"(?<=printf ')[^']*(?=')")
# Lists of words that programs read, and lines of files: by what is assigned or printed.
OF_PROGRAMS = re.compile(r"(names|SITE_ADDRESS)=|#!|environment:")


def reword(project: Path) -> int:
    """Reword a copy of the project; how many texts have other words now."""
    changed = 0
    for path in sorted((project / "postdo").rglob("*.py")):
        text, count = _python(path.read_text(), all_of_it=path.as_posix().endswith(PROSE))
        path.write_text(text)
        changed += count
    for folder in ("commands", "lib", "db", "image"):
        for path in sorted((project / folder).glob("*.sh")):
            text, count = _shell(path.read_text())
            path.write_text(text)
            changed += count
    return changed


def other_words(text: str) -> str:
    """The same in other words."""
    return WORD.sub(lambda word: f"re{word[0]}", text)


def _python(source: str, *, all_of_it: bool) -> tuple[str, int]:
    tree = ast.parse(source)
    saying: list[ast.AST] = [node for node in ast.walk(tree) if _is_saying(node)]
    named = {one.id for node in saying for one in ast.walk(node) if isinstance(one, ast.Name)}
    saying += [node for node in tree.body if isinstance(node, ast.Assign) and _names(node) & named]
    said = {id(one): one for node in [tree] if all_of_it for one in _texts(node)}
    said |= {id(one): one for node in saying for one in _texts(node)}
    for one in said.values():
        one.value = other_words(str(one.value))
    changed = sum(1 for one in said.values() if " re" in str(one.value))
    return (ast.unparse(tree) + "\n", changed) if changed else (source, 0)


def _is_saying(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    return isinstance(node, ast.Call) and _called(node) in SAYING


def _called(node: ast.Call) -> str:
    name = node.func
    return str(name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", ""))


def _names(node: ast.Assign) -> set[str]:
    return {one.id for one in node.targets if isinstance(one, ast.Name)}


def _texts(node: ast.AST) -> Iterator[ast.Constant]:
    """The texts in it, without documentation, SQL, patterns, and values in f-strings."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if not SQL.search(node.value):
            yield node
        return
    if isinstance(node, ast.Call) and _called(node) in NOT_SAID:
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _shell(source: str) -> tuple[str, int]:
    source, changed = PRINTED.subn(
        lambda text: text[0] if OF_PROGRAMS.search(text[0]) else other_words(text[0]), source
    )
    written, end = [], 0
    for call in SHELL.finditer(source):
        if OF_PROGRAMS.search(call[0]):
            continue
        line = source[source.rfind("\n", 0, call.start()) + 1 : call.start()]
        if call.start() < end or "#" in line:  # in another's text, or in a comment
            continue
        at = call.end()
        while source[at : at + 1] == '"':
            close = end_of_text(source, at + 1)
            reworded = _outside_of_expansions(source[at + 1 : close])
            written += [source[end : at + 1], reworded]
            changed += reworded != source[at + 1 : close]
            end = close
            # A second text may follow, also on the next line.
            follows = re.match(r'"(?: | \\\n\s*)(?=")', source[close:])
            at = close + (follows.end() if follows else len(source))
    return "".join([*written, source[end:]]), changed


def _outside_of_expansions(text: str) -> str:
    parts, begin, at = [], 0, 0
    while at < len(text):
        if text.startswith(("$(", "${"), at):
            end = end_of_expansion(text, at)
            parts += [other_words(text[begin:at]), text[at:end]]
            begin = at = end
        else:
            at += 1
    return "".join([*parts, other_words(text[begin:])])
