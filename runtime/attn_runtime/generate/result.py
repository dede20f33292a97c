"""What a generation gives back, and what one gives that is told its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Stopped = Literal["stop", "length", "cancelled", "deadline"]


@dataclass(frozen=True)
class Generated:
    """One answer for each row.

    tokens   int64 [rows, length], without begin and prompt, with the stop token where there is one, padded at the end
    lengths  int64 [rows], the tokens of each row that are not padding
    scores   float64 [rows], the sum of log probabilities over length to the power of length_penalty (0 of an empty answer);
             None where they were neither needed nor asked for
    stopped  why each row ended: "stop" at a stop token, "length" at the most tokens, "cancelled" before either,
             "deadline" where a request had no more time
    steps    tokens chosen for the row that took longest
    seconds  from the inputs to the answer
    drafted, accepted   with `lookup`, how many tokens were guessed and fed, and how many of them were written; None without
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    scores: NDArray[np.float64] | None
    stopped: tuple[Stopped, ...]
    steps: int
    seconds: float
    drafted: int | None = None
    accepted: int | None = None

    @property
    def finished(self) -> NDArray[np.bool_]:
        """bool [rows]: which rows ended with a stop token."""
        return np.array([why == "stop" for why in self.stopped], bool)

    @property
    def cancelled(self) -> bool:
        return "cancelled" in self.stopped

    def row(self, number: int) -> list[int]:
        """The tokens of one row, without padding."""
        found: list[int] = self.tokens[number, : self.lengths[number]].tolist()
        return found

    def to_json(self) -> dict[str, Any]:
        tokens = int(self.lengths.sum())
        guesses = {} if self.drafted is None else {"drafted": self.drafted, "accepted": self.accepted}
        return {
            "tokens": [self.row(number) for number in range(len(self.lengths))],
            "scores": None if self.scores is None else [float(score) for score in self.scores],
            "stopped": list(self.stopped),
            "steps": self.steps,
            "seconds": self.seconds,
            "tokens_per_second": tokens / self.seconds if self.seconds > 0 else None,
            **guesses,
        }


@dataclass(frozen=True)
class Followed:
    """What a generator makes of answers that it is given (teacher forcing): each token behind the given ones before it.

    scores   float64 [rows], what the answers would have scored: the sum of log probabilities over length to the power of
             length_penalty
    behind   float64 [rows], how far the furthest of a row's tokens is behind the likeliest one there, in logits
    own      int64 [rows], how many of a row's tokens are the likeliest one there: those that it would have chosen
    """

    scores: NDArray[np.float64]
    behind: NDArray[np.float64]
    own: NDArray[np.int64]
