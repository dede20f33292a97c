"""An engine that a session runs: a pool of lanes over one deserialized engine. See `attn_runtime.interface.Engine`."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import forks
from ...device import Blocks, Device, DeviceArray, Intake, Pool, pinned_array
from ...errors import AttnError, BackendError
from ...spec import TensorSpec
from .bound_call import BoundRun
from .executor import Executor, Shape
from .stream import ExecutionStream, Feed, StreamOptions

Array = NDArray[Any]


class EnginePool:
    """Runs one engine for many threads, at most `most_lanes` calls at a time; further ones wait.

    A lane is an execution context per profile with a stream, scratch memory and buffers of its own, made when it is first
    needed: memory grows with the threads that really call at once. The first one is made here, so that an engine that
    can't run fails when it is opened. `close` waits for the calls that are running, then frees everything but the arrays
    that were handed out. `on_close` is called once while the engine still lives: by `close`, when the runner goes without
    it, or when the process ends. `note` is for people: what is not as it could be.
    """

    def __init__(
        self,
        device: Device,
        executor: Executor,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        options: StreamOptions,
        *,
        most_lanes: int = 4,
        note: str | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.device, self.inputs, self.outputs, self.note = device.name, inputs, outputs, note
        self.assets: Mapping[str, Any] = {}
        self._on, self._executor, self._options = device, executor, options
        self._finish = forks.finalize(self, _quietly, on_close)
        self._blocks = Blocks(device)
        self._pinned: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()
        self._bound: weakref.WeakSet[BoundRun] = weakref.WeakSet()
        self._making = threading.Lock()
        device.use()
        self._intake_event = device.create_event()
        self.intake = Intake(device.dlpack_type, device.number, device.create_stream(), self._wait_for, device.use)
        self._pool: Pool[ExecutionStream] = Pool(self._make_lane, most_lanes)
        try:
            with self._told(), self._pool.take() as lane:
                self._check_capturable(lane)
        except BaseException:
            self.close()
            raise

    def run(self, feed: Feed) -> dict[str, Array]:
        """Every output, in new numpy arrays; inputs are numpy arrays and tensors on this device, mixed as one likes."""
        with self._told(), self._pool.take() as lane:
            return lane.run(feed)

    def run_on_device(self, feed: Feed) -> dict[str, DeviceArray]:
        """Every output in device memory, complete when this returns."""
        with self._told(), self._pool.take() as lane:
            return lane.run_on_device(feed)

    def buffer(self, shape: Shape, dtype: str) -> Array:
        """Zeros in page-locked memory, for `bind`: copies from and to it need no other memory in between."""
        array = pinned_array(self._on, shape, np.dtype(dtype))
        if array.nbytes:
            self._pinned[array.ctypes.data] = array
        return array

    def device_buffer(self, shape: Shape, dtype: str) -> DeviceArray:
        """Zeros in device memory, for `bind`: it runs once on them, and any bytes at all could be indices beyond a table."""
        wanted = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * wanted.itemsize
        array = DeviceArray(self._on, self._blocks.take(nbytes), shape, wanted)
        array.write(np.zeros(shape, wanted))
        return array

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Callable[[], object]:
        """A call on these arrays: of `buffer` or other C-contiguous numpy arrays, and of `device_buffer`, mixed as one likes."""
        with self._told():
            lane = self._make_lane()
            bound = BoundRun(self._on, self._executor, lane, inputs, outputs, self._is_pinned, self._options.where)
        self._bound.add(bound)
        return bound

    def explain(self, error: Exception) -> AttnError:
        return BackendError(f"{self._options.where}: TensorRT failed on {self.device}: {' '.join(str(error).split())}")

    def close(self) -> None:
        """Closing twice is closing once."""
        self._pool.close()
        for bound in list(self._bound):
            bound.close()
        self._finish()
        self._on.use()
        self._blocks.close()
        if self._intake_event:
            event, self._intake_event = self._intake_event, 0
            self._on.destroy_event(event)
            self._on.destroy_stream(self.intake.stream)
            self._executor.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(Exception):
                self.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The library raises what it likes (a RuntimeError for a number); a user gets one line."""
        try:
            yield
        except AttnError:
            raise
        except Exception as error:
            raise self.explain(error) from error

    def _make_lane(self) -> ExecutionStream:
        with self._making:
            return ExecutionStream(self._on, self._executor, self._blocks, self.intake.stream, self._options)

    def _is_pinned(self, array: Array) -> bool:
        owned = self._pinned.get(array.ctypes.data) if array.nbytes else None
        return owned is not None and owned.nbytes >= array.nbytes

    def _wait_for(self, stream: int) -> None:
        self._on.use()
        with self._making:
            self._on.record(self._intake_event, stream)
            self._on.wait(self.intake.stream, self._intake_event)

    def _check_capturable(self, lane: ExecutionStream) -> None:
        """Refuse `cuda_graph` now where it can't be, instead of at some later call."""
        executor = self._executor
        if not self._options.cuda_graph or any(t.is_input and t.on_host for t in executor.tensors):
            return
        opt = {name: shapes[1] for name, shapes in executor.profiles[0].items()}
        growing = [name for name, shape in lane.output_shapes(opt).items() if -1 in shape]
        if growing:
            raise BackendError(
                f"{self._options.where}: a CUDA graph has fixed shapes, and that of {', '.join(growing)} follows from "
                f"values; open it without cuda_graph"
            )


def _quietly(work: Callable[[], None] | None) -> None:
    if work is not None:
        with suppress(Exception):  # nobody is there to be told
            work()
