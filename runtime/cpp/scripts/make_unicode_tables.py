"""Writes runtime/cpp/src/unicode/*.inc: what of Unicode the C++ tokenizer needs, as the `tokenizers` library has it.

    PYTHONPATH=tests python runtime/cpp/scripts/make_unicode_tables.py

That library is of four Unicode versions at once (0.23.3: 17 in lower case, 16 in patterns, 9 in normal forms and
StripAccents, 8 in what BertNormalizer and Punctuation go by), so it is asked itself, about each of a million code points.
Tests of tests/cpp/tokenizer hold the C++ reader against it. Clusters of characters come from the `regex` package, and are held
against the library as well, which has an older version than that. Takes a minute.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import regex
from support.texts.charsmap import charsmap
from tokenizers import Regex, normalizers, pre_tokenizers

ROOM = Path(__file__).parents[1] / "src/unicode"
HANGUL = range(0xAC00, 0xAC00 + 11172)  # composed by a rule
POINTS = [point for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
ALL = "".join(map(chr, POINTS))
#: In the order of `Category` in unicode/properties.h; so are the other lists in that of their enumerations.
CATEGORIES = [
    "Cn",
    "Cc",
    "Cf",
    "Co",
    "Ll",
    "Lm",
    "Lo",
    "Lt",
    "Lu",
    "Mc",
    "Me",
    "Mn",
    "Nd",
    "Nl",
    "No",
    "Pc",
    "Pd",
    "Pe",
    "Pf",
    "Pi",
    "Po",
    "Ps",
    "Sc",
    "Sk",
    "Sm",
    "So",
    "Zl",
    "Zp",
    "Zs",
]
SCRIPTS = [
    "Arabic",
    "Bengali",
    "Cyrillic",
    "Devanagari",
    "Greek",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Katakana",
    "Latin",
    "Thai",
]
CLUSTERS = ["CR", "LF", "CN", "EX", "ZWJ", "RI", "PP", "SM", "L", "V", "T", "LV", "LVT"]
FLAGS = (
    "word",
    "std_word",
    "control",
    "punctuation",
    "nonspacing",
    "mark",
    "numeric",
    "pictographic",
    "lead",
    "linker",
    "between",
)

Points = set[int]


def _at(places: Iterable[tuple[int, int]]) -> Points:
    return {POINTS[i] for begin, end in places for i in range(begin, end)}


def matched(pattern: str) -> Points:
    """What Oniguruma's one-character pattern matches."""
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True)
    return _at(place for _, place in split.pre_tokenize_str(ALL))


def kept(pieces: pre_tokenizers.PreTokenizer) -> Points:
    return _at(place for _, place in pieces.pre_tokenize_str(ALL))


def dropped(normalizer: normalizers.Normalizer, points: Iterable[int] = POINTS) -> Points:
    normalize: Callable[[str], str] = normalizer.normalize_str
    return {point for point in points if not normalize(chr(point))}


def alone(pieces: pre_tokenizers.PreTokenizer) -> Points:
    """What is a piece of its own between letters."""
    lone: Callable[[str], list[object]] = pieces.pre_tokenize_str
    return {point for point in POINTS if len(lone(f"a{chr(point)}a")) == 3}


def named(pattern: str) -> Points:
    return _at(match.span() for match in regex.finditer(f"(?:{pattern})+", ALL))


def cluster_properties() -> tuple[dict[str, Points], dict[str, Points]]:
    """(Grapheme_Cluster_Break, what the rules GB9c and GB11 ask for), as far as the library has them too.

    It is seen through a charsmap, of which it takes the first hit in a whole cluster of less than six bytes: "a" with a
    mark becomes X, and the mark is gone.
    """
    classes = {name: named(rf"\p{{GCB={name}}}") for name in CLUSTERS}
    to_x = normalizers.Precompiled(charsmap({"a": "X", "\u00a9": "X", "\u0915": "X"})).normalize_str
    classes["EX"] &= {point for point in classes["EX"] if to_x("a" + chr(point)) == "X"}
    classes["SM"] &= {point for point in classes["SM"] if to_x("a" + chr(point)) == "X"}
    controls = normalizers.Precompiled(charsmap({chr(point): "X" for point in classes["CN"] if point})).normalize_str
    classes["CN"] = {point for point in classes["CN"] if controls(chr(point) + "\u0301") != "X"}
    # Where the rule joins them, the last one and its mark belong to a cluster too long for that.
    ends = {"pictographic": "\u200d\u00a9\u0301", "lead": "\u094d\u0915\u0301"}
    rules = {
        name: {point for point in POINTS if to_x(chr(point) + end)[-2:] == "X\u0301"} for name, end in ends.items()
    }
    marks = classes["EX"] | classes["ZWJ"]
    rules["linker"] = {point for point in marks if to_x(f"\u0915{chr(point)}\u0915\u0301")[-2:] == "X\u0301"}
    rules["between"] = {point for point in marks if to_x(f"\u0915{chr(point)}\u094d\u0915\u0301")[-2:] == "X\u0301"}
    return classes, rules


def combining_classes() -> dict[int, int]:
    decomposed: Callable[[str], str] = normalizers.NFD().normalize_str
    known: dict[int, int] = {}
    for point in POINTS:
        order = unicodedata.combining(chr(point))
        if not order or decomposed(chr(point)) != chr(point):
            continue
        # The library knows the class where it puts two marks in order: below 230 is U+0301, above 220 U+0316.
        pair = "\u0301" + chr(point) if order < 230 else chr(point) + "\u0316"
        if decomposed(pair) != pair:
            known[point] = order
    return known


