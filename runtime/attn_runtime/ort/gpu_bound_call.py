"""Bound calls of ONNX Runtime on a GPU: buffers at fixed addresses, copied in and out, or the caller's own there.

Nothing here imports onnxruntime; `library` is the module. A place is ONNX Runtime's word for a kind of memory and a number:
("cuda", 0) at work, and ("cpu", 0) in the tests of a machine without a GPU, where the same calls reach the same library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from .. import forks
from ..device import DeviceArray, DeviceTensor
from ..interface import Array

Place = tuple[str, int]

# ONNX Runtime captures after one or two runs of a graph that it has not seen, depending on the provider.
_WARM_UP_RUNS = 3

# What a capture forbids to every thread of the process (cudaMalloc, for one) another capture would do.
_capturing = forks.lock()


class BoundOnGpu:
    """A bound call. Belongs to one thread at a time; ONNX Runtime keeps the CUDA graphs of each thread apart."""

    def __init__(self, session: Any) -> None:
        self._session, self._binding = session, session.io_binding()
        self._options: Any = None

    def __call__(self) -> None:
        raise NotImplementedError

    def capture(self, options: Any) -> None:
        """Run until ONNX Runtime has captured a CUDA graph under the id in these run options; replay it from now on."""
        self._options = options
        with _capturing:
            for _ in range(_WARM_UP_RUNS):
                self()

    def _run(self) -> None:
        self._session.run_with_iobinding(self._binding, self._options)


class DirectCall(BoundOnGpu):
    """On arrays of the caller that are on the GPU, which nothing is copied from or to."""

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, DeviceArray],
        outputs: Mapping[str, DeviceArray],
        place: Place,
        wait_for_others: Callable[[], None],
    ) -> None:
        super().__init__(session)
        self._wait_for_others = wait_for_others
        self._kept = (*inputs.values(), *outputs.values())
        for name, array in inputs.items():
            bind_input(self._binding, name, array, place)
        for name, array in outputs.items():
            self._binding.bind_output(name, *place, array.dtype.type, array.shape, array.address)

    def __call__(self) -> None:
        self._binding.synchronize_inputs()  # whoever fills them may still be at it
        self._wait_for_others()
        self._run()


class StagedCall(BoundOnGpu):
    """On buffers of its own, which every call copies the caller's numpy arrays into and out of.

    Arrays on the GPU among them are bound where they lie, as in a DirectCall.
    """

    def __init__(
        self,
        library: Any,
        session: Any,
        inputs: Mapping[str, Array | DeviceArray],
        outputs: Mapping[str, Array | DeviceArray],
        place: Place,
        wait_for_others: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(session)
        self._library, self._place = library, place
        both = (*inputs.values(), *outputs.values())
        self._kept = [array for array in both if isinstance(array, DeviceArray)]
        self._wait_for_others = wait_for_others if self._kept else None
        self._fed: list[tuple[Any, Array]] = []
        for name, array in inputs.items():
            if isinstance(array, DeviceArray):
                bind_input(self._binding, name, array, place)
                continue
            value = self._buffer(array)
            self._binding.bind_ortvalue_input(name, value)
            self._fed.append((value, array))
        self._read = []
        for name, array in outputs.items():
            if isinstance(array, DeviceArray):
                self._binding.bind_output(name, *place, array.dtype.type, array.shape, array.address)
                continue
            value = self._buffer(array)
            self._binding.bind_ortvalue_output(name, value)
            self._read.append((value, array, library.OrtValue.ortvalue_from_numpy(array)))
        self._straight = copies_straight(library, place)

    def __call__(self) -> None:
        for value, array in self._fed:
            value.update_inplace(array)
        if self._wait_for_others is not None:
            self._binding.synchronize_inputs()  # whoever fills them may still be at it
            self._wait_for_others()
        self._run()
        for value, array, host in self._read:
            if self._straight:
                host.update_inplace(value)
            else:
                np.copyto(array, value.numpy())

    def _buffer(self, array: Array) -> Any:
        value = self._library.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, *self._place)
        value.update_inplace(array)
        return value


def bind_input(binding: Any, name: str, tensor: DeviceTensor | DeviceArray, place: Place) -> None:
    """Bind input `name` to the memory of a tensor on the GPU, without a copy. The caller keeps the tensor alive.

    By address: what ONNX Runtime takes over by DLPack may not be boolean.
    """
    binding.bind_input(name, *place, tensor.dtype.type, tensor.shape, tensor.address)


@cache
def copies_straight(library: Any, place: Place) -> bool:
    """Whether this ONNX Runtime copies from the device into a numpy array that is there, without making a new one.

    Tried out, on one number: older versions refuse, and what a provider does with it is not documented.
    """
    there = library.OrtValue.ortvalue_from_shape_and_type((1,), np.float32, *place)
    there.update_inplace(np.array([1.5], np.float32))
    here = np.zeros(1, np.float32)
    try:
        library.OrtValue.ortvalue_from_numpy(here).update_inplace(there)
    except Exception:
        return False
    return bool(here[0] == 1.5)
