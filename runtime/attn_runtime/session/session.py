"""Open a bundle or an ONNX file and run it: names, dtypes and ranges are checked here, once for every backend."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle import MANIFEST, Arrays, Bundle, Case, Graph, Precision, with_bundle
from ..device import as_array
from ..errors import AttnError, BundleError, InputError, UsageError
from ..interface import Array, Engine, GraphFile, OpenOptions
from ..spec import check_shapes, named_dims
from ..suggest import did_you_mean
from .backend_choice import open_engine

if TYPE_CHECKING:
    from ..device import DeviceArray

# Shapes that were once found good are not checked again; a caller with ever new ones must not fill the memory.
_MOST_REMEMBERED = 4096
_MOST_THREADS = 1024  # ONNX Runtime would start them all
_MOST_AXES = 32


def open_session(
    path: str | os.PathLike[str] | Bundle,
    device: str = "auto",
    backend: str | None = None,
    *,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    cuda_graph: bool = False,
    cache: str | os.PathLike[str] | None = None,
    workspace: int | None = None,
    low_memory: bool = False,
    stop_spinning: bool = False,
) -> Session:
    """Open the bundle, plain ONNX file or compiled engine (NAME.engine, with its key) at `path`, or a bundle already open.

    device      "cpu", "cuda" or "cuda:1"; "auto" takes a GPU that really works, else the CPU. Named is meant: "cuda"
                never runs on the CPU.
    backend     a name from `attn_runtime.backends.names()`; None takes the best for the device. `Session.choice` tells.
    graph       which graph of a bundle; may be left out when there is one
    precision   which of its precisions; None takes fp32, or the first where there is no fp32
    threads     how many threads one node may use on the CPU; None takes the cores there are
    cuda_graph  on a GPU, replay a shape's calls as one CUDA graph; the CPU ignores it
    cache       folder for what an engine library compiles on this machine (kernels, TensorRT engines inside ONNX
                Runtime); None keeps it in memory
    workspace   bytes of scratch memory for a TensorRT build inside ONNX Runtime
    low_memory  on the CPU, read weights where they lie in the bundle's files, mapped into memory once for all sessions, instead
                of keeping a copy in an order that is faster to multiply with: as fast for one row, slower for a few
    stop_spinning  on the CPU, let the session's threads sleep as soon as a call is over. Otherwise they wait busily for the
                next one for some 40 ms, which makes that one faster, and others on the same cores slower: another session's
                call, or the application. Generators, whose graphs take turns, set it

    A session belongs to one export: a bundle that is replaced while it is being opened is opened again, and one that was
    open before then must be what it was.

    Raises BundleError for a missing, damaged, hostile or replaced file, BackendError when nothing here can run it on that device,
    UsageError for an unknown name.
    """
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise UsageError(f"threads: got {threads}, expected 1..{_MOST_THREADS}")
    if workspace is not None and workspace < 1:
        raise UsageError(f"workspace: got {workspace} bytes, expected 1 or more")
    kept = Path(cache).absolute() if cache is not None else None
    options = OpenOptions(threads, cuda_graph, kept, workspace, low_memory, stop_spinning)
    if not isinstance(path, Bundle) and Path(path).is_file():
        file = _plain(Path(path), graph, precision)
        if file.file.suffix == ".engine":
            backend = backend or "trt"  # nothing else can read one
        return Session(*open_engine(file, device, backend, options), file.where)

    def of_bundle(bundle: Bundle) -> Session:
        chosen, file = _of_bundle(bundle, graph, precision)
        entry = bundle.graph(graph).precisions[chosen]
        opened = bundle.files.read([entry.file, *entry.data], lambda: open_engine(file, device, backend, options))
        return Session(*opened, file.where, bundle, chosen)

    return with_bundle(path, of_bundle)


class Session:
    """An open graph. `run` may be called from many threads at once. Use as a context manager, or `close` it.

    inputs, outputs   TensorSpecs with the ranges that the graph was checked for
    backend, device   who runs it, and where
    choice            why that backend and device, and why not the others; one line
    precision         which of a bundle's precisions it runs; None for a plain ONNX file
    """

    def __init__(
        self,
        backend: str,
        engine: Engine,
        choice: str,
        where: str,
        bundle: Bundle | None = None,
        precision: str | None = None,
    ) -> None:
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.backend, self.device, self.choice, self.where = backend, engine.device, choice, where
        self._engine: Engine | None = engine
        self._call: Callable[[Mapping[str, Array]], dict[str, Array]] = engine.run
        self._assets = engine.assets
        self.precision, self._bundle = precision, bundle
        self._intake = getattr(engine, "intake", None)
        self._by_name = {spec.name: spec for spec in self.inputs}
        # (name, dtype, rank), and the sizes that were found good, of all inputs in one row: with every rank given, a
        # row of sizes can be read in one way only.
        self._expected = tuple((spec.name, np.dtype(spec.dtype), len(spec.dims)) for spec in self.inputs)
        self._count = len(self.inputs)
        self._good: set[tuple[int, ...]] = set()
        self._bound: weakref.WeakSet[BoundCall] = weakref.WeakSet()

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Every output by name, in new numpy arrays.

        Inputs are numpy arrays or CPU tensors with DLPack (read in place, no copy is made unless one is strided or of
        foreign byte order); on a GPU also tensors on that GPU, with DLPack or __cuda_array_interface__. Raises InputError
        for a name, dtype, rank or size that the graph does not take.
        """
        # The whole cost of a call that is all right: are they plain arrays of the right dtypes and ranks, and were
        # their shapes checked before? Anything else goes the long way: other mappings and tensors, and what is wrong.
        good = False
        if type(inputs) is dict and len(inputs) == self._count:
            shapes: tuple[int, ...] = ()
            for name, dtype, rank in self._expected:
                x = inputs.get(name)
                if type(x) is not np.ndarray or x.dtype != dtype or x.ndim != rank:
                    break
                shapes += x.shape
            else:
                good = shapes in self._good
        return self._call(inputs if good else self._checked(inputs))

    def run_on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As `run`, with every output left on the device: a DeviceArray, which torch.from_dlpack and others take over.

        Raises UsageError where the backend runs on the CPU or can't leave its outputs on the GPU.
        """
        run = getattr(self._open_engine(), "run_on_device", None)
        if run is None:
            raise self._no_device_memory()
        found: dict[str, Any] = run(self._checked(inputs))
        return found

    def bind(
        self,
        shapes: Mapping[str, int | Sequence[int]] | None = None,
        *,
        on_device: bool = False,
        inputs: Mapping[str, Array | DeviceArray] | None = None,
        outputs: Mapping[str, Array | DeviceArray] | None = None,
    ) -> BoundCall:
        """A call on preallocated buffers, for fixed shapes.

        `shapes` gives dim sizes ({"batch": 8}), whole input shapes ({"image": (8, 3, 32, 32)}), or both; what is left
        out takes its opt. Where an output's shape does not follow from them, the graph is run once on zeros to learn
        it. With `on_device` the buffers are DeviceArrays, for those who make the inputs and use the outputs on the GPU:
        such a call copies nothing, and waits for the default stream, which PyTorch works on. Whoever works on another
        stream synchronizes it first.

        `inputs` and `outputs` give buffers of the caller for some names: C-contiguous numpy arrays of the dtype and shape,
        or DeviceArrays on this GPU (`buffer` makes either). Inputs given so need not be in `shapes`. What one call writes
        another may read that way: one array is the output of this bound call and the input of that one.

        Raises UsageError for an unknown name and for `on_device` where the backend has no such buffers, InputError for a
        size out of range and for a buffer of another dtype or shape.
        """
        engine = self._open_engine()
        given: dict[str, Any] = dict(inputs or {})
        taken: dict[str, Any] = dict(outputs or {})
        for name, known, kind in [(n, self._by_name, "input") for n in given] + [
            (n, {spec.name: spec for spec in self.outputs}, "output") for n in taken
        ]:
            if name not in known:
                raise self._unknown(kind, name, known)
        wanted = self._shapes({**{name: array.shape for name, array in given.items()}, **(shapes or {})})
        check_shapes(self.inputs, {s.name: (s.dtype, wanted[s.name]) for s in self.inputs}, self.where)
        for spec in self.inputs:
            if spec.name in given:
                self._check_buffer("input", spec.name, given[spec.name], wanted[spec.name], np.dtype(spec.dtype))
        try:
            learnt = self._output_shapes(engine, wanted)
            for name, (shape, dtype) in learnt.items():
                if name in taken:
                    self._check_buffer("output", name, taken[name], shape, dtype)
                else:
                    taken[name] = self._buffer(engine, shape, dtype, on_device)
            for spec in self.inputs:
                if spec.name not in given:
                    given[spec.name] = self._buffer(engine, wanted[spec.name], np.dtype(spec.dtype), on_device)
        except (MemoryError, ValueError) as error:  # numpy raises either for a size beyond reason
            shown = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
            raise InputError(f"{self.where}: buffers for {shown} do not fit in memory ({error})") from error
        given = {spec.name: given[spec.name] for spec in self.inputs}
        taken = {name: taken[name] for name in learnt}
        bound = BoundCall(given, taken, engine.bind(given, taken), engine.explain)
        self._bound.add(bound)
        return bound

    def buffer(self, shape: Sequence[int], dtype: str, *, on_device: bool = False) -> Any:
        """Zeros for `bind`: a numpy array in the host memory that the backend likes best, or a DeviceArray with `on_device`.

        Raises UsageError for `on_device` where the backend has no such buffers (`has_device_buffers` tells).
        """
        return self._buffer(self._open_engine(), tuple(shape), np.dtype(dtype), on_device)

    @property
    def has_device_buffers(self) -> bool:
        """Whether `buffer` and `bind` can give DeviceArrays."""
        return getattr(self._open_engine(), "device_buffer", None) is not None

    def asset(self, name: str) -> Any | None:
        """The parsed JSON of an asset ("labels", "image"), of the bundle or inside the ONNX file; None without one."""
        return self._bundle.asset(name) if self._bundle else self._assets.get(name)

    def close(self) -> None:
        """Let go of the engine. Calls of this session and of what it bound raise UsageError from now on.

        On a GPU, its memory is given back once the calls that are running are done.
        """
        where, engine = self.where, self._engine

        def closed(*_: object) -> Any:
            raise _closed_error(where)

        self._engine, self._call = None, closed
        for bound in list(self._bound):
            bound._execute = closed
        if (close := getattr(engine, "close", None)) is not None:
            close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        sides = " -> ".join(", ".join(map(str, side)) for side in (self.inputs, self.outputs))
        return f"<Session {self.where}: {sides}; {self.backend} on {self.device}>"

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise _closed_error(self.where)
        return self._engine

    def _no_device_memory(self) -> UsageError:
        return UsageError(
            f"{self.where}: {self.backend} on {self.device} leaves nothing on a device; take run or bind, or backend trt"
        )

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(inputs, Mapping):
            raise InputError(
                f"got {type(inputs).__name__}; expected a mapping from input name to array, with "
                f"{', '.join(self._by_name)} ({self.where})"
            )
        arrays = {name: as_array(name, value, self.where, self._intake) for name, value in inputs.items()}
        check_shapes(self.inputs, {name: (v.dtype.name, v.shape) for name, v in arrays.items()}, self.where)
        if len(self._good) < _MOST_REMEMBERED:
            self._good.add(tuple(size for spec in self.inputs for size in arrays[spec.name].shape))
        return arrays

    def _shapes(self, asked: Mapping[str, int | Sequence[int]]) -> dict[str, tuple[int, ...]]:
        dims = named_dims(self.inputs)
        sizes = {name: int(value) for name, value in asked.items() if isinstance(value, int | np.integer)}
        for name, value in asked.items():
            if name not in sizes and not _is_shape(value):
                array: Any = value
                kind = f"{array.dtype} {list(array.shape)}" if hasattr(array, "dtype") else type(array).__name__
                raise UsageError(
                    f"shapes \"{name}\": got {kind}, expected a dim's size or an input's shape; an array goes in by its "
                    f"keyword, bind(inputs={{...}}) ({self.where})"
                )
        whole = {name: tuple(value) for name, value in asked.items() if not isinstance(value, int | np.integer)}
        for name, known, kind in [(n, dims, "dim") for n in sizes] + [(n, self._by_name, "input") for n in whole]:
            if name not in known:
                raise self._unknown(kind, name, known)
        for name, shape in whole.items():
            # A whole shape sets its dims for the other inputs too; check_shapes finds contradictions.
            for dim, size in zip(self._by_name[name].dims, shape, strict=False):
                if dim.name is not None:
                    sizes.setdefault(dim.name, size)
        return {spec.name: whole.get(spec.name, spec.shape(sizes)) for spec in self.inputs}

    def _output_shapes(
        self, engine: Engine, inputs: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        sizes = {
            dim.name: size
            for spec in self.inputs
            for dim, size in zip(spec.dims, inputs[spec.name], strict=True)
            if dim.name is not None
        }
        # Rank 0 is also what an engine shows where it does not know the rank.
        if all(spec.dims and all(not dim.dynamic or dim.name in sizes for dim in spec.dims) for spec in self.outputs):
            return {spec.name: (spec.shape(sizes), np.dtype(spec.dtype)) for spec in self.outputs}
        zeros = {spec.name: np.zeros(inputs[spec.name], spec.dtype) for spec in self.inputs}
        return {name: (value.shape, value.dtype) for name, value in engine.run(zeros).items()}

    def _buffer(self, engine: Engine, shape: tuple[int, ...], dtype: np.dtype[Any], on_device: bool) -> Any:
        make = getattr(engine, "device_buffer" if on_device else "buffer", None if on_device else np.zeros)
        if make is None:
            raise self._no_device_memory()
        return make(shape, dtype.name)

    def _check_buffer(self, side: str, name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        host = isinstance(array, np.ndarray)
        flat = not host or (array.flags.c_contiguous and (array.flags.writeable or side == "input"))
        if array.shape == shape and array.dtype == dtype and flat:
            return
        raise InputError(
            f'{side} "{name}": the buffer is {array.dtype} {list(array.shape)}{"" if flat else ", with gaps or read-only"}; '
            f"expected {dtype} {list(shape)} in C order ({self.where}). Session.buffer makes one."
        )

    def _unknown(self, kind: str, name: str, known: Collection[str]) -> UsageError:
        return UsageError(
            f'unknown {kind} "{name}"; {did_you_mean(name, known)}available: {", ".join(known) or "(none)"} ({self.where})'
        )


class BoundCall:
    """A graph with its buffers. Write into `inputs`, call it, read `outputs`. Belongs to one thread at a time.

    Both are name -> C-contiguous numpy array (DeviceArray, when bound on the device), the same ones for good: every call
    overwrites the last one's outputs.
    """

    __slots__ = ("__weakref__", "_execute", "_explain", "inputs", "outputs")

    def __init__(
        self,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        execute: Callable[[], object],
        explain: Callable[[Exception], AttnError],
    ) -> None:
        # Read-only mappings: putting another array there would have no effect, and nobody would be told.
        self.inputs: Mapping[str, Any] = MappingProxyType(inputs)
        self.outputs: Mapping[str, Any] = MappingProxyType(outputs)
        self._execute, self._explain = execute, explain

    def __call__(self) -> Mapping[str, Any]:
        """Run on what `inputs` hold now; returns `outputs`. Raises InputError or BackendError when the graph fails."""
        try:
            self._execute()
        except AttnError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        return self.outputs


def _of_bundle(bundle: Bundle, graph: str | None, precision: str | None) -> tuple[str, GraphFile]:
    found = bundle.graph(graph)
    where = bundle.label(found)
    chosen = found.default_precision if precision is None else precision
    if chosen not in found.precisions:
        raise UsageError(
            f'unknown precision "{chosen}"; {did_you_mean(chosen, found.precisions)}'
            f"available: {', '.join(found.precisions)} ({where})"
        )
    entry = found.precisions[chosen]
    inputs, outputs = found.borders(chosen)
    cases = partial(_cases, found, entry)
    return chosen, GraphFile(entry.file, where, inputs, outputs, cases, bundle, found.name, chosen)


def _cases(graph: Graph, entry: Precision) -> Iterator[Case[Arrays]]:
    """The golden cases as the file of a precision takes them."""
    cases = graph.cases(entry.type)
    return (case.to_fp16() for case in cases) if entry.half_io else cases


def _plain(path: Path, graph: str | None, precision: str | None) -> GraphFile:
    if path.name == MANIFEST:
        raise BundleError(f"{path}: a bundle is opened by its folder; take {path.parent}")
    if graph or precision:
        raise UsageError(f"{path.name} is one graph in one file: it has no graph or precision to choose from")
    return GraphFile(path.absolute(), f"file {path.name}")


def _is_shape(value: object) -> bool:
    """Whole numbers in a row; an array of them too, where it is no longer than a shape can be."""
    if getattr(value, "ndim", 1) != 1 or not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        return False
    return len(value) <= _MOST_AXES and all(isinstance(size, int | np.integer) for size in value)


def _closed_error(where: str) -> UsageError:
    return UsageError(f"the session on {where} is closed; open another")
