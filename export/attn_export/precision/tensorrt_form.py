"""The file of a precision that TensorRT is given, through one more pass, held against the record and stored beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from attn_runtime.bundle import Bundle, BundleWriter, OnnxWriter
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import PassError
from attn_runtime.files import sweep
from attn_runtime.spec import TensorSpec

from .. import manifest_entries
from ..attention import find_blocks
from ..console import Console
from ..onnx_graph import EXTERNAL_FROM_BYTES, load, read_info, save_proto
from ..parity import Check, ReferenceSet, check, golden_record, own_record, parity_error, passed
from ..passes import Applied, Pass, run_pass
from . import schemes
from .conversion import CHECKED, SECONDS, workshop
from .half import Conversion, judge
from .sources import embedded_inputs


def add_form(
    bundle: Path,
    graph: str,
    precision: str,
    chosen: Pass,
    console: Console,
    prove: Callable[[Bundle], object] | None = None,
    stage_seconds: float = SECONDS,
) -> str | None:
    """Run `chosen` over the file that TensorRT is given for `precision`, and store what comes of it as PRECISION-trt.

    Returns what was done, or None where the pass changes nothing. The new file is held against the golden cases, and
    `prove` gets the bundle as it will be: what it raises leaves the old one. Raises ParityError, PassError, BundleError.
    """
    opened = Bundle.open(bundle)
    own = opened.graph(graph)
    name, entry = own.precision_for(precision, "tensorrt")
    made = name if entry.target else f"{name}-trt"
    with workshop(stage_seconds) as (work, isolated):
        sweep(bundle.resolve())
        source = _copy(entry.file, work)
        done = run_pass(chosen, source, work / "tensorrt.onnx", isolated)
        if done.result.path == source:
            console.note(done.result.note)
            return None
        record = golden_record(opened, own, entry.type)
        with console.stage(chosen.name) as line:
            checks = _held(done.result.path, entry.type, entry.tolerance, entry.half_io, record, work, isolated, made)
            line.done(f"{made} = {record.against} at {len(record.cases)} cases; {done.result.note}"[:300])
        raw = dict(opened.manifest["graphs"][graph])
        before = raw["precisions"][name]
        with BundleWriter(bundle, amends=opened) as writer:
            file = f"{Path(raw['precisions'].get('fp32', before)['file']).stem}.{made}.onnx"
            shutil.copyfile(done.result.path, writer.path(file))
            converted: dict[str, Any] = {
                "type": entry.type, "half_io": entry.half_io, "kept": before.get("kept", []), "target": "tensorrt"
            }  # fmt: skip
            new = manifest_entries.precision_entry(
                file, done.after.data_files, entry.tolerance, find_blocks(load(done.result.path)), converted
            )
            stage = manifest_entries.stage_entry(
                chosen.name, made, done.before.nodes, done.after.nodes, done.result.note[:8000], checks
            )
            raw["precisions"] = {**raw["precisions"], made: new}
            raw["stages"] = [*raw["stages"], stage]
            manifest = {**opened.manifest, "graphs": {**opened.manifest["graphs"], graph: raw}}
            writer.commit(manifest, prove)
    return f"{file}: {done.result.note}"


def plain_form(
    path: Path,
    target: Path,
    type: str,
    chosen: Pass,
    inputs: Sequence[TensorSpec] | None,
    console: Console,
    stage_seconds: float = SECONDS,
) -> str | None:
    """The same of a plain file, held against its own answers and written to `target`."""
    with workshop(stage_seconds) as (work, isolated):
        source = _copy(path, work)
        done = run_pass(chosen, source, work / "tensorrt.onnx", isolated)
        if done.result.path == source:
            console.note(done.result.note)
            return None
        (work / "record").mkdir()
        record = own_record(source, done.before, inputs or embedded_inputs(path), work / "record", isolated)
        tolerance = Tolerance(fills=record.fills)
        tolerance = tolerance if type == "fp32" else schemes.get(type).tolerance(None, tolerance)
        with console.stage(chosen.name) as line:
            checks = _held(done.result.path, "fp32", tolerance, False, record, work, isolated, target.name)
            line.done(f"{target.name} = {path.name} at {len(record.cases)} cases; {done.result.note}"[:300])
        with OnnxWriter(target, True) as writer:
            _save(done, chosen.name, type, checks, writer)
            writer.commit()
    return f"{target.name}: {done.result.note}"


def _copy(file: Path, work: Path) -> Path:
    """The graph with its data in a folder of its own, so that what a pass writes lies beside the data too."""
    for data in read_info(file).data_files:
        (work / data).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.parent / data, work / data)
    return Path(shutil.copyfile(file, work / file.name))


def _held(
    path: Path, type: str, tolerance: Tolerance, half_io: bool, record: ReferenceSet, work: Path,
    isolated: ChildProcess, label: str,
) -> list[Check]:  # fmt: skip
    """The checks of the graph against the record. ParityError where they fail, PassError where it can't be run."""
    large = read_info(path).weight_bytes >= EXTERNAL_FROM_BYTES
    try:
        if type == "fp32":
            checks = check(path, record, tolerance, work, isolated, large)
        else:
            scheme = schemes.of_type(type)
            assert scheme is not None, type
            conversion = Conversion(path, scheme, record, tolerance, half_io, isolated, work, {}, large)
            checks = judge(conversion, path)[1]
    except TaskFailed as problem:
        raise PassError(f"{label} can't be run: {problem}") from problem
    if not passed(checks):
        raise parity_error(label, checks, record.against, advice="The form for TensorRT was not written.")
    return checks


def _save(done: Applied, name: str, type: str, checks: Sequence[Check], writer: OnnxWriter) -> None:
    model = onnx.load(done.result.path)
    properties = {p.key: p.value for p in model.metadata_props}
    checked = json.loads(properties.get(CHECKED, "{}"))
    stage = manifest_entries.stage_entry(
        name, type, done.before.nodes, done.after.nodes, done.result.note[:8000], checks
    )
    properties[CHECKED] = json.dumps({**checked, "stages": [*checked.get("stages", ()), stage]})
    onnx.helper.set_model_props(model, properties)
    save_proto(model, writer.path(), bool(done.after.data_files))
