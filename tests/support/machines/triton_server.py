"""What of a Triton server the tests need: the real schema of config.pbtxt, its warm-up, and what a Python model may call.

The rules are those of the server's documentation and of its warm-up code; no server runs here.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

NUMPY = {"TYPE_FP16": np.float16, "TYPE_FP32": np.float32, "TYPE_FP64": np.float64, "TYPE_BOOL": np.bool_} | {
    f"TYPE_{sign}INT{bits}": np.dtype(f"{sign}int{bits}".lower()).type for sign in ("", "U") for bits in (8, 16, 32, 64)
}


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_config(model: Path) -> Any:
    """config.pbtxt of a model's folder, parsed by protobuf against the server's own schema."""
    from google.protobuf import text_format

    if "model_config_pb2" not in sys.modules:
        # By its file: the package beside it imports grpc, and a message may be registered once.
        client = importlib.util.find_spec("tritonclient")
        assert client is not None and client.submodule_search_locations
        sys.modules["model_config_pb2"] = _load(
            "model_config_pb2", Path(client.submodule_search_locations[0], "grpc", "model_config_pb2.py")
        )
    config = sys.modules["model_config_pb2"].ModelConfig()
    text_format.Parse((model / "config.pbtxt").read_text(), config)
    return config


def type_name(config: Any, value: int) -> str:
    """TYPE_FP32 and so on of a data_type field."""
    (field,) = [f for f in config.DESCRIPTOR.fields_by_name["input"].message_type.fields if f.name == "data_type"]
    return str(field.enum_type.values_by_number[value].name)


def warm_up_requests(model: Path, config: Any) -> Iterator[tuple[str, list[dict[str, np.ndarray]]]]:
    """(name, requests) of each sample: a file holds one item, and is sent batch_size times."""
    for sample in config.model_warmup:
        request = {}
        for name, told in sample.inputs.items():
            data = (model / "warmup" / told.input_data_file).read_bytes()
            dtype, dims = NUMPY[type_name(config, told.data_type)], tuple(told.dims)
            assert len(data) == np.dtype(dtype).itemsize * int(np.prod(dims))
            request[name] = np.frombuffer(data, dtype).reshape(((1,) if config.max_batch_size else ()) + dims)
        assert sample.batch_size >= 1 and sample.batch_size <= max(1, config.max_batch_size)
        yield sample.name, [request] * sample.batch_size


def check_request(config: Any, request: Mapping[str, np.ndarray]) -> None:
    """What the server itself checks of a request."""
    batch = [-1] if config.max_batch_size else []
    for told in config.input:
        if told.optional and told.name not in request:
            continue
        array, dims = request[told.name], batch + list(told.dims)
        assert told.data_type == 13 or array.dtype == NUMPY[type_name(config, told.data_type)], told.name
        assert array.ndim == len(dims) and all(d in (-1, n) for d, n in zip(dims, array.shape, strict=True)), told.name
    assert set(request) <= {told.name for told in config.input}


# --- the Python backend --------------------------------------------------------------------------------------------


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class TritonError(Exception):
    INTERNAL, INVALID_ARG = 1, 3

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        super().__init__(message)
        self.code = code


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor], error: TritonError | None = None) -> None:
        self.outputs = {tensor.name(): tensor.as_numpy() for tensor in output_tensors}
        self.error = error


class Sender:
    """`cancel_after` responses, the client is gone."""

    def __init__(self, cancel_after: int | None) -> None:
        self.responses: list[InferenceResponse] = []
        self.ended = False
        self._cancel_after = cancel_after

    def send(self, response: InferenceResponse, flags: int = 0) -> None:
        assert not self.ended, "a response behind the last"
        self.responses.append(response)
        self.ended = bool(flags & 1)

    def is_cancelled(self) -> bool:
        return self._cancel_after is not None and len(self.responses) >= self._cancel_after


class Request:
    def __init__(self, cancel_after: int | None = None, **inputs: Any) -> None:
        self.inputs, self.sender = inputs, Sender(cancel_after)

    def get_response_sender(self) -> Sender:
        return self.sender


def request(cancel_after: int | None = None, **inputs: Any) -> Request:
    """A request of one row, as a client sends it."""
    kinds = {str: object, int: np.int64, float: np.float32}

    def array(value: Any) -> np.ndarray:
        if isinstance(value, str):
            value = value.encode()
        return value if isinstance(value, np.ndarray) else np.array([[value]], kinds.get(type(value), object))

    return Request(cancel_after, **{name: array(value) for name, value in inputs.items()})


class MetricFamily:
    """Metrics of the server by name and labels. A model that asks for what the server would refuse is failed."""

    COUNTER, GAUGE, HISTOGRAM = range(3)
    shown: ClassVar[dict[str, Metric]] = {}

    def __init__(self, name: str, description: str, kind: int) -> None:
        assert name.isidentifier() and description and kind in range(3)
        self._name, self._kind = name, kind

    def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> Metric:
        assert (buckets is not None) == (self._kind == self.HISTOGRAM) and buckets == (buckets and sorted(buckets))
        made = self.shown[self._name] = Metric(self._kind, labels)
        return made


class Metric:
    def __init__(self, kind: int, labels: dict[str, str]) -> None:
        self._kind, self.labels, self.value, self.observed = kind, labels, 0.0, list[float]()

    def increment(self, value: float) -> None:
        assert self._kind != MetricFamily.HISTOGRAM and (value >= 0 or self._kind == MetricFamily.GAUGE)
        self.value += value

    def set(self, value: float) -> None:
        assert self._kind == MetricFamily.GAUGE
        self.value = value

    def observe(self, value: float) -> None:
        assert self._kind == MetricFamily.HISTOGRAM
        self.observed.append(value)


class Settled:
    """A TritonPythonModel whose `execute` returns when all is answered, for which a server does not wait."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def execute(self, requests: list[Request]) -> None:
        assert self.model.execute(requests) is None
        thread = self.model._generator._server._thread
        if thread is not None:
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def python_model(model: Path, version: int = 1, metrics: type | None = MetricFamily) -> Iterator[Any]:
    """The TritonPythonModel of a model's folder, initialised as the server does it; with None by one that has no metrics."""
    from google.protobuf.json_format import MessageToJson

    config = read_config(model)
    utils: Any = types.ModuleType("triton_python_backend_utils")
    utils.Tensor, utils.TritonError, utils.InferenceResponse = Tensor, TritonError, InferenceResponse
    utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    if metrics is not None:
        utils.MetricFamily = metrics
    utils.get_input_tensor_by_name = lambda request, name: (
        Tensor(name, request.inputs[name]) if name in request.inputs else None
    )
    sys.modules["triton_python_backend_utils"] = utils
    try:
        made = _load("model", model / str(version) / "model.py").TritonPythonModel()
    finally:
        del sys.modules["triton_python_backend_utils"]
    told = MessageToJson(config, preserving_proto_field_name=True)
    json.loads(told)
    made.initialize(
        {
            "model_config": told,
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
            "model_repository": str(model),
            "model_version": str(version),
            "model_name": config.name,
            "model_instance_name": f"{config.name}_0_0",
        }
    )
    try:
        yield Settled(made)
    finally:
        made.finalize()
