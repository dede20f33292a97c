"""A stand-in for TensorRT's Python module on a board: its names and its rules, with ONNX Runtime on the CPU behind them.

FAKE_TRT_VERSION decides which names there are (8.6, 10.x, 11.x), and FAKE_TRT how a build ends:
    refuse-typed  a strongly typed network is refused;  crash-typed  the library dies of it
    fp32-layers   float16 was asked for, and every layer computes in float32
    slow          a build takes a minute
Every build is written to FAKE_TRT_LOG, a line of JSON each. A plan is the ONNX file with a line before it. It checks more than
the library does: a call that this version has not is an AttributeError, and addresses of memory that is not there crash.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np

__version__ = os.environ.get("FAKE_TRT_VERSION", "10.3.0")
_VERSION = tuple(int(part) for part in __version__.split("."))
_HOW = os.environ.get("FAKE_TRT", "")
_OLD, _STRONG_ONLY = _VERSION < (10,), _VERSION >= (11,)

_FLAGS = {8: {"EXPLICIT_BATCH": 0}, 10: {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 11: {"STRONGLY_TYPED": 0}}[
    _VERSION[0]
]
NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", _FLAGS)
BuilderFlag = IntEnum(
    "BuilderFlag", ["TF32"] if _STRONG_ONLY else ["TF32", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]
)
DataType = Enum("DataType", ["FLOAT", "HALF", "INT32", "BOOL", *([] if _OLD else ["INT64", "BF16"])])
LayerType = Enum("LayerType", ["MATRIX_MULTIPLY", "CONVOLUTION", "CONSTANT", "CAST", "SHUFFLE", "ELEMENTWISE"])
TensorIOMode, TensorLocation = Enum("TensorIOMode", ["INPUT", "OUTPUT"]), Enum("TensorLocation", ["DEVICE", "HOST"])
ProfilingVerbosity, MemoryPoolType = Enum("ProfilingVerbosity", ["DETAILED"]), Enum("MemoryPoolType", ["WORKSPACE"])
LayerInformationFormat = Enum("LayerInformationFormat", ["ONELINE"])
float32, float16, bfloat16 = DataType.FLOAT, DataType.HALF, getattr(DataType, "BF16", None)
if not _OLD:
    ExecutionContextAllocationStrategy = Enum("ExecutionContextAllocationStrategy", ["USER_MANAGED"])

_TO_TRT = {"float32": DataType.FLOAT, "float16": DataType.HALF, "int32": DataType.INT32, "bool": DataType.BOOL}
_TO_TRT |= {"int64": DataType.INT32 if _OLD else DataType.INT64}
_TO_NUMPY = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}
_HEADING = "Layers:" if _OLD else "Engine Layer Information:"


class ILogger:
    ERROR, INTERNAL_ERROR, WARNING, VERBOSE = range(4)


class IProgressMonitor:
    pass


class IOutputAllocator:
    pass


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int = 0) -> Network:
        return Network({f.name for f in NetworkDefinitionCreationFlag if flags >> f & 1}, self.logger)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        typed = _STRONG_ONLY or "STRONGLY_TYPED" in network.flags
        log = {
            "version": __version__,
            "flags": sorted(network.flags),
            "on": sorted(f.name for f in config.on),
            "workspace": config.pools.get(MemoryPoolType.WORKSPACE),
            "level": config.level,
            "kept": network.kept(),
            "file": network.path.name,
            "pid": os.getpid(),
            "began": time.time(),
        }
        if "FAKE_TRT_LOG" in os.environ:
            with Path(os.environ["FAKE_TRT_LOG"]).open("a") as file:
                file.write(json.dumps(log) + "\n")
        if _OLD and "EXPLICIT_BATCH" not in network.flags:
            self.logger.log(ILogger.ERROR, "an ONNX network needs an explicit batch")
            return None
        if typed and any(f.name != "TF32" for f in config.on):
            self.logger.log(ILogger.ERROR, "precision flags can't be set with a strongly typed network")
            return None
        if typed and network.is_half and _HOW == "refuse-typed":
            self.logger.log(
                ILogger.ERROR, "[strongTyping.cpp::infer::12] Error Code 4: no implementation obeys the types"
            )
            return None
        if typed and network.is_half and _HOW == "crash-typed":
            os.abort()
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 600 if _HOW == "slow" else 2)
        for step in range(600 if _HOW == "slow" else 2):
            time.sleep(0.1 if _HOW == "slow" else 0)
            if monitor is not None and not monitor.step_complete("Building Engine", step):
                return None
        half = typed or any(f.name == "FP16" for f in config.on)
        lines = [
            layer.line("Half" if half and layer.half and _HOW != "fp32-layers" else "Float")
            for layer in network.products
        ]
        self.logger.log(ILogger.VERBOSE, f"{_HEADING}\n" + "\n".join(lines))
        self.logger.log(ILogger.VERBOSE, f"Max Scratch Memory: {4096} bytes")
        head = {"profiles": [profile.shapes for profile in config.profiles], "version": __version__}
        return json.dumps(head).encode() + b"\n" + network.path.read_bytes()


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, low: object, opt: object, high: object) -> None:
        self.shapes[name] = [list(shape) for shape in (low, opt, high)]  # type: ignore[call-overload]


class Config:
    def __init__(self) -> None:
        self.on: set[BuilderFlag] = {BuilderFlag.TF32}
        self.pools: dict[object, int] = {}
        self.profiles: list[OptimizationProfile] = []
        self.level: int | None = None
        self.progress_monitor = None
        self.cache = b""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "builder_optimization_level":
            name = "level"
        object.__setattr__(self, name, value)

    def set_flag(self, flag: BuilderFlag) -> None:
        self.on.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.on.discard(flag)

    def set_memory_pool_limit(self, pool: object, size: int) -> None:
        self.pools[pool] = size

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, data: bytes) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: data or b"timings of this board")

    def set_timing_cache(self, cache: object, ignore_mismatch: bool) -> bool:
        self.timings = cache
        return True

    def get_timing_cache(self) -> object:
        return self.timings


class Tensor:
    is_shape_tensor = False

    def __init__(self, name: str, dtype: str, shape: tuple[int, ...] = ()) -> None:
        self.name, self.dtype, self.shape = name, _TO_TRT.get(dtype, DataType.FLOAT), shape


class Layer:
    type = LayerType.MATRIX_MULTIPLY
    num_inputs = 0

    def __init__(self, node: str, half: bool) -> None:
        self.name, self.half, self.metadata = node, half, f"[ONNX Layer: {node}]"
        self.num_outputs = 1
        self.precision: object = None
        self.output_types: dict[int, object] = {}
        self.made = Tensor(f"{node}_output", "float16" if half else "float32")

    def get_output(self, number: int) -> Tensor:
        return self.made

    def get_input(self, number: int) -> Tensor:
        return self.made

    def set_output_type(self, number: int, dtype: object) -> None:
        self.output_types[number] = dtype

    def line(self, dtype: str) -> str:
        dtype = "Float" if self.precision is float32 else dtype
        tensor = f"{{ Name: t, Location: Device, Dimensions: [4,16], Format/Datatype: {dtype} }}"
        sides = f"Inputs: [{tensor}], Outputs: [{tensor}]"
        return f"Name: {self.name}, LayerType: gemm, {sides}, TacticName: sm87, Metadata: {self.metadata}"


class Network:
    def __init__(self, flags: set[str], logger: ILogger) -> None:
        self.flags, self.logger = flags, logger
        self.path = Path()
        self.inputs: list[Tensor] = []
        self.products: list[Layer] = []
        self.is_half = False

    num_inputs = property(lambda self: len(self.inputs))
    num_layers = property(lambda self: len(self.products))

    def get_input(self, number: int) -> Tensor:
        return self.inputs[number]

    def get_layer(self, number: int) -> Layer:
        return self.products[number]

    def kept(self) -> list[str]:
        return [layer.name for layer in self.products if layer.precision is float32 and layer.output_types]


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Network, logger: ILogger) -> None:
        self.network = network

    def parse_from_file(self, path: str) -> bool:
        from attn_runtime.onnx_file.graph import read_graph

        graph = read_graph(Path(path), "the stand-in")
        network = self.network
        network.path = Path(path)
        network.is_half = any(value.dtype == "float16" for value in graph.values.values())
        for name in graph.inputs:
            value = graph.values[name]
            shape = tuple(size if isinstance(size, int) else -1 for size in value.dims or ())
            network.inputs.append(Tensor(name, value.dtype, shape))
        for node in graph.nodes:
            if node.op_type in ("MatMul", "Gemm", "Conv"):
                typed = graph.values.get(node.outputs[0]) or graph.values.get(node.inputs[-1])
                half = network.is_half and (typed is None or typed.dtype == "float16")
                network.products.append(Layer(node.name, half))
        return True


# --- running ----------------------------------------------------------------------------------------------------------


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        head, _, onnx = plan.partition(b"\n")
        told = json.loads(head)
        if told["version"] != __version__:
            self.logger.log(ILogger.ERROR, "the engine is of another version")
            return None
        return Engine(told["profiles"], onnx)


class Engine:
    def __init__(self, profiles: list[dict[str, list[list[int]]]], onnx: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(onnx, options, ["CPUExecutionProvider"])
        self.profiles = profiles
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.tensors = {tensor.name: tensor for tensor in (*inputs, *outputs)}
        self.names, self.inputs = list(self.tensors), {tensor.name for tensor in inputs}
        self.num_io_tensors, self.num_optimization_profiles = len(self.names), len(profiles)
        self.device_memory_size = 4096
        if not _OLD:
            self.device_memory_size_v2 = 4096

    def get_tensor_name(self, number: int) -> str:
        return self.names[number]

    def get_tensor_dtype(self, name: str) -> DataType:
        told = self.tensors[name].type[7:-1]
        return _TO_TRT[{"float": "float32"}.get(told, told)]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self.tensors[name].shape)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        return self.profiles[profile][name]

    if _OLD:

        def create_execution_context_without_device_memory(self) -> Context:
            return Context(self)

    else:

        def create_execution_context(self, strategy: object) -> Context:
            return Context(self)


class Context:
    active_optimization_profile = 0

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.scratch = 0

    if _OLD:
        device_memory = property(None, lambda self, address: setattr(self, "scratch", address))
    else:

        def set_device_memory(self, address: int, size: int) -> None:
            assert size == self.engine.device_memory_size_v2
            self.scratch = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.profiles[0].get(name, [list(shape)] * 3)
        if not all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True)):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return bool(address) and address % 256 == 0

    def infer_shapes(self) -> list[str]:
        missing = [name for name in self.engine.inputs if name not in self.shapes]
        if not missing:
            zeros = {n: np.zeros(s, _TO_NUMPY[self.engine.get_tensor_dtype(n).name]) for n, s in self.shapes.items()}
            self.out = {n: value.shape for n, value in self._run(zeros).items()}
        return missing

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.out[name]

    def execute_async_v3(self, stream: int) -> bool:
        assert self.scratch, "no scratch memory"
        from cuda.bindings.runtime import put

        put(stream, self._compute)
        return True

    def _compute(self) -> None:
        ctypes.memset(self.scratch, 0xEE, self.engine.device_memory_size)
        feed = {n: self._view(n, s) for n, s in self.shapes.items()}
        for name, value in self._run(feed).items():
            self._view(name, value.shape)[...] = value

    def _run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [name for name in self.engine.names if name not in self.engine.inputs]
        return dict(zip(names, self.engine.session.run(names, feed), strict=True))

    def _view(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(_TO_NUMPY[self.engine.get_tensor_dtype(name).name])
        count = int(np.prod(shape, dtype=np.int64))
        raw = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(raw, dtype, count).reshape(shape)
