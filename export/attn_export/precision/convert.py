"""Half precision in a bundle, or of a plain file: all of it converted, proven, and written, or nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
from attn_runtime.bundle.onnx_metadata import KEY, read_embedded
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.writer import OnnxWriter, check_target
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BundleError, PassError, UsageError
from attn_runtime.files.atomic_write import sweep
from attn_runtime.spec import TensorSpec

from ..console import Console
from ..isolate import Isolated, TaskFailed
from ..onnx_graph.onnx_file import EXTERNAL_FROM_BYTES, read_info
from ..parity.generation import prove
from ..parity.recorded import ReferenceSet, golden_record, own_record, tolerance_for
from ..passes import attention
from .activations import ranges
from .bisection import half_kind
from .bundle_files import share_mode, stage_entry, write_precision
from .element_types import HALF
from .fp32_search import Conversion
from .modelopt_autocast import MOST_BYTES, require_autocast
from .typed_graph import TypedGraph, convert_graph, for_tensorrt

SECONDS = 600.0
#: The metadata property of a plain file that says how it was checked.
CHECKED = "attn_export.checked"


def add_precision(
    bundle: Path,
    kind: str,
    *,
    half_io: bool = False,
    rtol: float | None = None,
    skip: Sequence[str] = (),
    console: Console,
    stage_seconds: float = SECONDS,
) -> list[TypedGraph]:
    """Write model.`kind`.onnx, held against every golden case, into the bundle, for each of its graphs.

    `kind` is "fp16" or "bf16"; `half_io` makes float32 inputs and outputs float16; `rtol` is the share of max|reference|
    that an error may have (by default record.DEFAULT_RTOL). Where TensorRT can't fuse the attention as it is written,
    `kind`-trt comes too, unless "attention" is in `skip`. What the bundle had under these names is replaced.

    Raises ParityError, with the first node at fault, when no small set of nodes in fp32 makes the answers hold;
    BundleError for a damaged bundle or one without golden cases, UsageError for options that make no sense, BackendError
    without AutoCast. The bundle is then as it was.
    """
    check_options(kind, half_io, skip)
    opened = Bundle.open(bundle)
    if opened.asset("generation") is not None:
        half_io = _caches_in(kind, half_io, console)
    with workshop(stage_seconds) as (work, isolated):
        # A killed run may have left hard links to the weights, which onnx does not open for fear of them.
        sweep(bundle.resolve())
        found = {}
        for name in opened.graphs:
            job = bundle_job(opened, name, kind, half_io, rtol, work, isolated)
            found[name] = _forms(job, name, skip, console.about(f"{name}: ") if len(opened.graphs) > 1 else console)
        with console.stage("write") as line:
            made = write_precision(bundle, opened, kind, found, lambda staged: _prove(staged, kind, isolated, console))
            line.done(f"{bundle}: {', '.join(t.path.name for t in made)}")
    return [replace(t, path=bundle / t.path.name) for t in made]


def _caches_in(kind: str, half_io: bool, console: Console) -> bool:
    """Whether the graphs of a generator get float16 borders: else each step would cast its whole past, twice."""
    if kind == "fp16":
        if not half_io:
            console.note("the graphs hand caches to each other, so that their float inputs and outputs are float16 too")
        return True
    console.note(
        f"the caches between the graphs stay float32, for numpy has no {kind}: each step casts what it reads of its past"
    )
    return half_io


def _prove(staged: Bundle, kind: str, isolated: Isolated, console: Console) -> None:
    """That the new precision writes what PyTorch wrote. On a CPU bf16 can't be run, which is told."""
    if not staged.manifest.get("generation"):
        return
    if kind == "bf16":
        console.note(
            "what is written in bf16 is not proven here, where ONNX Runtime has no bf16 kernels; on a GPU: attn-run verify"
        )
        return
    prove(staged.path, isolated, console, f"the {kind} bundle", kind)


def convert_file(
    path: Path,
    target: Path,
    kind: str,
    *,
    half_io: bool = False,
    rtol: float | None = None,
    inputs: Sequence[TensorSpec] | None = None,
    skip: Sequence[str] = (),
    tensorrt: bool = False,
    console: Console,
    stage_seconds: float = SECONDS,
    force: bool = False,
) -> TypedGraph:
    """Convert the plain fp32 graph at `path` to `target`, NAME.onnx, held against the fp32 graph's own answers.

    The answers are ONNX Runtime's, to inputs drawn at the corners of `inputs` (by default what the file's metadata says,
    else sizes 1, 2, 3 and 5 for every dynamic axis). With `tensorrt`, attention is rewritten for that engine where it
    would not fuse, unless "attention" is in `skip`. Raises as `add_precision`; then nothing is written.
    """
    check_options(kind, half_io, skip)
    if target.suffix != ".onnx":
        raise UsageError(f"-o {target}: got suffix {target.suffix or '(none)'}, expected NAME.onnx for a plain graph")
    check_target(target, force)
    with workshop(stage_seconds) as (work, isolated), OnnxWriter(target, force) as writer:
        job = file_job(path, kind, half_io, rtol, inputs, work, isolated)
        chosen = _forms(job, path.stem, skip if tensorrt else (attention.PASS.name,), console)[-1]
        save_whole(chosen, writer)
        writer.commit()
    return replace(chosen, path=target)


