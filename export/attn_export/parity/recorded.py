"""What a typed graph is held against: inputs and answers on disk, and what 'equal' means for half precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.bundle.reader import Bundle, Graph
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Difference, Tolerance, compare_all
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.text_format import finite_or_none
from safetensors.numpy import load_file, save_file

from ..onnx_graph.onnx_file import GraphInfo
from ..reference.shape_cases import corner_cases

#: Of max|reference|. fp16 rounds to 5e-4 and bf16, with three bits less, to 4e-3: the same depth of arithmetic.
DEFAULT_RTOL = {"fp16": 1e-2, "bf16": 8e-2}
#: The absolute part of the limit, over that of the fp32 graph: where a reference is all zeros, half precision still rounds.
_ATOL_OVER_FP32 = 10.0


@dataclass(frozen=True)
class RecordedCase:
    """`inputs` and `outputs` are .safetensors; `sizes` is dim name -> elements."""

    name: str
    sizes: Mapping[str, int]
    inputs: Path
    outputs: Path


@dataclass(frozen=True)
class ReferenceSet:
    """`against` is who answered: "PyTorch", or the fp32 graph where no other answer is known."""

    cases: tuple[RecordedCase, ...]
    against: str
    classifier: bool = False

    @property
    def inputs(self) -> list[Path]:
        return [c.inputs for c in self.cases]


@dataclass(frozen=True)
class HalfCheck:
    """One output at one case. `argmax_agreement` is of a classifier: the share of rows with the reference's class."""

    case: RecordedCase
    difference: Difference
    argmax_agreement: float | None = None

    @property
    def ratio(self) -> float:
        """max|error| / limit: passed up to 1; infinite where something is NaN or missing."""
        d = self.difference
        if d.passed:
            return d.max_error / d.limit if d.limit else 0.0
        ratio = d.max_error / d.limit if d.limit and not d.problem else float("inf")
        return ratio if ratio > 1 else float("inf")

    def to_json(self) -> dict[str, Any]:
        d = self.difference
        told: dict[str, Any] = {
            "case": self.case.name,
            "sizes": dict(self.case.sizes),
            "output": d.output,
            "max_error": finite_or_none(d.max_error),
            "max_reference": finite_or_none(d.max_reference),
            "limit": finite_or_none(d.limit),
            "passed": d.passed,
        }
        if self.argmax_agreement is not None:
            told["argmax_agreement"] = self.argmax_agreement
        return told


def tolerance_for(kind: str, rtol: float | None, fp32: Tolerance) -> Tolerance:
    """The limits of a graph of `kind` whose fp32 graph has the limits `fp32`. UsageError for an rtol outside 0..1."""
    chosen = DEFAULT_RTOL[kind] if rtol is None else rtol
    if not 0 < chosen < 1:
        raise UsageError(f"--rtol {chosen:g}: expected a limit over 0 and under 1, as a share of max|reference|")
    return Tolerance(_ATOL_OVER_FP32 * fp32.atol, chosen)


def golden_record(bundle: Bundle, graph: Graph) -> ReferenceSet:
    """The golden cases of a bundle's graph, each read and checked once. BundleError where there are none."""
    if not graph.golden:
        raise BundleError(
            f"bundle {graph.bundle}: graph {graph.name} has no golden cases to hold half precision against. Export it again."
        )
    for _ in graph.cases():
        pass  # names, dtypes and shapes of every file
    cases = tuple(RecordedCase(g.name, dict(g.sizes), g.inputs, g.outputs) for g in graph.golden)
    classifies = bundle.manifest["task"] == "image-classification" or "labels" in bundle.manifest["assets"]
    ranks = {len(o.dims) for o in graph.outputs}
    return ReferenceSet(cases, "PyTorch", classifies and ranks == {2})


def own_record(
    graph: Path,
    facts: GraphInfo,
    specs: Sequence[TensorSpec] | None,
    folder: Path,
    isolated: ChildProcess,
    seed: int = 0,
) -> ReferenceSet:
    """Answers of the fp32 graph itself, in ONNX Runtime, to drawn inputs at every corner of `specs`; for a plain file.

    Without `specs`, an axis of unknown size is tried at 1, 2, 3 and 5. UsageError for an integer input without a range.
    """
    inputs = tuple(specs) if specs else tuple(_spec(b.name, b.dtype, b.axes) for b in facts.inputs)
    cases = []
    for number, case in enumerate(corner_cases(inputs)):
        paths = [folder / f"{case.name}.{side}.safetensors" for side in ("inputs", "outputs")]
        save_file(draw_inputs(inputs, case.sizes, seed + number), paths[0])
        cases.append(RecordedCase(case.name, case.sizes, *paths))
    isolated.run(
        "attn_runtime.ort.file_answers:answers_here",
        "the fp32 graph",
        graph=str(graph),
        cases=[[str(c.inputs), str(c.outputs)] for c in cases],
        large=False,
    )
    return ReferenceSet(tuple(cases), "the fp32 graph")


def _spec(name: str, dtype: str, axes: Sequence[int | str]) -> TensorSpec:
    return TensorSpec(name, dtype, tuple(Dim.fixed(a) if isinstance(a, int) else Dim(a, 1, 2, 5) for a in axes))


def check(
    graph: Path, record: ReferenceSet, tolerance: Tolerance, folder: Path, isolated: ChildProcess, large: bool = False
) -> list[HalfCheck]:
    """Run `graph` (float32 at its border) on every case; one check per output. TaskFailed when it can't be run."""
    got = [folder / f"{number}.got.safetensors" for number in range(len(record.cases))]
    pairs = [[str(case.inputs), str(path)] for case, path in zip(record.cases, got, strict=True)]
    isolated.run(
        "attn_runtime.ort.file_answers:answers_here",
        "the rounded twin",
        graph=str(graph),
        cases=pairs,
        large=large,
        fp16=True,
    )
    checks: list[HalfCheck] = []
    for case, path in zip(record.cases, got, strict=True):
        expected, found = load_file(case.outputs), load_file(path)
        for difference in compare_all(expected, found, tolerance):
            agreement = _agreement(expected, found, difference.output) if record.classifier else None
            checks.append(HalfCheck(case, difference, agreement))
        path.unlink()
    return checks


def _agreement(expected: Mapping[str, Any], found: Mapping[str, Any], output: str) -> float | None:
    if output not in expected or output not in found or expected[output].dtype.kind != "f":
        return None
    best = [np.argmax(side[output], axis=-1) for side in (expected, found)]
    return float((best[0] == best[1]).mean()) if best[0].size else None


def passed(checks: Sequence[HalfCheck]) -> bool:
    return bool(checks) and all(c.difference.passed for c in checks)


def worst(checks: Sequence[HalfCheck]) -> HalfCheck:
    return max(checks, key=lambda c: c.ratio)
