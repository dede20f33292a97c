"""The graphs of a generator bound to buffers that they share, for prompts of one shape.

The encoder writes its memory where `first` reads it; `first` writes what is carried where `step` reads it; `step` reads a cache
that is written in place. No tensor is copied from graph to graph, but where beams need rows more than once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...session import BoundCall, Session
from .buffers import Memory, repeat_rows
from .common_entries import CommonEntries
from .extend_graph import Extended, ExtendGraph
from .graph_io import GraphIO
from .kv_cache import Cache, Entries, capacity_for


@dataclass(frozen=True)
class Shape:
    """rows of the prompt, rows of the step for each of them, tokens of the prompt, shapes of the encoder's inputs."""

    rows: int
    beams: int
    prompt: int
    source: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Sessions:
    """One session a graph. `encoder` is None for a decoder-only model.

    open_extend  opens that of `extend`, where there is such a graph
    """

    encoder: Session | None
    first: Session
    step: Session
    open_extend: Callable[[], Session] | None = None
    _later: list[Session] = field(default_factory=list)

    def extend(self) -> Session:
        """The session of `extend`, opened when it is first wanted: it may hold the weights once more."""
        assert self.open_extend is not None
        if not self._later:
            self._later.append(self.open_extend())
        return self._later[0]

    def close(self) -> None:
        for session in (*self.all(), *self._later):
            session.close()

    @classmethod
    def opened(cls, wiring: GraphIO, open_one: Callable[[str, Session | None], Session]) -> Sessions:
        """Those of `wiring`, by `open_one`: it is given the name of a graph, and the session that was opened first, if there is
        one. Where it raises, what was opened before is closed."""
        found: list[Session] = []
        try:
            for graph in (wiring.encoder, wiring.first, wiring.step):
                if graph is not None:
                    found.append(open_one(graph.name, found[0] if found else None))
        except BaseException:
            for session in found:
                session.close()
            raise
        *encoders, first, step = found
        open_extend = None if wiring.extend is None else partial(open_one, wiring.extend.name, found[0])
        return cls(encoders[0] if encoders else None, first, step, open_extend)

    def all(self) -> list[Session]:
        return [session for session in (self.encoder, self.first, self.step) if session is not None]


