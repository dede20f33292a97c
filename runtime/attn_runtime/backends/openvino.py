"""OpenVINO on the CPU: float32 as the graph says it, bfloat16 where the graph has it, and no graph that it reads otherwise.

By itself OpenVINO computes in bfloat16 wherever the processor can, and its importer leaves parts of some operators out without
an error. Here the precision is that of the graph, and what was found to be left out is refused (`misread`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import forks
from ..errors import AttnError, BackendError, BundleError, InputError
from ..files import shown, utf8_path
from ..interface import Array, GraphFile, OpenOptions
from ..ort import CPU_NOTE, check_agreement, usable_cores

if TYPE_CHECKING:
    from ..onnx_file import Node, OnnxGraph

ABOUT = "OpenVINO on the CPU, in the precision of the graph"
AUTOMATIC = False

#: float32 is float32, keys and values are kept in it, and weights of 4 or 8 bits are multiplied with activations as they are.
#: What a graph has in bfloat16 is computed in it all the same, and what was kept in float32 beside it stays float32.
_EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "KV_CACHE_PRECISION": "f32",
    # One request at a time on all threads; pinned, those of two sessions would share the first cores.
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": "NO",
}

#: It compares and divides whole numbers as float32, whatever their type, and keeps 64 bits in 32.
_MOST_WHOLE = 2**24
_WHOLE = ("int32", "int64", "uint32", "uint64")

#: Of TensorProto.DataType, those that are not computed as they are called.
_CAST_TO: dict[object, str] = {10: "float16", 11: "float64", 16: "bfloat16"}

#: Graphs that a bound call compiles again for its sizes, how large and how many.
_SMALL_BYTES, _MOST_FIXED = 16 << 20, 4

#: Operators of com.microsoft whose answers were compared with ONNX Runtime's, attribute by attribute.
_COMPARED = frozenset(
    {
        "Attention", "BiasGelu", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "Gelu", "MatMulNBits",
        "MultiHeadAttention", "QuickGelu", "RotaryEmbedding", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    }
)  # fmt: skip
_OWN = ("", "ai.onnx")

_ort_says = "take backend ort"
#: A fork waits for models that are being compiled.
_OPENING = forks.Gate()
_importing, _starting = forks.lock(), forks.lock()
#: OpenVINO's Core, and the process in which it began to work.
_core_of: tuple[int, Any] | None = None


def why_unavailable() -> str | None:
    """None when openvino can be imported, else the reason and what to install."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed; pip install openvino"
    try:
        _library().Core  # noqa: B018
    except (ImportError, AttributeError, OSError) as error:
        return f"openvino is installed but does not import ({_one_line(error)}); pip install --force-reinstall openvino"
    return None


def why_not(device: str) -> str | None:
    return None if device == "cpu" else "it runs on the CPU alone"


def open(graph: GraphFile, device: str, options: OpenOptions) -> OpenvinoEngine:
    """BundleError for a damaged or hostile file, BackendError where OpenVINO can't run it, or would answer something else.

    Without `options.threads`, a call may use the cores that `usable_cores` counts. Nothing is kept on disk.
    """
    from ..onnx_file import check_external_data, read_graph

    apart = check_external_data(graph.file, graph.where)
    known = read_graph(graph.file, graph.where)
    for node, problem in misread(known):
        raise BackendError(f"{graph.where}: OpenVINO would answer wrongly: {_place(node)}: {problem}; {_ort_says}")
    # What lies between two nodes is often not declared; what a Cast makes is told by the Cast.
    types = {value.dtype for value in known.values.values()}
    types |= {str(_CAST_TO.get(node.attributes.get("to"))) for node in known.nodes if node.op_type == "Cast"}
    told = {**_EXACT, "INFERENCE_NUM_THREADS": str(options.threads or usable_cores().usable)}
    try:
        core = _core(graph.where)
        with _OPENING, utf8_path(graph.file) as file:
            # Mapped into memory, a file that is written over would change answers of an open session.
            model = core.read_model(str(file), config={"ENABLE_MMAP": options.low_memory})
            compiled = core.compile_model(model, "CPU", told)
    except OSError as error:
        raise BundleError(f"{graph.where}: {shown(graph.file.name)}: {error.strerror}") from error
    except AttnError:
        raise
    except Exception as error:
        raise BackendError(
            f"{graph.where}: OpenVINO does not take {graph.file.name}: {_one_line(error)}; {_ort_says}"
        ) from error
    engine = OpenvinoEngine(compiled, graph, known)
    # Weights beside the file would be read again, and they may be another export's by then.
    if not apart and graph.file.stat().st_size <= _SMALL_BYTES and model.is_dynamic():
        engine.specialise = partial(_fixed, core, model, told)
    notes = [CPU_NOTE] if "float16" in types else []
    if "bfloat16" in types and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        notes.append("computes bf16 in fp32 between the nodes, since this processor has no units for it")
    if "float64" in types:
        notes.append("computes float64 in float32")
    engine.note = "; ".join(notes) or None
    return engine


