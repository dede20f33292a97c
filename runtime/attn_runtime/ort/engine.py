"""A session of ONNX Runtime as an `Engine`: the plain case, on the CPU. `gpu_engine` adds device memory to it.

Nothing here imports onnxruntime: the session that is handed in brings all that is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..errors import AttnError, BackendError, BundleError, InputError
from ..interface import Array, GraphFile
from ..spec import Dim, TensorSpec

#: The end of the range of a dim of which an ONNX file says no more than that it varies.
ANY_SIZE = 2**31 - 1

_DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}


class OrtEngine:
    """See `Engine`."""

    #: What the session's choice says beside the device.
    note: str | None = None

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
        else:
            self._take_embedded(session, graph)
        check_agreement(self.inputs, found_inputs, "input", graph)
        check_agreement(self.outputs, found_outputs, "output", graph)

    def _take_embedded(self, session: Any, graph: GraphFile) -> None:
        from ..bundle import KEY, read_embedded

        if text := session.get_modelmeta().custom_metadata_map.get(KEY):
            embedded = read_embedded(text, graph.where)
            self.inputs, self.outputs, self.assets = embedded.inputs, embedded.outputs, embedded.assets

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
        text = one_line(error)
        if "INVALID_ARGUMENT" in text or "out of data bounds" in text:
            return InputError(f"{self._where}: the graph refuses these values or sizes: {text}")
        return BackendError(f"{self._where}: ONNX Runtime failed on {self.device}: {text}")


def dtype_of(kind: str) -> str:
    """numpy's name for ONNX Runtime's ("tensor(float)"), of those that a session takes."""
    return _DTYPES[kind]


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


def check_agreement(
    promised: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...], side: str, graph: GraphFile
) -> None:
    """BundleError where a record and a graph tell of different tensors: they belong to different models."""
    by_name = {spec.name: spec for spec in found}
    if sorted(by_name) != sorted(spec.name for spec in promised):
        raise BundleError(
            f"{graph.where}: {graph.file.name} has the {side}s {', '.join(by_name) or '(none)'}, its record says "
            f"{', '.join(s.name for s in promised) or '(none)'}. Export it again."
        )
    for spec in promised:
        other = by_name[spec.name]
        # A tensor of unknown rank is shown as one of rank 0.
        fits = not other.dims or (
            len(spec.dims) == len(other.dims)
            and all(
                theirs.dynamic or (ours.min == ours.max == theirs.opt)
                for ours, theirs in zip(spec.dims, other.dims, strict=True)
            )
        )
        if spec.dtype != other.dtype or not fits:
            raise BundleError(f"{graph.where}: {graph.file.name} has {other}, its record says {spec}. Export it again.")


def one_line(error: Exception) -> str:
    """What ONNX Runtime said, without its code and the place in its source, in one line of at most 400 characters."""
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : ", "", " ".join(str(error).split()))
    text = re.sub(r"/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\)(?: const)? ", "", text)
    return text.rstrip(".") if len(text) <= 400 else f"{text[:400]}..."
