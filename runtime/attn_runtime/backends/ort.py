"""ONNX Runtime: the CPU, and NVIDIA GPUs through its CUDA provider where its libraries really load.

ONNX Runtime lists a provider that it was built with, prints a line when its libraries do not load, and runs on the CPU.
Here nothing falls back: a session on "cuda" has the CUDA provider, with the work on it, or is not opened.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ..device import gpus
from ..errors import AttnError, BackendError, BundleError
from ..files import shown
from ..interface import GraphFile, OpenOptions
from ..onnx_file import check_external_data
from ..ort import (
    CPU,
    CPU_NOTE,
    CUDA,
    NO_LOG,
    RECORD,
    GraphIds,
    OrtEngine,
    ProviderState,
    SavedGraph,
    check_on_gpu,
    cpu_options,
    make_session,
    one_line,
    optimizer_options,
    provider_states,
    why_provider_fails,
)

if TYPE_CHECKING:
    from ..ort import GpuEngine

ABOUT = "ONNX Runtime on the CPU, or on an NVIDIA GPU through its CUDA provider"
AUTOMATIC = True
SHARES_CORES = True

_GRAPHS = GraphIds("gpu_graph_id", skip=-1)

# What of an error that opening raises is the GPU's and its libraries' fault, and not the file's.
_OF_THE_GPU = re.compile(r"CUDA|cuDNN|cuBLAS|TensorRT|EP_FAIL|ProviderLibrary|out of memory", re.IGNORECASE)

# The severity that ONNX Runtime's own logger starts with.
_DEFAULT_LOG = 2


def why_unavailable() -> str | None:
    """None when onnxruntime can be imported, else the reason and what to install."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; pip install onnxruntime (or onnxruntime-gpu, never both)"
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018  (two distributions over each other leave an empty package)
    except (ImportError, AttributeError) as error:
        return f"onnxruntime is installed but does not import ({one_line(error)}); pip install --force-reinstall onnxruntime"
    return None


def library() -> Any:
    """The imported onnxruntime; call `why_unavailable` first."""
    import onnxruntime

    return onnxruntime


def why_not(device: str) -> str | None:
    """None when ONNX Runtime can use `device` here, else the reason and what to install."""
    return None if device == "cpu" else why_not_provider(CUDA, device)


def why_not_provider(provider: str, device: str) -> str | None:
    """None when a GPU `device` is there and ONNX Runtime's built-in `provider` loads, else the reason."""
    # The driver first: without it no wheel helps, and the libraries need not be loaded to know.
    return gpus.why_not(device) or why_provider_fails(library(), provider)


def providers() -> list[ProviderState]:
    """What ONNX Runtime lists and what of it loads, for the doctor."""
    return provider_states(library())


def open(graph: GraphFile, device: str, options: OpenOptions) -> OrtEngine:
    """Create the session. BundleError for a damaged or hostile file, BackendError where it can't run on `device`.

    Without `options.threads`, a node may use the cores that `usable_cores` counts. The CPU ignores `options.cuda_graph`, a GPU
    `options.low_memory`. On the CPU, `options.cache` keeps a bundle's graph as it was optimised (`ort.saved_graphs`); OutputError
    where that can't be written.
    """
    if device == "cpu":
        kept = options.cache is not None and graph.bundle is not None
        facts = _facts(graph)
        session = _create_kept(graph, options, facts.half) if kept else create(graph, device, options, [], facts=facts)
        engine = OrtEngine(session, graph, device)
        engine.note = CPU_NOTE if facts.half else None
        return engine
    asked = cuda_provider(device, options.cuda_graph)
    session = create(graph, device, options, [asked])
    check_on_gpu(session, graph.where, device, CUDA)
    return gpu_engine(session, graph, device, _GRAPHS if options.cuda_graph else None, waits=True)


def _create_kept(graph: GraphFile, wanted: OpenOptions, half: bool) -> Any:
    """As `create` on the CPU, of the graph as it was optimised before and kept in the cache; it is put there where it is not."""
    assert wanted.cache is not None
    saved = SavedGraph(graph, wanted.cache, library(), optimizer_options(half, wanted.low_memory), (CPU,))
    file = saved.find()
    if file is not None:
        with suppress(Exception):  # what can't be loaded after all is made anew
            return make_session(file, _session_options(wanted, optimizations=False))
    options = _session_options(wanted)

    def save(told: Mapping[str, str], target: str) -> Any:
        for key, value in told.items():
            options.add_session_config_entry(key, value)
        options.optimized_model_filepath = target
        try:
            return make_session(graph.file, options, fp16=half)
        except Exception as error:
            raise _open_error(error, graph, "cpu") from error

    return saved.write(save)


