"""The cache that a model of transformers is given: it hands out what a prompt leaves, and takes part of a graph's inputs.

In a step the entry of the token at place p stands at place p of the cache, for every model and every row. So windows,
chunks, linear biases, bucketed distances and causal masks by index are right without knowing which of them there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DummyLayer, DynamicLayer, EncoderDecoderCache


class Recorded(DynamicLayer):
    """A layer that is read for the first time: its keys and values are what the graph hands out."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.is_initialized, self.keys, self.values = True, key_states, value_states
        _recorded.add(id(key_states))
        return key_states, value_states


class Crossed(Recorded):
    """Keys and values of what an encoder said: each token sees all of them that the source's mask leaves."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.is_initialized, self.keys, self.values = True, key_states, value_states
        _crossed.add(id(key_states))
        return key_states, value_states


class Slot(DynamicLayer):
    """A layer of a step.

    past      keys [B, G, C, D] and values [B, G, C, D'], of the places before `position`
    position  int64 [B, 1], or [1, 1] for all rows: where the new entry stands, or the first of several; less than C
    length    what the model is told of how much is cached
    left      int64 [B, C]: from which place each is taken, for a model that wants the new entries to be the last ones
    count     how many entries are new; more than one in a `Stretch` alone
    """

    def __init__(
        self, past: tuple[Tensor, Tensor], position: Tensor, length: Any, left: Tensor | None = None, count: Any = 1
    ) -> None:
        super().__init__()
        self.past, self.position, self.length, self.left, self.count = past, position, length, left, count
        self.is_initialized = True
        self.offset: Any = position if left is None else past[0].shape[2] - count
        self.new: tuple[Tensor, Tensor] | None = None
        self.keys, self.values = past

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The past with the new entries [B, G, T, D] written in. Attention that is ours never reads it, and no graph holds it."""
        self.new = (key_states, value_states)
        joined = self.joined(key_states, value_states)
        if self.left is None:
            self.keys, self.values = joined
            _slots[id(self.keys)] = self
        else:
            self.keys, self.values = (_along(x, self.left[:, None, :, None]) for x in joined)
        return self.keys, self.values

    def joined(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        here = (torch.arange(self.past[0].shape[2]) == self.position)[:, None, :, None]
        return torch.where(here, key_states, self.past[0]), torch.where(here, value_states, self.past[1])

    def get_seq_length(self) -> Any:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.past[0].shape[2], 0


class Stretch(Slot):
    """A layer of several new tokens, which stand one behind the other from `position` on."""

    def joined(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        # [B, C]: which of the new tokens stands at a place
        behind = torch.arange(self.past[0].shape[2]) - self.position
        here = ((behind >= 0) & (behind < self.count))[:, None, :, None]
        number = behind.clamp(min=0).minimum(torch.full_like(behind, self.count - 1))[:, None, :, None]
        pairs = zip((key_states, value_states), self.past, strict=True)
        key, value = (torch.where(here, _along(x, number.expand(x.shape[0], -1, -1, -1)), past) for x, past in pairs)
        return key, value


def _along(x: Tensor, places: Tensor) -> Tensor:
    """[B, G, C, D]: of x [B, G, T, D] the entries `places` [B, 1, C, 1]."""
    return x.gather(2, places.expand(-1, x.shape[1], -1, x.shape[3]))


class Slots(Cache):
    """The cache of a step. Masks go by the true place of every row, which `get_query_offset` says."""

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        return next(layer.offset for layer in self.layers if isinstance(layer, Slot))


class _Both(EncoderDecoderCache):
    """The cache of a step, and what the encoder said."""

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        return self.self_attention_cache.get_query_offset(layer_idx)


#: Of the view that runs: the slot whose keys a tensor is, the keys of a prompt, and those of cross attention, by their id.
#: The layers that hold these tensors live as long as the view runs, so that no id is given to another.
_slots: dict[int, Slot] = {}
_recorded: set[int] = set()
_crossed: set[int] = set()


@contextmanager
def registered() -> Iterator[None]:
    """While a view runs: forget afterwards whose keys are whose."""
    try:
        yield
    finally:
        _slots.clear()
        _recorded.clear()
        _crossed.clear()


def slot_of(key: Tensor) -> Slot | None:
    """The slot whose keys, with the new entry, `key` is."""
    return _slots.get(id(key))


def is_recorded(key: Tensor) -> bool:
    """Whether `key` are keys of a prompt, which a row that goes on keeps: what sees them sees none behind itself."""
    return id(key) in _recorded


def is_crossed(key: Tensor) -> bool:
    """Whether `key` are keys of an encoder's answer."""
    return id(key) in _crossed


def for_prompt(encoder: bool) -> tuple[Any, Cache, Cache]:
    """What a model that reads a prompt is given, its part for the prompt, and that for the encoder's answer."""
    own, cross = Cache(layer_class_to_replicate=Recorded), Cache(layer_class_to_replicate=Crossed)
    return (EncoderDecoderCache(own, cross) if encoder else own), own, cross


def for_step(slots: Sequence[Slot], layers: Sequence[int], crossing: Sequence[Tensor] | None) -> Any:
    """What a model in a step is given: `slots` are those of the layers with these numbers, `crossing` the key and value
    of each layer's cross attention."""
    placed: list[Any] = [DummyLayer() for _ in range(max(layers) + 1)]
    for number, slot in zip(layers, slots, strict=True):
        placed[number] = slot
    own = Slots(layers=placed)
    if crossing is None:
        return own
    said = [Crossed() for _ in slots]
    for layer, key, value in zip(said, crossing[::2], crossing[1::2], strict=True):
        layer.update(key, value)
    cache = _Both(own, Cache(layers=[*said]))
    cache.is_updated = dict.fromkeys(range(len(slots)), True)
    return cache


def kept(cache: Any) -> list[Tensor]:
    """Key and value of every layer that keeps some, in order."""
    return [t for layer in cache.layers if layer.keys is not None for t in (layer.keys, layer.values)]
