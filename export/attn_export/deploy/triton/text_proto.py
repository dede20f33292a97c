"""Protobuf's text form, written without its library: the server reads it, and the tests parse it back with protobuf.

A message is a mapping from field name to value. Lists are repeated fields, an `Enum` is a bare word, and a `Map` becomes
entries of `key` and `value`, as text form writes protobuf's maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attn_runtime.escape import proto_string


class Enum(str):
    """A value of an enum, written without quotes."""


class Map(dict[str, Any]):
    """A protobuf map field."""


def to_text(message: Mapping[str, Any]) -> str:
    """The text form of `message`. None leaves a field out; an empty list is no field, an empty mapping an empty message."""
    return "".join(f"{line}\n" for line in _fields(message))


def _fields(message: Mapping[str, Any]) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Map):
            for key, entry in value.items():
                yield from _field(name, {"key": key, "value": entry})
        elif isinstance(value, list | tuple) and all(isinstance(one, int) for one in value):
            if value:
                yield f"{name}: [{', '.join(map(_scalar, value))}]"
        elif isinstance(value, list | tuple):
            for one in value:
                yield from _field(name, one)
        elif value is not None:
            yield from _field(name, value)


def _field(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        lines = list(_fields(value))
        if not lines:
            yield f"{name} {{ }}"
            return
        yield f"{name} {{"
        yield from (f"  {line}" for line in lines)
        yield "}"
    else:
        yield f"{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return proto_string(str(value))
