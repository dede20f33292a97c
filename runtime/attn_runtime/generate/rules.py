"""Which tokens may come next, and what repeating one costs: rules on the scores of the next token.

They are those of Hugging Face's transformers (5.23, generation/logits_process.py), in its order: repetition penalty, n-grams of
the row and of what the encoder read, fewest tokens, the forced end, suppressed tokens. Where one token of each row is chosen they
change logits, in a beam search log probabilities, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .settings import Settings

Tokens = Sequence[int]


class ScoreRules:
    """The rules of one generation.

    prompts  what each row begins with
    limits   most tokens of each row's answer
    sources  the tokens that the encoder read for each row, or the prompt; empty where it reads no tokens
    """

    def __init__(
        self,
        settings: Settings,
        prompts: Sequence[Tokens],
        limits: Sequence[int],
        where: str,
        sources: Sequence[Tokens] = (),
    ) -> None:
        self._sources = [np.array(source, np.int64) for source in sources]
        self._settings, self._prompts, self._limits, self._where = settings, prompts, limits, where
        self._stop = np.array(settings.stop, np.int64)
        self._fewest = [settings.fewest(len(prompt)) for prompt in prompts]
        ngram = settings.no_repeat_ngram or (settings.encoder_no_repeat_ngram and self._sources)
        self._of_tokens = settings.repetition_penalty != 1 or bool(ngram)  # whether a rule asks which tokens a row has
        self._suppress = np.array(settings.suppress, np.int64)
        self._suppress_first = np.array(settings.suppress_first, np.int64)
        self._forced_end = np.array(settings.forced_end, np.int64)

    @classmethod
    def of(
        cls,
        settings: Settings,
        prompts: Sequence[Tokens],
        limits: Sequence[int],
        where: str,
        sources: Sequence[Tokens] = (),
    ) -> ScoreRules | None:
        """None where nothing is ruled, so that usual generations pay nothing."""
        of_source = bool(settings.encoder_no_repeat_ngram) and len(sources) > 0
        if not (settings.has_rules or of_source):
            return None
        return cls(settings, prompts, limits, where, sources)

    def apply(self, scores: NDArray[Any], row: int, answers: Sequence[Tokens]) -> None:
        """Change in place scores [answers, vocabulary] of what follows answers of one length to the prompt of `row`."""
        written = len(answers[0])
        if self._ends(row, written):
            scores[:] = -math.inf
            scores[:, self._forced_end] = 0.0
            return
        for values, answer in zip(scores, answers, strict=True) if self._of_tokens else ():
            tokens = np.array([*self._prompts[row], *answer], np.int64)
            if self._settings.repetition_penalty != 1:
                seen = values[tokens]  # one that is there twice is read before it is written
                penalty = self._settings.repetition_penalty
                values[tokens] = np.where(seen < 0, seen * penalty, seen / penalty)
            if self._settings.no_repeat_ngram:
                values[_completes(tokens, tokens, self._settings.no_repeat_ngram)] = -math.inf
            if self._settings.encoder_no_repeat_ngram and self._sources:
                values[_completes(tokens, self._sources[row], self._settings.encoder_no_repeat_ngram)] = -math.inf
        if written < self._fewest[row]:
            scores[:, self._stop] = -math.inf
        scores[:, self._suppress] = -math.inf
        if written == 0:
            scores[:, self._suppress_first] = -math.inf

    def forbids_alone(self, row: int, written: int) -> bool:
        """Whether all that `apply` does to the scores behind `written` tokens is that it forbids some, which makes logits of them
        what it makes log probabilities: -inf."""
        return self._settings.repetition_penalty == 1 and not self._ends(row, written)

    def log_probability(self, value: float, row: int, answer: Tokens, token: int) -> float:
        """What a beam search counts for `token` behind `answer`, to which the model gives the log probability `value`."""
        if self._ends(row, len(answer)):
            return 0.0 if token in self._forced_end else -math.inf
        penalty = self._settings.repetition_penalty
        return value * penalty if penalty != 1 and (token in self._prompts[row] or token in answer) else value

    def nothing_left(self, row: int, step: int) -> UsageError:
        """Of a row that may not go on with any token."""
        return UsageError(
            f"the rules leave row {row} no token to choose at step {step} (no_repeat_ngram {self._settings.no_repeat_ngram}, "
            f"{len(self._suppress)} suppressed, {self._fewest[row]} tokens before a stop token); take a rule off, or a lower "
            f"max_length ({self._where})"
        )

    def _ends(self, row: int, written: int) -> bool:
        return bool(len(self._forced_end)) and written + 1 == self._limits[row]


def _completes(tokens: NDArray[np.int64], within: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The tokens that would make the last `size` ones of a row what stands in `within` already."""
    if len(tokens) + 1 < size or len(within) < size:
        return tokens[:0]
    windows = np.lib.stride_tricks.sliding_window_view(within, size)
    beginning = tokens[len(tokens) + 1 - size :]
    found: NDArray[np.int64] = windows[(windows[:, :-1] == beginning).all(1), -1]
    return found
