"""Pairs of texts, types of tokens, models without a mask, texts that are too long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BundleError, InputError
from attn_runtime.preprocess import Text, open_text
from support.texts.small_text_models import TEXT, WORDS, pooled, table


@pytest.fixture
def text(tmp_path: Path) -> Text:
    return open_text(Bundle.open(pooled(tmp_path / "p.attn", table(2), types=True)))


def words(tokens: np.ndarray) -> str:
    return " ".join(WORDS[token] for token in tokens)


def test_a_pair_has_types_and_tells_which_text_a_token_is_of(text: Text) -> None:
    found = text.encoded("Where ?", "in Paris .")
    assert words(found.tokens) == "[CLS] where ? [SEP] in paris . [SEP]"
    assert found.types.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and found.types.dtype == np.int64
    assert found.texts == (None, 0, 0, None, 1, 1, 1, None)
    assert found.spans[5] == (3, 8)


def test_a_batch_has_every_input_padded_at_the_end(text: Text) -> None:
    made = text.batch([text.encoded("who"), text.encoded("who ?", "anna")])
    assert list(made) == ["input_ids", "attention_mask", "token_type_ids"]
    assert [words(row) for row in made["input_ids"]] == [
        "[CLS] who [SEP] [PAD] [PAD] [PAD]",
        "[CLS] who ? [SEP] anna [SEP]",
    ]
    assert made["attention_mask"].tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    assert made["token_type_ids"].tolist() == [[0] * 6, [0, 0, 0, 0, 1, 1]]
    assert made["token_type_ids"].dtype == np.int64


def test_a_model_without_a_mask_takes_texts_of_one_length_alone(tmp_path: Path) -> None:
    text = open_text(Bundle.open(pooled(tmp_path / "p.attn", table(2), mask=False)))
    assert text.mask is None and list(text.inputs(["who ?", "in york"])) == ["input_ids"]
    with pytest.raises(InputError, match=r"texts of 3 to 4 tokens: .* has no mask"):
        text.inputs(["who", "who ?"])


LONG = "anna lives in new york and paris and york and paris ."


def test_a_text_that_is_too_long_is_refused_or_cut_where_the_asset_says(tmp_path: Path) -> None:
    for end, left in (("right", "[CLS] anna lives in [SEP]"), ("left", "[CLS] and paris . [SEP]")):
        recipe = TEXT | {"max_length": 5, "truncation": end}
        text = open_text(Bundle.open(pooled(tmp_path / f"{end}.attn", table(2), text=recipe)))
        with pytest.raises(InputError, match=r"has 14 tokens; expected 1..5"):
            text.encoded(LONG)
        found = text.encoded(LONG, truncate=True)
        assert (words(found.tokens), found.cut) == (left, 9)
        assert text.encoded("who", truncate=True).cut == 0


def test_windows_overlap_and_cover_the_second_text(text: Text) -> None:
    found = text.windows("where ?", LONG)
    assert all(len(window.tokens) <= 12 and words(window.tokens).startswith("[CLS] where ? [SEP]") for window in found)
    spans = [[span for span, of in zip(w.spans, w.texts, strict=True) if of == 1] for w in found]
    assert len(found) > 1
    covered = {place for window in spans for begin, end in window for place in range(begin, end)}
    assert covered == {place for place, letter in enumerate(LONG) if letter != " "}
    assert set(spans[0]) & set(spans[1])
    assert len(text.windows("where ?", "in paris")) == 1
    with pytest.raises(InputError, match=r"has 11 tokens, of the 12 .*; shorten it"):
        text.windows("where ? " * 4, LONG)


@pytest.mark.parametrize("key", ["mask", "types"])
def test_an_input_that_the_graph_lacks_is_told(tmp_path: Path, key: str) -> None:
    bundle = Bundle.open(pooled(tmp_path / "p.attn", table(2), text=TEXT | {key: "nothing"}))
    with pytest.raises(BundleError, match="asset text: expected an input nothing of "):
        open_text(bundle)
