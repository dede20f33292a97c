"""One answer a row: the likeliest token each time, or a drawn one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from .graphs import StepGraphs
from .result import Stopped
from .rules import ScoreRules

Logits = NDArray[Any]
#: logits float32 or float64 [rows, vocabulary], and which rows are under way -> a token for each row
Choose = Callable[[Logits, NDArray[np.bool_]], NDArray[np.int64]]


def likeliest(logits: Logits, active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The token with the largest logit; of equal ones that with the lowest id."""
    found: NDArray[np.int64] = logits.argmax(1)
    return found


class Given:
    """The tokens [rows, length] of answers that are known, one column a call.

    behind   [rows], how far the furthest of them that counts is behind the likeliest one, in logits
    own      int64 [rows], how many of them that count `likeliest` would have chosen
    """

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        self._tokens, self._step = tokens, 0
        self.behind, self.own = np.zeros(len(tokens)), np.zeros(len(tokens), np.int64)

    def __call__(self, logits: Logits, active: NDArray[np.bool_]) -> NDArray[np.int64]:
        tokens = self._tokens[:, self._step].copy()
        self._step += 1
        gap = (logits.max(1) - logits[np.arange(len(tokens)), tokens]).astype(np.float64)
        self.behind[active] = np.maximum(self.behind, gap)[active]
        self.own += active & (likeliest(logits, active) == tokens)
        return tokens


class Answers:
    """What has been chosen for each row, and which rows are under way.

    Rows that ended are ignored, not dropped: they are computed along with the others, on padding.
    """

    def __init__(self, limits: Sequence[int], stops: NDArray[np.bool_], pad: int) -> None:
        self._limits = np.array(limits, np.int64)
        self._stops, self._pad = stops, pad
        self.active = self._limits > 0
        self.all_active = bool(self.active.all())
        self.lengths = np.zeros(len(limits), np.int64)
        self.stopped: list[Stopped] = ["length"] * len(limits)
        self._next_limit = int(self._limits[self.active].min()) if self.active.any() else 0
        self._columns: list[NDArray[np.int64] | np.int64] = []

    @property
    def steps(self) -> int:
        return len(self._columns)

    def add(self, tokens: NDArray[np.int64]) -> bool:
        """Take the next token of each row that is under way (of the others it becomes padding); False when none is left."""
        if not self.all_active:
            tokens[~self.active] = self._pad
        self._columns.append(tokens)
        hit = self._stops[tokens]
        if self.steps < self._next_limit and not hit.any():
            return True
        hit &= self.active
        full = self.active & (self._limits == self.steps)
        ended = hit | full
        self.lengths[ended] = self.steps
        for row in np.flatnonzero(hit):
            self.stopped[row] = "stop"
        self.active = self.active & ~ended
        self.all_active = False
        if not self.active.any():
            return False
        self._next_limit = int(self._limits[self.active].min())
        return True

    def add_one(self, token: int) -> bool:
        """`add` of the only row there is, in a tenth of the time that arrays take."""
        self._columns.append(np.int64(token))
        hit = bool(self._stops[token])
        if not hit and len(self._columns) < self._next_limit:
            return True
        self.lengths[0] = len(self._columns)
        self.stopped[0] = "stop" if hit else "length"
        self.active = np.array([False])
        return False

    def cancel(self, why: Stopped = "cancelled") -> None:
        for row in np.flatnonzero(self.active):
            self.lengths[row] = self.steps
            self.stopped[row] = why

    def tokens(self) -> NDArray[np.int64]:
        """int64 [rows, steps]"""
        if not self._columns:
            return np.zeros((len(self.lengths), 0), np.int64)
        return np.ascontiguousarray(np.array(self._columns, np.int64).reshape(-1, len(self.lengths)).T)


