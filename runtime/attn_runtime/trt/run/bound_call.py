"""A call of fixed shapes on buffers of its own: one launch of a CUDA graph where the engine can be captured."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...device import DEFAULT_STREAM, Buffer, Device, DeviceArray, host_view
from ...errors import BackendError, InputError, UsageError
from .context import ContextState, Copy, capture, put, put_copies
from .executor import Executor, IoTensor, Shape
from .stream import ExecutionStream

HostArrays = Mapping[str, NDArray[Any]]
DeviceArrays = Mapping[str, DeviceArray]


class BoundRun:
    """Calls on the arrays it was made with, which the caller keeps; owns its stream. Belongs to one thread at a time.

    Numpy arrays in page-locked memory (`is_pinned` tells) are copied from and to directly, others through such memory of
    ours. Arrays on the device are not copied at all; a call waits for what the default stream does with them, since most
    fill and read them there. Whoever works on another stream waits for it first. Where inputs on the host decide on
    shapes, or outputs' shapes follow from values, nothing is captured, and a call that gives an output another shape
    raises InputError.
    """

    def __init__(
        self,
        device: Device,
        executor: Executor,
        lane: ExecutionStream,
        inputs: HostArrays | DeviceArrays,
        outputs: HostArrays | DeviceArrays,
        is_pinned: Callable[[NDArray[Any]], bool],
        where: str,
    ) -> None:
        self._device, self._lane, self._where = device, lane, where
        self._tensors: Mapping[str, IoTensor] = {tensor.name: tensor for tensor in executor.tensors}
        self._arrays: Mapping[str, Any] = {**inputs, **outputs}
        self._shapes: Mapping[str, Shape] = {name: tuple(value.shape) for name, value in inputs.items()}
        self._output_names = list(outputs)
        self._is_pinned = is_pinned
        self._buffers: dict[str, Buffer] = {}
        self._host: dict[str, int] = {}
        self._staged: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._unstaged: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._graph = 0
        self._running = threading.Lock()
        self._on_device = any(isinstance(value, DeviceArray) for value in self._arrays.values())
        self._values_vary = any(self._tensors[name].on_host for name in inputs)
        self._prepared: ContextState | None = None
        device.use()
        try:
            self._addresses = {name: self._place(name) for name in self._arrays}
            self._before = self._copies(inputs, into_device=True)
            self._prepared = lane.new_context(self._shapes)
            self._warm_up(executor, self._prepared)
        except BaseException:
            self.close()
            raise

    def __call__(self) -> None:
        with self._running:  # a session that is closed meanwhile waits for this call
            self._call()

    def _call(self) -> None:
        if not self._lane.stream:
            raise UsageError(f"{self._where}: the session is closed; open another")
        self._device.use()
        for target, source in self._staged:
            np.copyto(target, source)
        if self._on_device:
            self._lane.wait_for(DEFAULT_STREAM)
        if self._graph:
            self._device.launch(self._graph, self._lane.stream)
            self._device.synchronize(self._lane.stream)
        else:
            assert self._prepared is not None  # set for good before anybody can call
            self._run(self._prepared)
        for target, source in self._unstaged:
            np.copyto(target, source)

    def close(self) -> None:
        """Free everything but the caller's arrays. Closing twice is closing once."""
        with self._running:
            if not self._lane.stream:
                return
            self._device.use()
            with suppress(BackendError):  # a GPU that failed has nothing left that runs
                self._device.synchronize(self._lane.stream)
            if self._graph:
                self._device.destroy_graph(self._graph)
            if self._prepared is not None:
                self._prepared.close()
            for buffer in self._buffers.values():
                buffer.close()
            self._lane.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(Exception):
                self.close()

    def _place(self, name: str) -> int:
        """Where the engine finds or leaves a tensor: the array itself, or memory of ours."""
        array, tensor = self._arrays[name], self._tensors[name]
        if isinstance(array, DeviceArray):
            if tensor.on_host:
                raise BackendError(f"{self._where}: {name} decides on shapes and lies on the host; bind numpy arrays")
            return array.address
        self._host[name] = self._host_side(name, array)
        if tensor.on_host:
            return self._host[name]
        self._buffers[name] = Buffer.on_device(self._device)
        return self._buffers[name].at_least(array.nbytes)

    def _host_side(self, name: str, array: NDArray[Any]) -> int:
        if self._is_pinned(array):
            return int(array.ctypes.data)
        buffer = self._buffers[f"{name} (pinned)"] = Buffer.pinned(self._device)
        ours = host_view(buffer.at_least(array.nbytes), array.shape, array.dtype)
        (self._staged if self._tensors[name].is_input else self._unstaged).append(
            (ours, array) if self._tensors[name].is_input else (array, ours)
        )
        return buffer.address

    def _copies(self, arrays: HostArrays | DeviceArrays, into_device: bool) -> list[Copy]:
        return [
            (self._addresses[name], self._host[name], array.nbytes)
            if into_device
            else (self._host[name], self._addresses[name], array.nbytes)
            for name, array in arrays.items()
            if name in self._host and not self._tensors[name].on_host
        ]

    def _warm_up(self, executor: Executor, prepared: ContextState) -> None:
        for target, source in self._staged:
            np.copyto(target, source)
        self._run(prepared)
        if executor.captures_itself or self._values_vary or prepared.why_not_captured(self._lane.stream):
            return
        arrays = {name: self._arrays[name] for name in self._output_names}
        after = self._copies(arrays, into_device=False)
        self._graph = capture(self._device, self._lane.stream, self._before, prepared.context, after)

    def _run(self, prepared: ContextState) -> None:
        """Without a graph."""
        stream = self._lane.stream
        on_host = {n: a for n, a in self._addresses.items() if n in self._shapes and self._tensors[n].on_host}
        values = b"".join(
            host_view(address, self._shapes[name], np.dtype(self._tensors[name].dtype)).tobytes()
            for name, address in on_host.items()
        )
        prepared.prepare(self._shapes, values, on_host)
        for name, address in self._addresses.items():
            if name in self._shapes and name not in on_host:
                prepared.set_address(name, address)
        growing = prepared.growing()
        for name in self._output_names:
            if name in growing:
                if name not in self._buffers:
                    raise BackendError(f"{self._where}: the shape of {name} follows from values; bind numpy arrays")
                prepared.set_growing(name, self._buffers[name])
            else:
                self._check_shape(name, prepared.outputs[name])
                prepared.set_address(name, self._addresses[name])
        put(self._device, stream, self._before, prepared.context, [])
        for name in growing:
            self._check_shape(name, prepared.shape(name))
            self._addresses[name] = self._buffers[name].address
        arrays = {name: self._arrays[name] for name in self._output_names}
        put_copies(self._device, stream, self._copies(arrays, into_device=False))
        self._device.synchronize(stream)

    def _check_shape(self, name: str, shape: Shape) -> None:
        if shape != self._arrays[name].shape:
            self._device.synchronize(self._lane.stream)
            raise InputError(
                f"{self._where}: {name} has shape {list(shape)} for these values, and {list(self._arrays[name].shape)} is "
                f"bound. Call run instead of bind."
            )
