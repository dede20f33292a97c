"""The only judge of 'equal': a graph's answers against PyTorch's, at every case, and against themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.bundle import Arrays, Case, write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Difference, Tolerance, compare_all
from attn_runtime.errors import CaptureError, ParityError
from attn_runtime.ort import answer_files
from attn_runtime.spec import TensorSpec, named_dims
from attn_runtime.text_format import finite_or_none, max_fill_entry, worst_table
from safetensors.numpy import load_file

from ..onnx_graph import EXTERNAL_FROM_BYTES, read_info
from ..reference import Draw, is_unusual
from .padding import Padded, paddings
from .sweep import Sweep

#: More cases than these are counted, not named.
_LISTED = 16


@dataclass(frozen=True)
class Check:
    """One output at one case. `argmax_agreement` is of a classifier: the share of rows with the reference's class."""

    case: Case[Any]
    difference: Difference
    argmax_agreement: float | None = None

    @property
    def ratio(self) -> float:
        """max|error| / limit: passed up to 1; infinite where something is NaN or missing."""
        return self.difference.ratio

    def to_json(self) -> dict[str, Any]:
        d = self.difference
        entry: dict[str, Any] = {
            "case": self.case.name,
            "sizes": dict(self.case.sizes),
            "output": d.output,
            "max_error": finite_or_none(d.max_error),
            "max_reference": finite_or_none(d.max_reference),
            "limit": finite_or_none(d.limit),
            **max_fill_entry(d),
            "passed": d.passed,
        }
        if self.argmax_agreement is not None:
            entry["argmax_agreement"] = self.argmax_agreement
        return entry


def check_case(
    case: Case[Any],
    expected: Arrays,
    got: Arrays,
    tolerance: Tolerance,
    *,
    classifier: bool = False,
    keep: int = 3,
    half_io: bool = False,
) -> list[Check]:
    """One check per output of `case`; `keep` is how many of the worst elements each one holds for the message.

    `half_io` as `attn_runtime.compare.compare` has it.
    """
    return [
        Check(case, d, _agreement(expected, got, d.output) if classifier else None)
        for d in compare_all(expected, got, tolerance, keep, half_io=half_io)
    ]


def _agreement(expected: Arrays, got: Arrays, output: str) -> float | None:
    if output not in expected or output not in got or expected[output].dtype.kind != "f":
        return None
    best = [np.argmax(side[output], axis=-1) for side in (expected, got)]
    return float((best[0] == best[1]).mean()) if best[0].size else None


def passed(checks: Sequence[Check]) -> bool:
    return bool(checks) and all(c.difference.passed for c in checks)


def worst(checks: Sequence[Check]) -> Check:
    return max(checks, key=lambda c: c.ratio)


