"""What keeps another state than keys and values, or runs by no known convention, is refused by name, before any export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import transformers
from attn_export.huggingface.generators import generator_spec
from attn_runtime.errors import UsageError
from support.huggingface.folders import redrawn
from support.huggingface.tiny_pretrained import tiny_model

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("mamba", r"MambaForCausalLM keeps a state .* \(LinearAttentionLayer; its layers: linear_attention\)"),
        ("lfm2", r"Lfm2ForCausalLM keeps a state .* \(LinearAttentionLayer; its layers: conv, full_attention\)"),
        ("rwkv", r"RwkvForCausalLM keeps a state .* \(stateful\)"),
    ],
)
def test_recurrent_and_convolutional_state_by_the_kind_of_its_layers(kind: str, layers: str) -> None:
    with pytest.raises(UsageError, match=layers) as refused:
        generator_spec(tiny_model(kind))
    assert "\n" not in str(refused.value)


def test_a_model_that_no_convention_runs() -> None:
    """LED's decoder masks nothing in a step: what a cache holds beyond the row would be seen."""
    with pytest.raises(
        UsageError, match=r"LEDForConditionalGeneration: a step .* same: off by .* left: off by"
    ) as refused:
        generator_spec(tiny_model("led"))
    assert "\n" not in str(refused.value)


def test_a_model_without_a_head() -> None:
    with pytest.raises(UsageError, match="LlamaModel has no head over a vocabulary"):
        generator_spec(tiny_model("llama").model)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            lambda: transformers.BertLMHeadModel(transformers.BertConfig(**SMALL)),
            r"BertLMHeadModel sees tokens behind the one that it answers \(config.json says is_decoder: false\).*fill-mask",
        ),
        (
            lambda: transformers.OpenAIGPTLMHeadModel(
                transformers.OpenAIGPTConfig(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=32)
            ),
            "OpenAIGPTLMHeadModel keeps no keys and values",
        ),
        (
            lambda: transformers.MusicgenForCausalLM(
                transformers.MusicgenDecoderConfig(
                    vocab_size=97, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, ffn_dim=48
                )
            ),
            "MusicgenForCausalLM writes 4 codes at once",
        ),
        (
            lambda: transformers.XmodForCausalLM(transformers.XmodConfig(**SMALL, is_decoder=True)),
            r"XmodForCausalLM does not answer tokens alone \(ValueError: Input language unknown",
        ),
    ],
)
def test_what_is_no_generator_with_a_cache(made: Callable[[], Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        generator_spec(redrawn(made()))
    assert "\n" not in str(refused.value)