def properties() -> tuple[list[int], list[int]]:
    """(code point << 11 | record of it and those that follow it, the records)."""
    words = pre_tokenizers.Whitespace().pre_tokenize_str
    nfd: Callable[[str], str] = normalizers.NFD().normalize_str
    bert = {"handle_chinese_chars": False, "lowercase": False}
    cleaned = normalizers.BertNormalizer(clean_text=True, strip_accents=False, **bert)
    accents = normalizers.BertNormalizer(clean_text=False, strip_accents=True, **bert)
    classes, flags = cluster_properties()
    flags |= {
        "word": matched(r"\w"),
        "std_word": {point for point in POINTS if len(words(f"a{chr(point)}a")) == 1},
        "control": dropped(cleaned),
        "punctuation": alone(pre_tokenizers.Punctuation()),
        "nonspacing": dropped(accents, (point for point in POINTS if nfd(chr(point)) == chr(point))),
        "mark": dropped(normalizers.StripAccents()),
        "numeric": alone(pre_tokenizers.Digits(individual_digits=True)),
    }
    fields = [0] * (sys.maxunicode + 1)

    def put(points: Iterable[int], value: int) -> None:
        for point in points:
            fields[point] |= value

    for n, name in enumerate(CATEGORIES):
        put(matched(rf"\p{{{name}}}"), n)
    for n, name in enumerate(SCRIPTS, 1):
        put(matched(rf"\p{{{name}}}"), n << 5)
    for n, name in enumerate(CLUSTERS, 1):
        put(classes[name], n << 9)
    for n, name in enumerate(FLAGS):
        put(flags[name], 1 << (13 + n))
    for point, order in combining_classes().items():
        fields[point] |= order << 24
    records = list(dict.fromkeys(fields))
    number = {record: n for n, record in enumerate(records)}
    assert len(records) < 1 << 11, len(records)
    # Surrogates are in no text: they go with what stands before them.
    starts = [p for n, p in enumerate(POINTS) if not n or fields[p] != fields[POINTS[n - 1]]]
    return [point << 11 | number[fields[point]] for point in starts], records


def lower_case() -> list[tuple[int, int, int, int]]:
    """(first, last, stride, what is added) of what becomes one other character. U+0130 becomes two, and is left to the code."""
    lower: Callable[[str], str] = normalizers.Lowercase().normalize_str
    found: list[tuple[int, int, int, int]] = []
    for point in POINTS:
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
    for point in POINTS:
        parts = unicodedata.decomposition(chr(point)).split()
        if not parts or parts[0].startswith("<") or point in HANGUL or decomposed(chr(point)) == chr(point):
            continue
        first, second = (*(int(part, 16) for part in parts), 0)[:2]
        found.append((point, first, second, bool(second) and composed(chr(first) + chr(second)) == chr(point)))
    return found


def compatible() -> tuple[list[int], str]:
    """(first << 43 | how many in a row << 32 | length of each << 24 | where in the text, that text) of NFKD beyond NFD."""
    decomposed: Callable[[str], str] = normalizers.NFD().normalize_str
    further: Callable[[str], str] = normalizers.NFKD().normalize_str
    ranges: list[list[int]] = []
    text = ""
    for point in POINTS:
        made = further(chr(point))
        if made == decomposed(chr(point)):
            continue
        assert max(made) <= "\uffff" and len(made) < 256, hex(point)
        if ranges and sum(ranges[-1][:2]) == point and ranges[-1][2] == len(made):
            ranges[-1][1] += 1
        else:
            ranges.append([point, 1, len(made), len(text)])
        text += made
    return [first << 43 | count << 32 | length << 24 | at for first, count, length, at in ranges], text


def written(name: str, kind: str, rows: Iterable[str]) -> str:
    lines, line = [f"constexpr {kind} {name}[] = {{"], "   "
    for row in rows:
        if len(line) + len(row) > 118:
            lines.append(line)
            line = "   "
        line += f" {row},"
    return "\n".join([*lines, line, "};", ""])


def write(name: str, *parts: str) -> None:
    head = "// Written by runtime/cpp/scripts/make_unicode_tables.py: what the `tokenizers` library does to single characters.\n"
    (ROOM / name).write_text("\n".join([head, *parts]))


def main() -> None:
    ranges, records = properties()
    further, text = compatible()
    lower, steps = lower_case(), decompositions()
    write(
        "properties.inc",
        "// From a character on << 11, its record.",
        written("properties", "uint32_t", (f"{each:#x}" for each in ranges)),
        "// Category, script << 5, cluster class << 9, flags << 13, combining class << 24.",
        written("records", "uint32_t", (f"{each:#x}" for each in records)),
    )
    write(
        "normal_forms.inc",
        "// First, last, stride, what is added.",
        written("lower_cases", "LowerCase", (f"{{{a:#x}, {b:#x}, {c}, {d}}}" for a, b, c, d in lower)),
        "// 21 bits each of a character and of what it is decomposed to, and 1 where these are composed again.",
        written("decompositions", "uint64_t", (f"{a << 43 | b << 22 | c << 1 | d:#x}" for a, b, c, d in steps)),
        "// First << 43, how many in a row << 32, the length of each << 24, where it stands in compatible_text.",
        written("compatible", "uint64_t", (f"{each:#x}" for each in further)),
        written("compatible_text", "uint16_t", (f"{ord(each):#x}" for each in text)),
    )
    size = 4 * (len(ranges) + len(records)) + 16 * len(lower) + 8 * (len(steps) + len(further)) + 2 * len(text)
    print(f"{len(ranges)} ranges, {len(records)} records, {len(steps)} + {len(further)} decompositions: {size} bytes")


if __name__ == "__main__":
    main()
