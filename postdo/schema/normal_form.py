"""Definitions in the form that they keep when they are dumped and restored.

PostgreSQL shows an expression as it was first understood, and understands its own text a little
differently. Seen with 14 to 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Written ``status IN ('new', 'paid')`` on a varchar, a condition is shown in the first form, and
# in the second one once it was dumped and restored.
_ITEM = r"(?:'(?:[^']|'')*'|NULL|\((?:'(?:[^']|'')*'|[^'()])*\))::character varying"
_CAST_ITEM = re.compile(_ITEM)
_CAST_ARRAY = re.compile(rf"\(ARRAY\[({_ITEM}(?:, {_ITEM})*)\]\)::text\[\]")

# Quoted text as a whole, and each parenthesis.
_TOKENS = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|[()])""")
# ``BETWEEN`` is shown as an AND in parentheses. Where that is the first part of another AND, the
# parser takes the two for one (``makeAndExpr`` in gram.y, and the same for OR).
_CHAINED = re.compile(r"\(\(.*\) (?:AND|OR) ", re.DOTALL)
_WORDS = (" AND ", " OR ")


def normal(definition: str) -> str:
    """The definition as it is shown after it was dumped and restored."""
    if "])::text[]" in definition:
        definition = _CAST_ARRAY.sub(
            lambda found: "ARRAY[" + _CAST_ITEM.sub(r"(\g<0>)::text", found.group(1)) + "]",
            definition,
        )
    return _flattened(definition) if _CHAINED.search(definition) else definition


@dataclass
class _Group:
    """What stands between two parentheses: text, quoted text, and groups."""

    parts: list[str | _Group] = field(default_factory=list)

    @property
    def word(self) -> str:
        """AND or OR, if that is what its parts are joined by; it is always only one of them."""
        plain = [one for one in self.parts if isinstance(one, str) and one[0] not in "'\""]
        return next((word for word in _WORDS if any(word in text for text in plain)), "")

    def pieces(self) -> Iterator[str]:
        """Its text, without the parentheses around it."""
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield "("
                yield from part.pieces()
                yield ")"


def _flattened(definition: str) -> str:
    whole = _Group()
    stack = [whole]
    for token in filter(None, _TOKENS.split(definition)):
        if token == "(":  # noqa: S105  a parenthesis
            stack.append(_Group())
        elif token == ")" and len(stack) > 1:  # noqa: S105
            group = stack.pop()
            stack[-1].parts.append(_joined(group))
        else:
            stack[-1].parts.append(token)
    return "".join(whole.pieces()) if len(stack) == 1 else definition


def _joined(group: _Group) -> _Group:
    """The same with its first part taken in, if both are joined by the same word."""
    first, rest = group.parts[0] if group.parts else "", group.parts[1:]
    if not isinstance(first, _Group) or not first.word:
        return group
    follows = rest[0] if rest else ""
    if not (isinstance(follows, str) and follows.startswith(first.word)):
        return group
    return _Group([*first.parts, *rest])
