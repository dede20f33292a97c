"""What an error is about: the part of a message that both languages share (docs/decisions/0011-status-and-place.md)."""

from __future__ import annotations

import re

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_FILE = r"[\w+-][\w.+-]*\.[\w.+-]+"
#: Parts of a message, with ": " between them, that are a place and nothing else: a bundle, a file, a path into a manifest.
_WHOLE = re.compile(
    rf"(?:bundle|asset|recording|engine) \S+|(?:golden case|generated case|input|text|asset \w+ of) {_QUOTED}|{_FILE}"
    rf"|(?:top level|[\w-]+)(?:\.[\w-]+|\[\d+\]|\[{_QUOTED}\])*(?:, key)?"
)
#: How the part behind them begins: with the file, the tensor or the name that is at fault.
_BEGINNING = re.compile(rf"(?:tensor |graph |(?:missing|unknown) input )(?:{_QUOTED}|[\w.-]+)|{_FILE}(?= )")


def place(message: str) -> tuple[str, ...]:
    """('bundle a.attn', 'manifest.json', 'files') of 'bundle a.attn: manifest.json: files: got 1, expected object'."""
    found: list[str] = []
    for part in message.split(": "):
        if not _WHOLE.fullmatch(part):
            begins = _BEGINNING.match(part)
            return (*found, begins[0]) if begins else tuple(found)
        found.append(part)
    return tuple(found)


def is_one_line(message: str) -> bool:
    """As every message is: printable, and short enough for a terminal."""
    return message.isprintable() and len(message) < 1000
