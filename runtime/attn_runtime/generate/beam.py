"""Beam search: several answers of each row are followed at once, and the best finished one is given.

The rules are those of Hugging Face's transformers (5.x, generation/utils.py, `_beam_search`), so that a search here can be held
against one there:
- Each step takes the sums of log probabilities of every beam followed by every token, and of these the (1 + stop tokens) * beams
  best, at least 2 * beams.
- Those among the first `beams` of them that end (with a stop token, or at the most tokens) are finished answers. Their score is
  the sum over length ** length_penalty, the stop token counted, and those of `begin` that transformers counts as written. A row
  keeps its `beams` best ones.
- The `beams` best that do not end go on.
- A row is done when it has `beams` finished answers and none under way would score above the worst of them at its present
  length; with early_stop, as soon as it has them.
The rules on tokens (rules.py) change the log probabilities before they are added up, and what is left is not normalised anew.
Of equal sums the lower token comes first, and of one token the better beam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graphs import StepGraphs
from .greedy import check_finite, log_sum_exp
from .result import Stopped
from .rules import ScoreRules
from .settings import Settings
from .topk import largest

#: Below every score that counts; of beams that are not there yet and of answers that are not finished.
_NEVER = -1.0e9


class _Row:
    """The search of one row. Beams are numbered as the row's own rows of the step are."""

    def __init__(self, limit: int, stops: NDArray[np.bool_], settings: Settings) -> None:
        self.limit, self._stops, self._settings = limit, stops, settings
        self._keep = max(2, 1 + int(stops.sum())) * settings.beams
        self.sums = np.full(settings.beams, _NEVER)
        self.sums[0] = 0.0  # at first all beams are the same one
        self.finished: list[tuple[float, list[int]]] = []  # best first
        self.sequences: list[list[int]] = [[] for _ in range(settings.beams)]
        self.going = limit > 0

    def step(self, log_probabilities: NDArray[np.float64]) -> list[int]:
        """Go one token on, from [beams, vocabulary]. Answers which beam each beam now goes on from."""
        settings, beams = self._settings, self._settings.beams
        sums = (log_probabilities + self.sums[:, None]).T.reshape(-1)  # in the order in which equal ones come
        best = largest(sums, min(self._keep, len(sums)))
        tokens, parents = np.divmod(best, beams)
        length = len(self.sequences[0]) + 1
        ends = self._stops[tokens] | (length >= self.limit)
        for rank in np.flatnonzero(ends[:beams]):
            if sums[best[rank]] > _NEVER / 2:
                sequence = [*self.sequences[parents[rank]], int(tokens[rank])]
                self.finished.append((settings.score(float(sums[best[rank]]), length), sequence))
        self.finished.sort(key=lambda answer: -answer[0])  # stable: of equal ones the earlier
        del self.finished[beams:]
        on = largest(np.where(ends, sums[best] + _NEVER, sums[best]), beams)
        self.sums = np.where(ends[on], sums[best[on]] + _NEVER, sums[best[on]])
        self.sequences = [[*self.sequences[parents[place]], int(tokens[place])] for place in on]
        full = len(self.finished) == beams
        could = settings.score(float(self.sums[0]), length) > self.finished[-1][0] if full else True
        could = could and (self.sums[0] > -math.inf or not self.finished)  # else no beam may go on with any token
        self.going = length < self.limit and could and not (full and settings.early_stop)
        found: list[int] = parents[on].tolist()
        return found

    def answer(self) -> tuple[float, list[int]]:
        """(score, tokens) of the best finished answer, or of the best under way where there is none yet."""
        if self.finished:
            return self.finished[0]
        sequence = self.sequences[0]
        return self._settings.score(float(self.sums[0]), len(sequence)), sequence


class BeamSearch:
    """What is known of each row's answers; `generate` fills it."""

    def __init__(
        self,
        limits: Sequence[int],
        stops: NDArray[np.bool_],
        pad: int,
        settings: Settings,
        rules: ScoreRules | None = None,
    ) -> None:
        self._rows = [_Row(limit, stops, settings) for limit in limits]
        self._stops, self._pad, self._beams, self._rules = stops, pad, settings.beams, rules
        self.steps = 0
        self._cancelled = False

    def generate(
        self, plan: StepGraphs, logits: NDArray[Any], where: str, is_cancelled: Callable[[], object] | None
    ) -> None:
        beams = self._beams
        logits = np.repeat(logits, beams, 0)  # the prompt was read once, not once a beam
        while any(row.going for row in self._rows):
            if is_cancelled is not None and is_cancelled():
                self._cancelled = True
                return
            active = np.repeat([row.going for row in self._rows], beams)
            log_probabilities = logits.astype(np.float64)
            total = log_sum_exp(log_probabilities)
            check_finite(total, active, self.steps, where)
            log_probabilities -= total[:, None]
            parents, tokens = list(range(plan.rows)), np.full(plan.rows, self._pad, np.int64)
            for number, row in enumerate(self._rows):
                if row.going:
                    part = slice(number * beams, (number + 1) * beams)
                    if self._rules is not None:
                        self._rules.apply(log_probabilities[part], number, row.sequences)
                    parents[part] = [number * beams + beam for beam in row.step(log_probabilities[part])]
                    tokens[part] = [sequence[-1] for sequence in row.sequences]
                    if self._rules is not None and row.going and row.sums[0] == -math.inf:
                        raise self._rules.nothing_left(number, self.steps)
            self.steps += 1
            active = np.repeat([row.going for row in self._rows], beams)
            if active.any():
                if self.steps > 1:  # before that, all beams of a row hold its prompt
                    plan.reorder(parents, active)
                logits = plan.advance(tokens, active)

    def result(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], tuple[Stopped, ...]]:
        """tokens, lengths, scores and why each row stopped, as in `Generated`."""
        answers = [row.answer() for row in self._rows]
        lengths = np.array([len(sequence) for _, sequence in answers], np.int64)
        tokens = np.full((len(answers), int(lengths.max(initial=0))), self._pad, np.int64)
        stopped: list[Stopped] = []
        for number, (row, (_, sequence)) in enumerate(zip(self._rows, answers, strict=True)):
            tokens[number, : len(sequence)] = sequence
            hit = bool(sequence) and bool(self._stops[sequence[-1]])
            stopped.append("cancelled" if self._cancelled and row.going else "stop" if hit else "length")
        return tokens, lengths, np.array([score for score, _ in answers]), tuple(stopped)
