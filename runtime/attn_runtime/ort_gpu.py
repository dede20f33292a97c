"""A session of ONNX Runtime on a GPU: bound calls on device memory at fixed addresses, CUDA graphs, GPU tensors in place.

A bound call owns a device buffer for every input and output. Calling it copies the caller's numpy arrays in, runs, and
copies the outputs out, each copy finished before the next step begins. Fixed addresses are what a CUDA graph needs.

Nothing here imports onnxruntime. `device_type` is ONNX Runtime's word for where the buffers lie: "cuda" at work, and
"cpu" in the tests of a machine without a GPU, where the same calls reach the same library.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .backends import Array, GraphFile
from .device.interface import DLPACK_CPU, DLPACK_CUDA
from .device.tensor import DeviceTensor, Intake
from .errors import InputError, UsageError
from .ort_engine import OrtEngine

# ONNX Runtime captures after one or two runs of a graph that it has not seen, depending on the provider.
_WARM_UP_RUNS = 3

# ONNX Runtime does not show its stream. Producers order their work before the default stream, and the whole device is
# waited for before a run that reads their tensors.
_LEGACY_STREAM = 1

# What a capture forbids to every thread of the process (cudaMalloc, for one) another capture would do.
_capturing = threading.Lock()


@dataclass(frozen=True)
class GraphIds:
    """How a provider tells the CUDA graphs of one session apart: by a number under this run option.

    `skip` is the number of a run that is neither captured nor replayed; None where the provider sees to that itself.
    """

    option: str
    skip: int | None


class GpuEngine(OrtEngine):
    """See `Engine`. With `graphs`, every bound call is captured as a CUDA graph of its own.

    Only bound calls are: a graph reads and writes the addresses that it was captured with, and what `run` is given lies
    elsewhere each time.
    """

    def __init__(
        self,
        library: Any,
        session: Any,
        graph: GraphFile,
        number: int,
        graphs: GraphIds | None = None,
        device_type: str = "cuda",
    ) -> None:
        super().__init__(session, graph, f"cuda:{number}")
        self._library, self._place = library, (device_type, number)
        self.intake = Intake(DLPACK_CUDA if device_type == "cuda" else DLPACK_CPU, number, _LEGACY_STREAM, _wait)
        self._graphs, self._ids = graphs, itertools.count(1)
        self._plain: Any = None
        if graphs is not None and graphs.skip is not None:
            self._plain = _run_options(library, graphs.option, graphs.skip)

    def run(self, feed: Mapping[str, Array | DeviceTensor]) -> dict[str, Array]:
        """As `Engine.run`. A tensor on this GPU is read where it lies."""
        try:
            if any(isinstance(value, DeviceTensor) for value in feed.values()):
                answers = self._run_in_place(feed)
            else:
                answers = self._session.run(self._names, feed, self._plain)
        except Exception as error:
            raise self.explain(error) from error
        return dict(zip(self._names, answers, strict=True))

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> DeviceCall:
        try:
            call = DeviceCall(self._library, self._session, inputs, outputs, *self._place)
            if self._graphs is not None:
                call.capture(_run_options(self._library, self._graphs.option, next(self._ids)))
        except Exception as error:
            raise self.explain(error) from error
        return call

    def _run_in_place(self, feed: Mapping[str, Array | DeviceTensor]) -> list[Array]:
        binding = self._session.io_binding()
        for name, value in feed.items():
            if isinstance(value, DeviceTensor):
                bind_input(binding, name, value, self._place)
            else:
                binding.bind_cpu_input(name, np.asarray(value, order="C"))
        for name in self._names:
            binding.bind_output(name)  # in memory that ONNX Runtime allocates, since the shapes are not known
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding, self._plain)
        answers: list[Array] = binding.copy_outputs_to_cpu()
        return answers


class OneGraphEngine(GpuEngine):
    """For a provider that keeps one CUDA graph for the whole session, and replays it whatever a run is given."""

    def __init__(self, library: Any, session: Any, graph: GraphFile, number: int, device_type: str = "cuda") -> None:
        super().__init__(library, session, graph, number, None, device_type)
        self._taken, self._taking = False, threading.Lock()

    def run(self, feed: Mapping[str, Array | DeviceTensor]) -> dict[str, Array]:
        raise UsageError(
            f"{self._where}: with cuda_graph, this provider answers one bound call alone. Call bind, or open the "
            f"session without cuda_graph."
        )

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> DeviceCall:
        with self._taking:
            if self._taken:
                raise UsageError(
                    f"{self._where}: this provider keeps one CUDA graph a session, which belongs to the shape that was "
                    f"bound first. Open another session for another shape, or take backend ort."
                )
            call = super().bind(inputs, outputs)
            try:
                call.capture(self._library.RunOptions())
            except Exception as error:
                raise self.explain(error) from error
            self._taken = True
            return call


class DeviceCall:
    """A bound call. Belongs to one thread at a time; ONNX Runtime keeps the CUDA graphs of each thread apart."""

    def __init__(
        self,
        library: Any,
        session: Any,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        device_type: str,
        number: int,
    ) -> None:
        self._library, self._session, self._place = library, session, (device_type, number)
        self._binding = session.io_binding()
        self._options: Any = None
        self._buffers = inputs
        self._kept: dict[str, Any] = {}
        self._fed: dict[str, tuple[Any, Array]] = {}
        for name, array in inputs.items():
            value = self._buffer(array)
            self._binding.bind_ortvalue_input(name, value)
            self._fed[name] = value, array
        self._read = []
        for name, array in outputs.items():
            value = self._buffer(array)
            self._binding.bind_ortvalue_output(name, value)
            self._read.append((value, array, library.OrtValue.ortvalue_from_numpy(array)))
        self._straight = copies_straight(library, device_type, number)

    def __call__(self) -> None:
        for value, array in self._fed.values():
            value.update_inplace(array)
        if self._kept:
            self._binding.synchronize_inputs()  # whoever fills these tensors may still be at it
        self._session.run_with_iobinding(self._binding, self._options)
        for value, array, host in self._read:
            if self._straight:
                host.update_inplace(value)
            else:
                np.copyto(array, value.numpy())

    def capture(self, options: Any) -> None:
        """Run until ONNX Runtime has captured a CUDA graph under the id in these run options; replay it from now on."""
        self._options = options
        with _capturing:
            for _ in range(_WARM_UP_RUNS):
                self()

    def bind_input(self, name: str, tensor: DeviceTensor) -> None:
        """Read input `name` from a tensor on this GPU at every call from now on, instead of copying it in.

        Raises InputError for one that is not of the bound shape and dtype, UsageError where a CUDA graph has captured
        the address.
        """
        if self._options is not None:
            raise UsageError(f'input "{name}": a CUDA graph has its address; open the session without cuda_graph')
        like = self._buffers[name]
        if (tensor.dtype, tensor.shape) != (like.dtype, like.shape):
            raise InputError(
                f'input "{name}": got {tensor.dtype.name} {list(tensor.shape)}; bound is {like.dtype.name} '
                f"{list(like.shape)}. Bind that shape."
            )
        bind_input(self._binding, name, tensor, self._place)
        self._fed.pop(name, None)
        self._kept[name] = tensor

    def _buffer(self, array: Array) -> Any:
        value = self._library.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, *self._place)
        value.update_inplace(array)
        return value


def bind_input(binding: Any, name: str, tensor: DeviceTensor, place: tuple[str, int]) -> None:
    """Bind input `name` to the memory of a tensor on the GPU, without a copy. The caller keeps the tensor alive.

    By address: what ONNX Runtime takes over by DLPack may not be boolean.
    """
    binding.bind_input(name, *place, tensor.dtype.type, tensor.shape, tensor.address)


@cache
def copies_straight(library: Any, device_type: str, number: int) -> bool:
    """Whether this ONNX Runtime copies from the device into a numpy array that is there, without making a new one.

    Tried out, on one number: older versions refuse, and what a provider does with it is not documented.
    """
    there = library.OrtValue.ortvalue_from_shape_and_type((1,), np.float32, device_type, number)
    there.update_inplace(np.array([1.5], np.float32))
    here = np.zeros(1, np.float32)
    try:
        library.OrtValue.ortvalue_from_numpy(here).update_inplace(there)
    except Exception:
        return False
    return bool(here[0] == 1.5)


def _wait(stream: int) -> None:
    """Nothing: all streams are waited for before the run."""


def _run_options(library: Any, option: str, number: int) -> Any:
    options = library.RunOptions()
    options.add_run_config_entry(option, str(number))
    return options
