"""The C++ normalizers and pre-tokenizers make of texts what those of the `tokenizers` library make."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from support.texts.charsmap import charsmap
from support.texts.multilingual_texts import multilingual_texts
from support.texts.tokenizer_parts import PATTERNS, ask, compare

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, normalizers  # noqa: E402

MAP = {
    "a": "X", "ab": "never", "é": "e\u0301", "e\u0301": "é", "\u3000": " ", "\t": " ", "\u200b": "", "\u00ad": "",
    "ﬁ": "fi", "½": "1⁄2", "\u00a9": "(c)", "\u0915": "K", "가": "ga", "\ufdfa": "صلى الله عليه وسلم", "\U0001f44d": "+1",
    "\u0300": "", "\r\n": "\n", "\u0600": "#", "ｶﾞ": "ガ", "Ａ": "A", "\u1100": "g",
}  # fmt: skip
PRECOMPILED = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(MAP)).decode()}


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def bert(clean: bool, chinese: bool, accents: bool | None, lower: bool) -> dict[str, Any]:
    flags = {"clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents, "lowercase": lower}
    return {"type": "BertNormalizer", **flags}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


NORMALIZERS = {
    **{name: {"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")},
    "bert-uncased": bert(True, True, None, True),
    "bert-cased": bert(True, True, None, False),
    "bert-accents": bert(False, False, True, False),
    "bert-no-accents": bert(False, True, False, True),
    "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
    "strip-left": {"type": "Strip", "strip_left": True, "strip_right": False},
    "strip-right": {"type": "Strip", "strip_left": False, "strip_right": True},
    "prepend": {"type": "Prepend", "prepend": "\u2581x"},
    "replace": replace({"String": " "}, "\u2581"),
    "replace-regex": replace({"Regex": " {2,}|\\d"}, "<n>"),
    "replace-empty": replace({"Regex": "e*"}, "-"),
    "replace-away": replace({"Regex": "\\s|\\p{P}"}, ""),
    "charsmap": PRECOMPILED,
    "llama": sequence({"type": "Prepend", "prepend": "\u2581"}, replace({"String": " "}, "\u2581")),
    "albert": sequence(
        replace({"String": "``"}, '"'), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
        PRECOMPILED, replace({"Regex": " {2,}"}, " "),
    ),
    "many": sequence(
        {"type": "Nmt"}, {"type": "NFKC"}, {"type": "Strip", "strip_left": True, "strip_right": False},
        {"type": "Prepend", "prepend": "+"}, bert(True, True, None, True), {"type": "ByteLevel"},
    ),
}  # fmt: skip


def split(pattern: dict[str, str], behavior: str, invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def metaspace(scheme: str, cut: bool = True) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}


def byte_level(space: bool, words: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": words}


def steps(*values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(values)}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PRE_TOKENIZERS = {
    **{name: {"type": name} for name in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")},
    **{f"byte-level {a} {b}": byte_level(a, b) for a in (False, True) for b in (False, True)},
    **{f"metaspace {scheme}": metaspace(scheme) for scheme in ("first", "always", "never")},
    "metaspace whole": metaspace("always", cut=False),
    **{f"split {b} {i}": split({"Regex": r"\s|[a-e]+|\p{P}"}, b, i) for b in BEHAVIORS for i in (False, True)},
    "split text": split({"String": "a."}, "MergedWithNext"),
    "split empty": split({"Regex": "a*"}, "Isolated"),
    "split empty away": split({"Regex": "a*"}, "Removed", True),
    "digits": {"type": "Digits", "individual_digits": False},
    "digit": {"type": "Digits", "individual_digits": True},
    **{f"punctuation {b}": {"type": "Punctuation", "behavior": b} for b in BEHAVIORS},
    "delimiter": {"type": "CharDelimiterSplit", "delimiter": "a"},
    "length": {"type": "FixedLength", "length": 3},
    "deepseek": steps(
        *(split({"Regex": PATTERNS[f"deepseek {name}"]}, "Isolated") for name in ("numbers", "kanji", "words")),
        byte_level(False, False),
    ),
    "llama3": steps(split({"Regex": PATTERNS["cl100k"]}, "Isolated"), byte_level(False, False)),
    "t5": steps({"type": "WhitespaceSplit"}, metaspace("first")),
    "falcon": steps(
        {"type": "Punctuation", "behavior": "Contiguous"}, byte_level(False, True), {"type": "Digits", "individual_digits": False}
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return multilingual_texts()


def whole_tokenizer(**parts: Any) -> Tokenizer:
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "post_processor": None,
        "decoder": None,
    }
    model = {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}}
    value |= {"normalizer": None, "pre_tokenizer": None, "model": model, **parts}
    return Tokenizer.from_str(json.dumps(value))


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_make_the_same_characters(cpp_build: Path, texts: list[str], name: str) -> None:
    found = ask(cpp_build, "normalizer", NORMALIZERS[name], texts)
    normalizer = whole_tokenizer(normalizer=NORMALIZERS[name]).normalizer
    compare(texts, ["".join(c for c, _, _ in row) for row in found], normalizer.normalize_str)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_know_what_each_character_stands_for(cpp_build: Path, texts: list[str], name: str) -> None:
    some = [text for text in texts[::5] if text]
    found = ask(cpp_build, "normalizer", NORMALIZERS[name], some)
    whole = whole_tokenizer(normalizer=NORMALIZERS[name], pre_tokenizer=split({"Regex": r"[\s\S]"}, "Isolated"))
    places = [[(begin, end) for _, begin, end in row] for row in found]
    compare(some, places, lambda text: whole.encode(text).offsets)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizers_make_the_same_pieces(cpp_build: Path, texts: list[str], name: str) -> None:
    found = ask(cpp_build, "pre_tokenizer", PRE_TOKENIZERS[name], texts)
    reference = whole_tokenizer(pre_tokenizer=PRE_TOKENIZERS[name]).pre_tokenizer
    compare(texts, found, lambda text: [[piece, *place] for piece, place in reference.pre_tokenize_str(text)])


def test_a_mark_in_front_is_for_the_first_word_of_a_text_alone(cpp_build: Path) -> None:
    value = steps(split({"String": "|"}, "Removed"), metaspace("first"))
    assert [piece for piece, _, _ in ask(cpp_build, "pre_tokenizer", value, ["a b|c d"])[0]] == [
        "\u2581a",
        "\u2581b",
        "c",
        "\u2581d",
    ]


def every_character() -> list[str]:
    """All that are assigned, and some that are not."""
    points = [*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200), 0xF0000, 0x10FFFF]
    return ["".join(map(chr, points[at : at + 512])) for at in range(0, len(points), 512)]


@pytest.mark.parametrize(
    "name", ["NFKD", "StripAccents", "bert-uncased", "bert-cased", pytest.param("NFKC", marks=pytest.mark.full)]
)
def test_every_character_is_normalized_alike(cpp_build: Path, name: str) -> None:
    test_normalizers_make_the_same_characters(cpp_build, every_character(), name)


@pytest.mark.parametrize("name", ["digits", "BertPreTokenizer"])
def test_every_character_is_a_digit_or_a_mark_as_there(cpp_build: Path, name: str) -> None:
    test_pre_tokenizers_make_the_same_pieces(cpp_build, every_character(), name)


@pytest.mark.parametrize("behind", ["\u0301", "\u200d\u00a9\u0301", "\u094d\u0915\u0301", "\uac00\u11a8\u0301"])
def test_clusters_end_where_they_end_there(cpp_build: Path, behind: str) -> None:
    """Seen by a charsmap, which swallows the marks of a cluster of less than six bytes."""
    known = charsmap({"a": "X", "\u00a9": "Y", "\u0915": "Z", "\u0600": "#", "\u11a8": "g", "\r": "r"})
    value = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(known).decode()}
    points = [
        *range(0x3000),
        *range(0xA600, 0xABFF),
        0xAC00,
        0xAC01,
        *range(0xFE00, 0x12000),
        *range(0x1D100, 0x1D250),
        *range(0x1E000, 0x1FC00),
    ]
    points += [*range(0xD7A4, 0xD800), *range(0xE0000, 0xE1000)]
    texts = ["".join(f"a{chr(point)}{behind} " for point in points[at : at + 256]) for at in range(0, len(points), 256)]
    found = ask(cpp_build, "normalizer", value, texts)
    compare(texts, ["".join(c for c, _, _ in row) for row in found], normalizers.Precompiled(known).normalize_str)
