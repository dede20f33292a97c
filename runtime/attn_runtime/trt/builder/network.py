"""Parse an ONNX file and build an engine from it, in this process. `compile.py` is what callers want.

The library answers None or False where it fails, and tells why in its log: every answer is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...files import utf8_path
from ...onnx_file import read_graph
from .. import DTYPES, NODE, Layer, Library, Profile, Quantised, collector_paused, layers_in, scratch_bytes
from .callbacks import Phases, make_logger, make_monitor
from .fp32_guard import PRODUCTS, hold_float32, layer_types, node_name
from .parser_check import Misread, check_network
from .quantised_products import quantised_products


@dataclass(frozen=True)
class BuildOptions:
    """workspace      bytes, None for the library's own limit
    level          0..5, None for the library's default
    timing_cache   of an earlier build, b"" to begin one; the enterprise library's alone
    decomposable   lets an ONNX Attention that has no fused kernel be taken apart instead of failing the build
    tf32           lets float32 products round their operands to 10 bits of mantissa; the library's own default is True,
                   which an fp32 graph's tolerances do not survive
    capabilities   of the GPUs to build for, as in "8.9"; `rtx` alone. Empty: its portable set, or the GPU that is here
    kept           ONNX nodes that must be computed in float32, as the graph has them
    weak           lets the library choose between float16 and float32 for every layer but those; `tensorrt` before 11 alone
    """

    workspace: int | None = None
    level: int | None = None
    timing_cache: bytes | None = None
    decomposable: bool = False
    tf32: bool = False
    capabilities: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    weak: bool = False


@dataclass(frozen=True)
class ParserProblem:
    """One error of the ONNX parser. `node` and `operator` may be empty; `importer` is the operator whose function told it."""

    node: str
    operator: str
    text: str
    importer: str = ""


@dataclass(frozen=True)
class Built:
    """What a build gave. `plan` is None when it failed; then `problems` and `errors` say why.

    layers         of the engine, from the build's own list
    scratch        bytes, as the log tells
    products       ONNX node that multiplies matrices or convolves -> dtype in which the network has it
    misread        what the parser read as something else; where that is certain, nothing was built
    quantised      of the products, those that the network quantises
    """

    plan: bytes | None
    layers: tuple[Layer, ...] = ()
    scratch: int | None = None
    problems: tuple[ParserProblem, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    timing_cache: bytes | None = None
    products: Mapping[str, str] = field(default_factory=dict)
    misread: tuple[Misread, ...] = ()
    quantised: Mapping[str, Quantised] = field(default_factory=dict)


def build(
    library: Library,
    path: Path,
    profiles: Sequence[Profile],
    options: BuildOptions = BuildOptions(),
    on_progress: Callable[[Phases], bool] | None = None,
) -> Built:
    """Build an engine from the ONNX file at `path`: strongly typed, so that every tensor has the dtype that the graph gives it,
    unless `options` say otherwise or the library is TensorRT 8, which knows no such thing.

    `on_progress` is called at every step; returning False cancels the build. Needs no GPU with `rtx`.
    """
    with collector_paused():
        return _build(library, path, profiles, options, on_progress)


def _build(
    library: Library,
    path: Path,
    profiles: Sequence[Profile],
    options: BuildOptions,
    on_progress: Callable[[Phases], bool] | None,
) -> Built:
    trt = library.api
    log = make_logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(library, options.weak)) if builder else None
    if network is None:
        return Built(None, errors=(*log.errors, "the library made no builder or network"))
    parser = trt.OnnxParser(network, log)
    # By path, not by bytes: external data is found beside the file.
    with utf8_path(path) as given:
        parsed = parser.parse_from_file(str(given))
    if not parsed:
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        return Built(None, problems=tuple(map(_problem, found)), errors=tuple(log.errors))
    misread = check_network(trt, network, read_graph(path, path.name))
    if any(one.certain for one in misread):
        return Built(None, misread=misread)
    if options.decomposable:
        _decompose(trt, network)
    products, quantised = _products(trt, network), quantised_products(trt, network)
    held = [] if options.weak else hold_float32(trt, network, options.kept)
    config = builder.create_builder_config()
    if options.weak:
        _choose_types(trt, network, config, options.kept)
    if problem := _configure(trt, config, options):
        return Built(None, errors=(*log.errors, problem))
    cache = None
    if options.timing_cache is not None and library.name != "rtx":  # RTX has none: its kernels are tuned on the device
        cache = config.create_timing_cache(options.timing_cache)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            cache = config.create_timing_cache(b"")  # of another version or GPU: begin a new one
            config.set_timing_cache(cache, ignore_mismatch=False)
    if on_progress is not None and hasattr(trt, "IProgressMonitor"):
        monitor = make_monitor(trt, on_progress)  # kept in a name: the library holds no reference to it
        config.progress_monitor = monitor
    for wanted in profiles:
        profile = builder.create_optimization_profile()
        try:
            problem = _fill(profile, wanted, network)
        except (RuntimeError, ValueError) as error:  # the bindings raise where the C++ calls answer false
            problem = f"the library refuses the profile {dict(wanted)}: {error}"
        if problem:
            return Built(None, errors=(problem,))
        if config.add_optimization_profile(profile) < 0:
            return Built(None, errors=(*log.errors, f"the library refuses the profile {dict(wanted)}"))
    plan = builder.build_serialized_network(network, config)
    held.clear()  # the network points into it: not before it is built
    kept = config.get_timing_cache() if cache is not None else None
    layers = layers_in(log.messages)
    if plan is not None and not layers and library.name != "rtx":
        layers = _inspected(trt, log, plan)
    return Built(
        bytes(memoryview(plan)) if plan is not None else None,
        layers,
        scratch_bytes(log.messages),
        (),
        tuple(log.errors),
        tuple(log.warnings),
        bytes(memoryview(kept.serialize())) if kept is not None else None,
        products,
        misread,
        quantised,
    )


def _network_flags(library: Library, weak: bool) -> int:
    """Bits looked up by name: STRONGLY_TYPED is another one in each major version, and gone where every network is."""
    known = library.api.NetworkDefinitionCreationFlag
    wanted = [] if weak else ["STRONGLY_TYPED"]
    wanted += ["EXPLICIT_BATCH"] if library.is_old else []  # without it, 8 takes no ONNX
    return sum(1 << int(getattr(known, name)) for name in wanted if hasattr(known, name))


def _choose_types(trt: Any, network: Any, config: Any, kept: Sequence[str]) -> None:
    """Let the library choose types, but for the nodes that have to stay in float32."""
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if node_name(layer) not in kept:
            continue
        layer.precision = trt.float32
        for output in range(layer.num_outputs):
            if layer.get_output(output).dtype in (trt.float16, trt.float32):
                layer.set_output_type(output, trt.float32)


def _configure(trt: Any, config: Any, options: BuildOptions) -> str:
    """Set the options; what the library refuses, in one line."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.level is not None:
        config.builder_optimization_level = options.level
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.capabilities:
        config.num_compute_capabilities = len(options.capabilities)
        for number, text in enumerate(options.capabilities):
            value = getattr(trt.ComputeCapability, f"SM{text.replace('.', '')}")
            if not config.set_compute_capability(value, number):
                return f"the library refuses compute capability {text}"
    return ""


