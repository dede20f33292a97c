"""`threads="auto"`: as many threads as there are cores that nobody else wants.

With all threads, they meet at the end of every node, and wait busily: the fastest way on an idle machine. Where another
process takes one of the cores, the thread that runs waits for the one that does not, node by node, and the call loses more
than the core's share. Fewer threads than there are free cores wait for nobody. Where no core is left, threads that sleep
where they have nothing to do, on small pieces of work, are given a core before those that never do. Answers are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from ..errors import AttnError
from ..interface import Array, Engine
from .free_cores import LOOK_S, FreeCores

#: Of a core, what others may take of it before it counts as theirs.
_SPARE = 0.3


class Way(NamedTuple):
    """How many threads one node may use, and whether they sleep between the nodes."""

    threads: int
    sleeping: bool = False


def way_for(free: float | None, cores: int, sleeping: bool) -> Way:
    """For `cores` that may be used, of which `free` are: all, one less, or a power of two, so that few engines do for all.

    `sleeping` says whether threads can be told to. None is not known: all.
    """
    if free is None or free >= cores - _SPARE:
        return Way(cores)
    fit = int(free + _SPARE)
    if fit < 1:
        return Way(cores, True) if sleeping else Way(1)
    return Way(fit if fit >= cores - 1 else 1 << (fit.bit_length() - 1))


class ThreadChoice:
    """Engines of one graph, by one backend, of which calls take the one for the cores that are free. The first has all threads;
    `open_way` opens another beside the calls, once it is wanted, and may raise AttnError: then that one is not taken. What the
    engine is asked for beside `run` and `bind`, the first one has."""

    def __init__(
        self, first: Engine, cores: int, sleeping: bool, open_way: Callable[[Way], Engine], free: FreeCores
    ) -> None:
        self.device, self.inputs, self.outputs, self.assets = first.device, first.inputs, first.outputs, first.assets
        self.note: str | None = "; ".join(
            filter(None, (getattr(first, "note", None), f"as many of {cores} threads as cores are free"))
        )
        self._first = self._using = first
        self._cores, self._sleeping, self._open_way, self._free = cores, sleeping, open_way, free
        self._engines: dict[Way, Engine | None] = {Way(cores): first}
        self._opening: threading.Thread | None = None
        self._lock = threading.Lock()
        self._next = monotonic()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._first, name)

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        return self._engine().run(feed)

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
        calls = {self._first: self._first.bind(inputs, outputs)}

        def call() -> None:
            engine = self._engine()
            bound = calls.get(engine)
            if bound is None:
                bound = calls[engine] = engine.bind(inputs, outputs)
            bound()

        return call

    def explain(self, error: Exception) -> AttnError:
        return self._first.explain(error)

    def close(self) -> None:
        """Waits for an engine that is being opened."""
        if self._opening is not None:
            self._opening.join()
        for engine in self._engines.values():
            if (close := getattr(engine, "close", None)) is not None:
                close()

    def _engine(self) -> Engine:
        """The one for now."""
        now = monotonic()
        if now >= self._next and self._lock.acquire(blocking=False):
            try:
                self._next = now + LOOK_S
                self._choose(way_for(self._free.now(), self._cores, self._sleeping))
            finally:
                self._lock.release()
        return self._using

    def _choose(self, way: Way) -> None:
        if way in self._engines:
            self._using = self._engines[way] or self._using
        elif self._opening is None or not self._opening.is_alive():
            opening = threading.Thread(target=self._open, args=(way,), name="attn-open")
            try:
                opening.start()
            except RuntimeError:  # no more threads here: what is open does
                self._engines[way] = None
            else:
                self._opening = opening

    def _open(self, way: Way) -> None:
        """Calls go on meanwhile, and take it from their next look on."""
        try:
            self._engines[way] = self._open_way(way)
        except AttnError:  # the files are not there any more, or another export's: what is open stays good
            self._engines[way] = None
