"""The graphs of a generator as modules over one model of transformers: encoder, first, step and extend."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from .encoder_inputs import some
from .plan import Plan
from .takeover import EachRow, Place, SlicedFrom, Slot, Stretch, for_prompt, for_step, kept, last_only, taken_over


class Read(BaseModelOutput):
    """What an encoder said; of anything else that a decoder asks it for (router_logits, attention_mask), nothing."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class View(nn.Module):
    """A part of `model` as `plan` says it is run; its parameters are the model's."""

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.model, self.plan = model, plan

    def decode(
        self,
        tokens: Tensor,
        counted: Tensor | None,
        position: Tensor | None,
        cache: Any,
        memory: Tensor | None,
        source_mask: Tensor | None,
    ) -> Tensor:
        """Logits of tokens int64 [B, T]; `position` is where a step's stand, None for a prompt, which begins at 0."""
        prefix = "decoder_" if self.plan.encoder is not None else ""
        given: dict[str, Any] = {prefix + "input_ids": tokens, prefix + "attention_mask": counted}
        at: Tensor | None = None
        if self.plan.convention.positions:
            at = torch.arange(tokens.shape[1])[None] if position is None else position
            at = given[prefix + "position_ids"] = at.expand(tokens.shape)
        if memory is not None:
            given["encoder_outputs"] = Read(last_hidden_state=memory.clone())  # some decoders write into it
            if source_mask is not None:
                given["attention_mask"] = some(source_mask)
        given = {name: value for name, value in given.items() if name in self.plan.takes}
        with EachRow(at):
            logits: Tensor = self.model(**given, past_key_values=cache, use_cache=True).logits
        return logits


class Encoder(View):
    """source, source_mask bool [B, S] for text -> memory [B, M, D]."""

    def forward(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        assert self.plan.encoder is not None
        given = {} if source_mask is None else {"attention_mask": some(source_mask)}
        with taken_over(self.model):
            memory: Tensor = self.model.get_encoder()(self.plan.encoder.read(source), **given).last_hidden_state  # type: ignore[operator]
        return memory


class First(View):
    """tokens int64 [B, T], tokens_mask bool [B, T] -> logits [B, V] of each row's last token, keys and values [B, G, T, D] of
    every layer, and those of the cross attention [B, G, M, D]."""

    def forward(
        self, tokens: Tensor, tokens_mask: Tensor, memory: Tensor | None = None, source_mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        last = torch.where(tokens_mask, torch.arange(tokens.shape[1]), 0).amax(1)
        cache, own, cross = for_prompt(self.plan.encoder is not None)
        # Padding stands behind all that count, so that causality alone hides it.
        counted = torch.ones_like(tokens_mask) if self.plan.convention.mask else None
        with taken_over(self.model), last_only(self.model, last):
            logits = self.decode(tokens, counted, None, cache, memory, source_mask)
        return logits[:, -1], *kept(own), *kept(cross)


class Step(View):
    """token int64 [B, 1], position int64 [B, 1] or [1, 1], past_mask bool [B, C], source_mask bool [B, S] for text, keys and
    values [B, G, C, D] of every layer, and those of the cross attention -> logits [B, V], new keys and values [B, G, 1, D].

    position is less than C, and past_mask is true before it alone.
    """

    several = False

    def forward(self, token: Tensor, position: Tensor, past_mask: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        logits, new = self.read(token, position, past_mask, rest)
        return logits[:, -1], *new

    def read(
        self, token: Tensor, position: Tensor, past_mask: Tensor, rest: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, T, V], and the new keys and values."""
        plan = self.plan
        source_mask, rest = (rest[0], rest[1:]) if plan.encoder is not None and plan.encoder.masked else (None, rest)
        past, crossing = rest[: 2 * len(plan.layers)], rest[2 * len(plan.layers) :]
        capacity = past_mask.shape[1]
        places = torch.arange(capacity)
        count: Any = token.shape[1] if self.several else 1
        here = (places >= position) & (places < position + count) if self.several else places == position
        counted = past_mask | here
        left: Tensor | None = None
        if plan.convention.length == "left":
            moved = places - (capacity - count) + position
            left = moved.clamp(min=0).expand(counted.shape)
            counted = counted.gather(1, left) & (moved >= 0)
        told = {
            "row": Place(position),
            "same": Place(position[0, 0]),
            "size": capacity - count,
            "left": capacity - count,
        }
        length = told[plan.convention.length]
        kind = Stretch if self.several else Slot
        slots = [kind(pair, position, length, left, count) for pair in zip(past[::2], past[1::2], strict=True)]
        memory = None
        if plan.encoder is not None:  # its keys and values are there already, and only its size is looked at
            memory = past[0].new_zeros(token.shape[0], crossing[0].shape[2], plan.memory_width)
        with taken_over(self.model), SlicedFrom() if plan.one_place else nullcontext():
            cache = for_step(slots, plan.layers, crossing if plan.encoder is not None else None)
            at = position + torch.arange(count) if self.several else position
            logits = self.decode(token, counted, at, cache, memory, source_mask)
        return logits, [tensor for slot in slots if slot.new is not None for tensor in slot.new]


class Extend(Step):
    """As Step, of several tokens int64 [B, T], the first of them at `position`: logits [B, T, V] behind each, new keys and values
    [B, G, T, D]. The places of all of them are less than C."""

    several = True

    def forward(self, token: Tensor, position: Tensor, past_mask: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        logits, new = self.read(token, position, past_mask, rest)
        return logits, *new
