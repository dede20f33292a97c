"""A bundle or ONNX file against the living module: fresh inputs at every corner, answered by PyTorch and by a session."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from attn_runtime import Session, open_session
from attn_runtime.bundle import Bundle, is_bundle, to_fp16, to_reference_dtype
from attn_runtime.compare import Tolerance
from attn_runtime.errors import UsageError
from attn_runtime.files import shown
from attn_runtime.spec import Dim, TensorSpec

from ..attention_outputs import signature_for
from ..reference import Signature, corner_cases, fill_ranges, run_module
from ..source import ONLY, OWN_FIT, SourceGraph, UserDraw, is_saved_model, load_source
from .judge import Check, check_case, parity_error, passed

#: A graph of other makers declares no ranges; these sizes are tried instead of its "any".
_UNDECLARED = 1 << 20


def verify_against(
    path: Path,
    source: str,
    *,
    checkpoint: Path | None = None,
    checkpoint_key: str | None = None,
    config: Sequence[str] = (),
    task: str | None = None,
    revision: str | None = None,
    download: bool = False,
    inputs_from: str | UserDraw | None = None,
    backend: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    graph: str | None = None,
    seed: int = 1,
) -> list[Check]:
    """Checks of every output at every corner of each graph's own ranges, all passed.

    `graph` takes one graph of a bundle that has several; of a plain file it says which graph of the source it is.
    A saved model is taken as the class of the `task` that the export was given, unless another is given here.
    `inputs_from` draws the inputs, as in an export. Raises UsageError where the export had one and none is given here, and
    ParityError otherwise, with the same table as an export. `seed` should not be the export's: the point is to see inputs
    that the golden cases do not hold.
    """
    checks: list[Check] = []
    with ExitStack() as stack:
        opened: dict[str, Session] = {}
        if is_bundle(path):
            bundle = Bundle.open(path, paranoid=True)
            for name in [bundle.graph(graph).name] if graph else list(bundle.graphs):
                session = open_session(bundle, device, backend, graph=name, precision=precision)
                opened[name] = stack.enter_context(session)
        else:
            opened[graph or ONLY] = stack.enter_context(open_session(path, device, backend, precision=precision))
        records = {name: _record(path, name, session) for name, session in opened.items()}
        specs = {name: tuple(map(_bounded, record.inputs)) for name, record in records.items()}
        recorded = _recorded(path)
        _check_inputs_from(path, recorded, inputs_from)
        if task is None and is_saved_model(source):
            task = _task_of(recorded)
        loaded = load_source(
            source,
            specs=specs,
            checkpoint=checkpoint,
            checkpoint_key=checkpoint_key,
            config=config,
            task=task,
            revision=revision,
            download=download,
            inputs_from=inputs_from,
        )
        for part in loaded.graphs:
            session, record = opened[part.name], records[part.name]
            signature = signature_for(loaded, part, [o.name for o in session.outputs])
            found = _checks(part, record, session, signature, seed)
            if not passed(found):
                raise parity_error(f"{path}, graph {part.name}" if len(opened) > 1 else str(path), found)
            checks.extend(found)
    return checks


@dataclass(frozen=True)
class _Record:
    """What the export wrote of a graph: inputs as PyTorch takes them, how much an answer may differ (None: it is not
    ours, and says nothing), and whether the file's borders are float16."""

    inputs: tuple[TensorSpec, ...]
    tolerance: Tolerance | None
    half_io: bool = False


def _checks(part: SourceGraph, record: _Record, session: Session, signature: Signature, seed: int) -> list[Check]:
    checks: list[Check] = []
    answers = []
    for number, case in enumerate(corner_cases(part.inputs)):
        drawn = signature.draw(case.sizes, seed + number)
        answers.append(run_module(signature, replace(case, sizes=drawn.sizes), drawn.inputs))
    tolerance = Tolerance(fills=fill_ranges(answers)) if record.tolerance is None else record.tolerance
    for answer in answers:
        got = session.run(to_fp16(answer.inputs) if record.half_io else answer.inputs)
        got = to_reference_dtype(got, answer.outputs) if record.half_io else got
        checks.extend(check_case(answer, answer.outputs, got, tolerance, half_io=record.half_io))
    return checks


def _check_inputs_from(path: Path, recorded: Mapping[str, Any], inputs_from: str | UserDraw | None) -> None:
    """The export's own is named, never run by itself: a file must not choose what code runs where it is read."""
    if inputs_from is None and (ref := recorded.get("inputs_from")) and ref != OWN_FIT:
        raise UsageError(
            f"{path}: its inputs depend on one another, and were drawn by {shown(ref)}; add --inputs-from, with that "
            "function or another"
        )


def _recorded(path: Path) -> Mapping[str, Any]:
    """What the export wrote of its source; empty for a graph of other makers."""
    if is_bundle(path):
        source: dict[str, Any] = Bundle.open(path, check_hashes=False).manifest["source"]
        return source
    properties = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    try:
        return dict(json.loads(properties["attn_export.source"]))
    except (KeyError, TypeError, ValueError):
        return {}


def _task_of(recorded: Mapping[str, Any]) -> str | None:
    """The task that a saved model was exported for, where one was asked for: it chose the class, and chooses it again."""
    config = recorded.get("config")
    task = config.get("task") if recorded.get("kind") == "huggingface" and isinstance(config, dict) else None
    return task if isinstance(task, str) else None


def _record(path: Path, graph: str, session: Session) -> _Record:
    if is_bundle(path) and session.precision is not None:
        found = Bundle.open(path, check_hashes=False).graph(graph)
        precision = found.precisions[session.precision]
        return _Record(found.inputs, precision.tolerance, precision.half_io)
    properties = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    try:
        stored = json.loads(properties["attn_export.checked"])["tolerance"]
        return _Record(session.inputs, Tolerance.from_json(stored))
    except (AttributeError, KeyError, TypeError, ValueError):
        return _Record(session.inputs, None)  # a graph of other makers


def _bounded(spec: TensorSpec) -> TensorSpec:
    return replace(spec, dims=tuple(Dim(d.name, 1, 2, 5) if d.max > _UNDECLARED else d for d in spec.dims))
