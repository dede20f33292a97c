"""A bundle or ONNX file against the living module: fresh inputs at every corner, answered by PyTorch and by a session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from attn_runtime.bundle import Bundle, halved, is_bundle, widened
from attn_runtime.compare import Tolerance, compare_all
from attn_runtime.draw import draw_inputs
from attn_runtime.session import Session, open_session
from attn_runtime.spec import Dim, TensorSpec

from .cases import corner_cases
from .check import Check, parity_error
from .reference import ask
from .signature import Signature
from .source import load_source

#: A graph of other makers declares no ranges; these sizes are tried instead of its "any".
_UNDECLARED = 1 << 20


def verify_live(
    path: Path,
    source: str,
    *,
    checkpoint: Path | None = None,
    config: Sequence[str] = (),
    backend: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    seed: int = 1,
) -> list[Check]:
    """Checks of every output at every corner of the graph's own ranges, all passed.

    Raises ParityError otherwise, with the same table as an export. `seed` should not be the export's: the point is to
    see inputs that the golden cases do not hold.
    """
    checks: list[Check] = []
    with open_session(path, device, backend, precision=precision) as session:
        graph, tolerance, half_io = _record(path, session)
        inputs = tuple(_bounded(s) for s in graph)
        loaded = load_source(source, specs=inputs, checkpoint=checkpoint, config=config)
        signature = Signature(loaded.module, inputs, [o.name for o in session.outputs], loaded.by_position)
        for number, case in enumerate(corner_cases(inputs)):
            answer = ask(signature, case, draw_inputs(inputs, case.sizes, seed + number))
            got = session.run(halved(answer.inputs) if half_io else answer.inputs)
            got = widened(got, answer.outputs) if half_io else got
            checks.extend(Check(case, d) for d in compare_all(answer.outputs, got, tolerance))
    if any(not c.difference.passed for c in checks):
        raise parity_error(str(path), checks)
    return checks


def _record(path: Path, session: Session) -> tuple[tuple[TensorSpec, ...], Tolerance, bool]:
    """(inputs as PyTorch takes them, tolerance, whether the file's borders are float16), as the export wrote them."""
    if is_bundle(path) and session.precision is not None:
        graph = Bundle.open(path, check_hashes=False).graph()
        precision = graph.precisions[session.precision]
        return graph.inputs, precision.tolerance, precision.half_io
    properties = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    try:
        stored = json.loads(properties["attn_export.checked"])["tolerance"]
        return session.inputs, Tolerance(float(stored["atol"]), float(stored["rtol"])), False
    except (KeyError, TypeError, ValueError):
        return session.inputs, Tolerance(), False  # a graph of other makers


def _bounded(spec: TensorSpec) -> TensorSpec:
    return replace(spec, dims=tuple(Dim(d.name, 1, 2, 5) if d.max > _UNDECLARED else d for d in spec.dims))
