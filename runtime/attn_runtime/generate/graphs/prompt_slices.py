"""A prompt of one row read a few tokens at a time, so that other rows have their steps in between.

`first` reads its first slice, which is what whole slices leave over, and `extend` the others, against the entries of
those before. That is the same as one reading where no token sees those behind it, as in every model that writes token by
token: what PyTorch answers without a cache, which the bundle was held against, rests on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buffers import Memory
from .extend_graph import ExtendGraph
from .graph_io import GraphIO
from .kv_cache import Cache, Entries, capacity_for
from .step_graphs import Sessions


class PromptSlices:
    """One prompt at a time: `begin`, then `read` until all of it was.

    place  how many of its tokens were read, whose entries lie in `prompt`; bound for the next one of as many entries
    """

    def __init__(self, wiring: GraphIO, sessions: Sessions, memory: Memory) -> None:
        self._wiring, self._sessions, self._memory = wiring, sessions, memory
        self.place = 0
        self._size = 0
        # What `first` hands on beside them may depend on the whole prompt. Then there is an encoder, and prompts are short.
        if wiring.extend is not None and not wiring.carried:
            self._size = wiring.extend.inputs["token"].dims[1].max
        self._bound: tuple[Cache, ExtendGraph] | None = None

    def first(self, length: int) -> int:
        """How many tokens of a prompt of `length` the first slice has: all where the rest can't be read."""
        return (length - 1) % self._size + 1 if self._size else length

    @property
    def prompt(self) -> Entries:
        assert self._bound is not None
        return self._bound[0].past

    def begin(self, first: Entries, count: int, length: int) -> None:
        """Go on from the entries of the first `count` tokens of `length`."""
        capacity = capacity_for(length, self._wiring.capacities)
        if self._bound is None or self._bound[0].capacity != capacity:
            session = self._sessions.extend()
            cached = {name: self._wiring.step.inputs[f"past_{name}"] for name in self._wiring.cache}
            cache = Cache(self._memory, cached, session.buffer((1, capacity), "bool"))
            self._bound = cache, ExtendGraph(self._wiring, session, self._memory, cached, {}, 1)
        else:
            self._bound[0].clear()
        self._bound[0].put_prompt(first, [count], 1)
        self.place = count

    def read(self, tokens: NDArray[np.int64]) -> NDArray[Any]:
        """Read the next slice of tokens int64 [1, length], and answer the logits [1, vocabulary] behind it, overwritten by the
        next call."""
        assert self._bound is not None
        cache, graph = self._bound
        read = graph.run(cache, tokens[:, self.place : self.place + self._size], self.place)
        cache.put_several(read.new, 0, 1, self.place, self._size)
        self.place += self._size
        return read.logits[:, -1]

    def clear(self) -> None:
        """Let go of buffers."""
        self._bound = None
