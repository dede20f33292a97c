"""Which tokens may come next, as assets/generation.json says: written a second time, so that the runtimes are held against
something. One row at a time, by what transformers 5.23 does in generation/logits_process.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from attn_runtime.errors import UsageError
from torch import Tensor

_Row = Sequence[int]


def begin_of(asset: Mapping[str, Any]) -> list[int]:
    """The tokens that an answer of a model with an encoder begins with; none for a decoder-only model."""
    begin = asset["begin"]
    if begin is None:
        return []
    return [int(token) for token in begin] if isinstance(begin, Sequence) else [int(begin)]


@dataclass(frozen=True)
class ReferenceRules:
    """The rules of an asset, where the caller of a generation says nothing.

    counted  tokens of begin that count into the length that a score is divided by
    """

    stop: tuple[int, ...]
    suppress: tuple[int, ...]
    suppress_first: tuple[int, ...]
    forced_end: tuple[int, ...]
    min_new: int
    min_length: int
    penalty: float
    ngram: int
    counted: int
    source_ngram: int

    @classmethod
    def of(cls, asset: Mapping[str, Any]) -> ReferenceRules:
        defaults = asset.get("defaults", {})
        begin = begin_of(asset)
        return cls(
            tuple(asset["stop"]),
            tuple(asset.get("suppress", ())),
            tuple(asset.get("suppress_first", ())),
            tuple(asset.get("forced_end", ())),
            defaults.get("min_new", 0),
            defaults.get("min_length", 0),
            defaults.get("repetition_penalty", 1.0),
            defaults.get("no_repeat_ngram", 0),
            max(0, len(begin) - asset.get("begin_uncounted", len(begin))),
            asset.get("encoder_no_repeat_ngram", 0),
        )

    @property
    def any(self) -> bool:
        changed = (
            self.suppress or self.suppress_first or self.forced_end or self.min_new or self.min_length or self.ngram
        )
        return bool(changed) or self.penalty != 1 or self.source_ngram > 0

    @property
    def stretch(self) -> float:
        """How much an error of a logit may grow by what the penalty does to it."""
        return max(self.penalty, 1 / self.penalty)

    def apply(self, scores: Tensor, before: _Row, answer: _Row, limit: int, source: _Row = ()) -> Tensor:
        """What is left of scores [vocabulary] behind `before` (prompt or begin) and `answer`, of at most `limit` tokens. `source`
        is what the encoder read, or the prompt."""
        if self.forced_end and len(answer) == limit - 1:
            forced = torch.full_like(scores, -math.inf)
            forced[list(self.forced_end)] = 0.0
            return forced
        row = [*before, *answer]
        banned = set(self.suppress)
        if not answer:
            banned |= set(self.suppress_first)
        if len(answer) < self.min_new or len(row) < self.min_length:
            banned |= set(self.stop)
        for size, within in ((self.ngram, row), (self.source_ngram, list(source))):
            if size and len(row) >= size - 1:
                end, starts = row[len(row) + 1 - size :], range(len(within) - size + 1)
                banned |= {within[n + size - 1] for n in starts if within[n : n + size - 1] == end}
        found = scores.clone()
        for token in set(row) if self.penalty != 1 else ():
            found[token] = found[token] * self.penalty if found[token] < 0 else found[token] / self.penalty
        found[sorted(banned)] = -math.inf
        return found

    def of_rows(
        self,
        scores: Tensor,
        before: Sequence[_Row],
        answers: Sequence[_Row],
        limits: Sequence[int],
        going: Tensor,
        sources: Sequence[_Row] = (),
    ) -> Tensor:
        """The same for scores [rows, vocabulary], of rows that go on. Raises UsageError where no token is left to choose."""
        if not self.any:
            return scores
        found = scores.clone()
        for row in going.nonzero()[:, 0].tolist():
            source = sources[row] if sources else ()
            found[row] = self.apply(scores[row], before[row], answers[row], limits[row], source)
            if float(found[row].max()) == -math.inf:
                raise self.nothing_left(len(answers[row]))
        return found

    def nothing_left(self, step: int) -> UsageError:
        return UsageError(
            f"the rules of assets/generation.json leave no token to choose at step {step} (no_repeat_ngram {self.ngram}, "
            f"{len(self.suppress)} suppressed); take one off"
        )
