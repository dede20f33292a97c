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
from .greedy import check_finite
from .result import Stopped
from .rules import ScoreRules
from .settings import Settings
from .topk import largest_sums

#: Below every score that counts; of beams that are not there yet and of answers that are not finished.
_NEVER = -1.0e9
#: Numbers in float64 that are computed on at once.
_TOGETHER = 2**16


class BeamSearch:
    """What is known of each row's answers; `generate` fills it. Beams are numbered as a row's own rows of the step are."""

    def __init__(
        self,
        limits: Sequence[int],
        stops: NDArray[np.bool_],
        pad: int,
        settings: Settings,
        rules: ScoreRules | None = None,
    ) -> None:
        self._limits, self._stops, self._pad = np.array(limits, np.int64), stops, pad
        self._settings, self._beams, self._rules = settings, settings.beams, rules
        self._keep = max(2, 1 + int(stops.sum())) * settings.beams
        self._sums = np.full((len(limits), settings.beams), _NEVER)
        self._sums[:, 0] = 0.0  # at first all beams are the same one
        self._finished: list[list[tuple[float, list[int]]]] = [[] for _ in limits]  # best first
        self._written = np.empty(
            (len(limits), settings.beams, 0), np.int64
        )  # tokens of each beam; `_lengths` of them count
        self._lengths = np.zeros(len(limits), np.int64)
        self._going = self._limits > 0
        self.steps = 0
        self._cancelled = False

    def generate(
        self, plan: StepGraphs, logits: NDArray[Any], where: str, is_cancelled: Callable[[], object] | None
    ) -> None:
        """Search on from the logits [rows, vocabulary] behind the prompts. Writes into what the step graph answers."""
        beams, prompts = self._beams, len(self._going)
        logits = np.repeat(logits, beams, 0)  # the prompt was read once, not once a beam
        vocabulary = logits.shape[1]
        dtype = np.promote_types(logits.dtype, np.float32)
        exponentials = np.empty((min(plan.rows, max(1, _TOGETHER // vocabulary)), vocabulary), dtype)
        numbers, pads = np.arange(plan.rows).reshape(prompts, beams), np.full((prompts, beams), self._pad, np.int64)
        active = np.repeat(self._going, beams)
        while active.any():
            if is_cancelled is not None and is_cancelled():
                self._cancelled = True
                return
            if logits.dtype == np.float16:
                logits = logits.astype(np.float32)
            totals = _log_sum_exp(logits, active, exponentials)
            check_finite(totals, active, self.steps, where)
            going = np.flatnonzero(self._going)
            best = self._best(logits.reshape(prompts, beams, vocabulary), totals.reshape(prompts, beams), going)
            parents, tokens = numbers.copy(), pads.copy()
            on, tokens[going] = self._step(going, *best)
            self.steps += 1
            on[~self._going[going]] = np.arange(beams)  # rows that end here stay as they are
            parents[going] = numbers[going, :1] + on
            active = np.repeat(self._going, beams)
            if active.any():
                if self.steps > 1:  # before that, all beams of a row hold its prompt
                    plan.reorder(parents.reshape(-1).tolist(), active)
                logits = plan.advance(tokens.reshape(-1), active)

    def result(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], tuple[Stopped, ...]]:
        """tokens, lengths, scores and why each row stopped, as in `Generated`."""
        answers = [self._answer(row) for row in range(len(self._going))]
        lengths = np.array([len(sequence) for _, sequence in answers], np.int64)
        tokens = np.full((len(answers), int(lengths.max(initial=0))), self._pad, np.int64)
        stopped: list[Stopped] = []
        for row, (_, sequence) in enumerate(answers):
            tokens[row, : len(sequence)] = sequence
            hit = bool(sequence) and bool(self._stops[sequence[-1]])
            stopped.append("cancelled" if self._cancelled and self._going[row] else "stop" if hit else "length")
        return tokens, lengths, np.array([score for score, _ in answers]), tuple(stopped)

    def _best(
        self, logits: NDArray[Any], totals: NDArray[np.float64], going: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The best sums of the rows `going`, and where they are, as `largest_sums` says; [rows, beams, ...] are of all rows."""
        if len(going) < len(logits):
            logits, totals = logits[going], totals[going]
        if self._rules is not None:
            if not all(self._rules.forbids_alone(row, self.steps) for row in going.tolist()):
                # What else rules do is done to log probabilities.
                logits, totals = logits - totals[:, :, None], np.zeros_like(totals)
            for number, row in enumerate(going.tolist()):
                self._rules.apply(logits[number], row, self._written[row, :, : self.steps].tolist())
        return largest_sums(logits, totals, self._sums[going], self._keep)

    def _step(
        self, going: NDArray[np.int64], sums: NDArray[np.float64], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Go one token on in these rows, with the best sums of each, [rows, best]. Answers which beam each beam now goes on from,
        and with which token, both [rows, beams]."""
        settings, beams, length = self._settings, self._beams, self.steps + 1
        tokens, parents = np.divmod(places, beams)
        full = length >= self._limits[going]
        ends = self._stops[tokens] | full[:, None]
        for number, rank in np.argwhere(ends[:, :beams] & (sums[:, :beams] > _NEVER / 2)).tolist():
            row, parent = going[number], parents[number, rank]
            sequence = [*self._written[row, parent, : self.steps].tolist(), int(tokens[number, rank])]
            self._finished[row].append((settings.score(float(sums[number, rank]), length), sequence))
        left = np.where(ends, sums + _NEVER, sums)
        on = np.argsort(-left, axis=1, kind="stable")[:, :beams] + np.arange(0, left.size, left.shape[1])[:, None]
        parents, tokens = parents.take(on), tokens.take(on)
        self._sums[going] = left.take(on)
        self._write(going, parents, tokens)
        for row, is_full in zip(going.tolist(), full.tolist(), strict=True):
            finished, best = self._finished[row], float(self._sums[row, 0])
            finished.sort(key=lambda answer: -answer[0])  # stable: of equal ones the earlier
            del finished[beams:]
            enough = len(finished) == beams
            could = settings.score(best, length) > finished[-1][0] if enough else True
            could = could and (best > -math.inf or not finished)  # else no beam may go on with any token
            self._going[row] = not is_full and could and not (enough and settings.early_stop)
            if self._rules is not None and self._going[row] and best == -math.inf:
                raise self._rules.nothing_left(row, self.steps)
        return parents, tokens

    def _write(self, going: NDArray[np.int64], parents: NDArray[np.int64], tokens: NDArray[np.int64]) -> None:
        """Let each beam of these rows be what its parent was, and one token more."""
        if self.steps == self._written.shape[2]:
            wider = np.empty((*self._written.shape[:2], max(16, 2 * self.steps)), np.int64)
            wider[:, :, : self.steps] = self._written
            self._written = wider
        self._written[going, :, : self.steps] = self._written[going[:, None], parents, : self.steps]
        self._written[going, :, self.steps] = tokens
        self._lengths[going] = self.steps + 1

    def _answer(self, row: int) -> tuple[float, list[int]]:
        """(score, tokens) of the best finished answer, or of the best under way where there is none yet."""
        if self._finished[row]:
            return self._finished[row][0]
        sequence: list[int] = self._written[row, 0, : self._lengths[row]].tolist()
        return self._settings.score(float(self._sums[row, 0]), len(sequence)), sequence


def _log_sum_exp(logits: NDArray[Any], active: NDArray[np.bool_], exponentials: NDArray[Any]) -> NDArray[np.float64]:
    """log(sum(exp(logits))) of each row, summed in float64; of rows that are not active it may be left out. `exponentials`, some
    rows of as many numbers of the logits' type, is overwritten: so many at once as stay in the processor's cache. In a batch,
    all at once take five times as long. Exponentials in float64 take three times as long as in float32, and change the answer by
    1e-8."""
    largest = logits.max(1)
    sums = np.ones(len(logits))
    for first in range(0, len(logits), len(exponentials)):
        part = slice(first, first + len(exponentials))
        if active[part].any():
            some = exponentials[: len(largest[part])]
            np.subtract(logits[part], largest[part, None], out=some)
            np.exp(some, out=some)
            np.add.reduce(some, 1, out=sums[part])
    found: NDArray[np.float64] = np.log(sums) + largest
    return found
