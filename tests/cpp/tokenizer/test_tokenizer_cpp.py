"""The C++ tokenizer gives the tokens of the `tokenizers` library, and the C++ random streams the numbers of numpy."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, normalizers  # noqa: E402

TEXTS = 2500
#: What a text is made of, beside the words of the vocabulary: what is split at, marks in any order, characters that are
#: composed or are one of several cases, spaces of all kinds, scripts without cases.
PIECES = [
    *" \t\n\u00a0\u2003\u3000\u200b\u001c.,?!'\u2019\"-_#$%\\",
    *"\u0301\u0300\u0316\u0323\u0345\u0327\u05b0\u3099\u1160\u11a8\u0f71\u0fb2",
    *"éÉŐßẞİIıſKÅΩΣςσǅᾼⅧⓐꙀᲀᲐ𐐀𞤀ﬁ½２٣",
    *"가각ᄀ\u1161日本ひらがبהא🙂\ufe0f\u200d\U000e0001\ufeff",
    *"aAeEoOuUjJ09",
    "##", "''", " . ", "n't", "e\u0301", "E\u0323\u0302",
]  # fmt: skip

Tool = Callable[..., Any]


@pytest.fixture(scope="module")
def tool(generate_tool: Tool) -> Tool:
    return generate_tool


WORDS = [
    "<a>",
    "<a><b>",
    "<",
    "é",
    "<unk>",
    "##",
    "##e",
    "a",
    "bà",
    ".a",
    "a'",
    "'",
    "n't",
    ".",
    "!!",
    "do",
    "not",
    " ",
    "! ",
]
SPLITS = {"-": "Removed", "'": "MergedWithPrevious", ".": "MergedWithNext", "!": "Contiguous", "##": "Isolated"}


def replaced(wanted: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": wanted}, "content": content}


def with_marks() -> dict[str, Any]:
    """One that no model has: every part that the reader knows, in one."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    steps = [replaced("ab", ""), {"type": "NFC"}, replaced("A", "bà "), {"type": "Lowercase"}]
    splits = [
        {"type": "Split", "pattern": {"String": mark}, "behavior": behavior, "invert": False}
        for mark, behavior in SPLITS.items()
    ]
    decoders = [
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        replaced("e", "éé"),
        {"type": "Fuse"},
        replaced("' ", "'"),
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": n, "content": word, **plain, "special": n < 2} for n, word in enumerate(WORDS[:4])],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {word: n for n, word in enumerate(WORDS)}},
    }


def of_models() -> dict[str, Any]:
    from attn_models.data import stories
    from attn_models.data.translation import text as translation_text
    from attn_models.zoo import textclassifier

    made = {"translator": translation_text.tokenizer().to_str(), "textclassifier": textclassifier.tokenizer().to_str()}
    return {**{name: json.loads(text) for name, text in made.items()}, "lm": stories.tokenizer()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokenizers")
    bare = with_marks() | {"normalizer": None, "pre_tokenizer": None, "decoder": None, "added_tokens": []}
    made = {**of_models(), "all-parts": with_marks(), "bare": bare}
    found = {name: folder / f"{name}.json" for name in made}
    for name, value in made.items():
        found[name].write_text(json.dumps(value))
    return found


NAMES = ["translator", "lm", "textclassifier", "all-parts", "bare"]


def texts_of(words: Sequence[str], seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    for _ in range(TEXTS):
        parts = []
        for _ in range(draw.randrange(1, 12)):
            part = draw.choice(PIECES) if draw.random() < 0.5 else draw.choice(words)
            parts.append(draw.choice([str, str, str.upper, str.title])(part))
        yield draw.choice(["", " "]).join(parts)


@pytest.mark.parametrize("name", NAMES)
def test_texts_get_the_same_tokens_at_the_same_places(tool: Tool, files: dict[str, Path], name: str) -> None:
    reference = Tokenizer.from_file(str(files[name]))
    texts = list(texts_of(sorted(reference.get_vocab()), NAMES.index(name)))
    wanted = [reference.encode(text) for text in texts]
    found = tool(texts, "tokenize", files[name])
    for text, one, other in zip(texts, wanted, found, strict=True):
        assert [token for token, _, _ in other] == one.ids, text
        assert [(begin, end) for _, begin, end in other] == one.offsets, text
    assert sum(len(one.ids) for one in wanted) >= TEXTS  # the texts say something


@pytest.mark.parametrize("name", NAMES)
def test_tokens_become_the_same_texts(tool: Tool, files: dict[str, Path], name: str) -> None:
    reference = Tokenizer.from_file(str(files[name]))
    draw = random.Random(NAMES.index(name))
    most = reference.get_vocab_size() + 3
    rows = [[draw.randrange(most) for _ in range(draw.randrange(8))] for _ in range(TEXTS)]
    assert tool(rows, "decode", files[name]) == [reference.decode(row) for row in rows]


def test_every_character_is_a_word_a_mark_or_a_space_as_there(tool: Tool, files: dict[str, Path]) -> None:
    reference = Tokenizer.from_file(str(files["textclassifier"]))
    for_all = list(every_character())
    found = tool(for_all, "tokenize", files["textclassifier"])
    for text, row, encoding in zip(for_all, found, reference.encode_batch(for_all), strict=True):
        assert [(begin, end) for _, begin, end in row] == encoding.offsets, ascii(text)


def test_every_character_has_the_lower_case_and_the_normal_form_that_it_has_there(tool: Tool) -> None:
    check_unicode(tool, list(every_character()))


def test_marks_come_in_the_same_order_and_are_composed_alike(tool: Tool) -> None:
    import unicodedata

    draw = random.Random(1)
    moved = [c for c in map(chr, range(sys.maxunicode + 1)) if not "\ud800" <= c < "\ue000" and not 0xAC00 <= ord(c) < 0xD7A4
             and (unicodedata.combining(c) or unicodedata.decomposition(c)[:1].isalnum())]  # fmt: skip
    moved += [chr(draw.choice([*range(0xAC00, 0xD7A4)])) for _ in range(50)] + list(
        "\u1100\u1161\u11a8\u11a7\u1112\u1175\u11c2aeI"
    )
    check_unicode(tool, ["".join(draw.choices(moved, k=draw.randrange(1, 9))) for _ in range(20_000)])


def every_character() -> Iterator[str]:
    points = [point for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    for at in range(0, len(points), 256):
        yield "".join(map(chr, points[at : at + 256]))


def check_unicode(tool: Tool, texts: list[str]) -> None:
    lower, composed = normalizers.Lowercase(), normalizers.NFC()
    for text, found in zip(texts, tool(texts, "unicode"), strict=True):
        assert found == [lower.normalize_str(text), composed.normalize_str(text)], ascii(text)


def test_seeds_draw_numpys_numbers(tool: Tool) -> None:
    draw = random.Random(2)
    seeds = [
        0,
        1,
        2**31,
        2**32 - 1,
        2**32,
        2**63 - 1,
        *(draw.randrange(2 ** draw.randrange(1, 64)) for _ in range(1000)),
    ]
    for seed, found in zip(seeds, tool(seeds, "random"), strict=True):
        assert found == np.random.Generator(np.random.PCG64(seed)).random(len(found)).tolist(), seed
