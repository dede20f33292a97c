"""The tensors inside two graphs of one model, compared at the same inputs: by name, a few at a time.

Only numbers about them leave the child process. What is held at once is bounded by memory, not by the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.child_process import ChildProcess
from attn_runtime.ort import cpu_options, make_session
from safetensors.numpy import load_file

from .masked_places import masked_places

#: Tensors of both graphs held at one time, in bytes.
BUDGET_BYTES = 512 << 20
_FIRST_CHUNK = 4


@dataclass(frozen=True)
class Spread:
    """One tensor at the case where it differs most. Magnitudes are of finite values, in the tensor's own unit.

    largest     max|reference| over all cases
    scale       max|reference| at that case, without what stands for infinity (`masked_places`)
    error       max|other - reference| there, where both are finite, without that
    lost        elements that are finite in the reference and not in the other graph
    case        index of the case: the most lost elements, then the largest error over scale
    """

    name: str
    largest: float
    scale: float
    error: float
    lost: int
    case: int

    @property
    def relative(self) -> float:
        """error / scale; infinite where elements were lost."""
        if self.lost:
            return float("inf")
        return self.error / self.scale if self.scale else self.error


def compare_intermediates(
    reference: Path,
    other: Path,
    names: Sequence[str],
    cases: Sequence[Path],
    isolated: ChildProcess,
    budget: int = BUDGET_BYTES,
    data: Path | None = None,
) -> dict[str, Spread]:
    """A Spread per tensor of `names` that is floating point in both graphs; `cases` are .safetensors of inputs;
    `data` is the folder of the external data of `other`, where that is not its own.

    Raises TaskFailed when ONNX Runtime can't run one of them.
    """
    found = isolated.run(
        "attn_export.precision.layerwise.activations:compare_here",
        "comparing tensors",
        reference=str(reference),
        other=str(other),
        names=list(names),
        cases=[str(c) for c in cases],
        budget=budget,
        data=str(data or other.parent),
    )
    return {row[0]: Spread(*row) for row in found["rows"]}


def ranges(graph: Path, cases: Sequence[Path], isolated: ChildProcess) -> dict[str, float]:
    """max|value| over all cases, of finite values, of each floating-point tensor of the main graph, inputs included."""
    model = onnx.load(graph, load_external_data=False)
    names = [name for node in model.graph.node for name in node.output if name]
    found = {s.name: s.largest for s in compare_intermediates(graph, graph, names, cases, isolated).values()}
    for case in cases:
        for name, value in load_file(case).items():
            if value.dtype.kind == "f":
                finite = np.abs(value[np.isfinite(value)].astype(np.float64))
                found[name] = max(found.get(name, 0.0), float(finite.max(initial=0.0)))
    return found


def compare_here(
    reference: str, other: str, names: list[str], cases: list[str], budget: int, data: str
) -> dict[str, Any]:
    """The task of the child process. Chunks grow while their tensors stay within `budget` bytes."""
    rows: dict[str, list[Any]] = {}
    graphs = [(reference, str(Path(reference).parent)), (other, data)][: 1 if other == reference else 2]
    start, count = 0, _FIRST_CHUNK
    while start < len(names):
        chunk = names[start : start + count]
        runners = [_Runner(path, folder, chunk) for path, folder in graphs]
        held = 0
        for number, case in enumerate(cases):
            inputs = load_file(case)
            values = [runner.run(inputs) for runner in runners]
            held = max(held, sum(v.nbytes for found in values for v in found.values()))
            for name in chunk:
                row = _row(name, values[0].get(name), values[-1].get(name), number)
                if row is not None:
                    rows[name] = _worse(rows.get(name), row)
            del values
        start += len(chunk)
        count = max(1, min(8 * count, int(count * budget / max(held, 1))))
    return {"rows": list(rows.values())}


class _Runner:
    """A graph in ONNX Runtime that answers with inner tensors, computed exactly as the graph says."""

    def __init__(self, path: str, folder: str, names: Sequence[str]) -> None:
        self._names = list(names)
        self._session = probe(onnx.load(path, load_external_data=False), Path(folder), names)
        self._inputs = {i.name for i in self._session.get_inputs()}

    def run(self, inputs: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        found = self._session.run(self._names, {n: v for n, v in inputs.items() if n in self._inputs})
        return dict(zip(self._names, found, strict=True))


def probe(model: onnx.ModelProto, folder: Path, names: Sequence[str], large: bool = True) -> Any:
    """An InferenceSession on the CPU, without optimizations, that has `names` as outputs too. Changes `model`.

    `large` as `cpu_options` has it: without it weights are copied, and a session that serves many calls is faster.
    """
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    return make_session(model.SerializeToString(), cpu_options(large=large, optimizations=False, data_folder=folder))


def _row(name: str, reference: Any, other: Any, case: int) -> list[Any] | None:
    if not isinstance(reference, np.ndarray) or reference.dtype.kind != "f" or reference.shape != other.shape:
        return None
    fine = np.isfinite(reference)
    both = fine & np.isfinite(other)
    wide = np.abs(reference.astype(np.float64))
    meant = fine & ~masked_places(reference, other)
    largest = float(wide[fine].max(initial=0.0))
    scale = float(wide[meant].max(initial=0.0))
    compared = both & meant
    error = float(np.abs(reference[compared].astype(np.float64) - other[compared]).max(initial=0.0))
    return [name, largest, scale, error, int((fine & ~both).sum()), case]


def _worse(before: list[Any] | None, now: list[Any]) -> list[Any]:
    if before is None:
        return now
    worst = max(before, now, key=lambda row: (row[4], row[3] / row[2] if row[2] else row[3]))
    return [now[0], max(before[1], now[1]), *worst[2:]]
