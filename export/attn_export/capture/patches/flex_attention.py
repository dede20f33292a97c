"""flex-attention: torch.nn.attention.flex_attention is captured as the scores, the mask and the softmax that it stands for.

The operator behind it takes its score_mod and mask_mod as graphs of their own, which ONNX has no translation for, and its
block mask is made for a kernel that skips blocks. What it answers depends on the two functions alone: they are traced over
all indices, as PyTorch's own CPU implementation does (_higher_order_ops/flex_attention.py of 2.13), and the blocks are not
computed. A query whose keys are all masked gets 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from attn_runtime.errors import CaptureError
from torch.jit._trace import is_tracing
from torch.nn.attention import flex_attention as flex

from ..equivalents import all_indices
from ._patch import Effect, Patch, Tally, counted
from ._replace import replaced

#: The block size of a mask that has none.
_NO_BLOCKS = (1, 1)


class _Mask(flex.BlockMask):
    """A block mask without its blocks: the function and the lengths that it was made for, which may be symbolic."""

    def __init__(self, seq_lengths: tuple[int, int], mask_mod: Callable[..., torch.Tensor]) -> None:
        none = torch.zeros(1, 1, 1, dtype=torch.int32)
        super().__init__(
            seq_lengths, none, none[..., None], None, None, None, None, None, None, _NO_BLOCKS, mask_mod
        )  # fmt: skip

    def _adjust(self, new_q_len: int, new_kv_len: int) -> _Mask:
        return _Mask((new_q_len, new_kv_len), self.mask_mod)

    def __getitem__(self, index: Any) -> _Mask:
        # As PyTorch's: a part of a mask has no function until the caller gives it one.
        return _Mask(self.seq_lengths, flex._sliced_mask_mod_error)

    def to(self, device: Any) -> _Mask:
        return self


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    tally = Tally()

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        score_mod: Callable[..., torch.Tensor],
        block_mask: tuple[Any, ...],
        scale: float,
        kernel_options: Any = None,
        *_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if is_tracing():
            raise CaptureError(
                "flex_attention: --exporter torchscript would keep the sizes of the example in its mask; leave it out"
            )
        if block_mask[-3:-1] != _NO_BLOCKS and _is_noop(block_mask[-1]):
            raise CaptureError(
                "flex_attention: its BlockMask has blocks and no mask_mod; PyTorch (2.13) ignores blocks where it is not "
                "compiled. Give the mask as a mask_mod: create_block_mask, or from_kv_blocks(..., mask_mod=...)"
            )
        tally.note("call")
        return _attend(query, key, value, score_mod, block_mask[-1], scale)

    def without_blocks(blocks: Any, mask_mod: Any, seq_lengths: Any, *_: Any) -> _Mask:
        return _Mask(seq_lengths, mask_mod)

    def adjusted(mask: flex.BlockMask, new_q_len: int, new_kv_len: int) -> _Mask:
        return _Mask((new_q_len, new_kv_len), mask.mask_mod)

    def create_mask(
        mod: Callable[..., torch.Tensor], B: Any, H: Any, Q_LEN: Any, KV_LEN: Any, device: Any = None
    ) -> torch.Tensor:
        sizes, place = (B or 1, H or 1, Q_LEN, KV_LEN), torch.device(device or "cpu")
        if flex._get_mod_type(mod) == flex._ModificationType.SCORE_MOD:
            return ~torch.isneginf(all_indices(mod, sizes, place, torch.zeros(sizes, device=place))).expand(sizes)
        return all_indices(mod, sizes, place).expand(sizes)

    with ExitStack() as stack:
        stack.enter_context(replaced(flex, "create_mask", lambda original: create_mask))
        # Names that flex_attention and create_block_mask look up at every call: a model may hold them compiled.
        for name, stand_in in (
            ("flex_attention_hop", attend),
            ("_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True),
            ("_create_empty_block_mask", lambda query, key: _Mask((query.shape[2], key.shape[2]), flex.noop_mask)),
            # from_kv_blocks sorts the blocks that it is given.
            ("_transpose_ordered", lambda number, indices: (number, indices)),
            ("_convert_mask_to_block_mask", lambda *_, **__: (None, None)),
            ("_create_sparse_block_from_block_mask", without_blocks),
        ):
            stack.enter_context(mock.patch.object(flex, name, stand_in))
        stack.enter_context(mock.patch.object(flex.BlockMask, "_adjust", adjusted))
        yield (
            lambda: (
                f"wrote out {counted(tally.total, 'flex_attention call')} as scores, mask and softmax"
                if tally
                else None
            )
        )


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Callable[..., torch.Tensor],
    mask_mod: Callable[..., torch.Tensor],
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """query [B, Hq, L, E], key [Bkv, Hkv, S, E], value [Bkv, Hkv, S, Ev] -> the answer [B, Hq, L, Ev] and, in base 2, the
    logarithm of the sum of exponentials and the greatest score, each [B, Hq, L].
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (t.unsqueeze(2).expand(-1, -1, groups, -1, -1).flatten(1, 2) for t in (key, value))
    scores = query @ key.to(query.dtype).transpose(-2, -1) * scale
    if score_mod is not flex._identity:
        scores = all_indices(score_mod, scores.shape, query.device, scores)
    if _is_noop(mask_mod):
        weights = scores.softmax(-1)
    else:
        kept = all_indices(mask_mod, scores.shape, query.device)
        scores = torch.where(kept, scores, -torch.inf)
        weights = torch.where(kept.any(-1, keepdim=True), scores.softmax(-1), 0.0)
    found = weights.to(query.dtype) @ value.to(query.dtype)
    return found, scores.logsumexp(-1) / math.log(2), scores.amax(-1) / math.log(2)


def _is_noop(mask_mod: Any) -> bool:
    return getattr(mask_mod, "fn", mask_mod) is flex.noop_mask


PATCH = Patch("flex-attention", _enter)
