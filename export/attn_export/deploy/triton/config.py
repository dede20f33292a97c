"""What Triton's config.pbtxt says of a graph: tensors, batching, instances, warm-up, accelerator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attn_runtime.spec import Dim, TensorSpec

from .text_proto import Enum, Map

Message = dict[str, Any]

_TYPES = {
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    **{f"{sign}int{bits}": f"TYPE_{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "TYPE_BOOL",
}  # fmt: skip

_KINDS = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}


@dataclass(frozen=True)
class Signature:
    """A graph as Triton sees it.

    `most` is the largest batch, 0 where the server can't put requests together; then the tensors keep all of their axes.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    most: int

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], most: int | None = None) -> Signature:
        """`most` narrows what the graph itself allows, as an engine does."""
        batch = batch_dim([*inputs, *outputs])
        allowed = 0 if batch is None else min(batch.max, batch.max if most is None else most)
        return cls(tuple(inputs), tuple(outputs), allowed)

    def tensors(self) -> Message:
        """The fields `max_batch_size`, `input` and `output`."""
        return {
            "max_batch_size": self.most,
            "input": [self._tensor(spec) for spec in self.inputs],
            "output": [self._tensor(spec) for spec in self.outputs],
        }

    def _tensor(self, spec: TensorSpec) -> Message:
        dims = [-1 if dim.dynamic else dim.opt for dim in self.item(spec)]
        told: Message = {"name": spec.name, "data_type": data_type(spec.dtype), "dims": dims or [1]}
        # Triton has no tensor without an axis: a number per row crosses its border as [1].
        return told if dims else {**told, "reshape": {"shape": []}}

    def item(self, spec: TensorSpec) -> tuple[Dim, ...]:
        """The axes of one item of a batch."""
        return spec.dims[1:] if self.most else spec.dims


def batch_dim(specs: Iterable[TensorSpec]) -> Dim | None:
    """The axis along which requests may be put together: the first of every tensor, of one name, from 1 up; None without one."""
    dims = [spec.dims for spec in specs]
    first = dims[0][0] if dims and dims[0] else None
    if first is None or first.name is None or first.min > 1 or first.max < 2:
        return None
    alike = all(each and each[0].name == first.name and all(d.name != first.name for d in each[1:]) for each in dims)
    return first if alike else None


def data_type(dtype: str) -> Enum:
    """Triton's name of one of the manifest's dtypes."""
    return Enum(_TYPES[dtype])


def instance_group(device: str, count: int, profiles: int = 1) -> list[Message]:
    """`profiles`: how many an engine has; all of them are named, so that the server takes the one that fits a request."""
    group: Message = {"count": count, "kind": Enum(_KINDS[device])}
    if profiles > 1:
        group["profile"] = [str(number) for number in range(profiles)]
    return [group]


def dynamic_batching(signature: Signature, delay_us: int) -> Message | None:
    """None where the graph takes one request at a time."""
    if not signature.most:
        return None
    return {"max_queue_delay_microseconds": delay_us} if delay_us else {}


def accelerator(signature: Signature, kind: str, cache: str | None) -> Message:
    """TensorRT inside ONNX Runtime, on GPU instances.

    It builds its engines when the model is loaded, once for all shapes that the bundle allows, because their ranges are told.
    """
    parameters = Map(precision_mode="FP16" if kind == "fp16" else "FP32")
    if any(dim.dynamic for spec in signature.inputs for dim in spec.dims):
        for name in ("min", "opt", "max"):
            parameters[f"trt_profile_{name}_shapes"] = ",".join(_shape(spec, name) for spec in signature.inputs)
    if cache is not None:
        parameters |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
    return {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": parameters}]}}


def _shape(spec: TensorSpec, which: str) -> str:
    return f"{spec.name}:{'x'.join(str(getattr(dim, which)) for dim in spec.dims)}"


def parameters(values: Mapping[str, str]) -> Map:
    return Map({name: {"string_value": value} for name, value in values.items()})
