"""One answer a row: the likeliest token each time, or a drawn one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from .graphs import StepGraphs
from .lookup import Drafts, together
from .result import Generated, Stopped
from .rules import ScoreRules
from .settings import Settings

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


class Guessed:
    """Answers that are written several tokens at a time: the likeliest ones, of which some were guessed before.

    limits   most tokens of each row's answer
    room     tokens that a row may have, prompt included
    rows     what has been chosen for each row
    drafted, accepted   tokens that were guessed and fed, and those of them that were chosen
    """

    def __init__(
        self,
        limits: Sequence[int],
        stops: NDArray[np.bool_],
        pad: int,
        room: int,
        prompts: Sequence[Sequence[int]],
        drafts: Sequence[Drafts],
        where: str,
        rules: ScoreRules | None,
    ) -> None:
        self._limits, self._pad, self._where, self._rules = limits, pad, where, rules
        self._stops = set(np.flatnonzero(stops).tolist())
        self._drafts = drafts
        self._room = [room - len(prompt) for prompt in prompts]
        self.active = np.array(limits, np.int64) > 0
        self._going = np.flatnonzero(self.active).tolist()
        self.rows: list[list[int]] = [[] for _ in limits]
        self.stopped: list[Stopped] = ["length"] * len(limits)
        self.drafted = self.accepted = 0

    def generate(
        self,
        plan: StepGraphs,
        logits: Logits,
        on_token: Callable[[int, int], object] | None,
        is_cancelled: Callable[[], object] | None,
        with_scores: bool,
    ) -> NDArray[np.float64] | None:
        """As `generate_each`: from the logits behind the prompts on; the sums of log probabilities, if asked for."""
        sums = np.zeros(plan.rows) if with_scores else None
        guesses: list[list[int]] = [[] for _ in self.rows]
        logits = logits[:, None]
        while True:
            if is_cancelled is not None and is_cancelled():
                for row in self._going:
                    self.stopped[row] = "cancelled"
                return sums
            fed = logits.shape[1] > 1
            kept = self._take(logits, guesses, on_token, sums)
            if not self._going:
                return sums
            if fed:
                plan.keep(kept)
            tokens, guesses = self._next()
            if tokens.shape[1] == 1:
                logits = plan.advance(tokens[:, 0], self.active)[:, None]
            else:
                logits = plan.extend(tokens, self.active)

    def _take(
        self,
        logits: Logits,
        guesses: Sequence[Sequence[int]],
        on_token: Callable[[int, int], object] | None,
        sums: NDArray[np.float64] | None,
    ) -> list[int]:
        """Choose, of logits [rows, count, vocabulary] behind the last token and the guesses, up to the first wrong one. Returns
        how many of the tokens that were fed stay, of each row."""
        likeliest = logits.argmax(-1).tolist() if self._rules is None else None
        kept = [0] * len(self.rows)
        for row in self._going:
            answer, guess, begun, ended = self.rows[row], guesses[row], len(self.rows[row]), False
            for number in range(len(guess) + 1):
                given = logits[row, number]
                token, shown = (likeliest[row][number], given) if likeliest else self._ruled(given, row)
                if not math.isfinite(shown[token]):
                    self._refuse(given, shown, row)
                if sums is not None:
                    sums[row] += self._log_probability(given, row, token)
                answer.append(token)
                if on_token is not None:
                    on_token(row, token)
                if token in self._stops:
                    self.stopped[row] = "stop"
                ended = token in self._stops or len(answer) == self._limits[row]
                if ended or (number < len(guess) and guess[number] != token):
                    break
            new = len(answer) - begun
            self.drafted += len(guess)
            self.accepted += new - 1
            self._drafts[row].take(answer[begun:], len(guess))
            if ended:
                self.active[row] = False
            else:
                kept[row] = new
        self._going = [row for row in self._going if kept[row]]
        return kept

    def _next(self) -> tuple[NDArray[np.int64], list[list[int]]]:
        """The tokens [rows, count] to feed: the last one of each row, and guesses of as many as `together` says."""
        going = self._going
        # Padding behind shorter guesses is read too, and has to have a place.
        room = min(self._room[row] - len(self.rows[row]) for row in going)
        guesses: list[list[int]] = [[] for _ in self.rows]
        for row in going:
            left = self._limits[row] - len(self.rows[row]) - 1
            guesses[row] = self._drafts[row].guess(min(left, room))
        count = together([len(guesses[row]) for row in going])
        fed = [[self._pad] * (1 + count) for _ in self.rows]
        for row in going:
            guesses[row] = guess = guesses[row][:count]
            fed[row][: 1 + len(guess)] = self.rows[row][-1], *guess
        return np.array(fed, np.int64), guesses

    def _ruled(self, logits: Logits, row: int) -> tuple[int, Logits]:
        assert self._rules is not None
        shown = logits.astype(np.float32 if logits.dtype == np.float16 else logits.dtype)
        self._rules.apply(shown[None], row, [self.rows[row]])
        return int(shown.argmax()), shown

    def _refuse(self, given: Logits, shown: Logits, row: int) -> NoReturn:
        if self._rules is not None and shown.max() == -math.inf and np.isfinite(given.max()):
            raise self._rules.nothing_left(row, len(self.rows[row]))
        raise not_finite(row, float(given[int(shown.argmax())]), len(self.rows[row]), self._where)

    def _log_probability(self, logits: Logits, row: int, token: int) -> float:
        logits = logits.astype(np.float32) if logits.dtype == np.float16 else logits
        value = float(logits[token] - log_sum_exp(logits))
        return value if self._rules is None else self._rules.log_probability(value, row, self.rows[row], token)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(row) for row in self.rows], np.int64)

    def result(self, scores: NDArray[np.float64] | None, seconds: float) -> Generated:
        longest = int(self.lengths.max())
        tokens = np.array([[*row, *[self._pad] * (longest - len(row))] for row in self.rows], np.int64)
        about = (self.lengths, scores, tuple(self.stopped), longest, seconds)
        return Generated(tokens, *about, drafted=self.drafted, accepted=self.accepted)


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
        raise not_finite(int(wrong[0]), float(chosen[wrong[0]]), step, where)


def not_finite(row: int, logit: float, step: int, where: str) -> BackendError:
    return BackendError(
        f"{where}: the logits of row {row} are {logit} at step {step}: the graph overflows. "
        f"Take precision fp32, or verify the bundle here: attn-run verify"
    )


def log_sum_exp(logits: Logits) -> NDArray[np.float64]:
    """log(sum(exp(logits))) over the last axis, in float64, whatever the size of the logits."""
    largest = logits.max(-1, keepdims=True)
    found: NDArray[np.float64] = np.log(np.exp(logits - largest).sum(-1, dtype=np.float64)) + largest[..., 0]
    return found


class SubmittedRow:
    """Of a request: see serving's `Row`."""

    def __init__(self, choosing: Choosing, settings: Settings, free: bool) -> None:
        """`free` is a row that no rules are for."""
        self._choosing, self._settings = choosing, settings
        self._plain = free and settings.sample is None and not settings.scores

    def take(self, logits: NDArray[Any], row: int, likeliest: int | None) -> tuple[int, bool]:
        if self._plain and likeliest is not None:
            return likeliest, self._choosing.answers.add_one(likeliest)
        tokens, going = self._choosing.take(logits[row : row + 1])
        return int(tokens[0]), going

    def result(self, why: str | None, seconds: float) -> Generated:
        answers = self._choosing.answers
        sums = self._choosing.sums
        if why is not None:
            answers.cancel(cast(Stopped, why))
        elif not answers.steps:  # without room for a token
            sums = np.zeros(1)
        return of_answers(answers, sums, self._settings, seconds)


def of_answers(answers: Answers, sums: NDArray[np.float64] | None, settings: Settings, seconds: float) -> Generated:
    scores = None if sums is None else scores_of(sums, answers.lengths, settings)
    found = (answers.tokens(), answers.lengths, scores, tuple(answers.stopped), answers.steps, seconds)
    return Generated(*found, *((0, 0) if settings.lookup else ()))


def scores_of(sums: NDArray[np.float64], lengths: NDArray[np.int64], settings: Settings) -> NDArray[np.float64]:
    pairs = zip(sums.tolist(), lengths.tolist(), strict=True)
    return np.array([settings.score(total, length) for total, length in pairs])
