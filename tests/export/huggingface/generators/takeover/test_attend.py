"""Attention that is ours, where a model does not say all that it counts on."""

from __future__ import annotations

import torch
from attn_export.huggingface.generators.takeover.attend import attend
from attn_export.huggingface.generators.takeover.cache import for_prompt, registered
from torch import nn
from torch.nn import functional as F


class NotCausal(nn.Module):
    """As PegasusX names its decoder's attention, whose mask is left out in a capture."""

    is_causal = False


def test_keys_that_a_row_keeps_are_seen_causally_whatever_the_module_says() -> None:
    random = torch.Generator().manual_seed(0)
    query, key, value, said = (torch.randn(2, 4, 5, 8, generator=random) for _ in range(4))
    with registered():
        _, own, cross = for_prompt(encoder=True)
        kept, _ = own.update(key, value, 0)
        crossed, _ = cross.update(said, value, 0)
        causal, _ = attend(NotCausal(), query, kept, value, None)
        whole, _ = attend(NotCausal(), query, crossed, value, None)
        other, _ = attend(NotCausal(), query, said.clone(), value, None)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(causal, expected)
    torch.testing.assert_close(whole, F.scaled_dot_product_attention(query, said, value).transpose(1, 2))
    torch.testing.assert_close(other, whole)
