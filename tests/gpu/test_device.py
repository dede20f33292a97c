"""CudaDevice by itself: what the host device of the other tests promises must hold on a GPU."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from attn_runtime.device.buffers import Buffer, pinned_array
from attn_runtime.device.cuda_device import CudaDevice
from attn_runtime.device.interface import ALIGNMENT
from attn_runtime.device.memory_pool import Blocks
from attn_runtime.device.tensor import DeviceArray
from attn_runtime.errors import BackendError


@pytest.fixture
def device() -> CudaDevice:
    return CudaDevice(0)


def test_copies_there_and_back(device: CudaDevice) -> None:
    stream = device.create_stream()
    source = pinned_array(device, (1000,), np.dtype("float32"))
    target = pinned_array(device, (1000,), np.dtype("float32"))
    source[:] = np.arange(1000)
    there = device.allocate(source.nbytes)
    assert there % ALIGNMENT == 0
    device.copy(there, source.ctypes.data, source.nbytes, stream)
    device.copy(target.ctypes.data, there, source.nbytes, stream)
    device.synchronize(stream)
    np.testing.assert_array_equal(target, source)
    device.free(there)
    device.destroy_stream(stream)


def test_nothing_has_an_address_too(device: CudaDevice) -> None:
    address = device.allocate(0)
    assert address
    device.free(address)


def test_an_event_orders_streams(device: CudaDevice) -> None:
    """A long row of copies on one stream is over before the other stream reads its end."""
    first, second, event = device.create_stream(), device.create_stream(), device.create_event()
    nbytes = 64 * 2**20
    source, target = pinned_array(device, (nbytes,), np.dtype("uint8")), pinned_array(device, (1,), np.dtype("uint8"))
    source[:] = 7
    there = device.allocate(nbytes)
    for _ in range(10):
        device.copy(there, source.ctypes.data, nbytes, first)
    device.record(event, first)
    device.wait(second, event)
    device.copy(target.ctypes.data, there + nbytes - 1, 1, second)
    device.synchronize(second)
    assert target[0] == 7
    for stream in (first, second):
        device.synchronize(stream)
        device.destroy_stream(stream)
    device.destroy_event(event)
    device.free(there)


def test_a_captured_graph_does_not_run_until_it_is_launched(device: CudaDevice) -> None:
    stream = device.create_stream()
    source, target = (pinned_array(device, (4,), np.dtype("float32")) for _ in range(2))
    there = device.allocate(16)
    device.begin_capture(stream)
    device.copy(there, source.ctypes.data, 16, stream)
    device.copy(target.ctypes.data, there, 16, stream)
    graph = device.end_capture(stream)
    source[:] = 3
    device.synchronize(stream)
    assert not target.any()
    for value in (3, 5):
        source[:] = value
        device.launch(graph, stream)
        device.synchronize(stream)
        assert (target == value).all()
    device.destroy_graph(graph)
    device.free(there)
    device.destroy_stream(stream)


def test_another_thread_may_allocate_while_one_captures(device: CudaDevice) -> None:
    stream, failed = device.create_stream(), []

    def allocate() -> None:
        try:
            device.use()
            device.free(device.allocate(2**20))
        except BackendError as error:
            failed.append(error)

    device.begin_capture(stream)
    other = threading.Thread(target=allocate)
    other.start()
    other.join()
    device.destroy_graph(device.end_capture(stream))
    device.destroy_stream(stream)
    assert not failed


def test_what_can_not_be_captured_leaves_the_stream_usable(device: CudaDevice) -> None:
    stream = device.create_stream()
    device.begin_capture(stream)
    with pytest.raises(BackendError, match="cudaErrorStreamCapture"):
        device.synchronize(stream)
    with pytest.raises(BackendError):
        device.end_capture(stream)
    device.synchronize(stream)
    device.destroy_stream(stream)


def test_too_much_memory_is_told_by_its_name_and_survived(device: CudaDevice) -> None:
    with pytest.raises(BackendError, match="cudaMalloc answers cudaErrorMemoryAllocation"):
        device.allocate(2**50)
    device.free(device.allocate(2**20))


def test_a_buffer_grows(device: CudaDevice) -> None:
    buffer = Buffer.on_device(device)
    first = buffer.at_least(1000)
    assert buffer.at_least(10) == first
    assert buffer.at_least(10**7) % ALIGNMENT == 0
    buffer.close()


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool"])
def test_arrays_on_the_device_are_taken_over_by_torch(dtype: str, device: CudaDevice) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} has no CUDA")
    array = DeviceArray(device, Blocks(device).take(4096), (2, 3), np.dtype(dtype))
    told = array.__cuda_array_interface__
    assert told["data"] == (array.address, False)
    for taken in (torch.from_dlpack(array), torch.as_tensor(array, device="cuda:0")):
        assert taken.data_ptr() == array.address and tuple(taken.shape) == (2, 3)
        taken.fill_(1)
        torch.cuda.synchronize()
    np.testing.assert_array_equal(array.numpy(), np.ones((2, 3), dtype))
