"""The C++ tokenizer gives the tokens and texts of the `tokenizers` library: for nine kinds that models have, and drawn ones."""

from __future__ import annotations

import json
import os
import random
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

tokenizers = pytest.importorskip("tokenizers")

from support.texts.charsmap import charsmap  # noqa: E402
from support.texts.drawn_tokenizers import drawn_text, drawn_tokenizer, tokens_of  # noqa: E402
from support.texts.multilingual_texts import multilingual_texts  # noqa: E402
from support.texts.trained_tokenizers import KINDS, drawn_rows  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

Tool = Callable[..., Any]
#: What is looked for before a text is split, beside spaces that it may take along.
ADDED = [
    "def", "you ", "  ", "\n\n", "[INST]", " [INST] ", "<s>", "</s>", "<mask>", " <mask>", "<|im_end|>", "<tool_call>",
    "<|endoftext|>", "<extra_id_3>", "  <extra_id_4>  ", "[MASK]", "a", "é", "undefined", "<0x41>",
]  # fmt: skip


@cache
def all_texts() -> list[str]:
    draw = random.Random(7)
    return [*multilingual_texts(), *("".join(draw.choices(ADDED, k=9)) for _ in range(200))]


def trained(kind: str) -> Tokenizer:
    charsmap = nmt_nfkc() if kind == "xlm_roberta" else None
    made = KINDS[kind](multilingual_texts(0), *([charsmap] if charsmap else []))
    return Tokenizer.from_str(made.to_str())


def nmt_nfkc() -> bytes:
    """A map of characters as SentencePiece puts it into its models: the normal form KC, without controls, spaces alike."""
    characters = {character for text in all_texts() for character in text} - {"\0"}
    composed = {character: unicodedata.normalize("NFKC", character) for character in characters}
    changed = {character: found for character, found in composed.items() if character != found}
    spaces = dict.fromkeys("\t\n\r\u200b\u2028\u2029\ufeff\ufffd", " ")
    return charsmap(changed | dict.fromkeys(map(chr, range(1, 9)), "") | spaces)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_24_languages_get_the_same_tokens_and_become_the_same_texts(generate_tool: Tool, kind: str) -> None:
    reference = trained(kind)
    texts = all_texts()
    assert len(texts) >= 1400 + 200
    wanted = [encoding.ids for encoding in reference.encode_batch(texts)]
    pairs = list(zip(texts[::20], texts[1::20], strict=False))
    rows = [*wanted, *drawn_rows(reference, 600, random.Random(kind))]
    asked = {"tokenizer": json.loads(reference.to_str()), "texts": texts, "pairs": pairs, "rows": rows}
    (found,) = generate_tool([asked], "tokenizers")
    assert isinstance(found, dict), found
    differ = [text for text, one, other in zip(texts, wanted, found["tokens"], strict=True) if one != other]
    assert not differ, f"{len(differ)} of {len(texts)}: {differ[0]!a}"
    encoded = [reference.encode(*pair) for pair in pairs]
    assert found["pairs"] == [[encoding.ids, encoding.type_ids] for encoding in encoded]
    assert found["texts"] == reference.decode_batch(rows)
    assert_beginnings(found, least=0.8)


def test_drawn_tokenizers_give_the_same_tokens_and_texts(generate_tool: Tool) -> None:
    draw = random.Random(os.urandom(4) if os.environ.get("ATTN_TEST_ALL") else 5)
    asked = []
    for _ in range(300):
        value = drawn_tokenizer(draw)
        tokens = tokens_of(value["model"])
        words = [*tokens, *(token["content"] for token in value["added_tokens"] for _ in range(2))]
        ids = [*tokens.values(), *(token["id"] for token in value["added_tokens"])]
        rows = [[draw.choice([*ids, 999]) for _ in range(draw.randrange(9))] for _ in range(10)]
        texts = [drawn_text(draw, words) for _ in range(10)]
        asked.append({"tokenizer": value, "texts": texts, "pairs": [texts[:2], texts[2:4]], "rows": rows})
    count = 0
    for each, found in zip(asked, generate_tool(asked, "tokenizers"), strict=True):
        reference = Tokenizer.from_str(json.dumps(each["tokenizer"]))
        assert isinstance(found, dict), (found, each["tokenizer"])
        for text, other in zip(each["texts"], found["tokens"], strict=True):
            wanted = told(reference.encode, text)
            if wanted is None:
                continue  # of no answer there is none to hold to; a panic for some added tokens side by side
            assert other == wanted.ids, (text, each["tokenizer"])
            count += 1
        for pair, other in zip(each["pairs"], found["pairs"], strict=True):
            if encoding := told(reference.encode, *pair):
                assert other == [encoding.ids, encoding.type_ids], (pair, each["tokenizer"])
        for row, other in zip(each["rows"], found["texts"], strict=True):
            assert other == reference.decode(row), (row, each["tokenizer"])
        assert_beginnings(found, least=0.0)
    assert count > 2500


def told(encode: Callable[..., Any], *texts: str) -> Any:
    try:
        return encode(*texts)
    except BaseException as error:  # a panic is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return None


def assert_beginnings(found: dict[str, Any], least: float) -> None:
    """Each beginning of a row is told as the beginning of its text, and never less than before; `least` of it early."""
    early = 0
    for text, beginnings in zip(found["texts"], found["beginnings"], strict=True):
        before = ""
        for beginning in beginnings:
            assert beginning.startswith(before) and text.startswith(beginning), (text, beginnings)
            before = beginning
        early += len(before)
    assert early >= least * sum(map(len, found["texts"]))