class OpenvinoEngine:
    """See `Engine`."""

    #: What the session's choice says beside the device.
    note: str | None = None
    #: Sizes of all inputs -> the graph compiled for them alone; None where that would take long.
    specialise: Callable[[dict[int, list[int]]], Any] | None = None

    def __init__(self, compiled: Any, graph: GraphFile, known: OnnxGraph) -> None:
        self.device = "cpu"
        self.assets: Mapping[str, Any] = {}
        self._compiled, self._where, self._tensor = compiled, graph.where, _library().Tensor
        from ..onnx_file import declared_specs

        found_inputs, found_outputs = declared_specs(known, graph.where)
        if graph.inputs is not None and graph.outputs is not None:
            self.inputs, self.outputs = graph.inputs, graph.outputs
        elif known.embedded:
            from ..bundle import read_embedded

            embedded = read_embedded(known.embedded, graph.where)
            self.inputs, self.outputs, self.assets = embedded.inputs, embedded.outputs, embedded.assets
        else:
            self.inputs, self.outputs = found_inputs, found_outputs
        check_agreement(self.inputs, found_inputs, "input", graph)
        check_agreement(self.outputs, found_outputs, "output", graph)
        self._ports = _ports(compiled.inputs, [spec.name for spec in self.inputs], graph.where)
        self._answers = _ports(compiled.outputs, [spec.name for spec in self.outputs], graph.where)
        sized = {dim.name for spec in self.inputs for dim in spec.dims}
        self._by_values = {
            spec.name: self._answers[spec.name]
            for spec in self.outputs
            if not spec.dims or any(dim.dynamic and dim.name not in sized for dim in spec.dims)
        }
        self._whole = tuple(spec.name for spec in self.inputs if spec.dtype in _WHOLE)
        # Requests that no thread is using. Taking from and giving back to a list is atomic.
        self._idle: list[Any] = []
        self._fixed: dict[str, Any] = {}

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        # Shared memory has to be writeable for OpenVINO's Tensor, though it only reads it.
        arrays = {name: np.require(feed[name], requirements=["C", "A", "W"]) for name in self._ports}
        self._check_whole(arrays)
        try:
            try:
                request = self._idle.pop()
            except IndexError:  # the first call, or in use by other threads
                request = self._compiled.create_infer_request()
            for name, port in self._ports.items():
                request.set_input_tensor(port, self._tensor(arrays[name], shared_memory=True))
            request.infer()
            answers = {name: request.get_output_tensor(port).data.copy() for name, port in self._answers.items()}
        except Exception as error:
            raise self.explain(error) from error
        self._idle.append(request)
        return answers

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
        request = self._compiled_for(inputs).create_infer_request()
        copied = []
        for name, port in self._ports.items():
            buffer = inputs[name]
            if not buffer.flags.writeable:
                buffer = buffer.copy()
                copied.append((buffer, inputs[name]))
            request.set_input_tensor(port, self._tensor(buffer, shared_memory=True))
        # Where a shape follows from the values, OpenVINO has memory of its own: into a buffer of another size it writes as far as
        # that goes, and on one thread beyond.
        for name in self._answers.keys() - self._by_values.keys():
            request.set_output_tensor(self._answers[name], self._tensor(outputs[name], shared_memory=True))
        return partial(self._run_bound, request, inputs, outputs, copied)

    def _compiled_for(self, inputs: Mapping[str, Array]) -> Any:
        """The graph at fixed sizes, which runs faster, for the first few of a small one."""
        sizes = {port: list(inputs[name].shape) for name, port in self._ports.items()}
        key = str(sizes)
        if key not in self._fixed:
            if self.specialise is None or len(self._fixed) >= _MOST_FIXED:
                return self._compiled
            self._fixed[key] = self.specialise(sizes)
        return self._fixed[key]

    def _run_bound(
        self,
        request: Any,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        copied: Sequence[tuple[Array, Array]],
    ) -> None:
        self._check_whole(inputs)
        for buffer, value in copied:
            buffer[...] = value
        request.infer()
        for name, port in self._by_values.items():
            found = request.get_output_tensor(port).data
            if found.shape != outputs[name].shape:
                raise self._another_shape()
            outputs[name][...] = found

    def _check_whole(self, arrays: Mapping[str, Array]) -> None:
        for name in self._whole:
            value = arrays[name]
            if value.size and not -_MOST_WHOLE <= value.min() <= value.max() <= _MOST_WHOLE:
                raise InputError(
                    f'{self._where}: input "{name}" has whole numbers from {value.min()} to {value.max()}, and OpenVINO '
                    f"tells those beyond {_MOST_WHOLE} apart as float32 does; {_ort_says}"
                )

    def explain(self, error: Exception) -> AttnError:
        if isinstance(error, AttnError):
            return error
        return BackendError(f"{self._where}: OpenVINO failed on {self.device}: {_one_line(error)}")

    def _another_shape(self) -> InputError:
        return InputError(
            f"{self._where}: an output's shape follows from the values, and these give another than the bound one. Call run "
            f"instead of bind."
        )

    def close(self) -> None:
        self._idle, self._fixed = [], {}


