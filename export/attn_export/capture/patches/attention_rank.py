"""attention-rank: scaled_dot_product_attention is called on tensors of rank 4 only.

PyTorch takes any rank, the exporter's translation rank 4 alone. Above it (windows, blocks: Hiera, NesT, Twins) the
leading axes are flattened into one and restored in the answer; below it an axis of size 1 is added and removed.
Masks that broadcast keep their size-1 axes; only the flattened ones are expanded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.jit._trace import is_tracing

from ._patch import Effect, Patch, Tally, counted
from ._replace import replaced

Attend = Callable[..., torch.Tensor]


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    tally = Tally()

    def wrap(attend: Attend) -> Attend:
        def scaled_dot_product_attention(
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            attn_mask: torch.Tensor | None = None,
            dropout_p: float = 0.0,
            is_causal: bool = False,
            scale: float | None = None,
            enable_gqa: bool = False,
        ) -> torch.Tensor:
            def on_rank_4(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor | None) -> torch.Tensor:
                answer = attend(q, k, v, m, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
                # At other ranks PyTorch answers contiguously, at rank 4 with heads innermost: the model may `view` it.
                return answer.contiguous()

            rank = max(query.dim(), key.dim(), value.dim())
            # The TorchScript exporter translates every rank, and its traced sizes are no numbers to compute with.
            if is_tracing() or rank == query.dim() == key.dim() == value.dim() == 4:
                return attend(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
            tally.note(str(rank))
            if rank > 4:
                return _flattened(on_rank_4, query, key, value, attn_mask)
            return _raised(on_rank_4, query, key, value, attn_mask, rank, grouped=enable_gqa)

        return scaled_dot_product_attention

    functional = torch.nn.functional
    operator = torch.ops.aten.scaled_dot_product_attention.default
    with replaced(functional, "scaled_dot_product_attention", wrap, module, operator):
        yield lambda: _sentence(tally.counts)


def _sentence(calls: dict[str, int]) -> str | None:
    parts = [
        f"{'flattened' if int(rank) > 4 else 'raised'} {counted(number, 'scaled_dot_product_attention call')} "
        f"of rank {rank} to rank 4"
        for rank, number in sorted(calls.items())
    ]
    return "; ".join(parts) or None


def _flattened(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """query [*lead, Hq, L, E], key [*lead, H, S, E], value [*lead, H, S, V] -> [*lead, Hq, L, V]; lead may broadcast."""
    rank = max(query.dim(), key.dim(), value.dim())
    query, key, value = (_to_rank(t, rank) for t in (query, key, value))
    *lead, heads = _broadcast([t.shape[:-2] for t in (query, key, value)])

    def merge(t: torch.Tensor) -> torch.Tensor:
        return _expand(t, [*lead, heads, *t.shape[-2:]]).flatten(0, rank - 4)

    if mask is not None and mask.dim() > 3:
        # [*lead, H, L, S], every axis possibly 1. Axes of size 1 in front are dropped, any others must be repeated.
        mask = _to_rank(mask, rank)
        if all(_is_one(size) for size in mask.shape[:-3]):
            mask = mask.reshape(1, *mask.shape[-3:])
        else:
            mask = _expand(mask, [*lead, *mask.shape[-3:]]).flatten(0, rank - 4)
    answer: torch.Tensor = attend(merge(query), merge(key), merge(value), mask).unflatten(0, tuple(lead))
    return answer


def _raised(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rank: int,
    grouped: bool,
) -> torch.Tensor:
    """query [B, L, E] becomes [B, 1, L, E], one head; [Hq, L, E] with grouped heads, and [L, E], become a batch of 1."""
    query, key, value = (_to_rank(t, rank) for t in (query, key, value))
    if rank == 3 and not grouped:
        if mask is not None and mask.dim() == 3:
            mask = mask.unsqueeze(1)
        return attend(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), mask).squeeze(1)
    # Masks need no care here: what is added is in front, where they broadcast anyway.
    answer = attend(_to_rank(query, 4), _to_rank(key, 4), _to_rank(value, 4), mask)
    for _ in range(4 - rank):
        answer = answer.squeeze(0)
    return answer


def _to_rank(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    for _ in range(rank - tensor.dim()):
        tensor = tensor.unsqueeze(0)
    return tensor


def _is_one(size: int | torch.SymInt) -> bool:
    # Asked without guarding: a plain comparison of a symbolic size would restrict the dim to the answer.
    return statically_known_true(size == 1)


def _broadcast(shapes: Sequence[Sequence[int | torch.SymInt]]) -> list[int | torch.SymInt]:
    """The common shape; unlike torch.broadcast_shapes it asks nothing about symbolic sizes."""
    return [next((s for s in sizes if not _is_one(s)), 1) for sizes in zip(*shapes, strict=True)]


def _expand(tensor: torch.Tensor, shape: Sequence[int | torch.SymInt]) -> torch.Tensor:
    """Repeat axes of size 1 to `shape`. Others stay, also where they differ: with enable_gqa the heads do."""
    sizes = [want if _is_one(have) else have for have, want in zip(tensor.shape, shape, strict=True)]
    grows = any(_is_one(have) and not _is_one(want) for have, want in zip(tensor.shape, shape, strict=True))
    return tensor.expand(*sizes) if grows else tensor


PATCH = Patch("attention-rank", _enter)
