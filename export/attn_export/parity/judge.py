"""The only judge of 'equal': a graph's answers against PyTorch's, at every case, and against themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.compare import Difference, Tolerance, compare_all
from attn_runtime.errors import ParityError
from attn_runtime.spec import TensorSpec, named_dims
from attn_runtime.text_format import finite_or_none, worst_table
from safetensors.numpy import load_file, save_file

from ..isolate import Isolated, TaskFailed
from ..onnx_graph.onnx_file import EXTERNAL_FROM_BYTES, read_info
from ..reference.answers import Answer, Arrays
from ..reference.shape_cases import Case
from .padding import Padded, paddings


@dataclass(frozen=True)
class Check:
    """One output at one case."""

    case: Case
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        d = self.difference
        return {
            "case": self.case.name,
            "sizes": self.case.sizes,
            "output": d.output,
            "max_error": finite_or_none(d.max_error),
            "max_reference": finite_or_none(d.max_reference),
            "limit": finite_or_none(d.limit),
            "passed": d.passed,
        }


@dataclass(frozen=True)
class Consistency:
    """A property that needs no reference. `note` says why one that does not hold is no fault of the graph."""

    name: str
    passed: bool
    max_error: float
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "passed": self.passed,
            "max_error": finite_or_none(self.max_error),
            "note": self.note,
        }


@dataclass
class Verdict:
    checks: list[Check] = field(default_factory=list)
    consistency: list[Consistency] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The largest error over all cases, relative to max|reference| of its tensor."""
        return max((c.difference.relative_error for c in self.checks), default=0.0)


class ParityChecker:
    """Holds what PyTorch answered and runs any graph of the model against it."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        answers: Sequence[Answer],
        tolerance: Tolerance,
        isolated: Isolated,
        ask: Callable[[Arrays], Arrays],
    ) -> None:
        """`ask` gives PyTorch's outputs for any inputs; called only to find out whose fault an inconsistency is."""
        self.inputs = tuple(inputs)
        self.answers = list(answers)
        self.tolerance = tolerance
        self._isolated = isolated
        self._ask = ask
        self._batch = batch_dim(inputs, answers)
        self._padded: list[Padded] | None = None

    def check(self, graph: Path, stage: str, after: Sequence[str] = ()) -> Verdict:
        """Verdict with every check passed; ParityError (with the table of worst elements) otherwise.

        `after` names the stages before this one, for the message. Raises StageError when ONNX Runtime dies of it.
        """
        extra = self._variants()
        if self._padded is None:  # once: it asks PyTorch
            self._padded = list(paddings(self.inputs, self.answers, self.tolerance, self._ask))
        padded = [p for p in self._padded if not p.error]
        fed = [a.inputs for a in self.answers] + [p.inputs for p in padded] + [inputs for _, inputs, _ in extra]
        found = self._run(graph, stage, fed)
        verdict = Verdict()
        for answer, outputs in zip(self.answers, found, strict=False):
            differences = compare_all(answer.outputs, outputs, self.tolerance)
            verdict.checks.extend(Check(answer.case, d) for d in differences)
        if any(not c.difference.passed for c in verdict.checks):
            raise parity_error(stage, verdict.checks, after)
        base = self._base()
        behind = len(self.answers) + len(padded)
        for one, outputs in zip(padded, found[len(self.answers) : behind], strict=True):
            verdict.consistency.append(self._unpadded(one, found[one.base], outputs, stage))
        verdict.consistency.extend(
            Consistency(
                one.name,
                False,
                one.error,
                f'PyTorch\'s own answers depend on what is padded along {one.dim}, whatever "{one.mask}" says of it, '
                f"by {one.error:.2g}",
            )
            for one in self._padded
            if one.error
        )
        for (name, _, rows), outputs in zip(extra, found[behind:], strict=True):
            assert base is not None
            verdict.consistency.append(self._consistent(name, rows, base, found[base], outputs, stage))
        return verdict

    def _run(self, graph: Path, stage: str, fed: Sequence[Arrays]) -> list[Arrays]:
        with tempfile.TemporaryDirectory(prefix="attn-check-") as folder:
            pairs: list[list[str]] = []
            for number, inputs in enumerate(fed):
                pair = [str(Path(folder) / f"{number}.{kind}.safetensors") for kind in ("in", "out")]
                save_file({n: np.ascontiguousarray(v) for n, v in inputs.items()}, pair[0])
                pairs.append(pair)
            large = read_info(graph).weight_bytes >= EXTERNAL_FROM_BYTES
            try:
                self._isolated.run("answers", f"{stage} in ONNX Runtime", graph=str(graph), cases=pairs, large=large)
            except TaskFailed as problem:
                raise ParityError(f"{problem}. The graph can't be run, so nothing was written.") from problem
            return [load_file(pair[1]) for pair in pairs]

    def _base(self) -> int | None:
        """The case whose rows are taken apart: the smallest with more than two rows, else the largest."""
        if self._batch is None:
            return None
        sizes = [(a.case.sizes[self._batch.name], n) for n, a in enumerate(self.answers)]
        several = sorted((size, n) for size, n in sizes if size > 2) or sorted(sizes, reverse=True)
        return several[0][1] if several[0][0] > 1 else None

    def _variants(self) -> list[tuple[str, Arrays, np.ndarray[Any, Any]]]:
        base = self._base()
        if base is None:
            return []
        assert self._batch is not None
        answer = self.answers[base]
        rows = answer.case.sizes[self._batch.name]
        wanted = {"rows-permuted": np.arange(rows)[::-1]}
        if named_dims(self.inputs)[self._batch.name].min == 1:
            wanted["row-alone"] = np.array([rows - 1])
        return [
            (name, take_rows(self.inputs, answer.inputs, self._batch, index), index) for name, index in wanted.items()
        ]

    def _unpadded(self, padded: Padded, base: Arrays, longer: Arrays, stage: str) -> Consistency:
        """That the graph, too, answers the same when more is padded."""
        differences = compare_all(padded.unpadded(base), padded.unpadded(longer), self.tolerance)
        if not all(d.passed for d in differences):
            sizes = {**self.answers[padded.base].case.sizes, padded.dim: padded.inputs[padded.mask].shape[-1]}
            case = Case(padded.name, sizes)
            raise parity_error(stage, [Check(case, d) for d in differences], against="itself without the padding")
        return Consistency(padded.name, True, max((d.max_error for d in differences), default=0.0))

    def _consistent(
        self, name: str, rows: np.ndarray[Any, Any], base: int, whole: Arrays, part: Arrays, stage: str
    ) -> Consistency:
        assert self._batch is not None
        axis = self._batch.axis
        expected = {n: v.take(rows, axis) for n, v in whole.items()}
        differences = compare_all(expected, part, self.tolerance)
        worst = max(differences, key=lambda d: (not d.passed, d.max_error))
        if worst.passed:
            return Consistency(name, True, worst.max_error)
        answer = self.answers[base]
        own = self._ask(take_rows(self.inputs, answer.inputs, self._batch, rows))
        pytorch = compare_all({n: v.take(rows, axis) for n, v in answer.outputs.items()}, own, self.tolerance)
        if all(d.passed for d in pytorch):
            case = Case(name, {**answer.case.sizes, self._batch.name: len(rows)})
            raise parity_error(stage, [Check(case, d) for d in differences], against="itself in a batch")
        return Consistency(
            name,
            False,
            worst.max_error,
            f"PyTorch's own answers depend on the other rows along {self._batch.name}, "
            f"by {max(d.max_error for d in pytorch):.2g}",
        )


