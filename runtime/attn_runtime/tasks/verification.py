"""Hold a graph, as this machine runs it, against what PyTorch answered when the bundle was made. Needs no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import backends
from ..bundle import Bundle, to_fp16, to_reference_dtype
from ..compare import Difference, Tolerance, compare_all
from ..errors import BundleError, ParityError, UsageError
from ..files import is_file
from ..session import open_session
from ..text_format import difference_to_json, worst_table

if TYPE_CHECKING:
    from ..generate import Replayed


@dataclass(frozen=True)
class CaseResult:
    """One golden case, replayed. `seconds` is the time of that one run, the first at its shape."""

    graph: str
    case: str
    sizes: Mapping[str, int]
    seconds: float
    differences: tuple[Difference, ...]

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
    generated case in a batch and row by row. `choice` tells which backend ran them, and why; `notes` what is not proven."""

    path: str
    backend: str
    device: str
    choice: str
    tolerances: Mapping[str, Tolerance]
    cases: tuple[CaseResult, ...]
    generation: tuple[Replayed, ...] = ()
    notes: tuple[str, ...] = ()

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
            "passed": self.passed,
            "tolerances": {name: tolerance.to_json() for name, tolerance in self.tolerances.items()},
            "cases": [case.to_json() for case in self.cases],
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"generation": [case.to_json() for case in self.generation]} if self.generation else {}),
        }


def verify(
    path: str | os.PathLike[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    graph: str | None = None,
    precision: str | None = None,
    on_case: Callable[[CaseResult], None] | None = None,
    on_generated: Callable[[Replayed], None] | None = None,
    check: bool = True,
) -> VerifyReport:
    """Replay every golden case of the bundle at `path` and compare at the tolerance stored for that precision.

    `graph` None takes every graph, and of a generator what they write together. `on_case` and `on_generated` are called
    after each case. Raises ParityError when one does not match
    (with `check=False` the report is returned instead, for callers that print it first: `VerifyReport.require`),
    UsageError for a plain ONNX file, BundleError for a bundle without golden cases, and what `open_session` raises.
    """
    path = Path(path)
    if is_file(path):
        raise UsageError(
            f"{path.name} is a plain ONNX file, without golden cases to hold it against; verify a bundle, or compare "
            f"it with its source: attn-export verify {path.name} SOURCE"
        )
    bundle = Bundle.open(path)
    cases: list[CaseResult] = []
    tolerances: dict[str, Tolerance] = {}
    told = ("", "", "")
    for name in [bundle.graph(graph).name] if graph else list(bundle.graphs):
        with open_session(bundle, device, backend, graph=name, precision=precision) as session:
            told = session.backend, session.device, session.choice
            found = bundle.graph(name)
            assert session.precision is not None  # it was opened from a bundle
            tolerances[name] = found.precisions[session.precision].tolerance
            entry = found.precisions[session.precision]
            if not found.golden_for(entry.type):
                raise BundleError(f"{session.where}: has no golden cases to verify against. Export it again.")
            for case in found.cases(entry.type):
                half = entry.half_io
                inputs = to_fp16(case.inputs) if half else case.inputs
                started = time.perf_counter()
                got = session.run(inputs)
                seconds = time.perf_counter() - started
                got = to_reference_dtype(got, case.outputs) if half else got
                differences = tuple(compare_all(case.outputs, got, tolerances[name], half_io=half))
                cases.append(CaseResult(name, case.name, case.sizes, seconds, differences))
                if on_case:
                    on_case(cases[-1])
    generated: list[Replayed] = []
    if graph is None and bundle.manifest.get("generation") and backends.computes(told[0]):
        from ..generate import replay

        generated = replay(bundle, told[1], told[0], precision=precision, on_result=on_generated)
    notes: tuple[str, ...] = ()
    if graph is None and not generated and bundle.asset("generation") is not None:
        why = (
            "holds no answers of PyTorch"
            if not bundle.manifest.get("generation")
            else f"{told[0]} writes none of its own"
        )
        notes = (f"what the graphs write together is not proven: {why}",)
    report = VerifyReport(path.name, *told, tolerances, tuple(cases), tuple(generated), notes)
    if check:
        report.require()
    return report
