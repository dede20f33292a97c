"""The graph `extend`, which reads several tokens of each row, bound to the cache that steps read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...session import BoundCall, Session
from ...spec import TensorSpec
from .buffers import Memory
from .graph_io import GraphIO
from .kv_cache import Cache, Entries


@dataclass(frozen=True)
class Extended:
    """One call for so many tokens a row: what it reads, and what it leaves until it is called again.

    token     int64 [rows, count]
    logits    [rows, count, vocabulary]
    new       the entries of the tokens
    """

    token: NDArray[np.int64]
    logits: NDArray[Any]
    new: Entries
    call: BoundCall


class ExtendGraph:
    """Calls of `extend` for one number of rows, bound when they are first wanted, for each capacity and number of tokens.

    cached   specs of the step's past_*, by the names of the cache
    carried  what all calls read unchanged, by name
    """

    def __init__(
        self,
        wiring: GraphIO,
        session: Session,
        memory: Memory,
        cached: Mapping[str, TensorSpec],
        carried: Mapping[str, Any],
        rows: int,
    ) -> None:
        assert wiring.extend is not None
        self._wiring, self._graph, self._session, self._memory = wiring, wiring.extend, session, memory
        self._cached, self._rows = cached, rows
        self._carried = {name: value for name, value in carried.items() if name in self._graph.inputs}
        self._position = session.buffer((1 if wiring.one_place else rows, 1), "int64")
        self._bound: dict[tuple[int, int], Extended] = {}

    def run(self, cache: Cache, tokens: NDArray[np.int64], places: Any) -> Extended:
        """Read tokens int64 [rows, count], the first of a row at its one of `places`."""
        # Before the binding, which runs the graph on a GPU: behind the places of an earlier call, of fewer tokens, may be none.
        self._position[:, 0] = places
        key = cache.capacity, tokens.shape[1]
        if key not in self._bound:
            self._bound[key] = self._bind(cache, tokens.shape[1])
        bound = self._bound[key]
        bound.token[...] = tokens
        bound.call()
        return bound

    def _bind(self, cache: Cache, count: int) -> Extended:
        rows, session = self._rows, self._session
        token = session.buffer((rows, count), "int64")
        logits = session.buffer((rows, count, self._wiring.vocabulary), self._graph.outputs["logits"].dtype)
        new = Entries(self._memory, self._cached, rows, count)
        inputs = {"token": token, "position": self._position, "past_mask": cache.mask, **self._carried}
        inputs |= {f"past_{name}": part for name, part in cache.past.by_name.items()}
        outputs = {"logits": logits} | {f"new_{name}": part for name, part in new.by_name.items()}
        return Extended(
            token, logits, new, session.bind(inputs=inputs, outputs=outputs, on_device=self._memory.on_device)
        )
