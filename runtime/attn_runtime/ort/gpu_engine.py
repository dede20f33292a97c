"""A session of ONNX Runtime on a GPU: tensors on the GPU in place, bound calls at fixed addresses, CUDA graphs.

Nothing here imports onnxruntime; `library` is the module.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..device import DEFAULT_STREAM, DLPACK_CPU, DLPACK_CUDA, DeviceArray, DeviceTensor, Intake
from ..errors import UsageError
from ..interface import Array, GraphFile
from .device_memory import DeviceMemory
from .engine import OrtEngine, dtype_of
from .gpu_bound_call import BoundOnGpu, DirectCall, StagedCall, bind_input
from .providers import GraphIds

Feed = Mapping[str, Array | DeviceTensor]
Arrays = Mapping[str, Any]  # numpy arrays, or DeviceArrays


class GpuEngine(OrtEngine):
    """See `Engine` and, where there is `memory`, `DeviceEngine`. With `graphs`, bound calls are captured as CUDA graphs.

    Only bound calls are: a graph reads and writes the addresses that it was captured with, and what `run` is given lies
    elsewhere each time.
    """

    # A session looks for these by name, and finds them where there is memory for them.
    buffer: Callable[[tuple[int, ...], str], Array]
    device_buffer: Callable[[tuple[int, ...], str], DeviceArray]
    run_on_device: Callable[[Feed], dict[str, DeviceArray]]
    close: Callable[[], None]

    def __init__(
        self,
        library: Any,
        session: Any,
        graph: GraphFile,
        number: int,
        graphs: GraphIds | None = None,
        memory: DeviceMemory | None = None,
        device_type: str = "cuda",
    ) -> None:
        super().__init__(session, graph, f"cuda:{number}")
        self._library, self._place = library, (device_type, number)
        # ONNX Runtime does not show its stream. Producers order their work before the default stream, which is waited for
        # before a run that reads their tensors: by the CUDA provider itself, or with `memory`.
        wait, use = (memory.wait_for, memory.use) if memory else (_by_the_provider, _by_the_provider)
        type_ = DLPACK_CUDA if device_type == "cuda" else DLPACK_CPU
        self.intake: Intake | None = Intake(type_, number, DEFAULT_STREAM, wait, use)
        self._graphs, self._ids, self._binding = graphs, itertools.count(1), threading.Lock()
        self._plain: Any = None
        if graphs is not None and graphs.option is not None and graphs.skip is not None:
            self._plain = self._run_options(graphs.option, graphs.skip)
        self._memory = memory
        if memory is not None:
            self.buffer, self.device_buffer, self.close = memory.pinned, memory.zeros, memory.close
            self.run_on_device = self._run_on_device

    def run(self, feed: Feed) -> dict[str, Array]:
        """As `Engine.run`. A tensor on this GPU is read where it lies."""
        self._check_may_run()
        try:
            if any(isinstance(value, DeviceTensor) for value in feed.values()):
                answers = self._run_in_place(feed, "cpu", 0).copy_outputs_to_cpu()
            else:
                answers = self._session.run(self._names, feed, self._plain)
        except Exception as error:
            raise self.explain(error) from error
        return dict(zip(self._names, answers, strict=True))

    def bind(self, inputs: Arrays, outputs: Arrays) -> BoundOnGpu:
        """As `Engine.bind`; DeviceArrays among them are not copied."""
        with self._binding:
            number = next(self._ids)
            if self._graphs is not None and self._graphs.option is None and number > 1:
                raise UsageError(
                    f"{self._where}: this provider keeps one CUDA graph a session, which belongs to the shape that was "
                    f"bound first. Open another session for another shape, or take backend ort."
                )
            try:
                call = self._bound(inputs, outputs)
                if self._graphs is not None:
                    option = self._graphs.option
                    call.capture(self._run_options(option, number) if option else self._library.RunOptions())
            except Exception as error:
                if self._graphs is not None and self._graphs.option is None:
                    self._ids = itertools.count(number)
                raise self.explain(error) from error
            return call

    def _bound(self, inputs: Arrays, outputs: Arrays) -> BoundOnGpu:
        if all(isinstance(array, DeviceArray) for array in (*inputs.values(), *outputs.values())):
            return DirectCall(self._session, inputs, outputs, self._place, self._wait_for_others)
        return StagedCall(self._library, self._session, inputs, outputs, self._place, self._wait_for_others)

    def _run_on_device(self, feed: Feed) -> dict[str, DeviceArray]:
        assert self._memory is not None
        self._check_may_run()
        try:
            binding = self._run_in_place(feed, *self._place)
            values = binding.get_outputs()
            told = [(value.data_ptr(), tuple(value.shape()), dtype_of(value.data_type())) for value in values]
            return dict(zip(self._names, self._memory.copies(told), strict=True))
        except Exception as error:
            raise self.explain(error) from error

    def _run_in_place(self, feed: Feed, device_type: str, number: int) -> Any:
        """The binding of a run whose outputs are in memory of ONNX Runtime's, since their shapes are not known before."""
        binding = self._session.io_binding()
        for name, value in feed.items():
            if isinstance(value, DeviceTensor):
                bind_input(binding, name, value, self._place)
            else:
                binding.bind_cpu_input(name, value)
        for name in self._names:
            binding.bind_output(name, device_type, number)
        binding.synchronize_inputs()
        if any(isinstance(value, DeviceTensor) for value in feed.values()):
            self._wait_for_others()
        self._session.run_with_iobinding(binding, self._plain)
        return binding

    def _wait_for_others(self) -> None:
        # What `synchronize_inputs` waits for is left to each provider, and those of TensorRT wait for nothing.
        if self._memory is not None:
            self._memory.wait_for(DEFAULT_STREAM)

    def _check_may_run(self) -> None:
        if self._graphs is not None and self._graphs.option is None:
            raise UsageError(
                f"{self._where}: with cuda_graph, this provider answers one bound call alone. Call bind, or open the "
                f"session without cuda_graph."
            )

    def _run_options(self, option: str, number: int) -> Any:
        options = self._library.RunOptions()
        options.add_run_config_entry(option, str(number))
        return options


def _by_the_provider(*_: object) -> None:
    """Nothing: the CUDA provider waits for the whole device before the run."""
