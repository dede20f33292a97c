"""transformers' masks, by the true position of every row: its own `mask_function` of a query's and a key's place.

Which tokens a layer sees (all before, a window, a chunk, what belongs to a picture) stays the model's own rule. What is
changed is where rows stand: transformers takes one place for all of them, and here each has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import masking_utils


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: Any = 0,
    mask_function: Callable[..., Any] = masking_utils.causal_mask_function,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    allow_is_bidirectional_skip: bool = False,
    **_: Any,
) -> Tensor | None:
    """bool [B, 1, q, kv], true at what is seen; None where causality alone, or nothing, hides anything.

    The signature is that of transformers' `ALL_MASK_ATTENTION_FUNCTIONS`, of which `q_offset` may be int64 [B, 1].
    """
    if attention_mask is None and not isinstance(q_offset, Tensor):
        if allow_is_causal_skip and mask_function is masking_utils.causal_mask_function:
            return None
        if allow_is_bidirectional_skip and mask_function is masking_utils.bidirectional_mask_function:
            return None
    rows = torch.arange(batch_size)[:, None, None, None]
    heads = torch.zeros(1, dtype=torch.int64)[None, :, None, None]
    query = (torch.arange(q_length)[None] + q_offset)[:, None, :, None]  # [1 or B, 1, q, 1]
    key = (torch.arange(kv_length) + kv_offset)[None, None, None]
    seen = mask_function(rows, heads, query, key)
    if attention_mask is not None:
        seen = seen & attention_mask.bool()[:, None, None, :kv_length]
    shown: Tensor = seen.expand(batch_size, -1, q_length, kv_length)
    return shown


def added_mask(*args: Any, dtype: torch.dtype = torch.float32, **kwargs: Any) -> Tensor:
    """The same, to be added to scores: what attention written into a model takes, which is always given one."""
    seen = mask(*args, **{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})
    assert seen is not None
    return torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)