class Choosing:
    """The next token of every row that is under way, chosen from logits and kept in `answers`.

    sums  [rows], of the log probabilities of what was chosen; None where they are not asked for
    """

    def __init__(
        self,
        answers: Answers,
        choose: Choose,
        where: str,
        with_scores: bool = False,
        rules: ScoreRules | None = None,
    ) -> None:
        rows = len(answers.lengths)
        self.answers, self._choose, self._where, self._rules = answers, choose, where, rules
        self.sums = np.zeros(rows) if with_scores else None
        self._rows = np.arange(rows)
        # Row by row what `answers` has in columns: the rules ask for it at every step.
        self._written: list[list[int]] = [] if rules is None else [[] for _ in range(rows)]

    def take(self, logits: Logits) -> tuple[NDArray[np.int64], bool]:
        """(a token for each row, of which those that were under way count; whether any still is), by logits [rows, vocabulary].

        Raises BackendError for a logit that is NaN or infinite, UsageError where the rules leave a row no token.
        """
        answers, rules = self.answers, self._rules
        if logits.dtype == np.float16:
            logits = logits.astype(np.float32)
        shown = logits if rules is None else _ruled(logits, answers.active, self._written, rules)
        tokens = self._choose(shown, answers.active)
        first_of_row = self._rows * logits.shape[1]
        chosen = shown.reshape(-1).take(first_of_row + tokens)
        if not math.isfinite(chosen.sum()):  # a tenth of the time of asking each
            if rules is not None:
                _check_left(logits, shown, answers, rules)
                chosen = logits.reshape(-1).take(first_of_row + tokens)
            check_finite(chosen, answers.active, answers.steps, self._where)
        if self.sums is not None:
            self.sums += _log_probabilities(logits, tokens, answers.active, self._written, rules)
        going = answers.add(tokens)
        if rules is not None:
            for answer, token in zip(self._written, tokens.tolist(), strict=True):
                answer.append(token)
        return tokens, going


def generate_each(
    plan: StepGraphs,
    logits: Logits,
    choosing: Choosing,
    on_token: Callable[[int, int], object] | None = None,
    is_cancelled: Callable[[], object] | None = None,
) -> None:
    """Fill the answers of `choosing`, from the logits behind the prompts on."""
    answers = choosing.answers
    while True:
        if is_cancelled is not None and is_cancelled():
            answers.cancel()
            return
        before = answers.active
        tokens, going = choosing.take(logits)
        if on_token is not None:
            for row in np.flatnonzero(before).tolist():
                on_token(row, int(tokens[row]))
        if not going:
            return
        logits = plan.advance(tokens, answers.active)


def _ruled(logits: Logits, active: NDArray[np.bool_], written: Sequence[Sequence[int]], rules: ScoreRules) -> Logits:
    """The logits of rows that are under way, changed by the rules; the graph's own are left as they are."""
    found = logits.copy()
    for row in np.flatnonzero(active).tolist():
        rules.apply(found[row : row + 1], row, [written[row]])
    return found


def _check_left(logits: Logits, ruled: Logits, answers: Answers, rules: ScoreRules) -> None:
    """UsageError where the rules forbid every token of a row. One that the caller gave may be forbidden."""
    for row in np.flatnonzero(answers.active).tolist():
        if ruled[row].max() == -math.inf and np.isfinite(logits[row].max()):
            raise rules.nothing_left(row, answers.steps)


def _log_probabilities(
    logits: Logits,
    tokens: NDArray[np.int64],
    active: NDArray[np.bool_],
    written: Sequence[Sequence[int]],
    rules: ScoreRules | None,
) -> NDArray[np.float64]:
    """[rows], of the chosen tokens as the model gives them, with what the rules make of that; 0 of rows that ended."""
    given = logits[np.arange(len(tokens)), tokens] - log_sum_exp(logits)
    found = np.where(active, given, 0.0)
    if rules is not None:
        for row in np.flatnonzero(active).tolist():
            found[row] = rules.log_probability(float(found[row]), row, written[row], int(tokens[row]))
    return found


def check_finite(chosen: NDArray[Any], active: NDArray[np.bool_], step: int, where: str) -> None:
    """BackendError where the logit of a chosen token is NaN or infinite, in a row that counts."""
    wrong = np.flatnonzero(active & ~np.isfinite(chosen))
    if len(wrong):
        raise BackendError(
            f"{where}: the logits of row {wrong[0]} are {chosen[wrong[0]]} at step {step}: the graph overflows. "
            f"Take precision fp32, or verify the bundle here: attn-run verify"
        )


def log_sum_exp(logits: Logits) -> NDArray[np.float64]:
    """log(sum(exp(logits))) over the last axis, in float64, whatever the size of the logits."""
    largest = logits.max(-1, keepdims=True)
    found: NDArray[np.float64] = np.log(np.exp(logits - largest).sum(-1, dtype=np.float64)) + largest[..., 0]
    return found