def bundle_job(
    opened: Bundle, graph: str, kind: str, half_io: bool, rtol: float | None, work: Path, isolated: Isolated
) -> Conversion:
    """What converting one graph of a bundle takes. BundleError where it has no fp32 precision or no golden cases."""
    found = opened.graph(graph)
    if "fp32" not in found.precisions:
        raise BundleError(
            f"bundle {found.bundle}: graph {graph} has no precision fp32 to convert, only {', '.join(found.precisions)}; "
            "export it again"
        )
    precision = found.precisions["fp32"]
    record = golden_record(opened, found)
    return job_for(
        precision.file, kind, record, tolerance_for(kind, rtol, precision.tolerance), half_io, work / graph, isolated
    )


def file_job(
    path: Path,
    kind: str,
    half_io: bool,
    rtol: float | None,
    inputs: Sequence[TensorSpec] | None,
    work: Path,
    isolated: Isolated,
) -> Conversion:
    """What converting a plain file takes."""
    _check_source(path)
    folder = work / "record"
    folder.mkdir()
    record = own_record(path, read_info(path), inputs or embedded_inputs(path), folder, isolated)
    return job_for(path, kind, record, tolerance_for(kind, rtol, Tolerance()), half_io, work / "graph", isolated)


def job_for(
    source: Path, kind: str, record: ReferenceSet, tolerance: Tolerance, half_io: bool, work: Path, isolated: Isolated
) -> Conversion:
    """What converting the graph at `source` takes; `work` is made. UsageError for a graph that can't be converted."""
    work.mkdir()
    before, model = read_info(source), _check_source(source)
    names = [node.name for node in model.graph.node]
    if "" in names or len(set(names)) < len(names):
        source = _named(source, work)
    large = before.weight_bytes >= EXTERNAL_FROM_BYTES
    try:
        largest = ranges(source, record.inputs, isolated)
    except TaskFailed as problem:
        raise PassError(f"the fp32 graph can't be measured: {problem}") from problem
    return Conversion(source, kind, record, tolerance, half_io, isolated, work, largest, large)


def _check_source(source: Path) -> onnx.ModelProto:
    """The graph, without its external weights. UsageError where it is too large, or in half precision already."""
    size = read_info(source).weight_bytes
    if size > MOST_BYTES:
        raise UsageError(
            f"{source.name} has {size / 1e9:.1f} GB of weights; AutoCast holds them as one protobuf message, which ends at "
            f"{MOST_BYTES / 1e9:.1f} GB. Export the module in half precision (model.half()), or in parts"
        )
    model = onnx.load(source, load_external_data=False)
    if (found := half_kind(model)) is not None:
        raise UsageError(f"{source.name} is in {found} already; give the fp32 graph that it was made from")
    return model


def _named(source: Path, work: Path) -> Path:
    """A copy whose every node has a name of its own: nodes are kept in fp32 by name."""
    model = onnx.load(source)
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
            while node.name in taken:
                node.name += "_"
        taken.add(node.name)
    onnx.save(model, work / "named.onnx")
    return work / "named.onnx"


def check_options(kind: str, half_io: bool, skip: Sequence[str]) -> None:
    """UsageError for options that make no sense, BackendError when AutoCast is not installed."""
    if kind not in HALF:
        raise UsageError(f"unknown precision {kind!r}; available: {', '.join(HALF)}")
    if half_io and kind == "bf16":
        raise UsageError(
            "--half-io with --bf16: numpy has no bfloat16, so inputs and outputs stay float32. Leave --half-io out, or "
            "take --fp16"
        )
    for name in skip:
        if name != attention.PASS.name:
            raise UsageError(
                f"--skip-pass {name}: it would not run anyway; the passes of a conversion are: {attention.PASS.name}"
            )
    require_autocast()


@contextmanager
def workshop(stage_seconds: float, autocast: bool = True) -> Iterator[tuple[Path, Isolated]]:
    """A folder for attempts, and a child process; with `autocast`, it imports that already."""
    with tempfile.TemporaryDirectory(prefix="attn-half-") as folder, Isolated(stage_seconds) as isolated:
        if autocast:
            require_autocast()
            isolated.start("warm_autocast")
        yield Path(folder), isolated


def _forms(job: Conversion, graph: str, skip: Sequence[str], console: Console) -> list[TypedGraph]:
    """The typed graph, and the one for TensorRT where that is another."""
    typed = convert_graph(job, graph, console)
    if attention.PASS.name in skip:
        return [typed]
    rewritten = for_tensorrt(job, typed, console)
    return [typed] if rewritten is None else [typed, rewritten]


def save_whole(typed: TypedGraph, writer: OnnxWriter) -> None:
    """Write a typed graph, and its data where it has any, to the places of a plain file, with how it was checked."""
    target = writer.path()
    model = onnx.load(typed.path)
    properties = {p.key: p.value for p in model.metadata_props}
    checked = json.loads(properties.get(CHECKED, "{}"))
    stages = [*checked.get("stages", ()), stage_entry(typed)]
    properties[CHECKED] = json.dumps({**checked, "stages": stages, "tolerance": typed.tolerance.to_json()})
    if typed.half_io and KEY in properties:
        embedded = json.loads(properties[KEY])
        for tensor in (*embedded["inputs"], *embedded["outputs"]):
            tensor["dtype"] = "float16" if tensor["dtype"] == "float32" else tensor["dtype"]
        properties[KEY] = json.dumps(embedded)
    onnx.helper.set_model_props(model, properties)
    if read_info(typed.path).data_files:
        onnx.save(model, target, save_as_external_data=True, location=f"{target.name}.data", size_threshold=1024)
        share_mode(target, target.with_name(f"{target.name}.data"))
    else:
        onnx.save(model, target)


def embedded_inputs(path: Path) -> tuple[TensorSpec, ...] | None:
    """What the metadata of a plain file says of its inputs; None where it says nothing."""
    properties = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    return read_embedded(properties[KEY], path.name).inputs if KEY in properties else None
