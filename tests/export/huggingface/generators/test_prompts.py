"""Prompts come from a text in several languages where there is a tokenizer, and are drawn otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attn_export.huggingface.generators.plan import Convention, Plan
from attn_export.huggingface.generators.prompts import TEXT, prompts, special_tokens, tokens_of_assets
from attn_runtime.errors import InputError

DECODER = Plan(frozenset(), Convention())


def tokenizer() -> dict[str, Any]:
    """One id a byte, from 10 on."""
    import tokenizers
    from tokenizers.pre_tokenizers import ByteLevel

    vocabulary = {letter: 10 + n for n, letter in enumerate(sorted(ByteLevel.alphabet()))}
    reader = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    reader.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return dict(json.loads(reader.to_str()))


def test_drawn_prompts_have_several_lengths_and_another_seed_draws_others() -> None:
    make = prompts(DECODER, 97, 64)
    first, second = make(0), make(1)
    assert [p["tokens"].shape[1] for p in first] == [3, 7, 1, 5]
    assert all(int(p["tokens"].min()) >= 3 and int(p["tokens"].max()) < 97 for p in first)
    assert any(a["tokens"].tolist() != b["tokens"].tolist() for a, b in zip(first, second, strict=True))
    assert [p["tokens"].tolist() for p in make(0)] == [p["tokens"].tolist() for p in first]


def test_prompts_leave_a_row_room_to_go_on() -> None:
    assert [p["tokens"].shape[1] for p in prompts(DECODER, 97, 4)(0)] == [3, 1]


def test_prompts_of_a_text_begin_its_lines() -> None:
    lines = tokens_of_assets({"tokenizer.json": tokenizer()}, 500)
    assert len(lines) == len(TEXT) >= 6 and all(
        len(line) == len(text.encode()) for line, text in zip(lines, TEXT, strict=True)
    )
    for seed in range(3):
        for prompt in prompts(DECODER, 500, 64, lines)(seed):
            (row,) = prompt["tokens"].tolist()
            assert len(row) > 1 and any(line[: len(row)] == row for line in lines)


def test_special_tokens_of_a_tokenizer() -> None:
    added = [{"id": 7, "content": "__de__", "special": True}, {"id": 8, "content": "word", "special": False}]
    assert special_tokens({"tokenizer.json": {**tokenizer(), "added_tokens": added}}) == {"__de__": 7}
    assert special_tokens({}) == {}


def test_ids_that_a_model_has_not_are_left_out() -> None:
    assert max(n for line in tokens_of_assets({"tokenizer.json": tokenizer()}, 100) for n in line) < 100


def test_assets_without_a_tokenizer_and_with_a_broken_one() -> None:
    assert tokens_of_assets({"labels.json": []}, 97) == []
    with pytest.raises(InputError, match=r"tokenizer\.json: got no tokenizer"):
        tokens_of_assets({"tokenizer.json": {"model": 3}}, 97)
