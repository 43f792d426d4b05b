"""What the text of a migration's file says, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Collection

from postdo.django_migrations.history import Name
from postdo.journal.journal import Source


def replaces(text: str) -> tuple[Name, ...]:
    """The migrations that this one replaces, if its text states them as literals."""
    return _declared(text, "replaces")


def dependencies(text: str) -> tuple[Name, ...]:
    """The migrations that this one depends on, if its text states them as literals."""
    return _declared(text, "dependencies")


def do_the_same(one: Source, other: Source) -> bool:
    """Whether two files differ only in style and in ``replaces`` and ``dependencies``.

    Django's documentation tells to edit those when a squash has been applied everywhere.
    """
    if one.checksum == other.checksum:
        return True
    work = _work(one.text)
    return bool(work) and work == _work(other.text)


def _work(text: str) -> str:
    try:
        tree = ast.parse(text.encode("utf-8", "surrogateescape"))
    except (SyntaxError, ValueError):
        return ""
    tree.body = [line for line in tree.body if not _is_aside(line)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = {one for line in tree.body for one in _imported(line, used)}
    tree.body = [line for line in tree.body if not isinstance(line, ast.Import | ast.ImportFrom)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Migration":
            body = [line for line in node.body if not (_is_link(line) or _is_aside(line))]
            node.body = [_without_annotation(line) for line in body]
    return f"{sorted(imports)} {ast.dump(tree)}"


def _is_aside(line: ast.stmt) -> bool:
    """A docstring, or an import that only says how annotations are read."""
    if isinstance(line, ast.Expr):
        return isinstance(line.value, ast.Constant)
    return isinstance(line, ast.ImportFrom) and line.module == "__future__"


def _imported(line: ast.stmt, used: Collection[str]) -> list[tuple[str, str, str]]:
    """Where each name that is used comes from; in which order and line is a matter of style."""
    if not isinstance(line, ast.Import | ast.ImportFrom):
        return []
    place = f"{'.' * line.level}{line.module or ''}" if isinstance(line, ast.ImportFrom) else ""
    names = [(place, one.name, one.asname or one.name.partition(".")[0]) for one in line.names]
    return [name for name in names if name[2] in used or name[2] == "*"]


def _without_annotation(line: ast.stmt) -> ast.stmt:
    if isinstance(line, ast.AnnAssign) and line.value is not None:
        return ast.Assign(targets=[line.target], value=line.value)
    return line


def _is_link(line: ast.stmt) -> bool:
    if not isinstance(line, ast.Assign | ast.AnnAssign):
        return False
    return _assigns(line, "replaces") or _assigns(line, "dependencies")


def _declared(text: str, attribute: str) -> tuple[Name, ...]:
    if attribute not in text:
        return ()
    try:
        tree = ast.parse(text.encode("utf-8", "surrogateescape"))
    except (SyntaxError, ValueError):
        return ()
    listed = (
        statement.value
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Migration"
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and _assigns(statement, attribute)
    )
    return tuple(
        name
        for value in listed
        if isinstance(value, ast.List | ast.Tuple)
        for name in map(_literal, value.elts)
        if name is not None
    )


def _assigns(statement: ast.Assign | ast.AnnAssign, attribute: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(one, ast.Name) and one.id == attribute for one in targets)


def _literal(node: ast.expr) -> Name | None:
    try:
        app, name = ast.literal_eval(node)
    except (ValueError, TypeError):  # such as migrations.swappable_dependency(...)
        return None
    return (app, name) if isinstance(app, str) and isinstance(name, str) else None
