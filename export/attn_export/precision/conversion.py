"""Half precision in a bundle, or of a plain file: all of it converted, proven, and written, or nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
from attn_runtime.bundle import KEY, Bundle, OnnxWriter, PrecisionSize, check_target, precision_sizes
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import ParityError, UsageError
from attn_runtime.files import is_file, not_utf8, sweep
from attn_runtime.spec import TensorSpec
from attn_runtime.tasks.plots import check_plot

from ..console import Console
from ..onnx_graph import EXTERNAL_FROM_BYTES, read_info, save_proto
from ..parity import prove, swept_cases
from ..passes import attention
from ..source import parse_dims, parse_inputs
from . import schemes
from .bundle_files import stage_entry, write_precision
from .front import plot_front
from .half import Conversion, FurtherCases, Live, TypedGraph, convert_graph, for_tensorrt, of_bundle
from .quantised import QuantiseOptions
from .quantised_forms import quantise_bundle, quantise_file
from .schemes import HalfScheme, QuantisedScheme, Scheme
from .sources import bundle_conversion, embedded_inputs, file_conversion

SECONDS = 600.0
#: The metadata property of a plain file that says how it was checked.
CHECKED = "attn_export.checked"


def convert(
    bundle_or_file: Path,
    precision: str,
    *,
    output: Path | None = None,
    half_io: bool = False,
    rtol: float | None = None,
    skip: Sequence[str] = (),
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    tensorrt: bool = False,
    console: Console | None = None,
    stage_seconds: float = SECONDS,
    quantise: QuantiseOptions = QuantiseOptions(),  # noqa: B008  it is frozen
    plot: Path | None = None,
) -> list[TypedGraph]:
    """Convert to `precision`, the name of a scheme: a bundle gets it beside its fp32, a plain fp32 graph is written to `output`.

    A bundle is held against its golden cases; a plain file against its own fp32 answers to `inputs`, such as
    "image:float32[batch,3,32,32]", with the ranges of their dims in `dims`, such as "batch=1:8:64" (by default what the
    file's metadata says). `half_io` makes float32 inputs and outputs float16; `rtol` is the share of max|reference| that an
    error may have (by default the scheme's); `skip` may name "attention", to leave out the form for TensorRT, which a
    plain file gets with `tensorrt` alone. A stage that takes longer than `stage_seconds` is given up. `quantise` is what there is
    to choose of a precision that quantises; of that, `plot` is a picture of error against size (.png, .svg, .pdf).

    Returns what was written. Raises UsageError for options that make no sense or an unknown precision, ParityError when
    no small set of nodes in fp32 makes the answers hold, BundleError for a damaged bundle or one without golden cases,
    BackendError without AutoCast. Nothing is changed then.
    """
    console = console or Console(quiet=True)
    if plot is not None:
        _check_plot(precision, plot)
    if not is_file(bundle_or_file):
        own = {"-o": output, "--tensorrt": tensorrt, "--input": inputs, "--dim": dims}
        if names := [name for name, value in own.items() if value]:
            raise UsageError(
                f"{names[0]} is for a plain MODEL.onnx; a bundle has its own inputs, and gets model.{precision}.onnx and, "
                f"where TensorRT needs another form, model.{precision}-trt.onnx"
            )
        check_options(precision, half_io, skip, quantise)
        with console.changing(bundle_or_file):
            made = add_precision(
                bundle_or_file,
                precision,
                half_io=half_io,
                rtol=rtol,
                skip=skip,
                console=console,
                stage_seconds=stage_seconds,
                quantise=quantise,
            )
        if plot is not None:
            plot_front(made, plot)
        return made
    if output is None:
        raise UsageError(
            f"{bundle_or_file.name} is a plain graph, which is not changed in place; name the new file with -o NAME.onnx"
        )
    specs = drawn_inputs(inputs, dims)
    typed = convert_file(
        bundle_or_file, output, precision, half_io=half_io, rtol=rtol, inputs=specs, skip=skip, tensorrt=tensorrt,
        console=console, stage_seconds=stage_seconds, quantise=quantise,
    )  # fmt: skip
    if plot is not None:
        plot_front([typed], plot)
    return [typed]


def _check_plot(precision: str, plot: Path) -> None:
    """UsageError for a precision that has no front, and what `check_plot` raises."""
    if not isinstance(schemes.get(precision), QuantisedScheme):
        raise UsageError(
            f"--plot draws fewer and more quantised weights, and {precision} quantises none; leave it out, or see where its "
            "error comes from: attn-export bisect --plot"
        )
    check_plot(plot)


def drawn_inputs(inputs: Sequence[str], dims: Sequence[str]) -> tuple[TensorSpec, ...] | None:
    """The specs that `inputs` and `dims` write down; None for none. UsageError for what can't be read."""
    if dims and not inputs:
        raise UsageError("--dim gives the range of a dim that --input names; give --input too")
    return parse_inputs(inputs, parse_dims(dims)) if inputs else None


def add_precision(
    bundle: Path,
    precision: str,
    *,
    half_io: bool = False,
    rtol: float | None = None,
    skip: Sequence[str] = (),
    console: Console,
    stage_seconds: float = SECONDS,
    live: Mapping[str, Live] | None = None,
    quantise: QuantiseOptions = QuantiseOptions(),  # noqa: B008  it is frozen
) -> list[TypedGraph]:
    """`convert` of a bundle: write model.`precision`.onnx, and its form for TensorRT, for each of its graphs.

    What the bundle had under these names is replaced. `live` is PyTorch, by graph, where the module is at hand: what the
    golden cases do not hold is asked of it, and else of the fp32 graph.
    """
    scheme = check_options(precision, half_io, skip, quantise)
    opened = Bundle.open(bundle)
    check_target(bundle)
    if isinstance(scheme, HalfScheme) and opened.asset("generation") is not None:
        half_io = _caches_in(scheme, half_io, console)
    with workshop(stage_seconds, scheme) as (work, isolated):
        # A killed run may have left hard links to the weights, and what has a second one is copied first.
        sweep(bundle.resolve())
        typed_graphs: dict[str, list[TypedGraph]] = {}
        if isinstance(scheme, QuantisedScheme):
            tensorrt = attention.PASS.name not in skip
            chosen = quantise.of(scheme)
            typed_graphs = quantise_bundle(
                opened, chosen, quantise, rtol, tensorrt, work, isolated, console, live or {}
            )
        else:
            assert isinstance(scheme, HalfScheme)
            for name in opened.graphs:
                conversion = bundle_conversion(opened, name, scheme, half_io, rtol, work, isolated)
                own = console.about(f"{name}: ") if len(opened.graphs) > 1 else console
                cases = of_bundle(opened, opened.graph(name), scheme.type, (live or {}).get(name))
                typed_graphs[name] = _forms(conversion, name, skip, own, cases)
        with console.stage("write") as line:
            written = write_precision(
                bundle,
                opened,
                scheme.name,
                typed_graphs,
                lambda staged: _prove(staged, scheme, quantise.max_size, isolated, console),
            )
            stored = Bundle.open(bundle, check_hashes=False)
            sizes = precision_sizes(stored)
            files = ", ".join(t.path.name for t in written)
            line.done(f"{bundle}: {files}; fp32 takes {sizes['fp32'].bytes / 1e6:.1f} MB, {_told(scheme.name, sizes)}")
    return [replace(t, path=bundle / t.path.name) for t in written]


def _caches_in(scheme: Scheme, half_io: bool, console: Console) -> bool:
    """Whether the graphs of a generator get float16 inputs and outputs: else each step would cast its whole past, twice."""
    if scheme.half_io:
        if not half_io:
            console.note("the graphs hand caches to each other, so that their float inputs and outputs are float16 too")
        return True
    console.note(
        f"the caches between the graphs stay float32, for {scheme.no_half_io}: each step casts what it reads of its past"
    )
    return half_io


def _told(name: str, sizes: Mapping[str, PrecisionSize]) -> str:
    """What a precision takes, and how much of that fp32 has anyway."""
    shared = sizes[name].shared.get("fp32", 0)
    return f"{name} {sizes[name].bytes / 1e6:.1f} MB" + (
        f", of which {shared / 1e6:.1f} MB are fp32's" if shared else ""
    )


def _prove(staged: Bundle, scheme: Scheme, max_size: int | None, isolated: ChildProcess, console: Console) -> None:
    """That the new precision is no larger than asked, and writes what PyTorch wrote. What a CPU can't run is not proven, which
    is told."""
    if max_size is not None and (size := precision_sizes(staged)[scheme.name].bytes) > max_size:
        raise ParityError(
            f"--max-size: what holds within the limit takes {size / 1e6:.2f} MB, more than the {max_size / 1e6:.2f} MB allowed; "
            f"allow more of either, or take a scheme with fewer bits. No {scheme.name} graph was written."
        )
    if not staged.manifest.get("generation"):
        return
    if not scheme.runs_on_cpu:
        console.note(
            f"what is written in {scheme.name} is not proven here, where ONNX Runtime has no {scheme.name} kernels; on a "
            "GPU: attn-run verify"
        )
        return
    prove(staged.path, isolated, console, f"the {scheme.name} bundle", scheme.name)


def convert_file(
    path: Path,
    target: Path,
    precision: str,
    *,
    half_io: bool = False,
    rtol: float | None = None,
    inputs: Sequence[TensorSpec] | None = None,
    skip: Sequence[str] = (),
    tensorrt: bool = False,
    console: Console,
    stage_seconds: float = SECONDS,
    force: bool = False,
    quantise: QuantiseOptions = QuantiseOptions(),  # noqa: B008  it is frozen
) -> TypedGraph:
    """`convert` of the plain fp32 graph at `path` to `target`, NAME.onnx.

    The fp32 answers are ONNX Runtime's, to inputs drawn at the corners of `inputs` (by default what the file's metadata
    says, else sizes 1, 2, 3 and 5 for every dynamic axis). `force` replaces what lies at `target`.
    """
    scheme = check_options(precision, half_io, skip, quantise)
    if target.suffix != ".onnx":
        raise UsageError(f"-o {target}: got suffix {target.suffix or '(none)'}, expected NAME.onnx for a plain graph")
    check_target(target, force)
    if problem := not_utf8(path):
        raise UsageError(f"{path}: its path {problem}")
    with workshop(stage_seconds, scheme) as (work, isolated), OnnxWriter(target, force) as writer:
        if isinstance(scheme, QuantisedScheme):
            cases = _of_file(path, inputs)
            chosen = quantise_file(
                path, quantise.of(scheme), quantise, rtol, inputs, tensorrt, work, isolated, console, cases
            )
        else:
            assert isinstance(scheme, HalfScheme)
            conversion = file_conversion(path, scheme, half_io, rtol, inputs, work, isolated)
            without = skip if tensorrt else (attention.PASS.name,)
            chosen = _forms(conversion, path.stem, without, console, _of_file(path, inputs))[-1]
        save_whole(chosen, writer)
        writer.commit()
    return replace(chosen, path=target)


def check_options(
    precision: str,
    half_io: bool,
    skip: Sequence[str],
    quantise: QuantiseOptions = QuantiseOptions(),  # noqa: B008  it is frozen
) -> Scheme:
    """The scheme; UsageError for options that make no sense, BackendError where what it converts with is not installed."""
    scheme = schemes.get(precision)
    scheme.check_half_io(half_io)
    quantise.check(scheme)
    for name in skip:
        if name != attention.PASS.name:
            raise UsageError(
                f"--skip-pass {name}: it would not run anyway; the passes of a conversion are: {attention.PASS.name}"
            )
    scheme.require()
    return scheme


@contextmanager
def workshop(stage_seconds: float, scheme: Scheme | None = None) -> Iterator[tuple[Path, ChildProcess]]:
    """A folder for candidates, and a child process; with a scheme, it imports already what that converts with."""
    advice = "raise --stage-timeout, or leave the stage out with --skip-pass"
    with (
        tempfile.TemporaryDirectory(prefix="attn-half-") as folder,
        ChildProcess(stage_seconds, advice=advice) as isolated,
    ):
        if scheme is not None:
            isolated.start(scheme.warm_up)
        yield Path(folder), isolated


def _forms(
    conversion: Conversion, graph: str, skip: Sequence[str], console: Console, cases: FurtherCases
) -> list[TypedGraph]:
    """The typed graph, and the one for TensorRT where that is another."""
    for name in cases.not_drawn:
        console.note(
            f"not checked in {conversion.scheme.name}: {name} as declared, for its inputs can't be drawn again here "
            "(golden cases hold what is stored of them)"
        )
    typed = convert_graph(conversion, graph, console, cases=cases)
    if attention.PASS.name in skip:
        return [typed]
    rewritten = for_tensorrt(conversion, typed, console, cases)
    return [typed] if rewritten is None else [typed, rewritten]


def _of_file(path: Path, inputs: Sequence[TensorSpec] | None) -> FurtherCases:
    """The sizes between the corners that a plain file was held against PyTorch at, as its metadata tells."""
    specs = embedded_inputs(path)
    if inputs is not None or specs is None:
        return FurtherCases()
    properties = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    return FurtherCases(specs, swept=swept_cases(json.loads(properties.get(CHECKED, "{}")).get("sweep")))


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
    save_proto(model, target, read_info(typed.path).weight_bytes >= EXTERNAL_FROM_BYTES)
