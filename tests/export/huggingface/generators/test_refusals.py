"""What keeps another state than keys and values, or runs by no known convention, is refused by name, before any export."""

from __future__ import annotations

import pytest
from attn_export.huggingface.generators import generator_spec
from attn_runtime.errors import UsageError
from support.huggingface.tiny_pretrained import tiny_model


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
