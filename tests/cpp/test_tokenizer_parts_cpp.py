"""The C++ normalizers, pre-tokenizers and regular expressions make of texts what those of the `tokenizers` library make."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.charsmap import charsmap
from support.multilingual_texts import multilingual_texts

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import Regex, Tokenizer, pre_tokenizers  # noqa: E402

Ask = Callable[[Sequence[dict[str, Any]]], list[Any]]

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#: Of models that people have, and what each kind of step knows beyond them.
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    + CONTRACTIONS
    + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    + CONTRACTIONS
    + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek numbers": r"\p{N}{1,3}",
    "deepseek kanji": "[一-龥぀-ゟ゠-ヿ]+",
    "deepseek words": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "clip": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "falcon": "[0-9][0-9][0-9]",
    "smiles": r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>|\*|\$|\%[0-9]{2}|[0-9])",
    "spaces": " {2,}",
    "space": " ",
    "look": r"(?<=\p{L})(?=\p{N})|(?<!a)b|c(?!ab|\d{1,3}x?d)",
    "anchors": r"^\w|\w$|\Aa|\z|\bfo+|o\B|.\Z",
    "empty": "a*",
    "lazy": r"a{1,3}?b|\w+?'|\s{,2}?\d{2,}|x??y",
    "repeats": r"(?:\p{N}{1,3}){2}|(ab|a)(bc|c)?x?|(?:a|b|ab)*c",
    "escapes": r"[\x41-\x{5A}é\t\-\]a-]+|\é|[^\W\d]|\p{^L}\P{N}[\S\D]|[[a-f]&&[^b-d]]|[]x]",
    "options": r"a(?i)b|k(?-i:c)|\p{Lu}[a-k]",
    "scripts": r"\p{Han}+|\p{Hiragana}+|\p{Katakana}|\p{Hangul}+|\p{Latin}+|\p{Cyrillic}+|\p{Greek}+|\p{Arabic}+|\p{Hebrew}+"
    r"|\p{Thai}+|\p{Devanagari}+|\p{Bengali}+|\p{White_Space}",
}
MAP = {
    **{"a": "X", "ab": "never", "é": "e\u0301", "e\u0301": "é", "\u3000": " ", "\t": " ", "\u200b": "", "\u00ad": ""},
    **{"ﬁ": "fi", "½": "1⁄2", "\u00a9": "(c)", "\u0915": "K", "가": "ga", "\ufdfa": "صلى الله عليه وسلم", "\U0001f44d": "+1"},
    **{"\u0300": "", "\r\n": "\n", "\u0600": "#", "ｶﾞ": "ガ", "Ａ": "A", "\u1100": "g"},
}


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
    "charsmap": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(MAP)).decode()},
    "llama": sequence({"type": "Prepend", "prepend": "\u2581"}, replace({"String": " "}, "\u2581")),
    "albert": sequence(
        replace({"String": "``"}, '"'), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(MAP)).decode()}, replace({"Regex": " {2,}"}, " "),
    ),
    "many": sequence(
        {"type": "Nmt"}, {"type": "NFKC"}, {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Prepend", "prepend": "+"},
        bert(True, True, None, True), {"type": "ByteLevel"},
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
        *(split({"Regex": PATTERNS[f"deepseek {name}"]}, "Isolated") for name in ("numbers", "kanji", "words")), byte_level(False, False)
    ),
    "llama3": steps(split({"Regex": PATTERNS["cl100k"]}, "Isolated"), byte_level(False, False)),
    "t5": steps({"type": "WhitespaceSplit"}, metaspace("first")),
    "falcon": steps({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(False, True), {"type": "Digits", "individual_digits": False}),
}  # fmt: skip


@pytest.fixture(scope="module")
def ask(cpp_build: Path) -> Ask:
    def run(asked: Sequence[dict[str, Any]]) -> list[Any]:
        tool = cpp_build / "tests" / "attn_parts_tool"
        done = subprocess.run([tool], input=json.dumps(asked).encode(), capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        answers: list[Any] = json.loads(done.stdout)
        return answers

    return run


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return multilingual_texts()


def whole_tokenizer(**parts: Any) -> Tokenizer:
    value = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
             "post_processor": None, "decoder": None, "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}}, **parts}  # fmt: skip
    return Tokenizer.from_str(json.dumps(value))


def compare(name: str, texts: Sequence[str], found: Any, expected: Callable[[str], Any]) -> None:
    assert isinstance(found, list), f"{name}: {found}"
    for text, one in zip(texts, found, strict=True):
        wanted = expected(text)
        assert one == wanted, f"{name}: {ascii(text)}"


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_make_the_same_characters(ask: Ask, texts: list[str], name: str) -> None:
    [found] = ask([{"part": "normalizer", "value": NORMALIZERS[name], "texts": texts}])
    normalizer = whole_tokenizer(normalizer=NORMALIZERS[name]).normalizer
    joined = [["".join(c for c, _, _ in row)] for row in found]
    compare(name, texts, joined, lambda text: [normalizer.normalize_str(text)])


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_know_what_each_character_stands_for(ask: Ask, texts: list[str], name: str) -> None:
    some = [text for text in texts[::5] if text]
    [found] = ask([{"part": "normalizer", "value": NORMALIZERS[name], "texts": some}])
    isolated = split({"Regex": r"[\s\S]"}, "Isolated")
    whole = whole_tokenizer(normalizer=NORMALIZERS[name], pre_tokenizer=isolated)
    places = [[[begin, end] for _, begin, end in row] for row in found]
    compare(name, some, places, lambda text: [list(place) for place in whole.encode(text).offsets])


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizers_make_the_same_pieces(ask: Ask, texts: list[str], name: str) -> None:
    value = PRE_TOKENIZERS[name]
    [found] = ask([{"part": "pre_tokenizer", "value": value, "texts": texts}])
    reference = whole_tokenizer(pre_tokenizer=value).pre_tokenizer
    compare(name, texts, found, lambda text: [[p, *place] for p, place in reference.pre_tokenize_str(text)])


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_match_the_same(ask: Ask, texts: list[str], name: str) -> None:
    draw = random.Random(name)
    letters = "aabbccdx'y  \n09.AB"
    more = ["".join(draw.choices(letters, k=draw.randrange(1, 12))) for _ in range(500)]
    [found] = ask([{"part": "regex", "value": PATTERNS[name], "texts": [*texts, *more]}])
    reference = pre_tokenizers.Split(Regex(PATTERNS[name]), "removed", invert=True)
    # What is empty can't be seen there; test_normalizers... replaces it.
    seen = [[match for match in row if match[0] != match[1]] for row in found] if isinstance(found, list) else found
    compare(name, [*texts, *more], seen, lambda text: [list(place) for _, place in reference.pre_tokenize_str(text)])
