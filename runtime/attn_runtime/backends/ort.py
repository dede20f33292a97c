"""ONNX Runtime: the CPU, and NVIDIA GPUs through its CUDA provider where its libraries really load.

ONNX Runtime lists a provider that it was built with, prints a line when its libraries do not load, and runs on the CPU.
Here nothing falls back: a session on "cuda" has the CUDA provider, with the work on it, or is not opened.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from .. import cuda
from ..errors import AttnError, BackendError, BundleError, InputError
from ..external_data import check_external_data
from ..onnx_meta import KEY, read_embedded
from ..ort_providers import CPU, CUDA, TENSORRT, ProviderState, provider_states, why_provider_fails
from ..spec import Dim, TensorSpec
from . import Array, GraphFile, OpenOptions

ABOUT = "ONNX Runtime on the CPU, or on an NVIDIA GPU through its CUDA provider"
AUTOMATIC = True

#: The end of the range of a dim of which an ONNX file says no more than that it varies.
ANY_SIZE = 2**31 - 1

# Severities of ONNX Runtime's loggers: 4 is for what ends the process, 2 is what it starts with.
_NO_LOG, _DEFAULT_LOG = 4, 2

_DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}

# The work of a model, as opposed to the arithmetic on shapes that the CUDA provider itself leaves to the CPU.
_HEAVY = re.compile(r"MatMul|Gemm|Conv|Einsum|Attention|LSTM|GRU|RNN|Softmax|Normalization|Pool|Resize")


def why_unavailable() -> str | None:
    """None when onnxruntime can be imported, else the reason and what to install."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; pip install 'attn-runtime[cpu]' (or [gpu], never both)"
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018  (two distributions over each other leave an empty package)
    except (ImportError, AttributeError) as error:
        return f"onnxruntime is installed but does not import ({_one_line(error)}); reinstall 'attn-runtime[cpu]'"
    return None


def why_not(device: str) -> str | None:
    """None when ONNX Runtime can use `device` here, else the reason and what to install."""
    return None if device == "cpu" else _why_not_gpu(CUDA, device)


def why_not_tensorrt(device: str) -> str | None:
    """The same for its TensorRT provider, which leaves to the CUDA provider what TensorRT does not take."""
    if device == "cpu":
        return "TensorRT needs a GPU; take device cuda"
    return _why_not_gpu(TENSORRT, device) or _why_not_gpu(CUDA, device)


def _why_not_gpu(provider: str, device: str) -> str | None:
    import onnxruntime

    # The driver first: without it no wheel helps, and the libraries need not be loaded to know.
    return cuda.why_not(device) or why_provider_fails(onnxruntime, provider)


def providers() -> list[ProviderState]:
    """What ONNX Runtime lists and what of it loads, for the doctor."""
    import onnxruntime

    return provider_states(onnxruntime)


def open(graph: GraphFile, device: str, wanted: OpenOptions, first_provider: str = CUDA) -> OrtEngine:
    """Create the session. BundleError for a damaged or hostile file, BackendError where it can't run on `device`.

    Without `wanted.threads`, a node may use the machine's cores, or those the process is bound to. On "cuda",
    `first_provider` gets the nodes it can run, the CUDA provider the others.
    """
    import onnxruntime

    check_external_data(graph.file, graph.where)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _NO_LOG  # errors are raised; printing them as well would be chatter
    options.intra_op_num_threads = wanted.threads or _threads_when_bound()
    asked: list[Any] = [CPU]
    if device != "cpu":
        # ONNX Runtime before 1.24 can't tell where the nodes went, and ignores the entry.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        number = str(cuda.device_number(device))
        # float32 means float32: TF32 keeps 10 bits of the mantissa and would fail the stored tolerance.
        asked.insert(0, (CUDA, {"device_id": number, "use_tf32": "0"}))
        if first_provider != CUDA:
            asked.insert(0, (first_provider, {"device_id": number}))
        # A provider that fails to load is told by the library's own logger, for which a session's options do not count.
        onnxruntime.set_default_logger_severity(_NO_LOG)
    try:
        session = onnxruntime.InferenceSession(graph.file, options, asked, enable_fallback=0)
    except Exception as error:
        raise _open_error(error, graph, device) from error
    finally:
        if device != "cpu":
            onnxruntime.set_default_logger_severity(_DEFAULT_LOG)
    session.disable_fallback()
    if device != "cpu":
        _check_on_gpu(session, graph, device, first_provider)
    return OrtEngine(session, graph, device if device == "cpu" else f"cuda:{cuda.device_number(device)}")


