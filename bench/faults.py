"""Small faults in a source, one at a time: what `python3 -m bench mutants` puts in.

A fault in Python is one in the body of a function: a comparison, a condition, a number, what is
returned, a statement that is left out. Named numbers of a module are left as they are: a test that
notices 5 s instead of 6 s repeats the number. A fault in shell or awk is one of a line, or the line
left out. Texts are left as they are; other tests read those.
"""

from __future__ import annotations

import ast
import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

SHOWN = 110  # characters of each side

# By what a comparison is replaced: the boundary moved, and turned around.
FLIPS = {
    "==": ("!=",),
    "!=": ("==",),
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "in": ("not in",),
    "not in": ("in",),
    "is": ("is not",),
    "is not": ("is",),
    "and": ("or",),
    "or": ("and",),
    "-": ("+",),
    "&": ("|",),
    "|": ("&",),
}
OPERATOR = re.compile(r"not in\b|is not\b|\b(?:in|is|and|or)\b|[=!<>]=|[<>&|-]")
REMOVED = (ast.Raise, ast.AugAssign, ast.Continue, ast.Break, ast.Delete)

# What is replaced in a line of shell, by what: && by ||, a test turned around, a status changed.
START = r"(^\s*|&& |\|\| |if |while |until )"
IN_A_LINE = (
    (re.compile(r"&&"), "||"),
    (re.compile(r"\|\|"), "&&"),
    (re.compile(START + r"\[ (?!! )"), r"\1[ ! "),
    (re.compile(START + r"\[ ! "), r"\1[ "),
    (re.compile(START + r"! "), r"\1"),
    (re.compile(r"^(\s*(?:el)?if |\s*while |\s*until )(?![!\[])"), r"\1! "),
    (re.compile(r" -lt "), " -le "),
    (re.compile(r" -le "), " -lt "),
    (re.compile(r" -gt "), " -ge "),
    (re.compile(r" -ge "), " -gt "),
    (re.compile(r"\b(return|exit) 0\b"), r"\1 1"),
    (re.compile(r"\b(return|exit) [1-9]\d*\b"), r"\1 0"),
    (re.compile(r'(?<=") \d(?= ;;$|$)'), ""),  # the status of `fail`
    (re.compile(r"^(\s*[^\s()]+(?: \| [^\s()]+)*\)) .+ ;;$"), r"\1 : ;;"),
)
# The same for awk; also a number, and what follows an `if` left out.
IN_AWK = (
    (re.compile(r"&&"), "||"),
    (re.compile(r"\|\|"), "&&"),
    (re.compile(r" == "), " != "),
    (re.compile(r" != "), " == "),
    (re.compile(r" < "), " <= "),
    (re.compile(r" <= "), " < "),
    (re.compile(r" > "), " >= "),
    (re.compile(r" >= "), " > "),
    (re.compile(r" ~ "), " !~ "),
    (re.compile(r" !~ "), " ~ "),
    (re.compile(r" - "), " + "),
    (re.compile(r" \+ (?!0\b)"), " - "),
    (re.compile(r"(?<![\w.])!(?=[\w(])"), ""),
    (re.compile(r"(?<=\) )(?:next|continue|return\b[^;}]*|break)"), ";"),
    (re.compile(r"(?<=\) )[a-z_]+(?: [-+*/]?= |\[|\().*$"), ";"),
)
NUMBER_IN_AWK = re.compile(r"(?<![\w.$])\d+(?![\w.])")
IF_IN_AWK = re.compile(r"\bif \(")
STATEMENT_IN_AWK = re.compile(r" +(?!if |else|for |while |return\b)[a-z_][^{}]*$")
# What is no code: texts, patterns, and what follows a number sign.
NO_CODE = re.compile(r'"(?:\\.|[^"\\])*"|(?<=[~(!,] |.[(!])/(?:\\.|[^/\\])+/|(?:^|\s)#.*$')
NAMED_NUMBER = re.compile(r"\s*(?:[A-Z_]+|limit\[\"\w+\"\]) = \d")
CONTINUED = ("\\", "&&", "||", "|")
NO_COMMAND = re.compile(
    r"\s*(#|$|if |elif |else|fi|for |while |until |do|done|case |esac|;;|[{}]|:$)"
)


@dataclass(frozen=True)
class Fault:
    """``old`` and ``new``: the lines that differ, as one; ``text``: of the whole file."""

    path: str
    line: int
    old: str
    new: str
    text: str

    @property
    def name(self) -> str:
        """The same for as long as nobody changes those lines."""
        return f"{self.path}: {self.old} -> {self.new}"


def faults(path: str, source: str) -> list[Fault]:
    """All of a file, each once."""
    of = {".py": _of_python, ".awk": _of_awk}.get(Path(path).suffix, _of_shell)
    return list({fault.text: fault for fault in of(path, source)}.values())


def _of_python(path: str, source: str) -> Iterator[Fault]:
    return _Python(path, source).faults()


