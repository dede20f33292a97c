"""Attention as transformers' AttentionInterface calls it: over a cache without copying it, for every form of it that is met.

A step computes scores over the past and over the new entry apart, and joins the scores, which are small; joining keys
and values would copy the cache at every token. Groups of heads that share keys (grouped queries) are folded, not repeated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cache import Slot, Stretch, is_crossed, is_recorded, slot_of
from .masks import mask


class _Scoring(NamedTuple):
    """How scores become weights.

    scale    of the product of query and key
    softcap  scores are softcap * tanh(scores / softcap)
    sinks    [H]: a score that takes part in the softmax, and whose weight goes nowhere
    bias     [1 or B, H, T, S], added to scores
    """

    scale: float
    softcap: float | None
    sinks: Tensor | None
    bias: Tensor | None

    def capped(self, scores: Tensor) -> Tensor:
        return scores if self.softcap is None else torch.tanh(scores / self.softcap) * self.softcap


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query [B, H, T, D], key [B, G, S, D], value [B, G, S, D'] -> [B, T, H, D'], and no weights.

    The signature is that of transformers' attention functions; attention_mask is bool, true at what is seen, or is added.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scoring = _Scoring(scale, softcap, s_aux, position_bias)
    slot = slot_of(key)
    if isinstance(slot, Stretch):
        return _over_the_past_and_new(query, slot, attention_mask, scoring), None
    if slot is not None:
        return _over_the_past(query, slot, attention_mask, scoring), None
    causal = attention_mask is None and not is_crossed(key)
    # A module may call itself not causal, and count on a mask that shows it (PegasusX, BigBirdPegasus of transformers 5.23).
    says = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = causal and (bool(says) or is_recorded(key))
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (x[:, :, None].expand(-1, -1, shared, -1, -1).flatten(1, 2) for x in (key, value))
    if softcap is None and s_aux is None and position_bias is None:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, is_causal=causal, scale=scale)
        return out.transpose(1, 2).contiguous(), None
    if causal:
        attention_mask = mask(1, query.shape[2], key.shape[2], allow_is_causal_skip=False)
    return _written_out(query, key, value, attention_mask, scoring), None


def _written_out(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, scoring: _Scoring) -> Tensor:
    scores = scoring.capped(query @ key.transpose(-1, -2) * scoring.scale)
    if scoring.bias is not None:
        scores = scores + scoring.bias
    if seen is not None:
        scores = scores + (torch.where(seen, 0.0, -torch.inf) if seen.dtype == torch.bool else seen)
    if scoring.sinks is not None:
        sinks = scoring.sinks.reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        scores = torch.cat([scores, sinks], -1)
    weight = torch.softmax(scores, -1)[..., : key.shape[2]]
    return (weight @ value).transpose(1, 2).contiguous()


def _over_the_past(query: Tensor, slot: Slot, seen: Tensor | None, scoring: _Scoring) -> Tensor:
    """query [B, H, 1, D] over the past of `slot` and its new entry -> [B, 1, H, D']."""
    past_key, past_value = slot.past
    assert slot.new is not None
    new_key, new_value = slot.new
    rows, groups, length = query.shape[0], past_key.shape[1], past_key.shape[2]
    shared = query.shape[1] // groups
    query = query.reshape(rows, groups, shared, query.shape[-1]) * scoring.scale
    past, new = (scoring.capped(query @ k.transpose(-1, -2)) for k in (past_key, new_key))
    here = (torch.arange(length) == slot.position)[:, None, None]  # [B, 1, 1, C]
    if scoring.bias is not None:
        bias = scoring.bias.expand(rows, -1, -1, -1).reshape(rows, groups, shared, length)
        past, new = past + bias, new + torch.where(here, bias, 0.0).sum(-1, keepdim=True)
    hidden = here if seen is None else here | (~seen if seen.dtype == torch.bool else seen < 0)
    scores = [torch.where(hidden, -torch.inf, past), new]
    if scoring.sinks is not None:
        scores.append(scoring.sinks.reshape(1, groups, shared, 1).expand(rows, -1, -1, -1))
    weight = torch.softmax(torch.cat(scores, -1), -1)
    out = weight[..., :length] @ past_value + weight[..., length : length + 1] * new_value
    return out.reshape(rows, 1, groups * shared, out.shape[-1])


def _over_the_past_and_new(query: Tensor, slot: Stretch, seen: Tensor | None, scoring: _Scoring) -> Tensor:
    """query [B, H, T, D] of several new tokens over the past of `slot` and the new ones -> [B, T, H, D'].

    What a mask or a bias says of a new token is what it says of the place where it stands.
    """
    past_key, past_value = slot.past
    assert slot.new is not None
    new_key, new_value = slot.new
    rows, groups, length = query.shape[0], past_key.shape[1], past_key.shape[2]
    heads, count = query.shape[1], query.shape[2]
    at = (torch.arange(count) + slot.position).expand(rows, -1).clamp(max=length - 1)  # [B, T]
    places, number = torch.arange(length), torch.arange(count)
    free = (places >= slot.position)[:, None, None]  # [1 or B, 1, 1, C]
    later = number[:, None] < number  # [T, T]
    if seen is None:
        hidden, later = free, later[None, None]
    else:
        unseen = (~seen if seen.dtype == torch.bool else seen < 0).expand(rows, -1, -1, -1)
        hidden, later = free | unseen, later | _at(unseen, at)
    # The queries of the heads that share a key lie one behind the other along the axis of tokens, as in `_over_the_past`.
    folded = query.unflatten(1, (groups, heads // groups)).flatten(2, 3) * scoring.scale
    past, new = (
        scoring.capped(folded @ k.transpose(-1, -2)).unflatten(2, (heads // groups, -1)).flatten(1, 2)
        for k in (past_key, new_key)
    )
    if scoring.bias is not None:
        bias = scoring.bias.expand(rows, -1, -1, -1)
        past, new = past + bias, new + _at(bias, at)
    scores = [torch.where(hidden, -torch.inf, past), torch.where(later, -torch.inf, new)]
    if scoring.sinks is not None:
        scores.append(scoring.sinks.reshape(1, heads, 1, 1).expand(rows, -1, count, -1))
    weight = torch.softmax(torch.cat(scores, -1), -1).unflatten(1, (groups, heads // groups)).flatten(2, 3)
    out = weight[..., :length] @ past_value + weight[..., length : length + count] @ new_value
    mixed: Tensor = out.unflatten(2, (heads // groups, -1)).flatten(1, 2)
    return mixed.transpose(1, 2).contiguous()


def _at(told: Tensor, at: Tensor) -> Tensor:
    """[B, N, T, T]: of what is told of all places, [B, N, T, C], what is told of those of the new tokens."""
    return told.gather(-1, at[:, None, None].expand(-1, told.shape[1], told.shape[2], -1))