def _session_options(
    wanted: OpenOptions, device: str = "cpu", optimizations: bool = True, zero_points: bool = True
) -> Any:
    return cpu_options(
        zero_points=zero_points,
        threads=wanted.threads or 0,
        large=wanted.low_memory and device == "cpu",
        stop_spinning=wanted.stop_spinning,
        share_cores=wanted.share_cores,
        optimizations=optimizations,
    )


def gpu_engine(session: Any, graph: GraphFile, device: str, graphs: GraphIds | None, waits: bool = False) -> GpuEngine:
    """The engine around a session on a GPU, with arrays on the device for callers where cuda-python is installed.

    `waits`: the provider waits for other libraries' work itself. Where neither it nor cuda-python does, no tensors on the
    GPU are taken: they could be read before they are complete.
    """
    from ..ort import GpuEngine, on_gpu  # with device memory, which a CPU has no use for

    number = gpus.device_number(device)
    memory, missing = on_gpu(number)
    engine = GpuEngine(library(), session, graph, number, graphs, memory)
    engine.note = missing
    if memory is None and not waits:
        engine.intake = None
    return engine


def cuda_provider(device: str, cuda_graph: bool = False) -> tuple[str, dict[str, str]]:
    """The CUDA provider with its options, as `create` takes it."""
    # float32 means float32: TF32 keeps 10 bits of the mantissa and would fail the stored tolerance.
    options = {"device_id": str(gpus.device_number(device)), "use_tf32": "0"}
    return CUDA, {**options, "enable_cuda_graph": "1"} if cuda_graph else options


def create(
    graph: GraphFile,
    device: str,
    wanted: OpenOptions,
    gpu_providers: Sequence[tuple[str, dict[str, str]]],
    configure: Callable[[Any], None] | None = None,
    facts: _Facts | None = None,
) -> Any:
    """An onnxruntime.InferenceSession on `gpu_providers`, the first one first, and the CPU after them.

    A plugin provider is added by `configure`, which gets the SessionOptions; `gpu_providers` is empty then. Raises what
    `open` raises; where the nodes went is for the caller to check.
    """
    onnxruntime = library()
    facts = facts or _facts(graph)
    options = _session_options(wanted, device, zero_points=facts.zero_points)
    if device != "cpu":
        options.add_session_config_entry(*RECORD)  # ONNX Runtime before 1.24 ignores it
        # A provider that fails to load is told by the library's own logger, for which a session's options do not count.
        onnxruntime.set_default_logger_severity(NO_LOG)
    try:
        if configure is not None:
            configure(options)
        # With a list, ONNX Runtime takes no provider from the options.
        asked = None if configure is not None else [*gpu_providers, CPU]
        return make_session(graph.file, options, fp16=facts.half, providers=asked)
    except Exception as error:
        raise _open_error(error, graph, device) from error
    finally:
        if device != "cpu":
            onnxruntime.set_default_logger_severity(_DEFAULT_LOG)


class _Facts(NamedTuple):
    """half: a tensor of the graph is float16; zero_points: each DequantizeLinear has one."""

    half: bool
    zero_points: bool


def _facts(graph: GraphFile) -> _Facts:
    """A bundle says them, whose graphs have zero points; a plain file is somebody's, and is read. BundleError where it or a file
    that it names may not be."""
    if graph.bundle is not None and graph.precision is not None:
        return _Facts(graph.bundle.graph(graph.graph).precisions[graph.precision].type == "fp16", True)
    from ..onnx_file import read_graph

    check_external_data(graph.file, graph.where)
    known = read_graph(graph.file, graph.where)
    dequantized = [node.inputs for node in known.nodes if node.op_type == "DequantizeLinear"]
    return _Facts(
        any(value.dtype == "float16" for value in known.values.values()),
        all(len(inputs) > 2 and inputs[2] for inputs in dequantized),
    )


def _open_error(error: Exception, graph: GraphFile, device: str) -> AttnError:
    if isinstance(error, OSError):
        file = "" if graph.bundle is None else f"{shown(graph.file.name)}: "  # a plain file is named already
        return BundleError(f"{graph.where}: {file}{error.strerror}")
    text = one_line(error)
    if "graph capture feature" in text:
        return BackendError(f"{graph.where}: can't run as a CUDA graph: {text}. Open it without cuda_graph.")
    if device != "cpu" and _OF_THE_GPU.search(text):
        return BackendError(f"{graph.where}: ONNX Runtime can't use {device}: {text}. See attn-run doctor.")
    if "NOT_IMPLEMENTED" in text:
        return BackendError(f"{graph.where}: ONNX Runtime has no kernel for a node of this graph on {device}: {text}")
    return BundleError(f"{graph.where}: ONNX Runtime can't load {graph.file.name}: {text}. Export it again.")