def _fixed(core: Any, model: Any, told: Mapping[str, str], sizes: Mapping[int, Sequence[int]]) -> Any:
    with _OPENING:
        fixed = model.clone()
        fixed.reshape({number: list(shape) for number, shape in sizes.items()})
        return core.compile_model(fixed, "CPU", dict(told))


def misread(graph: OnnxGraph) -> Iterator[tuple[Node, str]]:
    """Nodes that OpenVINO 2026.4.1 takes and computes otherwise than ONNX says, without an error; with what it does.

    Found by running onnx's own node tests and variations of attention operators; `tests/runtime/backends/test_openvino.py`
    holds each of them against the library.
    """
    for node in graph.nodes:
        if node.domain == "com.microsoft":
            problem = _misread_contrib(node, graph)
        elif node.domain in _OWN:
            problem = _misread(node, graph)
        else:
            problem = None  # unknown domains are refused when the file is read
        if problem:
            yield node, problem


def _misread(node: Node, graph: OnnxGraph) -> str | None:
    has, given = node.attributes.get, [*node.inputs, *[""] * 8]
    match node.op_type:
        case "Attention":
            for name in ("left_window_size", "right_window_size"):
                if (size := has(name, -1)) != -1:
                    return f"its {name} of {size} is ignored, and all positions would be attended to"
            if has("scale") == 0:
                return "its scale of 0 is taken for the default"
            if has("is_causal") and given[4] and not _as_many(graph, given[0], given[1]):
                return "is_causal with past keys counts from the end of the keys, and not all queries are known to have one"
        case "LSTM" | "GRU" | "RNN" if has("layout"):
            return "its layout of 1 is ignored, and the batch would be taken for the sequence"
        case "LSTM" if has("input_forget"):
            return "its input_forget is ignored"
        case "AveragePool" if has("ceil_mode") and has("count_include_pad") and any(_listed(node, "pads", ())):
            return "what a last window has past the padding is counted as well"
        case "MaxPool" if has("ceil_mode") and _begins_beside(node):
            return "its last window may begin beside the input, and gives one row more"
        case "MaxPool" if has("storage_order") and len(node.outputs) > 1:
            return "its storage_order turns the places round, and they are numbered along rows all the same"
        case "Resize":
            if has("antialias"):
                return "antialias is computed otherwise"
            if has("exclude_outside"):
                return "exclude_outside is ignored"
            if (policy := has("keep_aspect_ratio_policy", "stretch")) != "stretch":
                return f"its keep_aspect_ratio_policy {policy} is ignored"
            if has("coordinate_transformation_mode") == "align_corners" and given[2]:
                return "align_corners by scales takes other places than by sizes"
        case "RoiAlign" if has("mode") == "max":
            return "its mode max takes other maxima"
        case "SpaceToDepth" if has("mode", "DCR") != "DCR":
            return "its mode is ignored"
        case "DFT" if has("onesided"):
            return "onesided gives another shape"
        case "ReduceL1" if has("noop_with_empty_axes") and not given[1]:
            return "without axes nothing is done, and -3 stays -3"
        case "Tile" if given[1] not in graph.weights and _computed(graph, given[1]) and _rank(graph, given[0]) > 3:
            return "repeats that are computed, of three last axes at once, read memory that nobody wrote"
        case "Add" | "Sub" | "Mul" if _dtypes(graph, node) & {"int8", "uint8"}:
            return "whole numbers of 8 bits saturate instead of beginning anew"
        case "BitShift" if _dtypes(graph, node) & {"int8", "int32"}:
            return "numbers with a sign are shifted otherwise"
    return None