class StepGraphs:
    """One generation at a time: `start`, then `advance` (and `reorder`) as often as one likes.

    Rows of the step are called rows here: each row of the prompt has `beams` of them, one behind the other.

    prompt   the entries of the prompts that were read
    carried  what the step reads of them beside their entries, the same at every step
    """

    def __init__(self, wiring: GraphIO, sessions: Sessions, shape: Shape, memory: Memory) -> None:
        self._wiring, self._sessions, self._shape, self._memory = wiring, sessions, shape, memory
        self.rows = shape.rows * shape.beams
        flow: dict[str, Any] = {}
        self._encoder: BoundCall | None = None
        if sessions.encoder is not None:
            self._encoder = self._bind(sessions.encoder, {}, {}, host=dict(shape.source))
            flow |= {**self._encoder.inputs, **self._encoder.outputs}
        first, step = wiring.first, wiring.step
        self._cached = {name: step.inputs[f"past_{name}"] for name in wiring.cache}
        self.prompt = Entries(memory, self._cached, shape.rows, shape.prompt)
        self._first = self._bind(
            sessions.first,
            {name: flow[name] for name in first.inputs if name in flow},
            {f"new_{name}": part for name, part in self.prompt.by_name.items()},
            host=dict.fromkeys(("tokens", "tokens_mask"), (shape.rows, shape.prompt)),
            logits=shape.rows,
        )
        flow |= self._first.outputs
        self.carried = {name: flow[name] for name in wiring.carried}
        self._repeated: list[tuple[Any, Any]] = []
        if shape.beams > 1:
            self.carried = {name: self._widened(narrow) for name, narrow in self.carried.items()}
        self._new = Entries(memory, self._cached, self.rows, 1)
        self._token = sessions.step.buffer((self.rows, 1), "int64")
        self._position = sessions.step.buffer((1 if wiring.one_place else self.rows, 1), "int64")
        self._logits = sessions.step.buffer((self.rows, wiring.vocabulary), step.outputs["logits"].dtype)
        self._steps: dict[int, tuple[Cache, BoundCall]] = {}
        self._cache: Cache
        self._step: BoundCall
        self._common: CommonEntries
        # Of the next token: one number while it is the same for all rows, which is cheaper.
        self._place = 0
        self._places: list[int] | None = None
        self._pending = False
        self._extend: ExtendGraph | None = None
        self._extended: Extended

    def read(
        self, source: Mapping[str, NDArray[Any]], tokens: NDArray[np.int64], lengths: Sequence[int]
    ) -> NDArray[Any]:
        """Read the prompts alone: tokens int64 [rows of the prompt, prompt], of which `lengths` count. What is left of them lies
        in `prompt` and `carried`.

        Returns logits [rows of the prompt, vocabulary] behind each one's last token, overwritten by the next reading.
        """
        if self._encoder is not None:
            for name, value in source.items():
                np.copyto(self._encoder.inputs[name], value)
            self._encoder()
        np.copyto(self._first.inputs["tokens"], tokens)
        self._first.inputs["tokens_mask"][...] = np.arange(tokens.shape[1]) < np.array(lengths)[:, None]
        logits: NDArray[Any] = self._first()["logits"]
        return logits

    def start(
        self, source: Mapping[str, NDArray[Any]], tokens: NDArray[np.int64], lengths: Sequence[int]
    ) -> NDArray[Any]:
        """`read` the prompts, and have the step go on from them. Returns what `read` does."""
        logits = self.read(source, tokens, lengths)
        for wide, narrow in self._repeated:
            (repeat_rows if isinstance(wide, np.ndarray) else self._memory.repeat)(wide, narrow)
        longest = max(lengths)
        self._use(capacity_for(longest + 1, self._wiring.capacities), clear=True)
        self._cache.put_prompt(self.prompt, lengths, self._shape.beams)
        self._common = CommonEntries(lengths, self._shape.beams)
        self._place, self._pending = longest, False
        self._places = None if min(lengths) == longest else [n for n in lengths for _ in range(self._shape.beams)]
        return logits

    def advance(self, tokens: NDArray[np.int64], active: NDArray[np.bool_]) -> NDArray[Any]:
        """Feed one token a row and answer the logits [rows, vocabulary] of the next, overwritten by the next call.

        What rows get that are not `active` means nothing; they are computed all the same.
        """
        self._write_pending(active)
        # Before the call, since binding runs the graph on a GPU and overwrites what the call would leave.
        places = self._places
        self._grow(1 + (self._place if places is None else max(places[row] for row in np.flatnonzero(active))))
        self._token[:, 0] = tokens
        # A row that has no room for an answer stands behind its last place; what it is told there is not looked at.
        last = self._wiring.max_length - 1
        self._position[:, 0] = self._place if places is None else np.minimum(places, last)
        self._step()
        self._pending = True
        return self._logits  # type: ignore[no-any-return]

    def extend(self, tokens: NDArray[np.int64], active: NDArray[np.bool_]) -> NDArray[Any]:
        """Feed tokens int64 [rows, count] and answer the logits [rows, count, vocabulary] behind each, overwritten by the next
        call of as many. Nothing goes into the cache but what `keep` is told of, which comes before any other call.

        The model has room for `count` tokens in every row that is `active`.
        """
        self._write_pending(active)
        if self._extend is None:
            self._extend = ExtendGraph(
                self._wiring, self._sessions.extend(), self._memory, self._cached, self.carried, self.rows
            )
        count, places = tokens.shape[1], self._places
        self._grow(count + (self._place if places is None else max(places[row] for row in np.flatnonzero(active))))
        # Of a row that ended, so far from the end that there is a place for each token.
        last = min(self._wiring.max_length, self._cache.capacity) - count
        self._extended = self._extend.run(
            self._cache, tokens, self._place if places is None else np.minimum(places, last)
        )
        return self._extended.logits

    def keep(self, counts: Sequence[int]) -> None:
        """Put the entries of the first counts[i] tokens of row i that `extend` read into the cache; 0 for a row that ended."""
        several = {count for count in counts if count}
        if self._places is None and len(several) == 1:
            (count,) = several
            self._cache.put_several(self._extended.new, 0, self.rows, self._place, count)
            self._place += count
            return
        if self._places is None:
            self._places = [self._place] * self.rows
        for row, count in enumerate(counts):
            if count:  # a GPU copies no empty box
                self._cache.put_several(self._extended.new, row, 1, self._places[row], count)
                self._places[row] += count

    def reorder(self, parents: Sequence[int], active: NDArray[np.bool_]) -> None:
        """Let row i go on from what row parents[i], of the same prompt, has read so far."""
        self._write_pending(active)
        lengths = self._places or [self._place] * self.rows
        self._cache.reorder(parents, self._common.follow(parents, lengths), lengths)

    def _widened(self, narrow: Any) -> Any:
        """Room for `beams` rows of each of the prompt's, in the same kind of memory."""
        on_device = not isinstance(narrow, np.ndarray)
        shape = (self.rows, *narrow.shape[1:])
        wide = self._sessions.step.buffer(shape, narrow.dtype.name, on_device=on_device)
        self._repeated.append((wide, narrow))
        return wide

    def _write_pending(self, active: NDArray[np.bool_]) -> None:
        """Write the newest entry of each row into the cache. Not after the last step: nobody would read it."""
        if not self._pending:
            return
        self._pending = False
        if self._places is None:
            self._cache.put(self._new, self._place)
            self._place += 1
            return
        for row in np.flatnonzero(active).tolist():
            self._cache.put_row(self._new, row, self._places[row])
            self._places[row] += 1

    def _grow(self, entries: int) -> None:
        """Make room for so many entries, or for as many as the graph takes."""
        capacity = capacity_for(entries, self._wiring.capacities)
        if capacity > self._cache.capacity:
            smaller = self._cache
            self._use(capacity, clear=True)
            self._cache.take_over(smaller)

    def _use(self, capacity: int, clear: bool) -> None:
        """Make the cache of this capacity, bound once, the one that steps read."""
        if capacity not in self._steps:
            self._steps[capacity] = self._bind_step(capacity)
        elif clear:
            self._steps[capacity][0].clear()
        self._cache, self._step = self._steps[capacity]

    def _bind_step(self, capacity: int) -> tuple[Cache, BoundCall]:
        mask = self._sessions.step.buffer((self.rows, capacity), "bool")
        cache = Cache(self._memory, self._cached, mask)
        inputs = {"token": self._token, "position": self._position, "past_mask": cache.mask, **self.carried}
        inputs |= {f"past_{name}": part for name, part in cache.past.by_name.items()}
        outputs = {"logits": self._logits} | {f"new_{name}": part for name, part in self._new.by_name.items()}
        return cache, self._sessions.step.bind(inputs=inputs, outputs=outputs, on_device=self._memory.on_device)

    def _bind(
        self,
        session: Session,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        host: Mapping[str, tuple[int, ...]],
        logits: int = 0,
    ) -> BoundCall:
        """Bind, with new host memory for the inputs `host` and for logits of so many rows; the rest lies in the memory."""
        dtypes = {spec.name: spec.dtype for spec in (*session.inputs, *session.outputs)}
        given = {name: session.buffer(shape, dtypes[name]) for name, shape in host.items()}
        for array in given.values():
            if array.dtype == bool:
                array[...] = (
                    True  # a GPU runs the call once when it is bound, and nothing to look at is nothing to test with
                )
        taken = dict(outputs)
        if logits:
            taken["logits"] = session.buffer((logits, self._wiring.vocabulary), dtypes["logits"])
        return session.bind(inputs={**given, **inputs}, outputs=taken, on_device=self._memory.on_device)


class Plans(OrderedDict[Shape, StepGraphs]):
    """Graphs that stay bound for the shapes that were wanted last, `most` of them."""

    def __init__(self, wiring: GraphIO, sessions: Sessions, memory: Memory, most: int) -> None:
        super().__init__()
        self._wiring, self._sessions, self._memory, self._most = wiring, sessions, memory, most

    def of(self, shape: Shape) -> StepGraphs:
        """Those of `shape`, bound if they are not."""
        plan = self.pop(shape, None) or StepGraphs(self._wiring, self._sessions, shape, self._memory)
        self[shape] = plan
        while len(self) > self._most:
            self.popitem(last=False)
        return plan