#: Names under which a dim is taken for the batch on any axis; one of another name only on axis 0.
_BATCH_NAMES = ("batch", "batch_size", "b", "n", "bs")


@dataclass(frozen=True)
class Rows:
    """The dim that counts rows, and the axis that it lies on, in every input that has it and in every output."""

    name: str
    axis: int


def batch_dim(inputs: Sequence[TensorSpec], answers: Sequence[Answer]) -> Rows | None:
    """The dynamic dim along which rows should be independent: one called batch (on any one axis), else one on axis 0."""
    found: list[Rows] = []
    for name, dim in named_dims(inputs).items():
        axes = {axis for s in inputs for axis, d in enumerate(s.dims) if d.name == name}
        if not dim.dynamic or len(axes) != 1:
            continue
        axis = axes.pop()
        outputs = [(a.case.sizes[name], v) for a in answers for v in a.outputs.values()]
        if outputs and all(v.ndim > axis and v.shape[axis] == size for size, v in outputs):
            found.append(Rows(name, axis))
    called = [r for r in found if r.name.lower() in _BATCH_NAMES]
    return next(iter([*called, *(r for r in found if r.axis == 0)]), None)


def take_rows(inputs: Sequence[TensorSpec], arrays: Arrays, batch: Rows, rows: np.ndarray[Any, Any]) -> Arrays:
    """The inputs with only these rows; inputs without the batch dim are shared by all rows and stay."""
    return {
        s.name: np.ascontiguousarray(arrays[s.name].take(rows, batch.axis))
        if any(d.name == batch.name for d in s.dims)
        else arrays[s.name]
        for s in inputs
    }


def parity_error(
    stage: str, checks: Sequence[Check], after: Sequence[str] = (), against: str = "PyTorch"
) -> ParityError:
    """The message and the table for a graph whose answers are not the reference's."""
    failed = [c for c in checks if not c.difference.passed]
    worst = max(failed, key=lambda c: c.difference.relative_error)
    d, where = worst.difference, ", ".join(f"{n}={s}" for n, s in worst.case.sizes.items())
    what = d.problem or f"error {d.max_error:.3g} at max|reference| {d.max_reference:.3g}, limit {d.limit:.3g}"
    history = f" (after {', '.join(after)})" if after else ""
    fine = sorted({c.case.name for c in checks} - {c.case.name for c in failed})
    return ParityError(
        f'{stage}{history} does not match {against}: output "{d.output}" at case "{worst.case.name}"'
        f"{' (' + where + ')' if where else ''}: {what}; cases that match: {', '.join(fine) or 'none'}. Nothing was written.",
        worst_table([(c.case.name, c.difference) for c in failed[:8]]),
    )
