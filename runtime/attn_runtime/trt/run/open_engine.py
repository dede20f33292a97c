"""From what a session asks for to a running engine: find it, read it, deserialize it, hold it against the graph."""

from __future__ import annotations

from pathlib import Path

from ...device import CudaDevice, gpus
from ...errors import BackendError
from ...interface import GraphFile, OpenOptions
from ...logs import Log
from ...spec import Dim, TensorSpec
from .. import (
    SUFFIX,
    EngineFile,
    EngineKey,
    Machine,
    Profile,
    Wanted,
    build_command,
    find_engine,
    find_engine_beside,
    key_path,
    mismatch_text,
    mismatches,
    read_key,
    read_plan,
    this_machine,
)
from .. import library as libraries
from .engine_pool import EnginePool
from .executor import Executor, IoTensor
from .executor_trt8 import OldExecutor
from .executor_trt10 import LibraryExecutor
from .kernel_cache import RuntimeCache
from .stream import StreamOptions

_log = Log(__name__)


def open_runner(graph: GraphFile, device: str, options: OpenOptions) -> EnginePool:
    """Open the engine that fits this machine. BackendError where there is none, EngineError where it is damaged."""
    number = gpus.device_number(device)
    found = find(graph, this_machine(number))
    plan = read_plan(found)
    _log.info("%s: engine %s, %d bytes", graph.where, found.path, len(plan))
    gpu = CudaDevice(number)
    cache = RuntimeCache(found.path, options.cache)
    where = f"{graph.where}, engine {found.path.name}"
    library = libraries.load(found.key.flavour)
    make = OldExecutor if library.is_old else LibraryExecutor
    executor = make(library, plan, where, options.cuda_graph, cache.load())
    inputs, outputs = specs_of(executor, graph)

    def keep_kernels() -> None:
        gpu.use()
        cache.save(executor.cache_bytes())

    return EnginePool(
        gpu,
        executor,
        inputs,
        outputs,
        StreamOptions(where, _command(graph, found), options.cuda_graph),
        note=cache.why_not_kept if found.key.flavour == "rtx" else None,
        on_close=keep_kernels,
    )


def specs_of(executor: Executor, graph: GraphFile) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The graph's own specs, held against the engine; for an engine without a bundle, what the engine itself tells.

    BackendError where the two tell of different tensors: the engine is of another graph, whatever its key says.
    """
    if graph.inputs is None or graph.outputs is None:
        told = [(tensor, _spec(tensor, executor.profiles)) for tensor in executor.tensors]
        return tuple(s for t, s in told if t.is_input), tuple(s for t, s in told if not t.is_input)
    by_name = {tensor.name: tensor for tensor in executor.tensors}
    specs = {spec.name: spec for spec in (*graph.inputs, *graph.outputs)}
    if by_name.keys() != specs.keys():
        raise BackendError(
            f"{graph.where}: the engine has the tensors {', '.join(by_name)}, the graph {', '.join(specs)}. "
            f"Build it again."
        )
    for name, spec in specs.items():
        tensor = by_name[name]
        if tensor.dtype != spec.dtype or len(tensor.shape) != len(spec.dims):
            raise BackendError(
                f"{graph.where}: the engine has {name}: {tensor.dtype}{list(tensor.shape)}, the graph {spec}. "
                f"Build it again."
            )
    return graph.inputs, graph.outputs


def find(graph: GraphFile, machine: Machine) -> EngineFile:
    """The engine for `graph`: in its bundle, beside its ONNX file, or the file itself where that is an engine."""
    if graph.bundle is not None:
        assert graph.graph is not None and graph.precision is not None  # a bundle's graph file has both
        return find_engine(graph.bundle, graph.graph, graph.precision, machine)
    if graph.file.suffix != SUFFIX:
        return find_engine_beside(graph.file, machine)
    key = read_key(key_path(graph.file))
    # What it is of nobody asks for; whether this machine can run it matters.
    differing = mismatches(key, Wanted(key.model_sha256, key.graph, key.precision, key.type, machine))
    if differing:
        raise BackendError(f"{graph.where}: differs in {mismatch_text(differing)}. Build it here: {_command_of(key)}")
    return EngineFile(graph.file, key)


def _command(graph: GraphFile, found: EngineFile) -> str:
    """What builds the engine for other shapes."""
    if graph.bundle is not None:
        several = len(graph.bundle.graphs) > 1
        return build_command(graph.bundle.path, graph.precision, graph.graph if several else None)
    if graph.file.suffix == SUFFIX:
        return _command_of(found.key)
    return build_command(graph.file, found.key.precision, None)


def _command_of(key: EngineKey) -> str:
    """What builds an engine anew of which nothing is here but its key."""
    return build_command(Path(f"{key.model}.attn" if key.graph else key.file), key.precision, key.graph)


def _spec(tensor: IoTensor, profiles: tuple[Profile, ...]) -> TensorSpec:
    dims = []
    for axis, size in enumerate(tensor.shape):
        if size >= 0:
            dims.append(Dim.fixed(size))
        elif tensor.is_input:
            low, opt, high = ([profile[tensor.name][bound][axis] for profile in profiles] for bound in range(3))
            dims.append(Dim(f"{tensor.name}_{axis}", min(low), opt[0], max(high)))
        else:
            dims.append(Dim(f"{tensor.name}_{axis}", 0, 1, 2**31 - 1))
    return TensorSpec(tensor.name, tensor.dtype, tuple(dims))
