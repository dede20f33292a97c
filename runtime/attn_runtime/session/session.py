"""Open a bundle or an ONNX file and run it: names, dtypes and ranges are checked here, once for every backend."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import arguments, forks
from ..bundle import Bundle
from ..device import as_array, check_bool, is_masked
from ..errors import AttnError, InputError, UsageError, did_you_mean
from ..escape import printable
from ..interface import Array, Engine
from ..spec import DTYPES, check_shapes, named_dims

if TYPE_CHECKING:
    from ..device import DeviceArray
    from ..stats import SessionStats

# Shapes that were once found good are not checked again; a caller with ever new ones must not fill the memory.
_MOST_REMEMBERED = 4096
_MOST_AXES = 32


class Session:
    """An open graph. `run` may be called from many threads at once. Use as a context manager, or `close` it.

    inputs, outputs   TensorSpecs with the ranges that the graph was checked for
    backend, device   who runs it, and where
    choice            which backend, device and precision, and whether "auto" left a GPU unused; one line
    passed_over       why none of the other backends and devices, a sentence each
    unused_gpu        the name of a GPU that is here and that "auto" could not use; None where there is none
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
        *,
        passed_over: Sequence[str] = (),
        unused_gpu: str | None = None,
    ) -> None:
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.backend, self.device, self.choice, self.where = backend, engine.device, choice, where
        self.passed_over, self.unused_gpu = tuple(passed_over), unused_gpu
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
        self._bools = tuple(spec.name for spec in self.inputs if spec.dtype == "bool")
        self._good: set[tuple[int, ...]] = set()
        self._bound: weakref.WeakSet[BoundCall] = weakref.WeakSet()
        self._ended = ""  # why it has no engine any more
        forks.watch(self)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Every output by name, in new numpy arrays.

        Inputs are numpy arrays or CPU tensors with DLPack; on a GPU also tensors on that GPU, with DLPack or
        __cuda_array_interface__. No copy is handed to the backend, but of one that is of foreign byte order, or a tensor
        that PyTorch negates when it is read; backends copy what is strided, and small inputs. Raises InputError for a name,
        dtype, rank or size that the graph does not take, and for a bool array with a byte other than 0 and 1.
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
        if not good:
            return self._call(self._checked(inputs))
        for name in self._bools:
            check_bool(name, inputs[name], self.where)
        return self._call(inputs)

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
        or DeviceArrays on this GPU (`buffer` makes either). They are used where they lie: each call reads what they hold
        then. A tensor of another library is not taken, its numpy view over the same memory is. Inputs given so need not be
        in `shapes`. What one call writes another may read that way: one array is the output of this bound call and the
        input of that one.

        Raises UsageError for an unknown name and for `on_device` where the backend has no such buffers, InputError for a
        size out of range and for a buffer of another dtype or shape.
        """
        engine = self._open_engine()
        given_kind = arguments.MAPPING | arguments.NONE
        arguments.expect(given_kind, shapes=shapes, inputs=inputs, outputs=outputs)
        arguments.expect(arguments.FLAG, on_device=on_device)
        given: dict[str, Any] = dict(inputs or {})
        taken: dict[str, Any] = dict(outputs or {})
        for name, known, kind in [(n, self._by_name, "input") for n in given] + [
            (n, {spec.name: spec for spec in self.outputs}, "output") for n in taken
        ]:
            if name not in known:
                raise self._unknown(kind, name, known)
            self._check_kind(kind, name, (given if kind == "input" else taken)[name])
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
        check = partial(
            _check_bools, [(n, given[n]) for n in self._bools if isinstance(given[n], np.ndarray)], self.where
        )
        bound = self._call_on(
            given, taken, engine.bind(given, taken), engine.explain, self.where, check if check.args[0] else None
        )
        self._bound.add(bound)
        return bound

    def buffer(self, shape: Sequence[int], dtype: str, *, on_device: bool = False) -> Any:
        """Zeros for `bind`: a numpy array in the host memory that the backend likes best, or a DeviceArray with `on_device`.

        Raises UsageError for `on_device` where the backend has no such buffers (`has_device_buffers` tells).
        """
        engine = self._open_engine()
        arguments.expect(arguments.Kind("a shape, whole numbers of 0 or more", _is_shape), shape=shape)
        arguments.expect(arguments.TEXT, dtype=dtype)
        arguments.expect(arguments.FLAG, on_device=on_device)
        if dtype not in DTYPES:
            raise UsageError(f"dtype: got {arguments.shown(dtype)}, expected one of {', '.join(sorted(DTYPES))}")
        try:
            return self._buffer(engine, tuple(map(int, shape)), np.dtype(dtype), on_device)
        except (MemoryError, ValueError, OverflowError) as error:
            raise InputError(f"a buffer of {dtype} {list(map(int, shape))} does not fit in memory ({error})") from error

    @property
    def has_device_buffers(self) -> bool:
        """Whether `buffer` and `bind` can give DeviceArrays."""
        return getattr(self._open_engine(), "device_buffer", None) is not None

    def asset(self, name: str) -> Any | None:
        """The parsed JSON of an asset ("labels", "image"), of the bundle or inside the ONNX file; None without one."""
        arguments.expect(arguments.TEXT, name=name)
        return self._bundle.asset(name) if self._bundle else self._assets.get(name)

    def stats(self) -> SessionStats:
        """How many calls there were, how many failed, how many rows they had and how long they took; bound calls too.

        Raises UsageError for a session that was not opened with stats=True: counting costs a small graph's call some percent.
        """
        raise UsageError(
            f"the session on {self.where} does not count its calls; open it with open_session(..., stats=True)"
        )

    def close(self) -> None:
        """Let go of the engine. Calls of this session and of what it bound raise UsageError from now on.

        On a GPU, its memory is given back once the calls that are running are done.
        """
        engine = self._engine
        ended = self._end(f"the session on {self.where} is closed; open another")
        for bound in list(self._bound):
            bound._execute = ended
        if (close := getattr(engine, "close", None)) is not None:
            close()

    def after_fork(self) -> None:
        """In a child of a fork: calls raise UsageError from now on. What it bound is told by itself."""
        if self._engine is not None:
            forks.abandon(self._engine)
            self._end(forks.opened_before("session", self.where))

    def _end(self, why: str) -> Callable[..., Any]:
        self._engine, self._call, self._ended = None, _raiser(why), why
        return self._call

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise arguments.not_copied(f"the session on {self.where}", "open it again from its path, with open_session")

    def __repr__(self) -> str:
        sides = " -> ".join(", ".join(map(str, side)) for side in (self.inputs, self.outputs))
        return f"<Session {self.where}: {sides}; {self.backend} on {self.device}>"

    def _call_on(self, *parts: Any) -> BoundCall:
        return BoundCall(*parts)

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise UsageError(self._ended)
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
        sizes = {name: operator.index(value) for name, value in asked.items() if _is_size(value)}  # type: ignore[arg-type]
        for name, value in asked.items():
            if name not in sizes and not _is_shape(value):
                raise UsageError(
                    f'shapes "{printable(name, 80)}": got {arguments.shown(value)}, expected a dim\'s size or an '
                    f"input's shape; an array goes in by its keyword, bind(inputs={{...}}) ({self.where})"
                )
        whole = {name: tuple(map(operator.index, value)) for name, value in asked.items() if name not in sizes}  # type: ignore[arg-type]
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

    def _check_kind(self, side: str, name: str, array: Any) -> None:
        """A buffer is memory that the engine uses where it lies, which other kinds of arrays and tensors do not promise."""
        if isinstance(array, np.ndarray) and not is_masked(array):
            return
        from ..device import DeviceArray

        if isinstance(array, DeviceArray) and self.has_device_buffers:
            return
        on_gpu = " or a DeviceArray" if self.has_device_buffers else ""
        raise InputError(
            f'{side} "{name}": the buffer is a {arguments.type_name(array)}, expected a numpy array{on_gpu} '
            f"({self.where}). Give a numpy view "
            "over the same memory, or take one of Session.buffer."
        )

    def _check_buffer(self, side: str, name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        host = isinstance(array, np.ndarray)
        flags = array.flags if host else None
        flat = flags is None or (flags.c_contiguous and flags.aligned and (flags.writeable or side == "input"))
        if array.shape == shape and array.dtype == dtype and flat:
            return
        wrong = "" if flat else ", with gaps or read-only" if flags is None or flags.aligned else ", unaligned"
        raise InputError(
            f'{side} "{name}": the buffer is {array.dtype} {list(array.shape)}{wrong}; '
            f"expected {dtype} {list(shape)} in C order ({self.where}). Session.buffer makes one."
        )

    def _unknown(self, kind: str, name: str, known: Collection[str]) -> UsageError:
        return UsageError(
            f'unknown {kind} "{printable(name, 80)}"; {did_you_mean(name, known)}available: '
            f"{', '.join(known) or '(none)'} ({self.where})"
        )


class BoundCall:
    """A graph with its buffers. Write into `inputs`, call it, read `outputs`. Belongs to one thread at a time.

    A bool buffer takes whatever bytes are written into its memory; those other than 0 and 1 are refused when it is called.

    Both are name -> C-contiguous numpy array (DeviceArray, when bound on the device), the same ones for good: every call
    overwrites the last one's outputs.
    """

    __slots__ = ("__weakref__", "_check", "_execute", "_explain", "_where", "inputs", "outputs")

    def __init__(
        self,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        execute: Callable[[], object],
        explain: Callable[[Exception], AttnError],
        where: str,
        check: Callable[[], object] | None = None,
    ) -> None:
        # Read-only mappings: putting another array there would have no effect, and nobody would be told.
        self.inputs: Mapping[str, Any] = MappingProxyType(inputs)
        self.outputs: Mapping[str, Any] = MappingProxyType(outputs)
        self._execute, self._explain, self._where, self._check = execute, explain, where, check
        forks.watch(self)

    def __call__(self) -> Mapping[str, Any]:
        """Run on what `inputs` hold now; returns `outputs`. Raises InputError or BackendError when the graph fails."""
        if self._check is not None:
            self._check()
        try:
            self._execute()
        except AttnError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        return self.outputs

    def after_fork(self) -> None:
        """In a child of a fork: calls raise UsageError from now on."""
        forks.abandon((self._execute, self._explain))
        self._execute = _raiser(forks.opened_before("session", self._where))

    def __reduce__(self) -> NoReturn:
        raise arguments.not_copied("a bound call", "open a session there, with open_session, and bind again")


def _check_bools(arrays: Sequence[tuple[str, Array]], where: str) -> None:
    for name, array in arrays:
        check_bool(name, array, where)


def _is_size(value: object) -> bool:
    """A whole number that a size can be; an array of one axis or none is a shape, or none."""
    return arguments.is_whole(value) and not isinstance(value, np.ndarray) and abs(operator.index(value)) < 1 << 63  # type: ignore[arg-type]


def _is_shape(value: object) -> bool:
    """Whole numbers of 0 or more in a row; an array of them too, where it is no longer than a shape can be."""
    if getattr(value, "ndim", 1) != 1 or not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        return False
    return len(value) <= _MOST_AXES and all(_is_size(size) and size >= 0 for size in value)


def _raiser(why: str) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise UsageError(why)

    return refuse
