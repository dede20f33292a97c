"""What the graphs write through a cache is what the whole model writes without one, and what transformers' generate writes."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import transformers
from attn_export.huggingface.generators import generator_spec
from attn_export.huggingface.generators.spec import within_the_cache
from attn_export.source import load_source
from attn_models import reference_generation
from attn_models.spec import ModelSpec
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import TensorSpec, named_dims
from support.huggingface.tiny_pretrained import tiny_model

TOKENS = 12
#: What a model is told of its cache's length, by `model_type`.
LENGTHS = {
    "llama": "row",
    "gpt2": "row",
    "gemma2": "row",
    "bloom": "row",
    "gpt_oss": "row",
    "deepseek_v3": "row",
    "roberta": "row",
    "mpt": "size",
    "gpt_neo": "left",
    "marian": "row",
    "t5": "same",
    "bart": "row",
    "whisper": "row",
}
FEW = {"llama", "bloom", "gpt_neo", "t5"}
KINDS = [k if k in FEW else pytest.param(k, marks=pytest.mark.full) for k in LENGTHS]


@cache
def made(kind: str) -> tuple[Any, ModelSpec]:
    model = tiny_model(kind)
    return model, generator_spec(model, max_length=64)


def inputs_of(spec: ModelSpec, graph: str) -> dict[str, TensorSpec]:
    return {i.name: i for g in spec.graphs if g.name == graph for i in g.inputs}


@pytest.mark.parametrize("kind", KINDS)
def test_the_graphs_write_what_the_model_writes(kind: str) -> None:
    model, spec = made(kind)
    assert spec.generation is not None
    prompts = spec.generation.prompts(0)
    batch = reference_generation.together(prompts, spec.generation.asset["pad"])
    expected = reference_generation.greedy(model, spec.generation, batch, TOKENS)
    got = reference_generation.cached(model, spec, batch, TOKENS)
    assert expected.margin > 1e-3 and int(expected.lengths.max()) == TOKENS
    assert torch.equal(got.tokens, expected.tokens)
    assert spec.graphs[-1].view(model).plan.convention.length == LENGTHS[kind]
    if kind == "roberta":  # generate passes positions from 0, and its forward numbers from 2
        return
    for row, prompt in enumerate(prompts):
        mine = expected.tokens[row, : int(expected.lengths[row])].tolist()
        assert generated(model, spec, prompt)[: len(mine)] == mine


def generated(model: Any, spec: ModelSpec, prompt: Any) -> list[int]:
    """What transformers writes after the prompt, by its own loop and cache."""
    assert spec.generation is not None
    encoder = None if "tokens" in prompt else model.get_encoder()
    given = {"input_ids": prompt["tokens"]} if encoder is None else {encoder.main_input_name: prompt["source"]}
    begun = prompt["tokens"].shape[1] if encoder is None else 1
    # Whisper has a generate of its own, which adds tokens of languages and tasks.
    found = transformers.GenerationMixin.generate(
        model, **given, max_new_tokens=TOKENS, do_sample=False, pad_token_id=spec.generation.asset["pad"]
    )
    return list(found[0, begun:].tolist())


def test_a_position_for_all_rows_has_no_batch() -> None:
    _, together = made("t5")
    _, apart = made("llama")
    assert [d.name for d in inputs_of(together, "step")["position"].dims] == [None, None]
    assert [d.name for d in inputs_of(apart, "step")["position"].dims] == ["batch", None]


def test_keys_and_values_keep_their_own_heads_and_sizes() -> None:
    grouped = inputs_of(made("llama")[1], "step")
    assert [d.opt for d in grouped["past_key_0"].dims[1::2]] == [2, 8], "two heads share a key"
    latent = inputs_of(generator_spec(tiny_model("deepseek_v3"), max_length=16), "step")
    sizes = [[d.opt for d in latent[name].dims[1::2]] for name in ("past_key_0", "past_value_0")]
    assert sizes == [[1, 16], [1, 4]], "what is kept is what keys are made of, for all heads, and their rotated part"


def test_drawn_inputs_of_a_step_are_those_of_a_generator() -> None:
    _, spec = made("llama")
    step = spec.graphs[-1]
    for capacity in (1, 5):
        sizes = {name: d.opt for name, d in named_dims(step.inputs).items()} | {"cache": capacity, "batch": 40}
        drawn = draw_inputs(step.inputs, sizes, 3)
        assert (drawn["position"] >= capacity).any(), "drawn each by itself, it is behind the cache"
        fitted = within_the_cache(drawn)
        assert set(fitted) == set(drawn) and fitted["position"].max() < capacity
        assert (fitted["past_mask"].sum(1) <= fitted["position"][:, 0]).all()
        if capacity > 1:
            assert fitted["past_mask"].any() and len(set(fitted["position"].flat)) == capacity


def test_a_source_draws_them_so_at_other_ranges_too() -> None:
    source = load_source("support.huggingface.tiny_pretrained:spec", config=["kind=gpt2"], dims=["cache=1:8:32"])
    step = source.graphs[-1]
    assert step.draw is not None and source.graphs[0].draw is None
    drawn = step.draw({"batch": 40, "cache": 32}, 3).inputs
    assert drawn["past_mask"].shape == (40, 32) and 20 < drawn["position"].max() < 32


def test_nothing_of_the_model_or_of_transformers_is_changed() -> None:
    from transformers import masking_utils
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model = tiny_model("llama")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    masks, attention = dict(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS), dict(ALL_ATTENTION_FUNCTIONS)
    chosen = model.config._attn_implementation
    spec = generator_spec(model, max_length=16)
    batch = {"tokens": torch.tensor([[5, 6, 7]])}
    reference_generation.cached(model, spec, batch, 3)
    assert model.config._attn_implementation == chosen
    assert dict(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS) == masks and dict(ALL_ATTENTION_FUNCTIONS) == attention
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_row_is_as_long_as_the_model_allows() -> None:
    model, _ = made("llama")
    with pytest.raises(UsageError, match=r"max_length: got 129; LlamaForCausalLM has 128 places"):
        generator_spec(model, max_length=129)
    with pytest.raises(UsageError, match="max_length: got 1, expected 2 or more"):
        generator_spec(model, max_length=1)
    spec = generator_spec(model)
    assert spec.generation is not None and spec.generation.asset["max_length"] == 128
    assert inputs_of(spec, "step")["past_mask"].dims[1].max == 128


def test_places_that_no_token_reaches_are_not_counted() -> None:
    """Roberta's table has a row for padding and one before it, so that a text of 128 tokens runs over its end."""
    spec = generator_spec(tiny_model("roberta"))
    assert spec.generation is not None and spec.generation.asset["max_length"] == 126
