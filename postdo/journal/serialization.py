"""How the journal's larger values are written: compressed, and dataclasses as JSON. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

LEVEL = 6  # zlib's own middle: 9 costs three times the time for some percent

Value = TypeVar("Value")


def pack(text: str) -> bytes:
    """Compress text for a ``bytea`` column. Bytes that were not UTF-8 (surrogateescape) survive."""
    return zlib.compress(text.encode("utf-8", "surrogateescape"), LEVEL)


def unpack(value: object) -> str:
    """Read what ``pack`` wrote, as either driver returns it. Raises ``ValueError`` if damaged."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ValueError(f"{type(value).__name__} where bytes were expected")
    try:
        return zlib.decompress(bytes(value)).decode("utf-8", "surrogateescape")
    except zlib.error as error:
        raise ValueError(f"it cannot be decompressed ({error})") from error


def to_json(value: Any) -> str:
    """JSON of a dataclass that consists of plain values, tuples, mappings and dataclasses."""
    return json.dumps(asdict(value), separators=(",", ":"))


def from_json(kind: type[Value], text: str) -> Value:
    """Read what ``to_json`` wrote as a ``kind``. Raises ``ValueError`` for anything else."""
    built: Value = _as(kind, json.loads(text))
    return built


def _as(kind: Any, value: Any) -> Any:
    """``value``, as JSON has it, as this type."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _dataclass(kind, value)
    if origin in (Union, UnionType):
        rest = [one for one in inner if one is not NoneType]
        return None if value is None and NoneType in inner else _as(rest[0], value)
    if origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[1:] == (...,) else list(inner)
        return tuple(_as(one, part) for one, part in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _as(inner[1], one) for key, one in value.items()}
    return _plain(kind, value)


def _plain(kind: Any, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind in (str, int, float, bool) and type(value) is kind:
        return value
    raise ValueError(f"{value!r:.40} is not of type {getattr(kind, '__name__', kind)}")


def _dataclass(kind: Any, value: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    unknown = set(value) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    try:
        return kind(**{name: _as(hints[name], one) for name, one in value.items()})
    except TypeError as error:  # a field without a default is missing
        raise ValueError(str(error)) from error
