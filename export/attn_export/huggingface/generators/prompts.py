"""Prompts whose answers prove a generator: of a text in several languages where there is a tokenizer, drawn otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attn_runtime.errors import InputError
from attn_runtime.preprocess import refused_by_tokenizers
from torch import Tensor

from .encoder_inputs import EncoderInputs, drawn_tokens
from .plan import Plan

Prompt = dict[str, Tensor]
#: Lengths of drawn prompts, in tokens, and of those of a text.
_DRAWN, _OF_TEXT = (3, 7, 1, 5), (6, 11, 4, 9)
#: Written for this purpose: a trained model goes on with it by clear margins, in a script that it knows.
TEXT = (
    "The ship left the harbour before dawn, and by noon the coast was a thin grey line behind it. ",
    "Il treno per Milano parte alle otto; chi arriva tardi deve aspettare fino a mezzogiorno. ",
    "Wer den Berg besteigen will, sollte warme Kleidung und genug Wasser mitnehmen. ",
    "Hier, nous avons acheté du pain, du fromage et trois kilos de pommes au marché. ",
    "Вечером дети играли во дворе, а бабушка рассказывала им старую сказку. ",
    "春になると、川のそばの桜がいっせいに咲き、町の人々が集まってくる。",
)


def tokens_of_assets(assets: Mapping[str, Any], vocabulary: int) -> list[list[int]]:
    """The ids of each line of `TEXT` by the tokenizer.json among the assets of a bundle, without those that a model of this
    vocabulary has not; nothing where they hold none.

    Raises InputError for a tokenizer.json that is none.
    """
    import tokenizers

    if "tokenizer.json" not in assets:
        return []
    with refused_by_tokenizers("tokenizer.json: got no tokenizer", InputError, "expected what tokenizers writes"):
        reader = tokenizers.Tokenizer.from_str(json.dumps(assets["tokenizer.json"]))
    encoded = (reader.encode(line, add_special_tokens=False).ids for line in TEXT)
    return [[n for n in ids if n < vocabulary] for ids in encoded]


def special_tokens(assets: Mapping[str, Any]) -> dict[str, int]:
    """Special token -> id, of the tokenizer.json among the assets of a bundle."""
    added = assets.get("tokenizer.json", {}).get("added_tokens", ())
    return {token["content"]: token["id"] for token in added if token.get("special")}


def prompts(
    plan: Plan, vocabulary: int, limit: int, lines: Sequence[Sequence[int]] = ()
) -> Callable[[int], list[Prompt]]:
    """seed -> prompts of one row each, of several lengths; `lines` are token ids that they are taken from.

    The prompts of an encoder of pictures or sound are drawn, and of one length: nothing there says what padding is.
    """

    def drawn(seed: int) -> list[Prompt]:
        lengths = _OF_TEXT if lines else _DRAWN
        if plan.encoder is not None:
            return [_of_encoder(plan.encoder, n, seed, lines) for n in lengths]
        random = torch.Generator().manual_seed(seed)
        fitting = [n for n in lengths if n < limit] or [1]
        return [{"tokens": _row(n, vocabulary, random, seed, lines)} for n in fitting]

    return drawn


def _of_encoder(encoder: EncoderInputs, length: int, seed: int, lines: Sequence[Sequence[int]]) -> Prompt:
    if not encoder.masked:
        return encoder.sample(1, None, seed + length)
    length = max(encoder.dims[0].min, min(length, encoder.dims[0].max))
    random = torch.Generator().manual_seed(seed + length)
    source = _row(length, encoder.vocabulary, random, seed, lines)
    return {"source": source, "source_mask": torch.ones_like(source, dtype=torch.bool)}


def _row(length: int, vocabulary: int, random: torch.Generator, seed: int, lines: Sequence[Sequence[int]]) -> Tensor:
    """int64 [1, length]: the beginning of a line, or drawn ids."""
    long_enough = [line for line in lines if len(line) >= length]
    if long_enough:
        return torch.tensor([list(long_enough[(seed + length) % len(long_enough)][:length])])
    return drawn_tokens(1, length, vocabulary, random)