class OrtEngine:
    """See `Engine`."""

    def __init__(self, session: Any, graph: GraphFile, device: str) -> None:
        self.device = device
        self._session = session
        self._where = graph.where
        self._names = [node.name for node in session.get_outputs()]
        self._only = self._names[0] if len(self._names) == 1 else None
        found_inputs = tuple(_spec(node, graph.where) for node in session.get_inputs())
        found_outputs = tuple(_spec(node, graph.where) for node in session.get_outputs())
        self.inputs, self.outputs = found_inputs, found_outputs
        self.assets: Mapping[str, Any] = {}
        if graph.inputs is not None and graph.outputs is not None:
            self.inputs, self.outputs = graph.inputs, graph.outputs
        elif text := session.get_modelmeta().custom_metadata_map.get(KEY):
            embedded = read_embedded(text, graph.where)
            self.inputs, self.outputs, self.assets = embedded.inputs, embedded.outputs, embedded.assets
        _check_agreement(self.inputs, found_inputs, "input", graph)
        _check_agreement(self.outputs, found_outputs, "output", graph)

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        try:
            answers = self._session.run(self._names, feed)
        except Exception as error:
            raise self.explain(error) from error
        # One output is the usual case, and a zip would take a tenth of a small graph's time.
        if self._only is not None:
            return {self._only: answers[0]}
        return dict(zip(self._names, answers, strict=True))

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        for name, value in outputs.items():
            binding.bind_output(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        return partial(self._session.run_with_iobinding, binding)

    def explain(self, error: Exception) -> AttnError:
        if re.search("pre-allocated output|shape verification failed", str(error)):
            return InputError(
                f"{self._where}: an output's shape follows from the values, and these give another than the bound one. "
                f"Call run instead of bind."
            )
        text = _one_line(error)
        if "INVALID_ARGUMENT" in text or "out of data bounds" in text:
            return InputError(f"{self._where}: the graph refuses these values or sizes: {text}")
        return BackendError(f"{self._where}: ONNX Runtime failed on {self.device}: {text}")


def _spec(node: Any, where: str) -> TensorSpec:
    if node.type not in _DTYPES:
        raise BackendError(
            f'{where}: tensor "{node.name}" is a {node.type}; sessions take {", ".join(sorted(set(_DTYPES.values())))}'
        )
    dims = []
    for axis, size in enumerate(node.shape):
        if isinstance(size, int) and size >= 0:
            dims.append(Dim.fixed(size))
        else:
            dims.append(Dim(size if isinstance(size, str) and size else f"{node.name}_{axis}", 1, 1, ANY_SIZE))
    return TensorSpec(node.name, _DTYPES[node.type], tuple(dims))


def _check_agreement(
    promised: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...], side: str, graph: GraphFile
) -> None:
    """A record and a graph that tell of different tensors belong to different models."""
    by_name = {spec.name: spec for spec in found}
    if sorted(by_name) != sorted(spec.name for spec in promised):
        raise BundleError(
            f"{graph.where}: {graph.file.name} has the {side}s {', '.join(by_name) or '(none)'}, its record says "
            f"{', '.join(s.name for s in promised) or '(none)'}. Export it again."
        )
    for spec in promised:
        other = by_name[spec.name]
        # ONNX Runtime shows a tensor of unknown rank as one of rank 0.
        fits = not other.dims or (
            len(spec.dims) == len(other.dims)
            and all(
                theirs.dynamic or (ours.min == ours.max == theirs.opt)
                for ours, theirs in zip(spec.dims, other.dims, strict=True)
            )
        )
        if spec.dtype != other.dtype or not fits:
            raise BundleError(f"{graph.where}: {graph.file.name} has {other}, its record says {spec}. Export it again.")


def _open_error(error: Exception, graph: GraphFile, device: str) -> AttnError:
    text = _one_line(error)
    if device != "cpu" and re.search(r"CUDA|cuDNN|cuBLAS|EP_FAIL|ProviderLibrary|out of memory", text, re.IGNORECASE):
        return BackendError(f"{graph.where}: ONNX Runtime can't use {device}: {text}. See attn-run doctor.")
    if "NOT_IMPLEMENTED" in text:
        return BackendError(f"{graph.where}: ONNX Runtime has no kernel for a node of this graph on {device}: {text}")
    return BundleError(f"{graph.where}: ONNX Runtime can't load {graph.file.name}: {text}. Export it again.")


def _check_on_gpu(session: Any, graph: GraphFile, device: str, first_provider: str) -> None:
    opened = session.get_providers()
    if first_provider not in opened:
        raise BackendError(
            f"{graph.where}: {first_provider} was asked for on {device} and ONNX Runtime opened {', '.join(opened)} "
            f"instead. See attn-run doctor."
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return
    placed = [(s.ep_name, n.op_type) for s in session.get_provider_graph_assignment_info() for n in s.get_nodes()]
    if stray := heavy_on_cpu(placed):
        raise BackendError(
            f"{graph.where}: {device} was asked for, but ONNX Runtime leaves {', '.join(stray)} to the CPU. "
            f"Take device cpu, or export in another precision or opset."
        )


def heavy_on_cpu(placed: Iterable[tuple[str, str]]) -> list[str]:
    """Of (provider, operator) pairs, the operators that do a model's work and were placed on the CPU; sorted, once."""
    return sorted({op for provider, op in placed if provider == CPU and _HEAVY.search(op)})


def _threads_when_bound() -> int:
    """The cores this process is bound to; 0, ONNX Runtime's own choice, when it may use them all.

    ONNX Runtime's choice pins a thread to every core of the machine, and prints an error for each it may not use.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0
    usable = len(os.sched_getaffinity(0))
    return 0 if usable == os.cpu_count() else usable


def _one_line(error: Exception) -> str:
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : ", "", " ".join(str(error).split()))
    return text.rstrip(".") if len(text) <= 400 else f"{text[:400]}..."
