"""What each module of this folder gives back: `measure(asked: Asked) -> list[Row]`. Imports nothing but the standard library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Units of which more is better. Of all others (ms, s, MB) less is.
RATES = ("tokens/s", "requests/s", "calls/s", "tokens a step")


@dataclass(frozen=True)
class Asked:
    """What the command line of user_bench.py says.

    quick   all rows of the front together take under three minutes: small models and few rounds; a module of its own takes
            under 30 seconds
    rounds  how often everybody has a turn; medians of them are told
    folder  where models and bundles are kept for the next run
    venvs   where the venvs of peers are
    peers   whether peers are asked; without, a row has no `peer` and says so in `note`
    """

    quick: bool
    rounds: int
    folder: Path
    venvs: Path
    peers: bool


@dataclass(frozen=True)
class Row:
    """One number of ours beside one of somebody else's.

    what    the table that it stands in: "generation, one core busy"
    cell    model and work: "translation, width 256, 8 rows"
    ours    the number, in `unit`
    peer    the same of who is named in `beside`: another program, or ours in another state (idle, unpatched, p50). None where it
            was not measured; `note` says why
    goal    the most that `ratio` may be; None where none is set
    note    what else must be known: why something is missing, how tokens agreed, threads
    """

    what: str
    cell: str
    ours: float
    peer: float | None
    unit: str
    goal: float | None = None
    beside: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for name, value in (("ours", self.ours), ("peer", self.peer)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{self.what}, {self.cell}: {name} is {value}, expected a finite number above 0")

    @property
    def ratio(self) -> float | None:
        """What ours costs over what the peer's costs, whatever the unit: 0.8 is a fifth less time, or 1.25 times the rate."""
        if self.peer is None:
            return None
        return self.peer / self.ours if self.unit in RATES else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether the goal holds; None where there is none, or nothing to hold it against."""
        return None if self.goal is None or self.ratio is None else self.ratio <= self.goal

    def told(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**vars(self), "ratio": self.ratio, "met": self.met}
