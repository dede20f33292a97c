"""Tokens to texts for models that take none: best path decoding of a CTC head, and answers of a writer."""

from __future__ import annotations

from typing import Any

import pytest
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.preprocess import CtcText, TokenText
from support.models.tiny_texts import tokenizer
from support.sound.small_transcribers import letters_tokenizer

RECIPE: dict[str, Any] = {"output": "logits", "blank": 0, "frame": 10, "word_delimiter": "|"}


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([2, 2, 2], "A"),
        ([2, 0, 2], "AA"),
        ([2, 2, 0, 0, 2, 3, 3, 0], "AAB"),
        ([1, 1, 2, 1, 1, 0, 1, 3, 1], "A  B"),
        ([0, 0], ""),
        ([], ""),
        ([2, 5, 2], "A<unk>A"),
    ],
)
def test_equal_tokens_in_a_row_are_one_and_blanks_are_none(frames: list[int], text: str) -> None:
    assert CtcText(RECIPE, letters_tokenizer(), "here").text(frames) == text


def test_lower_case_and_a_tokenizer_without_a_decoder_of_its_own() -> None:
    assert CtcText({**RECIPE, "lowercase": True}, letters_tokenizer(), "here").text([2, 1, 3]) == "a b"
    words = CtcText(RECIPE, tokenizer(), "here")
    assert words.text([0, 3, 3, 0, 3, 4, 0]) == "the the cat"


def test_special_tokens_are_no_part_of_a_writers_text() -> None:
    text = TokenText(tokenizer(), "here")
    assert text.decode([3, 4, 5, 1, 0]) == "the cat sat"
    assert text.decode([3, 1], special=True) == "the [END]"


def test_no_tokenizer_and_one_that_can_not_be_read() -> None:
    with pytest.raises(UsageError, match="here: writes no texts: its assets lack tokenizer.json"):
        TokenText(None, "here")
    with pytest.raises(BundleError, match="its blank is token 1, that of the tokenizer's decoder is <pad>"):
        CtcText({**RECIPE, "blank": 1}, letters_tokenizer(), "here")
    with pytest.raises(BundleError, match="here: asset tokenizer: "):
        CtcText(RECIPE, letters_tokenizer(decoder={"type": "Nothing"}), "here")
