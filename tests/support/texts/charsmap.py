"""A precompiled_charsmap as sentencepiece writes it: a double array of byte prefixes, and the texts that they become."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_LEAF = 1 << 8
_VALUE = 1 << 31


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """The array and the texts in one, for `normalizers.Precompiled`; no key may be empty or hold U+0000."""
    texts = b"".join(each.encode() + b"\0" for each in dict.fromkeys(replacements.values()))
    starts, at = {}, 0
    for each in dict.fromkeys(replacements.values()):
        starts[each] = at
        at += len(each.encode()) + 1
    trie: dict[int, dict] = {}  # type: ignore[type-arg]
    for key, value in replacements.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = starts[value]
    units = _double_array(trie)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + texts


def _double_array(trie: dict[int, dict]) -> list[int]:  # type: ignore[type-arg]
    units: dict[int, int] = {0: 0}
    waiting = [(0, trie)]
    free = 1
    while waiting:
        place, node = waiting.pop()
        base = free
        while any(base ^ byte in units for byte in node):
            base += 1
        if len(node) > 200:
            free = base
        units[place] |= (place ^ base) << 10 | (_LEAF if 0 in node else 0)
        for byte, below in node.items():
            if byte == 0:
                units[base] = _VALUE | below
            else:
                units[base ^ byte] = byte
                waiting.append((base ^ byte, below))
    assert max(units) < 1 << 21
    return [units.get(place, 0) for place in range((max(units) | 255) + 1)]
