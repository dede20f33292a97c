"""Writes runtime/cpp/src/util/unicode_tables.inc: what of Unicode the C++ tokenizer needs, as the `tokenizers` library has it.

    python runtime/cpp/scripts/make_unicode_tables.py

That library is of one Unicode version in its lower-casing and its patterns, and of an older one in its normal forms, so it
is asked itself, about each of a million code points. tests/cpp/test_tokenizer_cpp.py holds the C++ reader against it.
Takes some seconds.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

TARGET = Path(__file__).parents[1] / "src/util/unicode_tables.inc"
HANGUL = range(0xAC00, 0xAC00 + 11172)  # composed by a rule


def code_points() -> Iterator[int]:
    return (point for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000)


def ranges(points: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of the points that follow on one another."""
    found: list[tuple[int, int]] = []
    for point in points:
        if found and found[-1][1] == point - 1:
            found[-1] = (found[-1][0], point)
        else:
            found.append((point, point))
    return found


def lower_case() -> list[tuple[int, int, int, int]]:
    """(first, last, stride, what is added) of what becomes one other character. U+0130 becomes two, and is left to the code."""
    lower: Callable[[str], str] = normalizers.Lowercase().normalize_str
    found: list[tuple[int, int, int, int]] = []
    for point in code_points():
        small = lower(chr(point))
        if small == chr(point) or point == 0x130:
            continue
        assert len(small) == 1, hex(point)
        delta = ord(small) - point
        if found and found[-1][3] == delta:
            first, last, stride, _ = found[-1]
            gap = point - last
            if gap in (1, 2) and (gap == stride or first == last):
                found[-1] = (first, point, gap, delta)
                continue
        found.append((point, point, 1, delta))
    return found


def decompositions() -> list[tuple[int, int, int, bool]]:
    """(point, first, second or 0, whether the two are composed to it again), one step of a canonical decomposition each."""
    composed: Callable[[str], str] = normalizers.NFC().normalize_str
    decomposed: Callable[[str], str] = normalizers.NFD().normalize_str
    found = []
    for point in code_points():
        parts = unicodedata.decomposition(chr(point)).split()
        if not parts or parts[0].startswith("<") or point in HANGUL or decomposed(chr(point)) == chr(point):
            continue
        first, second = (*(int(part, 16) for part in parts), 0)[:2]
        found.append((point, first, second, bool(second) and composed(chr(first) + chr(second)) == chr(point)))
    return found


def combining_classes() -> list[tuple[int, int, int]]:
    """(first, last, class), the class not 0."""
    decomposed: Callable[[str], str] = normalizers.NFD().normalize_str
    known: dict[int, list[int]] = {}
    for point in code_points():
        order = unicodedata.combining(chr(point))
        if not order or decomposed(chr(point)) != chr(point):
            continue
        # The library knows the class where it puts two marks in order: below 230 is U+0301, above 220 U+0316.
        pair = "\u0301" + chr(point) if order < 230 else chr(point) + "\u0316"
        if decomposed(pair) != pair:
            known.setdefault(order, []).append(point)
    return sorted((*each, order) for order, points in known.items() for each in ranges(points))


def word_characters() -> list[tuple[int, int]]:
    pieces = pre_tokenizers.Whitespace().pre_tokenize_str
    return ranges(point for point in code_points() if len(pieces(f"a{chr(point)}a")) == 1)


def written(name: str, kind: str, rows: Iterable[str]) -> str:
    lines, line = [f"constexpr {kind} {name}[] = {{"], "   "
    for row in rows:
        if len(line) + len(row) > 118:
            lines.append(line)
            line = "   "
        line += f" {row},"
    return "\n".join([*lines, line, "};", ""])


def main() -> None:
    decomposed = decompositions()
    parts = [
        "// Written by runtime/cpp/scripts/make_unicode_tables.py: what the `tokenizers` library does to single characters.\n",
        "// First, last, stride, what is added.",
        written("lower_cases", "LowerCase", (f"{{{a:#x}, {b:#x}, {c}, {d}}}" for a, b, c, d in lower_case())),
        "// 21 bits each of a character and of what it is decomposed to, and 1 where these are composed again.",
        written("decompositions", "uint64_t", (f"{a << 43 | b << 22 | c << 1 | d:#x}" for a, b, c, d in decomposed)),
        "// First, last, class.",
        written("combining_classes", "CombiningClass", (f"{{{a:#x}, {b:#x}, {c}}}" for a, b, c in combining_classes())),
        "// First, last of what \\w matches.",
        written("word_characters", "Range", (f"{{{a:#x}, {b:#x}}}" for a, b in word_characters())),
    ]
    TARGET.write_text("\n".join(parts))
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes, {len(decomposed)} decompositions")


if __name__ == "__main__":
    main()
