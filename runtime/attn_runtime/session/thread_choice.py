"""`threads="auto"`: the graph is opened in several ways, and calls of each shape take the one that they find to be faster.

With all threads, they meet at the end of every node, and wait busily: the fastest way on an idle machine, where a
node is worth it. Where another process takes one of the cores, the thread that runs waits for the one that does not,
node by node. Threads that sleep where they have nothing to do, on small pieces of work, get a core sooner, and the
caller does alone what nobody comes for in time. One thread waits for nobody. What others do on a machine can't be
known beforehand and does not stay, so it is the calls themselves that tell, as long as there are any: trying the
other ways takes about a hundredth of the time. Answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from ..errors import AttnError
from ..interface import Array, Engine

#: Shapes that are told apart; what is found out of further ones is forgotten.
_MOST_PACES = 1024
#: Calls until another engine is tried for the first time, where nothing and where another shape's choice is known; and calls of a
#: trial behind one that wakes its threads.
_FIRST_TRIAL, _LATER_TRIAL, _TRIAL = 2, 32, 3
#: How much faster another must be.
_MARGIN = 1.05
#: A call's share of the mean that it changes, and how many times the mean it counts at most: what a call is held up by once says
#: little of the next.
_SHARE, _MOST = 1 / 16, 4.0
#: The time that passes before the next trial, over what the last one lost, or over a part of what it took where it lost less.
_REST, _LEAST_REST = 100.0, 25.0


class Pace:
    """Which of `count` engines is faster for calls of one shape. `using` is the one to take; tell `took` how long it was.

    `known` is what calls of another shape have chosen. May be told from several threads: what is lost between them are times.
    """

    def __init__(self, count: int, known: int | None = None) -> None:
        self.using = self.chosen = known or 0
        self.means = [0.0] * count  # seconds of a call; 0 is not known
        self._first = _FIRST_TRIAL if known is None else _LATER_TRIAL
        self._calls = 0
        self._due: float | None = None  # when another is tried next; None during the first calls
        self._turn = self.chosen  # the one that was tried last
        self._tried, self._sum, self._lost = 0, 0.0, 0.0

    def took(self, seconds: float, now: float) -> None:
        """Of the call that `using` told, which ended at `now`."""
        if self.using != self.chosen:
            self._trial(seconds, now)
            return
        self._calls += 1
        if self._calls == 1:
            return  # memory is taken, threads are started
        mean = self.means[self.chosen]
        mean = mean + _SHARE * (min(seconds, _MOST * mean) - mean) if mean else seconds
        self.means[self.chosen] = mean
        best = self._best()
        if mean > _MARGIN * self.means[best]:
            # The next one to be tried again is the one that was left.
            self._due, self._turn = now + _REST * _TRIAL * (mean - self.means[best]), self.chosen - 1
            self.using = self.chosen = best
        elif self._calls > self._first if self._due is None else now >= self._due:
            self._turn = (self._turn + 1) % len(self.means)
            if self._turn == self.chosen:
                self._turn = (self._turn + 1) % len(self.means)
            self.using, self._tried, self._sum, self._lost = self._turn, 0, 0.0, 0.0

    def _trial(self, seconds: float, now: float) -> None:
        """A call of one that is not chosen. The first one wakes its threads, and does not count unless it is too long."""
        mean = self.means[self.chosen]
        self._tried += 1
        self._lost += seconds - mean
        if self._tried > 1:
            self._sum += seconds
        counted = self._tried - 1
        if counted < _TRIAL and self._lost <= (_TRIAL + 1) * mean:
            return
        tried = self.means[self.using] = self._sum / counted if counted else seconds
        # All are tried before there is rest.
        self._due = now + max(_REST * self._lost, _LEAST_REST * _TRIAL * mean) if all(self.means) else now
        if tried * _MARGIN < mean:
            self.chosen = self.using
        self.using = self.chosen

    def _best(self) -> int:
        """The fastest of those that are known."""
        known = [which for which, mean in enumerate(self.means) if mean]
        return min(known, key=lambda which: self.means[which])


class ThreadChoice:
    """An engine of several on the same graph, by the same backend, which `told` describes. What it is asked for beside `run` and
    `bind`, it has from the first."""

    def __init__(self, engines: Sequence[Engine], told: str) -> None:
        self._engines = tuple(engines)
        first = engines[0]
        self.device, self.inputs, self.outputs, self.assets = first.device, first.inputs, first.outputs, first.assets
        self.note: str | None = "; ".join(filter(None, (getattr(first, "note", None), told)))
        self._paces: dict[tuple[tuple[int, ...], ...], Pace] = {}
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
        close_all(self._engines)

    def _pace(self, feed: Mapping[str, Array]) -> Pace:
        """That of these shapes; a new one begins with what the one before has chosen."""
        key = tuple(value.shape for value in feed.values())
        pace = self._paces.get(key)
        if pace is None:
            pace = Pace(len(self._engines), self._last.chosen if self._last else None)
            if len(self._paces) < _MOST_PACES:
                self._paces[key] = pace
        self._last = pace
        return pace


def close_all(engines: Sequence[Engine]) -> None:
    for engine in engines:
        if (close := getattr(engine, "close", None)) is not None:
            close()
