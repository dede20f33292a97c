"""From a bundle or a plain ONNX file to a TensorRT engine: the precision first, where it is not there yet, then the build.

The build is `attn_runtime.compile_engines`, the one call that a device without onnx makes too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from attn_runtime.bundle import AttentionBlock, Bundle, Graph
from attn_runtime.errors import OutputError, ParityError, PassError, StageError, UsageError
from attn_runtime.escape import shell_words
from attn_runtime.files import is_file, is_folder
from attn_runtime.onnx_file import OnnxGraph
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.tasks import CompileReport, GraphBuild, compile_engines
from attn_runtime.trt import Profile, ShapeTexts, make_profiles
from attn_runtime.trt.builder import Compiled, CompilerFailure, find_source

from ..attention import find_blocks
from ..console import Console
from ..onnx_graph import load
from ..passes import Pass, early_split, tensorrt
from ..precision import QuantiseOptions, schemes

#: The passes that can be left out.
_PASSES = ("attention",)
#: After these, what the first form failed of is told. Anything else (attention not fused, no space left) is the reason
#: why there is no engine.
_NO_HELP = (CompilerFailure, StageError, ParityError, PassError)
#: What the caller says of the inputs of a plain file.
Drawn = tuple[TensorSpec, ...] | None


@dataclass(frozen=True)
class CompileRequest:
    """What is left to do: build from `path` with `arguments` of `compile_engine`; `notes` are for a person."""

    path: Path
    arguments: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def to_trt(
    path: str | os.PathLike[str],
    precision: str | None = None,
    *,
    graph: str | None = None,
    half_io: bool = False,
    skip: Sequence[str] = (),
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    min_shapes: tuple[str, ...] = (),
    opt_shapes: tuple[str, ...] = (),
    max_shapes: tuple[str, ...] = (),
    quantise: QuantiseOptions = QuantiseOptions(),  # noqa: B008  it is frozen
    console: Console | None = None,
    on_build: Callable[[GraphBuild], object] | None = None,
    **options: Any,
) -> CompileReport:
    """Build a TensorRT engine of `graph`, or of each graph of the bundle at `path`, in `precision`; a plain ONNX file has one.

    precision        the name of a scheme is made first where the bundle lacks it, and held against PyTorch's recorded
                     answers; None and "fp32" convert nothing
    half_io, skip    of that conversion: float16 inputs and outputs too, and passes to leave out ("attention")
    inputs, dims     of a plain file, as `convert` takes them: what is drawn for them where something is rewritten and
                     checked; by default what its metadata or the shapes say
    min_shapes, ...  trtexec's texts, as in "x:1x3x32x32,y:2x3"
    quantise         of that conversion too: what there is to choose of a precision that quantises
    on_build         called after each build
    options          the further arguments of `attn_runtime.compile_engines`

    Raises what the conversion and the build raise; `CompileReport.require` raises what one of several builds did.
    """
    path, console = Path(path), console or Console(quiet=True)
    shapes = ShapeTexts(min_shapes, opt_shapes, max_shapes)
    drawn = _drawn(path, inputs, dims)
    if quantise.given:
        _check_unmade(path, precision, quantise)

    def prepared(name: str | None) -> tuple[Path, Mapping[str, Any]]:
        request = prepare(
            path, precision, shapes=shapes, graph=name, half_io=half_io, skip=skip, drawn=drawn, quantise=quantise,
            console=console,
        )  # fmt: skip
        for note in request.notes:
            console.note(note)
        return request.path, request.arguments

    def other_form(name: str | None, compiled: Callable[..., Compiled]) -> Compiled | None:
        return _build_otherwise(path, precision, shapes, drawn, name, compiled, console)

    return compile_engines(
        path, graph=graph, min_shapes=min_shapes, opt_shapes=opt_shapes, max_shapes=max_shapes, prepare=prepared,
        other_form=None if skip else other_form, on_build=on_build, **options,
    )  # fmt: skip


def _drawn(path: Path, inputs: Sequence[str], dims: Sequence[str]) -> Drawn:
    if not inputs and not dims:
        return None
    if is_folder(path):
        raise UsageError("--input and --dim are for a plain ONNX file; a bundle says what its inputs are")
    from ..precision import drawn_inputs

    return drawn_inputs(inputs, dims)


def _check_unmade(path: Path, kind: str | None, quantise: QuantiseOptions) -> None:
    """UsageError for choices of a precision that is not made now: none is named, or it is there."""
    option = quantise.given[0]
    if kind is None or kind == "fp32":
        raise schemes.none_named(option)
    quantise.check(scheme := schemes.get(kind))
    if is_folder(path):
        graphs = Bundle.open(path, check_hashes=False).graphs.values()
        there = all(kind in graph.precisions for graph in graphs)
    else:
        source = find_source(path, None, None)
        there = _made(source.onnx, source.type, scheme)
    if there:
        raise UsageError(
            f"{option} is for making {kind}, which {path.name} has already; leave it out, or make it anew first: "
            f"{shell_words('attn-export', 'convert', str(path), '--precision', kind, option)} ..."
        )


def _build_otherwise(
    path: Path,
    kind: str | None,
    shapes: ShapeTexts,
    drawn: Drawn,
    graph: str | None,
    compiled: Callable[..., Compiled],
    console: Console,
) -> Compiled | None:
    """The engine of another form of the graph, where TensorRT's compiler dies of the one that is there; None where that does not
    help. What builds is stored, and taken from then on."""
    from ..precision import add_form

    console.note("TensorRT's compiler gave up on the graph; another form of it is tried before that is told")
    if is_file(path):
        typed = path.with_name(f"{path.stem}.{kind}.onnx")
        source = typed if kind in schemes.names() and typed.exists() else path
        target = _form_beside(source)
        if source == path and tensorrt.misread(path) and target.exists():
            source = target  # what `prepare` made, and TensorRT was given
        return _plain_otherwise(source, target, shapes, drawn, compiled, console)
    found = Bundle.open(path).graph(graph)
    precision = kind or found.default_precision
    built: list[Compiled] = []

    def build(staged: Bundle) -> None:
        built.append(compiled(staged.path, precision=precision, exact=False, blocks=None))

    try:
        with console.changing(path):
            done = add_form(path, found.name, precision, early_split.PASS, console, build)
    except _NO_HELP as problem:
        console.note(f"the other form does not help: {problem}")
        return None
    if done is None:
        return None
    console.note(f"another form builds, and is stored for TensorRT: {done}")
    engine = built[0].path
    staged = engine.parent.name == "engines" and not engine.exists()
    return replace(built[0], path=path / "engines" / engine.name) if staged else built[0]


def _plain_otherwise(
    source: Path, target: Path, shapes: ShapeTexts, drawn: Drawn, compiled: Callable[..., Compiled], console: Console
) -> Compiled | None:
    _check_ours(target)  # what is not ours is not taken away below
    try:
        if (done := _plain_form(source, target, shapes, drawn, early_split.PASS, console)) is None:
            return None
        engine = compiled(target, blocks=find_blocks(load(target)))
    except _NO_HELP as problem:
        console.note(f"the other form does not help: {problem}")
        target.unlink(missing_ok=True)
        return None
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    console.note(f"another form builds: {done}")
    return engine


def prepare(
    path: Path,
    kind: str | None,
    *,
    shapes: ShapeTexts,
    graph: str | None = None,
    half_io: bool = False,
    skip: Sequence[str] = (),
    drawn: Drawn = None,
    quantise: QuantiseOptions = QuantiseOptions(),  # noqa: B008  it is frozen
    console: Console,
) -> CompileRequest:
    """Make the precision `kind` ("fp32", a scheme's name, None for what is there) unless it is there, and look up what the
    build has to know.

    A bundle gets its new precision written into it; for a plain NAME.onnx, NAME.`kind`.onnx is written beside it.
    `half_io`, `skip` ("attention"), `drawn` (what the inputs of a plain file are) and `quantise` are those of the conversion.
    Raises what the conversion raises; then bundle and files are as they were.
    """
    for name in skip:
        if name not in _PASSES:
            raise UsageError(f"--skip-pass {name}: the passes of to-trt are: {', '.join(_PASSES)}")
    if half_io and kind not in schemes.names():
        raise UsageError("--half-io belongs to --fp16: an fp32 graph's inputs and outputs are float32")
    if (
        kind in schemes.names()
        and isinstance(scheme := schemes.get(kind), schemes.QuantisedScheme)
        and not scheme.tensorrt
    ):
        others = [name for name in schemes.names() if getattr(schemes.get(name), "tensorrt", False)]
        raise UsageError(
            f"--precision {kind} is for a CPU alone, since TensorRT has no operators for ranges of each call; take "
            f"{' or '.join(others)}"
        )
    if is_file(path):
        return _plain(path, kind, shapes, graph, half_io, skip, drawn, quantise, console)
    return _bundle(path, kind, graph, half_io, skip, quantise, console)


def _bundle(
    path: Path,
    kind: str | None,
    graph: str | None,
    half_io: bool,
    skip: Sequence[str],
    quantise: QuantiseOptions,
    console: Console,
) -> CompileRequest:
    found = Bundle.open(path).graph(graph)
    notes: list[str] = []
    there = found.precisions.get(kind or "")
    if kind in schemes.names() and (there is None or (half_io and not there.half_io)):
        from ..precision import add_precision  # imports torch, which nothing else here needs

        with console.changing(path):
            add_precision(path, kind, half_io=half_io, skip=skip, console=console, quantise=quantise)
        found = Bundle.open(path).graph(graph)
    elif kind in schemes.names() and there is not None and there.half_io and not half_io:
        notes.append(f"the bundle's {kind} takes and gives float16 (made with --half-io); that is what is compiled")
    exact = bool(skip)
    name = kind or found.default_precision
    if not exact and name in found.precisions and tensorrt.misread(found.precision_for(name, "tensorrt")[1].file):
        from ..precision import add_form

        with console.changing(path):
            done = add_form(path, found.name, name, tensorrt.PASS, console)
        if done:
            notes.append(f"what TensorRT would misread is said otherwise: {done}")
            found = Bundle.open(path).graph(graph)
    arguments: dict[str, Any] = {"graph": found.name, "precision": kind, "exact": exact}
    if (blocks := _unrecorded(found, kind, exact)) is not None:
        arguments["blocks"] = blocks
    return CompileRequest(path, arguments, tuple(notes))


def _unrecorded(graph: Graph, kind: str | None, exact: bool) -> tuple[AttentionBlock, ...] | None:
    """The attention blocks of the file that is compiled, where the bundle does not tell of them."""
    name = kind or graph.default_precision
    if name not in graph.precisions:
        return None  # the build says which there are
    entry = graph.precisions[name] if exact else graph.precision_for(name, "tensorrt")[1]
    return None if entry.attention is not None else find_blocks(load(entry.file))


def _plain(
    path: Path,
    kind: str | None,
    shapes: ShapeTexts,
    graph: str | None,
    half_io: bool,
    skip: Sequence[str],
    drawn: Drawn,
    quantise: QuantiseOptions,
    console: Console,
) -> CompileRequest:
    source = find_source(path, graph, None)
    if kind in schemes.names() and not _made(source.onnx, source.type, schemes.get(kind)):
        from ..precision import convert_file

        target = path.with_name(f"{path.stem}.{kind}.onnx")
        _check_ours(target)
        profiles = make_profiles(shapes.min, shapes.opt, shapes.max, source.inputs, source.where)
        typed = convert_file(
            path,
            target,
            kind,
            half_io=half_io,
            inputs=_told(source.specs or _specs(source.inputs, profiles), drawn),
            skip=skip,
            tensorrt=True,
            console=console,
            quantise=quantise,
        )
        kept = tuple(node["node"] for node in typed.fp32_nodes)
        return CompileRequest(
            typed.path, {"precision": typed.type, "kept": kept, "blocks": typed.blocks}, (f"wrote {target}",)
        )
    notes: tuple[str, ...] = ()
    if tensorrt.misread(path) and (
        done := _plain_form(path, _form_beside(path), shapes, drawn, tensorrt.PASS, console)
    ):
        path, notes = _form_beside(path), (f"what TensorRT would misread is said otherwise: {done}",)
    blocks = find_blocks(load(path))
    quantised = kind in schemes.names() and isinstance(schemes.get(kind), schemes.QuantisedScheme)
    return CompileRequest(path, {"precision": source.type if quantised else kind, "blocks": blocks}, notes)


def _made(graph: OnnxGraph, type: str, scheme: schemes.Scheme) -> bool:
    """Whether the file is in that precision already, as far as it tells: a quantised one has weights that are dequantised."""
    if isinstance(scheme, schemes.QuantisedScheme):
        return any(node.op_type == "DequantizeLinear" for node in graph.nodes)
    return type == scheme.type


def _plain_form(
    path: Path, target: Path, shapes: ShapeTexts, drawn: Drawn, chosen: Pass, console: Console
) -> str | None:
    """Write NAME.trt.onnx beside a plain file; what was done, or None where the pass changes nothing."""
    from ..precision import plain_form

    _check_ours(target)
    source = find_source(path, None, None)
    profiles = make_profiles(shapes.min, shapes.opt, shapes.max, source.inputs, source.where)
    specs = _told(source.specs or _specs(source.inputs, profiles), drawn)
    return plain_form(path, target, source.type, chosen, specs, console)


def _told(specs: Sequence[TensorSpec], drawn: Drawn) -> tuple[TensorSpec, ...]:
    """The inputs as the caller says, the others as they are known."""
    said = {spec.name: spec for spec in drawn or ()}
    if unknown := said.keys() - {spec.name for spec in specs}:
        raise UsageError(
            f"--input {min(unknown)}: the file has no such input; it has {', '.join(spec.name for spec in specs)}"
        )
    return tuple(said.get(spec.name, spec) for spec in specs)


def _form_beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.trt.onnx")


def _check_ours(target: Path) -> None:
    """OutputError where a file is in the way that no conversion wrote: nobody named it as the output."""
    from ..precision import CHECKED

    if not target.exists():
        return
    try:
        properties = {p.key for p in onnx.load(target, load_external_data=False).metadata_props}
    except Exception:  # whatever it is, it is not ours
        properties = set()
    if CHECKED not in properties:
        raise OutputError(
            f"{target} is there and was not made by a conversion; compile it as it is, move it away, or take attn-export "
            f"convert with -o"
        )


def _specs(inputs: Sequence[Any], profiles: Sequence[Profile]) -> tuple[TensorSpec, ...]:
    """The inputs with the ranges that the profiles span: what the conversion is held against the fp32 graph at."""
    specs = []
    for i in inputs:
        dims = []
        for number, axis in enumerate(i.axes or ()):
            spans = [tuple(end[number] for end in profile[i.name]) for profile in profiles if i.name in profile]
            low, opt, high = (
                (min(s[0] for s in spans), spans[0][1], max(s[2] for s in spans)) if spans else (axis.opt,) * 3
            )
            # An axis without a name is its own; one that varies needs one to be told of.
            dims.append(Dim(axis.name or (f"{i.name}_{number}" if low != high else None), low, opt, high))
        specs.append(TensorSpec(i.name, i.dtype, tuple(dims)))
    return tuple(specs)