def parity_error(
    stage: str,
    checks: Sequence[Check],
    against: str = "PyTorch",
    *,
    after: Sequence[str] = (),
    fault: str = "",
    advice: str = "",
) -> ParityError:
    """The message and the table for a graph whose answers are not the reference's, as `against` gave it.

    `after` names the stages before this one; `fault` says where in the graph it parts from the reference, where that is
    known, and `advice` what to do (by default the message ends with the cases that match).
    """
    failed = [c for c in checks if not c.difference.passed]
    bad = worst(failed)
    d, sizes = bad.difference, ", ".join(f"{n}={s}" for n, s in bad.case.sizes.items())
    what = d.problem or f"error {d.max_error:.3g} at max|reference| {d.max_reference:.3g}, limit {d.limit:.3g}"
    history = f" (after {', '.join(after)})" if after else ""
    fine = sorted({c.case.name for c in checks} - {c.case.name for c in failed})
    matching = ", ".join(fine) if len(fine) <= _LISTED else f"{len(fine)} of {len({c.case.name for c in checks})}"
    ending = f". {advice}" if advice else f"; cases that match: {matching or 'none'}. Nothing was written."
    return ParityError(
        f'{stage}{history} does not match {against}: output "{d.output}" at case "{bad.case.name}"'
        f"{f' ({sizes})' if sizes else ''}: {what}{fault}{ending}",
        worst_table([(c.case.name, c.difference) for c in failed[:8]]),
        [dict(c.case.sizes) for c in failed],
    )


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
    """`swept` is of the sizes between the corners, `checks` of the cases proper."""

    checks: list[Check] = field(default_factory=list)
    swept: list[Check] = field(default_factory=list)
    consistency: list[Consistency] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The largest error over all cases, relative to max|reference| of its tensor."""
        return max((c.difference.relative_error for c in [*self.checks, *self.swept]), default=0.0)

    @property
    def worst_swept(self) -> float:
        """The same over the sizes between the corners."""
        return max((c.difference.relative_error for c in self.swept), default=0.0)

    def add(self, other: Verdict) -> None:
        """What was found of the same graph at other cases."""
        self.checks.extend(other.checks)
        self.swept.extend(other.swept)
        self.consistency.extend(other.consistency)


class ParityChecker:
    """Holds what PyTorch answered and runs any graph of the model against it."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        answers: Sequence[Case[Arrays]],
        tolerance: Tolerance,
        isolated: ChildProcess,
        ask: Callable[[Arrays], Arrays],
        draw: Draw | None = None,
        sweep: Sweep = Sweep(),  # noqa: B008  it is frozen
        heavy: Collection[str] = (),
    ) -> None:
        """`ask` gives PyTorch's outputs for any inputs; called only to find out whose fault an inconsistency is.

        `draw` is the user's, where inputs depend on one another: PyTorch is asked first whether it takes them otherwise.
        `heavy` names answers that are asked of the last form of a graph alone, and never all: see `check`.
        """
        self.heavy = frozenset(heavy)
        self.sweep = sweep
        self.inputs = tuple(inputs)
        self.answers = list(answers)
        self.tolerance = tolerance
        self._isolated = isolated
        self.ask = ask
        self._draw = draw
        self._taken: dict[str, bool] = {}
        self._batch = batch_dim(inputs, answers)
        self._padded: list[Padded] | None = None

    def asked(self, heavy: bool | None = None) -> list[Case[Arrays]]:
        """The answers that `check` holds a graph against."""
        return [a for a in self.answers if heavy is None or (a.name in self.heavy) == heavy]

    def check(self, graph: Path, stage: str, after: Sequence[str] = (), heavy: bool | None = None) -> Verdict:
        """Verdict with every check passed; ParityError (with the table of worst elements) otherwise.

        after   names the stages before this one, for the message
        heavy   False leaves the heavy answers out, and what is compared with a graph's own answers there; True asks these
                alone; None asks all

        Raises StageError when ONNX Runtime dies of it.
        """
        asked, sweep = self.asked(heavy), Sweep() if heavy else self.sweep
        names = {answer.name for answer in asked}
        base = self._base()
        extra = self._variants() if base is not None and self.answers[base].name in names else []
        if self._padded is None:  # once: it asks PyTorch
            self._padded = list(paddings(self.inputs, self.answers, self.tolerance, self.ask, self._draw))
        paddings_here = [p for p in self._padded if self.answers[p.base].name in names]
        padded = [p for p in paddings_here if not p.error]
        fed = [a.inputs for a in asked] + [p.inputs for p in padded] + [inputs for _, inputs, _ in extra]
        verdict = Verdict()
        with tempfile.TemporaryDirectory(prefix="attn-check-") as folder:
            found, swept = self._run(graph, stage, fed, Path(folder), sweep)
            for case, path in zip(sweep.answers(), swept, strict=True):
                verdict.swept.extend(
                    check_case(replace(case, inputs={}, outputs={}), case.outputs, load_file(path), self.tolerance)
                )
        own = {answer.name: outputs for answer, outputs in zip(asked, found, strict=False)}
        for answer in asked:
            verdict.checks.extend(check_case(answer, answer.outputs, own[answer.name], self.tolerance))
        if not passed(verdict.checks):
            raise parity_error(stage, verdict.checks, after=after)
        if verdict.swept and not passed(verdict.swept):
            raise parity_error(stage, verdict.swept, after=after)
        behind = len(asked) + len(padded)
        for one, outputs in zip(padded, found[len(asked) : behind], strict=True):
            verdict.consistency.append(self._unpadded(one, own[self.answers[one.base].name], outputs, stage))
        verdict.consistency.extend(
            Consistency(
                one.name,
                False,
                one.error,
                f'PyTorch\'s own answers depend on what is padded along {one.dim}, whatever "{one.mask}" says of it, '
                f"by {one.error:.2g}",
            )
            for one in paddings_here
            if one.error
        )
        for (name, _, rows), outputs in zip(extra, found[behind:], strict=True):
            assert base is not None
            verdict.consistency.append(self._consistent(name, rows, base, own[self.answers[base].name], outputs, stage))
        return verdict

    def hold(self, graph: Path, stage: str, answers: Sequence[Case[Arrays]], after: Sequence[str] = ()) -> list[Check]:
        """Checks of the graph at these further answers of PyTorch's alone, all passed. Raises what `check` raises."""
        with tempfile.TemporaryDirectory(prefix="attn-check-") as folder:
            found, _ = self._run(graph, stage, [a.inputs for a in answers], Path(folder), Sweep())
        checks = [
            check
            for answer, outputs in zip(answers, found, strict=True)
            for check in check_case(answer, answer.outputs, outputs, self.tolerance)
        ]
        if checks and not passed(checks):
            raise parity_error(stage, checks, after=after)
        return checks

    def _run(
        self, graph: Path, stage: str, fed: Sequence[Arrays], folder: Path, sweep: Sweep
    ) -> tuple[list[Arrays], list[Path]]:
        """The graph's answers to `fed`, and the files with its answers to the sweep."""
        own = [(folder / f"{n}.in.safetensors", folder / f"{n}.out.safetensors") for n in range(len(fed))]
        for inputs, (path, _) in zip(fed, own, strict=True):
            write_tensors(path, inputs)
        swept = [(c.inputs, folder / f"{n}.swept.safetensors") for n, c in enumerate(sweep.cases)]
        large = read_info(graph).weight_bytes >= EXTERNAL_FROM_BYTES
        try:
            answer_files(self._isolated, f"{stage} in ONNX Runtime", graph, [*own, *swept], large=large)
        except TaskFailed as problem:
            raise ParityError(f"{problem}. The graph can't be run, so nothing was written.") from problem
        return [load_file(path) for _, path in own], [path for _, path in swept]

    def _base(self) -> int | None:
        """The case whose rows are taken apart: the smallest with more than two rows, else the largest."""
        if self._batch is None:
            return None
        sizes = [(a.sizes[self._batch.name], n) for n, a in enumerate(self.answers) if not is_unusual(a.name)]
        several = sorted((size, n) for size, n in sizes if size > 2) or sorted(sizes, reverse=True)
        return several[0][1] if several[0][0] > 1 else None

    def _variants(self) -> list[tuple[str, Arrays, np.ndarray[Any, Any]]]:
        base = self._base()
        if base is None:
            return []
        assert self._batch is not None
        answer = self.answers[base]
        rows = answer.sizes[self._batch.name]
        wanted = {"rows-permuted": np.arange(rows)[::-1]}
        if named_dims(self.inputs)[self._batch.name].min == 1:
            wanted["row-alone"] = np.array([rows - 1])
        found = [
            (name, take_rows(self.inputs, answer.inputs, self._batch, index), index) for name, index in wanted.items()
        ]
        return [one for one in found if self._draw is None or self._takes(*one[:2])]

    def _takes(self, name: str, inputs: Arrays) -> bool:
        """Whether PyTorch answers them at all: rows that others refer to are no batch to be taken apart."""
        if name not in self._taken:
            try:
                self.ask(inputs)
                self._taken[name] = True
            except CaptureError:
                self._taken[name] = False
        return self._taken[name]

    def _unpadded(self, padded: Padded, base: Arrays, longer: Arrays, stage: str) -> Consistency:
        """That the graph, too, answers the same when more is padded."""
        answer = self.answers[padded.base]
        sizes = {**answer.sizes, padded.dim: padded.inputs[padded.mask].shape[-1]}
        case = replace(answer, name=padded.name, sizes=sizes)
        checks = check_case(case, padded.unpadded(base), padded.unpadded(longer), self.tolerance)
        if not passed(checks):
            raise parity_error(stage, checks, "itself without the padding")
        return Consistency(padded.name, True, max(c.difference.max_error for c in checks))

    def _consistent(
        self, name: str, rows: np.ndarray[Any, Any], base: int, whole: Arrays, part: Arrays, stage: str
    ) -> Consistency:
        assert self._batch is not None
        axis = self._batch.axis
        answer = self.answers[base]
        case = replace(answer, name=name, sizes={**answer.sizes, self._batch.name: len(rows)})
        checks = check_case(case, {n: v.take(rows, axis) for n, v in whole.items()}, part, self.tolerance)
        if passed(checks):
            return Consistency(name, True, max(c.difference.max_error for c in checks))
        own = self.ask(take_rows(self.inputs, answer.inputs, self._batch, rows))
        pytorch = check_case(case, {n: v.take(rows, axis) for n, v in answer.outputs.items()}, own, self.tolerance)
        if passed(pytorch):
            raise parity_error(stage, checks, "itself in a batch")
        return Consistency(
            name,
            False,
            max(c.difference.max_error for c in checks if not c.difference.passed),
            f"PyTorch's own answers depend on the other rows along {self._batch.name}, "
            f"by {max(c.difference.max_error for c in pytorch):.2g}",
        )


