"""How many answers PyTorch is asked to write, and how long: without a cache every token costs a whole forward."""

from __future__ import annotations

from typing import NamedTuple

#: What the answers of an export may take, in seconds.
SECONDS = 60.0


class AnswerBudget(NamedTuple):
    """candidates  prompts that are tried alone, to choose those with the widest margins from
    rows        most of them in a case
    tokens      most tokens of an answer
    beams       hypotheses of the case with beams; 1: there is none
    """

    candidates: int
    rows: int
    tokens: int
    beams: int

    @property
    def forwards(self) -> int:
        """Forwards of one row: each candidate alone and each row of the batch writes every token, greedily and by beams."""
        searches = 1 + (self.beams if self.beams > 1 else 0)
        return (self.candidates + self.rows) * self.tokens * searches


#: From what is usual to what still proves something: two prompts of two lengths, and more tokens than one.
_BUDGETS = (
    AnswerBudget(16, 6, 32, 4),
    AnswerBudget(8, 4, 32, 4),
    AnswerBudget(6, 4, 16, 4),
    AnswerBudget(4, 3, 16, 2),
    AnswerBudget(4, 3, 12, 1),
    AnswerBudget(2, 2, 8, 1),
)
USUAL = _BUDGETS[0]


def affordable(seconds: float) -> AnswerBudget:
    """The richest that takes a minute where a forward of one row takes so many `seconds`; the smallest where none does."""
    return next((b for b in _BUDGETS if b.forwards * seconds <= SECONDS), _BUDGETS[-1])
