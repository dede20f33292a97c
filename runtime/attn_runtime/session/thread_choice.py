"""`threads="auto"`: the graph is opened with one thread and with all, and calls of each shape take what they find to be faster.

Two threads meet at the end of every node. Where another process takes one of the cores, the thread that runs waits for the one
that does not, node by node, and one thread alone is several times as fast; for small graphs it is so on an idle machine too. What
others do on a machine can't be known beforehand and does not stay, so it is the calls themselves that tell, as long as there are
any: trying the other engine takes a hundredth of the time at most. Which of the two computes is not to be seen in the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from ..errors import AttnError
from ..interface import Array, Engine

#: Shapes that are told apart; what is found out of further ones is forgotten.
_MOST_PACES = 1024
#: Calls until the other engine is tried for the first time, and calls of a trial behind one that wakes its threads.
_FIRST_TRIAL, _TRIAL = 4, 3
#: How much faster the other must be.
_MARGIN = 1.05
#: A call's share of the mean that it changes, and how many times the mean it counts at most: what a call is held up by once says
#: little of the next.
_SHARE, _MOST = 1 / 16, 8.0
#: The time that passes before the next trial, over what the last one lost.
_REST = 100.0


class Pace:
    """Which of two engines is faster for calls of one shape. `using` is the one to take; tell `took` how long it was.

    May be told from several threads: what is lost between them are single times.
    """

    def __init__(self, using: int = 0) -> None:
        self.using = self._chosen = using
        self._means: list[float] = [0.0, 0.0]  # seconds of a call; 0 is not known
        self._calls = 0
        self._due: float | None = None  # when the other is tried next; None after the first calls
        self._tried, self._sum, self._lost = 0, 0.0, 0.0

    def took(self, seconds: float, now: float) -> None:
        """Of the call that `using` told, which ended at `now`."""
        chosen, other = self._chosen, 1 - self._chosen
        if self.using != chosen:
            return self._trial(seconds, now)
        mean = self._means[chosen]
        self._calls += 1
        if self._calls == 1:
            return None  # memory is taken, threads are started
        mean = mean + _SHARE * (min(seconds, _MOST * mean) - mean) if mean else seconds
        self._means[chosen] = mean
        if self._means[other] and mean > _MARGIN * self._means[other]:
            self._choose(other)
            self._due = now + _REST * _TRIAL * (mean - self._means[other])
        elif self._calls > _FIRST_TRIAL if self._due is None else now >= self._due:
            self.using, self._tried, self._sum, self._lost = other, 0, 0.0, 0.0
        return None

    def _trial(self, seconds: float, now: float) -> None:
        """A call of the one that is not chosen. The first one wakes its threads, and does not count unless it is too long."""
        chosen, other = self._chosen, self.using
        mean = self._means[chosen]
        self._tried += 1
        self._lost += seconds - mean
        if self._tried > 1:
            self._sum += seconds
        counted = self._tried - 1
        hopeless = self._lost > (_TRIAL + 1) * mean
        if counted < _TRIAL and not hopeless:
            return
        self._means[other] = self._sum / counted if counted else seconds
        self._due = now + _REST * max(self._lost, _TRIAL * mean / 4)
        self._choose(other if self._means[other] * _MARGIN < mean else chosen)

    def _choose(self, which: int) -> None:
        self.using = self._chosen = which


class ThreadChoice:
    """An engine of two, with all threads and with one, on the same graph and by the same backend. What it is asked for beside
    `run` and `bind`, it has from the first."""

    def __init__(self, engines: Sequence[Engine], counts: Sequence[int]) -> None:
        self._engines = tuple(engines)
        first = engines[0]
        self.device, self.inputs, self.outputs, self.assets = first.device, first.inputs, first.outputs, first.assets
        told = f"{counts[1]} or {counts[0]} threads, whichever is faster"
        self.note: str | None = "; ".join(filter(None, (getattr(first, "note", None), told)))
        self._paces: dict[tuple[Any, ...], Pace] = {}
        self._last: Pace | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._engines[0], name)

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        pace = self._pace(feed)
        started = perf_counter()
        answers = self._engines[pace.using].run(feed)
        ended = perf_counter()
        pace.took(ended - started, ended)
        return answers

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
        pace = self._pace(inputs)
        calls = [engine.bind(inputs, outputs) for engine in self._engines]

        def call() -> None:
            started = perf_counter()
            calls[pace.using]()
            ended = perf_counter()
            pace.took(ended - started, ended)

        return call

    def explain(self, error: Exception) -> AttnError:
        return self._engines[0].explain(error)

    def close(self) -> None:
        for engine in self._engines:
            if (close := getattr(engine, "close", None)) is not None:
                close()

    def _pace(self, feed: Mapping[str, Array]) -> Pace:
        """That of these shapes; a new one begins with what the last one that was taken has chosen."""
        key = tuple(value.shape for value in feed.values())
        pace = self._paces.get(key)
        if pace is None:
            pace = Pace(self._last._chosen if self._last else 0)
            if len(self._paces) < _MOST_PACES:
                self._paces[key] = pace
        self._last = pace
        return pace
