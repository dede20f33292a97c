"""FlexAttention, captured as scores, mask and softmax, against PyTorch's own on the CPU."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from attn_export.capture.patches import applied
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError
from support.checks.every_size import Graph, floats
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import and_masks, create_block_mask, create_mask, flex_attention

SLOPES = torch.tensor([0.5, 0.25])
BIAS = torch.randn(2, 65, generator=torch.Generator().manual_seed(0))


def causal(b: Any, h: Any, i: Any, j: Any) -> Any:
    return i >= j


def near(b: Any, h: Any, i: Any, j: Any) -> Any:
    return i - j < 3


def no_key_for_the_first(b: Any, h: Any, i: Any, j: Any) -> Any:
    return j < i


def heads(x: torch.Tensor, number: int = 2) -> torch.Tensor:
    """[B, 8, T] -> [B, number, T, 8 / number]."""
    return x.unflatten(1, (number, -1)).transpose(2, 3)


def square(mask_mod: Any, x: torch.Tensor, batch: Any = None) -> Any:
    return create_block_mask(mask_mod, batch, None, x.shape[-1], x.shape[-1], device="cpu")


def documents(x: torch.Tensor) -> torch.Tensor:
    """Which of two documents a place belongs to, [B, T]."""
    return (x[:, 0] > 0).long()


def forms(x: torch.Tensor) -> Any:
    q, ids = heads(x), documents(x)
    few = heads(x[:, :4], 1)
    lengths = ids.sum(1) + 1
    return (
        flex_attention(q, q, q),
        flex_attention(q, q, q, block_mask=square(and_masks(causal, near), x), scale=0.7),
        flex_attention(q, q, q, block_mask=square(no_key_for_the_first, x)),
        flex_attention(q, q, q, score_mod=lambda s, b, h, i, j: s - SLOPES[h] * (i - j).abs()),
        flex_attention(q, q, q, score_mod=lambda s, b, h, i, j: s + BIAS[h, (j - i).clamp(-32, 32) + 32]),
        flex_attention(
            q, q, q, score_mod=lambda s, b, h, i, j: torch.where(i >= j, torch.tanh(s / 2) * 2, -float("inf"))
        ),
        flex_attention(q, q, q, block_mask=square(lambda b, h, i, j: ids[b, i] == ids[b, j], x, x.shape[0])),
        flex_attention(q, q, q, block_mask=square(lambda b, h, i, j: ids[b][i] == ids[b][j], x, x.shape[0])),
        flex_attention(q, q, q, block_mask=square(lambda b, h, i, j: j < lengths[b], x, x.shape[0])),
        flex_attention(q, few, few, block_mask=square(causal, x), enable_gqa=True),
        flex_attention(q, q, q, block_mask=square(causal, x), return_lse=True)[1],
        create_mask(causal, 1, None, x.shape[-1], x.shape[-1], device="cpu"),
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Graph(forms, 1, 40, lambda size: floats(3, 8, size))


@pytest.mark.filterwarnings("ignore")
def test_every_form_is_pytorchs(graph: Graph) -> None:
    assert graph.told["flex-attention"] == "wrote out 11 flex_attention calls as scores, mask and softmax"
    assert graph.wrong([1, 5, 40], Tolerance()) == []
    assert (graph.run(floats(3, 8, 5))[2][:, :, 0] == 0).all(), "a query without keys"


def test_what_it_replaces_is_put_back() -> None:
    names = ("flex_attention_hop", "create_mask", "_create_sparse_block_from_block_mask")
    before = [getattr(flex, name) for name in names], flex.BlockMask._adjust
    with applied(torch.nn.Identity(), ["flex-attention"]):
        assert flex.create_mask is not before[0][1]
    assert ([getattr(flex, name) for name in names], flex.BlockMask._adjust) == before


def test_a_mask_for_a_greater_length_is_adjusted() -> None:
    q = heads(floats(2, 8, 5))
    mask = create_block_mask(causal, None, None, 32, 32, device="cpu")
    expected = torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    with applied(torch.nn.Identity(), ["flex-attention"]):
        got = flex_attention(q, q, q, block_mask=mask._adjust(5, 5))
        with pytest.raises(ValueError, match="created for a larger length"):
            flex_attention(q, q, q, block_mask=mask)
    torch.testing.assert_close(got, expected)


def test_blocks_that_no_function_says_are_refused() -> None:
    q = heads(floats(2, 8, 5))
    one = torch.ones(1, 1, 1, dtype=torch.int32)
    mask = flex.BlockMask.from_kv_blocks(one, one[..., None] * 0, BLOCK_SIZE=128, seq_lengths=(5, 5))
    with (
        applied(torch.nn.Identity(), ["flex-attention"]),
        pytest.raises(CaptureError, match="flex_attention: its BlockMask has blocks and no mask_mod"),
    ):
        flex_attention(q, q, q, block_mask=mask)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_by_name() -> None:
    q = heads(floats(2, 8, 5))
    with (
        applied(torch.nn.Identity(), ["flex-attention"]),
        pytest.raises(CaptureError, match="flex_attention: --exporter torchscript would keep the sizes"),
    ):
        torch.jit.trace(lambda q: flex_attention(q, q, q), (q,), check_trace=False)