#: Names under which a dim is taken for the batch on any axis; one of another name only on axis 0.
_BATCH_NAMES = ("batch", "batch_size", "b", "n", "bs")


@dataclass(frozen=True)
class Rows:
    """The dim that counts rows, and the axis that it lies on, in every input that has it and in every output."""

    name: str
    axis: int


def batch_dim(inputs: Sequence[TensorSpec], answers: Sequence[Case[Arrays]]) -> Rows | None:
    """The dynamic dim along which rows should be independent: one called batch (on any one axis), else one on axis 0."""
    found: list[Rows] = []
    for name, dim in named_dims(inputs).items():
        axes = {axis for s in inputs for axis, d in enumerate(s.dims) if d.name == name}
        if not dim.dynamic or len(axes) != 1:
            continue
        axis = axes.pop()
        outputs = [(a.sizes[name], v) for a in answers for v in a.outputs.values()]
        if outputs and all(v.ndim > axis and v.shape[axis] == size for size, v in outputs):
            found.append(Rows(name, axis))
    called = [r for r in found if r.name.lower() in _BATCH_NAMES]
    return next(iter([*called, *(r for r in found if r.axis == 0)]), None)


def take_rows(inputs: Sequence[TensorSpec], arrays: Arrays, batch: Rows, rows: np.ndarray[Any, Any]) -> Arrays:
    """The inputs with only these rows; inputs without the batch dim are shared by all rows and stay."""
    return {
        s.name: np.asarray(arrays[s.name].take(rows, batch.axis), order="C")
        if any(d.name == batch.name for d in s.dims)
        else arrays[s.name]
        for s in inputs
    }


def check_same(
    plain: Callable[[Case[Arrays]], Case[Arrays]], answers: Sequence[Case[Arrays]], tolerance: Tolerance
) -> None:
    """ParityError unless `answers`, given with attention weights beside them, are those of the module without: `plain`."""
    for answer in answers:
        expected = plain(answer).outputs
        got = {name: value for name, value in answer.outputs.items() if name in expected}
        for d in (c.difference for c in check_case(answer, expected, got, tolerance)):
            if not d.passed:
                raise ParityError(
                    f'--with-attention changes PyTorch\'s own answers: output "{d.output}" at case "{answer.name}" by '
                    f"{d.max_error:.2g}, allowed {d.limit:.2g}; this model's attention is not what its formula says. Choose "
                    "other modules with a pattern, or leave it out"
                )