def _misread_contrib(node: Node, graph: OnnxGraph) -> str | None:
    if node.op_type == "GroupQueryAttention":
        return (
            "it keeps the past in place, whatever the lengths of the rows, and knows no windows and no smooth softmax"
        )
    if node.op_type not in _COMPARED:
        return "nobody has compared its answers"
    if node.op_type == "Attention":
        for name in ("scale", "mask_filter_value"):
            if name in node.attributes:
                return f"its {name} is ignored"
    if node.op_type == "RotaryEmbedding" and _rank(graph, node.inputs[1]) != 2:
        return "one position for all rows is counted otherwise, and its positions are not known to have rows"
    return None


def _as_many(graph: OnnxGraph, queries: str, keys: str) -> bool:
    """Whether as many keys as queries are new, by their declared shapes."""
    found = [graph.values[name].dims for name in (queries, keys) if name in graph.values]
    if len(found) < 2 or any(not dims or len(dims) < 3 for dims in found):
        return False
    ours, theirs = (dims[-2] for dims in found if dims)
    return ours is not None and ours == theirs


def _begins_beside(node: Node) -> bool:
    """Whether some size has a last window that begins in the padding: where step and padding reach over the window."""
    sizes = _listed(node, "kernel_shape", ())
    ones = (1,) * len(sizes)
    steps, holes = _listed(node, "strides", ones), _listed(node, "dilations", ones)
    behind = _listed(node, "pads", (0,) * 2 * len(sizes))[len(sizes) :]
    return any(
        step + pad > (size - 1) * hole + 1 for size, step, hole, pad in zip(sizes, steps, holes, behind, strict=False)
    )


def _listed(node: Node, name: str, default: Sequence[int]) -> Sequence[int]:
    value = node.attributes.get(name)
    return value if isinstance(value, tuple) else default


def _computed(graph: OnnxGraph, name: str) -> bool:
    return not any(name in node.outputs and node.op_type == "Constant" for node in graph.nodes)


def _rank(graph: OnnxGraph, name: str) -> int:
    """The number of axes; a large one where the file does not tell."""
    value = graph.values.get(name)
    return 99 if value is None or value.dims is None else len(value.dims)


def _dtypes(graph: OnnxGraph, node: Node) -> set[str]:
    return {graph.values[name].dtype for name in (*node.inputs, *node.outputs) if name in graph.values}


def _place(node: Node) -> str:
    told = [node.op_type, *([f"module {node.module}"] if node.module else []), *([node.source] if node.source else [])]
    return f'node "{node.name}" ({", ".join(told)})'


def _ports(found: Sequence[Any], names: Sequence[str], where: str) -> dict[str, int]:
    """Name -> number of the port that has it."""
    by_name = {name: number for number, port in enumerate(found) for name in port.get_names()}
    if missing := [name for name in names if name not in by_name]:
        raise BackendError(f"{where}: OpenVINO has lost {', '.join(missing)} of this graph; {_ort_says}")
    return {name: by_name[name] for name in names}


def _core(where: str) -> Any:
    """OpenVINO's Core, one in a process. BackendError in a child of a fork: its threads are the parent's, and it would hang."""
    global _core_of
    with _starting:
        if _core_of is None:
            _core_of = os.getpid(), _library().Core()
        process, core = _core_of
    if process != os.getpid():
        raise BackendError(
            f"{where}: OpenVINO was in use before this process was forked, and its threads stayed behind; open the first "
            f"session after the fork, start processes by spawn, or {_ort_says}"
        )
    return core


def _library() -> Any:
    """openvino, imported so that it reports to nobody.

    Its import (2026.4.1) writes an id into the home folder and sends an event to Google Analytics, unless openvino_telemetry
    can't be imported. A program that imports openvino before is left as it is.
    """
    with _importing:
        blocked = "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
        if blocked:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino

            return openvino
        finally:
            if blocked:
                del sys.modules["openvino_telemetry"]


def _one_line(error: Exception) -> str:
    """What OpenVINO said, without the places in its source, in one line of at most 400 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else f"{text[:400]}..."
