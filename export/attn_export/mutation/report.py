"""What came of the mutants of a bundle: the score, by family, and who survived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from attn_runtime.text_format import finite_or_none

from .mutants import Mutant

CAUGHT, EQUIVALENT, BLIND = "caught", "equivalent", "blind spot"


@dataclass(frozen=True)
class Result:
    """One mutant. Errors of a survivor are the largest on fresh inputs, against the graph as it is.

    verdict          caught, equivalent or blind spot
    by               the golden case that caught it, or how it ended; of a survivor, the fresh input that shows it most
    ratio            its largest error at the golden cases, of what is allowed there; infinite where it is no number
    difference       absolute, and `relative_difference` of max|original|; None of what was caught
    times_noise      the same, of what cannot be told from rounding
    """

    mutant: Mutant
    verdict: str
    by: str
    ratio: float
    difference: float | None = None
    relative_difference: float | None = None
    times_noise: float | None = None

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.mutant}: {self.verdict} by {self.by}"
        if self.difference == 0:
            return f"{self.mutant}; no input shows a difference"
        return (
            f"{self.mutant}; largest difference {self.difference:.2g} ({self.relative_difference:.1e} of max|original|) "
            f"on {self.by}"
        )

    def to_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            **self.mutant.to_json(),
            "verdict": self.verdict,
            "by": self.by,
            "ratio": finite_or_none(self.ratio),
        }
        if self.difference is not None:
            for name in ("difference", "relative_difference", "times_noise"):
                value = getattr(self, name)
                entry[name] = None if value is None else finite_or_none(value)
        return entry


@dataclass(frozen=True)
class Tally:
    """Counts of one family, or of all."""

    made: int
    caught: int
    equivalent: int

    @property
    def blind(self) -> int:
        return self.made - self.caught - self.equivalent

    @property
    def score(self) -> float | None:
        """caught / (made - equivalent); None where nothing is left to catch."""
        return self.caught / (self.made - self.equivalent) if self.made > self.equivalent else None

    def __str__(self) -> str:
        share = "" if self.score is None else f" ({self.score:.0%})"
        aside = f", {self.equivalent} equivalent" if self.equivalent else ""
        return f"{self.caught} of {self.made - self.equivalent} caught{share}{aside}"

    def to_json(self) -> dict[str, Any]:
        return {
            "made": self.made,
            "caught": self.caught,
            "equivalent": self.equivalent,
            "blind": self.blind,
            "score": self.score,
        }


@dataclass(frozen=True)
class MutationReport:
    """The power of a bundle's golden cases in one precision.

    redrawn   changes that gave no graph, or the same one, and were drawn anew
    notes     why a score says less than it seems: weights at their initial values, gates that are shut
    """

    precision: str
    seed: int
    results: tuple[Result, ...]
    redrawn: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> Tally:
        return _tally(self.results)

    @property
    def families(self) -> dict[str, Tally]:
        found = sorted({r.mutant.family for r in self.results})
        return {name: _tally([r for r in self.results if r.mutant.family == name]) for name in found}

    @property
    def survivors(self) -> list[Result]:
        """Blind spots first, then equivalent mutants."""
        return [r for kind in (BLIND, EQUIVALENT) for r in self.results if r.verdict == kind]

    def lines(self) -> Iterator[str]:
        """Per family its count, then every survivor."""
        for name, tally in self.families.items():
            yield f"{name:<13} {tally}"
        for result in self.survivors:
            yield f"{result.verdict}: {result}"

    def to_json(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "seed": self.seed,
            **self.total.to_json(),
            "redrawn": self.redrawn,
            "seconds": self.seconds,
            "families": {name: tally.to_json() for name, tally in self.families.items()},
            "survivors": [r.to_json() for r in self.survivors],
            "mutants": [r.to_json() for r in self.results],
            "notes": list(self.notes),
        }


def _tally(results: list[Result] | tuple[Result, ...]) -> Tally:
    verdicts = [r.verdict for r in results]
    return Tally(len(verdicts), verdicts.count(CAUGHT), verdicts.count(EQUIVALENT))
