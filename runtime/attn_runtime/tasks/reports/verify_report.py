"""What came of replaying a bundle's golden cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...compare import Difference, Tolerance
from ...errors import ParityError
from ...text_format import difference_to_json, worst_table

if TYPE_CHECKING:
    from ...generate import Replayed


@dataclass(frozen=True)
class CaseResult:
    """One golden case, replayed. `seconds` is the time of that one run, the first at its shape."""

    graph: str
    case: str
    sizes: Mapping[str, int]
    seconds: float
    differences: tuple[Difference, ...]

    @property
    def title(self) -> str:
        """Its name and sizes, as in "odd (batch=3)"."""
        sizes = ", ".join(f"{dim}={size}" for dim, size in self.sizes.items())
        return f"{self.case} ({sizes})" if sizes else self.case

    @property
    def passed(self) -> bool:
        return all(d.passed for d in self.differences)

    def to_json(self) -> dict[str, Any]:
        return {
            "graph": self.graph,
            "case": self.case,
            "sizes": dict(self.sizes),
            "seconds": self.seconds,
            "passed": self.passed,
            "outputs": [difference_to_json(d) for d in self.differences],
        }


@dataclass(frozen=True)
class VerifyReport:
    """Every golden case of every graph that was asked for, and of a generator what its graphs write together: each
    generated case in a batch and row by row. `choice` tells which backend ran them, `passed_over` why no
    other, `notes` what is not proven."""

    path: str
    backend: str
    device: str
    choice: str
    tolerances: Mapping[str, Tolerance]
    cases: tuple[CaseResult, ...]
    generation: tuple[Replayed, ...] = ()
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return bool(self.cases) and all(c.passed for c in self.cases) and all(c.passed for c in self.generation)

    def require(self) -> None:
        """ParityError with a table of the worst elements unless every case passed."""
        if self.passed:
            return
        failed = [case for case in self.cases if not case.passed]
        if not failed:
            wrong = [case for case in self.generation if not case.passed]
            raise ParityError(
                f"bundle {self.path}: every graph answers as PyTorch does on {self.backend} ({self.device}), but together "
                f"they do not write what it writes, in {len(wrong)} of {len(self.generation)} tries: case "
                f"{wrong[0].case}, {wrong[0].problem}"
            )
        raise ParityError(
            f"bundle {self.path}: {len(failed)} of {len(self.cases)} golden cases do not match on {self.backend} "
            f"({self.device}): {', '.join(case.case for case in failed)}. Its answers here are not PyTorch's.",
            worst_table([(case.case, d) for case in failed for d in case.differences if not d.passed]),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "backend": self.backend,
            "device": self.device,
            "choice": self.choice,
            "passed_over": list(self.passed_over),
            "passed": self.passed,
            "tolerances": {name: tolerance.to_json() for name, tolerance in self.tolerances.items()},
            "cases": [case.to_json() for case in self.cases],
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"generation": [case.to_json() for case in self.generation]} if self.generation else {}),
        }