def _fill(profile: Any, wanted: Profile, network: Any) -> str:
    """Set the shapes, or for an input whose values decide shapes its values; what does not fit, in one line."""
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        name, shape = tensor.name, tuple(tensor.shape)
        given = wanted.get(name)
        if tensor.is_shape_tensor:
            count = shape[0] if shape else 1
            if given is None or any(len(values) != count for values in given):
                return (
                    f'input "{name}" decides shapes by its values: give the least, usual and greatest, {count} of them, '
                    f"as in --minShapes {name}:{'x'.join(['1'] * count)}"
                )
            profile.set_shape_input(name, *map(list, given))
        elif given is not None:
            if any(len(sizes) != len(shape) for sizes in given):
                return f'input "{name}" has shape {list(shape)}, and its values decide no shapes: got {list(given[0])}'
            profile.set_shape(name, *given)
    return ""


def _products(trt: Any, network: Any) -> dict[str, str]:
    wanted = layer_types(trt, PRODUCTS)
    found = {}
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.type in wanted and layer.get_input(0) is not None:
            dtype = layer.get_input(0).dtype.name
            found[_product_name(trt, layer)] = DTYPES.get(dtype, dtype.lower())
    return found


def _product_name(trt: Any, layer: Any) -> str:
    """Of an Attention operator the node is told by what the layer belongs to."""
    if layer.type != getattr(trt.LayerType, "ATTENTION_INPUT", None):
        return node_name(layer)
    layer.__class__ = trt.IAttentionInputLayer
    told = NODE.search(layer.attention.metadata)
    return told[1] if told else str(layer.name)


def _inspected(trt: Any, log: Any, plan: Any) -> tuple[Layer, ...]:
    """The layer list from the engine itself, on the machine that can load it."""
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        return ()
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.ONELINE)
    return layers_in(["Layers:\n" + text])


def _decompose(trt: Any, network: Any) -> None:
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.type == getattr(trt.LayerType, "ATTENTION_INPUT", None):
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def _problem(error: Any) -> ParserProblem:
    text = error.desc() if callable(error.desc) else error.desc
    node = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    function = str(error.func()) if hasattr(error, "func") else ""
    importer = function.removeprefix("import").removeprefix("check")
    return ParserProblem(str(node), str(operator), " ".join(str(text).split()), importer)