class _Python:
    """A source in Python. Places are counted in bytes, as `ast` does it."""

    def __init__(self, path: str, source: str) -> None:
        self._path = path
        self._data = source.encode()
        self._starts = [0, *accumulate(map(len, self._data.splitlines(keepends=True)))]

    def faults(self) -> Iterator[Fault]:
        for node in _inside_functions(ast.parse(self._data)):
            for condition in _conditions(node):
                text = self._data[self._begin(condition) : self._end(condition)].decode()
                yield self._instead(condition, f"not ({text})")
            match node:
                case ast.Compare():
                    yield from self._operators([node.left, *node.comparators])
                case ast.BoolOp():
                    yield from self._operators(node.values)
                case ast.BinOp():
                    yield from self._operators([node.left, node.right])
                case ast.UnaryOp(op=ast.Not()):
                    begin = self._begin(node)
                    yield self._fault(begin, begin + len("not "), "")
                case ast.Constant():
                    for value in _others(node.value):
                        yield self._instead(node, str(value))
                case ast.stmt():
                    for statement in _other_statements(node):
                        yield self._instead(node, statement)

    def _operators(self, operands: list[ast.expr]) -> Iterator[Fault]:
        for left, right in pairwise(operands):
            between = self._data[self._end(left) : self._begin(right)].decode()
            match = OPERATOR.search(between)
            if match:  # else it is one that has no counterpart
                at = self._end(left) + match.start()
                for new in FLIPS.get(match.group(), ()):
                    yield self._fault(at, at + len(match.group()), new)

    def _instead(self, node: ast.expr | ast.stmt, new: str) -> Fault:
        return self._fault(self._begin(node), self._end(node), new)

    def _fault(self, begin: int, end: int, new: str) -> Fault:
        before, after = self._data[:begin], self._data[end:]
        first = before.rfind(b"\n") + 1
        last = self._data.find(b"\n", end)
        return Fault(
            self._path,
            before.count(b"\n") + 1,
            _one(self._data[first:last].decode()),
            _one((before[first:] + new.encode() + self._data[end:last]).decode()),
            (before + new.encode() + after).decode(),
        )

    def _begin(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)


def _others(value: object) -> tuple[object, ...]:
    if isinstance(value, bool):
        return (not value,)
    return (value + 1, value - 1) if isinstance(value, int | float) else ()


def _other_statements(node: ast.stmt) -> tuple[str, ...]:
    match node:
        case ast.Return(value=None | ast.Constant(value=None | bool())):
            return ()
        case ast.Return():
            return ("return None",)
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return ("pass",)
    return ("pass",) if isinstance(node, REMOVED) else ()


def _inside_functions(tree: ast.AST, inside: bool = False) -> Iterator[ast.AST]:
    """Every node that is run with a function; no annotation, and nothing inside of a text."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "args", "decorator_list") and not isinstance(
            tree, ast.Call
        ):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr):
                continue
            if inside:
                yield node
            is_function = isinstance(node, ast.FunctionDef | ast.Lambda)
            yield from _inside_functions(node, inside or is_function)


def _conditions(node: ast.AST) -> list[ast.expr]:
    """The conditions of a statement or an expression that are no comparison and no `not`."""
    found: list[ast.expr] = []
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        found = [node.test]
    elif isinstance(node, ast.comprehension):
        found = node.ifs
    told = (ast.Compare, ast.UnaryOp, ast.Constant)
    return [one for one in found if not isinstance(one, told)]


def _of_shell(path: str, source: str) -> Iterator[Fault]:
    lines = source.splitlines()
    number = 0
    while number < len(lines):
        after = number + 1
        while lines[after - 1].endswith(CONTINUED) and after < len(lines):
            after += 1
        for at in range(number, after):
            for new in _in_a_line(lines[at]):
                yield from _if_valid(path, lines, at, at + 1, new)
        if not NO_COMMAND.match(lines[number]):
            indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
            yield from _if_valid(path, lines, number, after, f"{indent}:")
        number = after


def _in_a_line(line: str) -> Iterator[str]:
    if line.lstrip().startswith("#"):
        return
    for pattern, new in IN_A_LINE:
        for match in pattern.finditer(line):
            yield line[: match.start()] + match.expand(new) + line[match.end() :]


def _of_awk(path: str, source: str) -> Iterator[Fault]:
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if NAMED_NUMBER.match(line):
            continue
        for new in _in_awk(line):
            yield from _if_valid(path, lines, number, number + 1, new)


def _in_awk(line: str) -> Iterator[str]:
    code = NO_CODE.sub(lambda match: "\0" * len(match.group()), line)
    for pattern, new in IN_AWK:
        for match in pattern.finditer(code):
            yield line[: match.start()] + new + line[match.end() :]
    for match in NUMBER_IN_AWK.finditer(code):
        yield f"{line[: match.start()]}{int(match.group()) + 1}{line[match.end() :]}"
    for match in IF_IN_AWK.finditer(code):
        begin, end = match.end(), _closing(code, match.end())
        if not re.search(r"[<>=~]|^!", code[begin:end]):
            yield f"{line[:begin]}!({line[begin:end]}){line[end:]}"
    if STATEMENT_IN_AWK.match(code):
        yield line[: len(line) - len(line.lstrip())] + ";"


def _closing(code: str, begin: int) -> int:
    """Where the parenthesis is closed that was opened before this place."""
    depth = 1
    for place, character in enumerate(code[begin:], begin):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            return place
    return len(code)


def _if_valid(path: str, lines: list[str], first: int, last: int, new: str) -> Iterator[Fault]:
    text = "\n".join([*lines[:first], new, *lines[last:]]) + "\n"
    # An awk cannot only read, but has nothing to do without input. Functions of other files are
    # missing then.
    command, given = (["awk", text], "") if path.endswith(".awk") else (["sh", "-n"], text)
    read = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if read.returncode == 0 or "never defined" in read.stderr:
        yield Fault(path, first + 1, _one("\n".join(lines[first:last])), _one(new), text)


def _one(lines: str) -> str:
    return textwrap.shorten(lines, SHOWN, placeholder=" ...")
