"""Memory that is lent, grows, and comes back: on a device whose every wrong copy fails."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch
from attn_runtime.device.buffers import Buffer, host_view, pinned_array
from attn_runtime.device.interface import DEFAULT_STREAM
from attn_runtime.device.memory_pool import Blocks
from attn_runtime.device.tensor import DeviceArray
from attn_runtime.errors import BackendError, InputError
from support.machines.host_device import HostDevice

pytestmark = pytest.mark.usefixtures("own_garbage")


@pytest.fixture
def device() -> HostDevice:
    made = HostDevice()
    made.use()
    return made


# --- the device itself: what the other tests rely on ----------------------------------------------------------------


def test_nothing_runs_before_it_is_waited_for(device: HostDevice) -> None:
    stream, source, target = device.create_stream(), device.allocate_pinned(4), device.allocate(4)
    device.view(source, 4)[:] = 7
    device.copy(target, source, 4, stream)
    assert device.view(target, 4).tolist() != [7] * 4
    device.synchronize(stream)
    assert device.view(target, 4).tolist() == [7] * 4


def test_copy_into_freed_memory_fails(device: HostDevice) -> None:
    stream, source, target = device.create_stream(), device.allocate_pinned(4), device.allocate(4)
    device.copy(target, source, 4, stream)
    device.free(target)
    with pytest.raises(AssertionError, match="not in memory"):
        device.synchronize(stream)


def test_copy_beyond_the_end_fails(device: HostDevice) -> None:
    stream, source, target = device.create_stream(), device.allocate_pinned(2048), device.allocate(1024)
    device.copy(target, source, 1025, stream)
    with pytest.raises(AssertionError, match="not in memory"):
        device.synchronize(stream)


def test_an_event_orders_streams(device: HostDevice) -> None:
    first, second, event = device.create_stream(), device.create_stream(), device.create_event()
    order: list[int] = []
    device.put(first, lambda: order.append(1))
    device.record(event, first)
    device.put(first, lambda: order.append(3))
    device.wait(second, event)
    device.put(second, lambda: order.append(2))
    device.synchronize(second)
    assert order == [1, 2]


def test_a_thread_that_did_not_choose_a_device_is_refused(device: HostDevice) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            device.allocate(1)
        except AssertionError as error:
            caught.append(error)

    other = threading.Thread(target=work)
    other.start()
    other.join()
    assert caught


# --- buffers ------------------------------------------------------------------------------------------------------


def test_a_buffer_keeps_its_address_until_it_must_grow(device: HostDevice) -> None:
    buffer = Buffer.on_device(device)
    address = buffer.at_least(1000)
    assert [buffer.at_least(size) for size in (1, 999, 1000, 0)] == [address] * 4
    assert buffer.growths == 1 and device.allocated == 1000
    buffer.at_least(5000)
    assert buffer.growths == 2 and device.allocated == 5000  # the old memory is gone


def test_sizes_that_rise_one_by_one_do_not_allocate_every_time(device: HostDevice) -> None:
    buffer = Buffer.on_device(device)
    for size in range(1000, 2000):
        device.view(buffer.at_least(size), size)[:] = 1  # it really is that large
    assert device.allocations < 8


def test_a_buffer_for_nothing_has_an_address(device: HostDevice) -> None:
    assert Buffer.on_device(device).at_least(0)


def test_a_buffer_that_can_not_grow_is_empty_and_can_be_used_again(device: HostDevice) -> None:
    device.most_bytes = 2000
    buffer = Buffer.on_device(device)
    buffer.at_least(1000)
    with pytest.raises(BackendError, match="cudaErrorMemoryAllocation"):
        buffer.at_least(3000)
    assert device.allocated == 0
    assert device.view(buffer.at_least(1500), 1500).size == 1500
    buffer.close()
    buffer.close()
    assert device.allocated == 0


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool"])
def test_host_memory_as_an_array(shape: tuple[int, ...], dtype: str, device: HostDevice) -> None:
    address = device.allocate_pinned(1024)
    view = host_view(address, shape, np.dtype(dtype))
    assert (view.shape, view.dtype, view.ctypes.data) == (
        shape,
        np.dtype(dtype),
        address if view.size else view.ctypes.data,
    )
    view[...] = 1
    assert host_view(address, shape, np.dtype(dtype)).sum() == view.size


def test_pinned_array_goes_with_its_last_view(device: HostDevice) -> None:
    array = pinned_array(device, (30, 40), np.dtype("float32"))
    assert not array.any() and device.pinned == 4800
    view = array[1:, ::2]
    del array
    gc.collect()
    view[...] = 5
    assert device.pinned == 4800
    del view
    gc.collect()
    assert device.pinned == 0


# --- blocks -------------------------------------------------------------------------------------------------------


def test_a_block_that_came_back_is_lent_again(device: HostDevice) -> None:
    blocks = Blocks(device)
    first = blocks.take(1000)
    address = first.address
    second = blocks.take(1000)
    assert second.address != address
    del first
    third = blocks.take(600)
    assert third.address == address and device.allocations == 2


def test_a_large_block_is_not_wasted_on_a_small_tensor(device: HostDevice) -> None:
    blocks = Blocks(device)
    large = blocks.take(100_000)
    address = large.address
    del large
    assert blocks.take(1000).address != address
    assert blocks.take(60_000).address == address


def test_the_smallest_that_fits_is_taken(device: HostDevice) -> None:
    blocks = Blocks(device)
    held = [blocks.take(size) for size in (1900, 1100, 1500)]
    small = held[1].address
    held.clear()
    assert blocks.take(1024).address == small


def test_blocks_that_are_out_outlive_their_owner(device: HostDevice) -> None:
    blocks = Blocks(device)
    kept, gone = blocks.take(512), blocks.take(1024)
    del gone
    blocks.close()
    assert device.allocated == 512
    device.view(kept.address, 512)[:] = 1
    del kept
    assert device.allocated == 0


@pytest.mark.parametrize("tells_stream", [True, False])
def test_a_block_waits_for_those_who_took_it_over_on_the_default_stream(tells_stream: bool, device: HostDevice) -> None:
    """A library lets go of an array when its work is queued; the next tenant must not write before that work has read."""
    blocks, seen, mine = Blocks(device), [], device.create_stream()
    array = DeviceArray(device, blocks.take(256), (256,), np.dtype("uint8"))
    address = array.address
    device.view(address, 256)[:] = 7
    taken = torch.from_dlpack(array)
    device.put(DEFAULT_STREAM, lambda: seen.append(int(device.view(address, 256)[0])))
    del array, taken
    gc.collect()
    again = blocks.take(256, mine) if tells_stream else blocks.take(256)
    assert again.address == address and device.alive == (1, 0, 0)
    device.put(mine, lambda: device.view(address, 256).fill(9))
    device.synchronize(mine)
    device.synchronize(DEFAULT_STREAM)
    assert seen == [7]


@pytest.mark.parametrize("stream", [2, 12345, -1, "interface"])
def test_a_block_that_was_used_on_another_stream_is_not_lent_again(stream: int | str, device: HostDevice) -> None:
    """That stream may be gone by now; giving the memory back waits for the whole device."""
    blocks = Blocks(device)
    array = DeviceArray(device, blocks.take(256), (256,), np.dtype("uint8"))
    if isinstance(stream, int):
        array.__dlpack__(stream=stream)
    else:
        device.dlpack_type = 2
        array.__cuda_array_interface__  # noqa: B018
    del array
    gc.collect()
    assert device.allocated == 256
    again = blocks.take(256)
    assert device.allocations == 2 and device.allocated == again.nbytes


def test_idle_blocks_make_room_for_one_of_another_size(device: HostDevice) -> None:
    device.most_bytes = 10_000
    blocks = Blocks(device)
    del (held := [blocks.take(4000), blocks.take(4000)])[:]
    assert not held and device.allocated == 8192
    kept = blocks.take(9000)
    assert device.allocated == kept.nbytes
    with pytest.raises(BackendError, match="cudaErrorMemoryAllocation"):
        blocks.take(9000)


def test_blocks_of_many_threads_never_overlap(device: HostDevice) -> None:
    blocks = Blocks(device)
    wrong: list[int] = []

    def work(number: int) -> None:
        device.use()
        for turn in range(200):
            block = blocks.take(256 + turn % 3 * 256)
            view = device.view(block.address, 256)
            view[:] = number
            if not (view == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and device.allocations < 50


# --- device arrays ------------------------------------------------------------------------------------------------


def test_an_array_on_the_device_lives_as_long_as_anybody_who_took_it_over(device: HostDevice) -> None:
    blocks = Blocks(device)
    array = DeviceArray(device, blocks.take(24), (2, 3), np.dtype("float32"))
    device.view(array.address, 24)[:] = np.arange(6, dtype=np.float32).view(np.uint8)
    taken = np.from_dlpack(array)
    assert taken.ctypes.data == array.address
    blocks.close()
    del array
    gc.collect()
    np.testing.assert_array_equal(taken, np.arange(6, dtype=np.float32).reshape(2, 3))
    assert device.allocated == 256
    del taken
    gc.collect()
    assert device.allocated == 0


def test_an_array_on_the_device_is_copied_to_the_host(device: HostDevice) -> None:
    blocks = Blocks(device)
    array = DeviceArray(device, blocks.take(16), (2, 2), np.dtype("int32"))
    device.view(array.address, 16)[:] = np.array([1, 2, 3, 4], np.int32).view(np.uint8)
    copied = array.numpy()
    device.view(array.address, 16)[:] = 0
    assert copied.tolist() == [[1, 2], [3, 4]]
    assert device.pinned == 0 and device.alive == (0, 0, 0)
    assert (array.ndim, array.nbytes, repr(array)) == (2, 16, "<DeviceArray int32[2, 2] on cuda:0>")


def test_an_array_on_the_device_is_written_from_the_host(device: HostDevice) -> None:
    array = DeviceArray(device, Blocks(device).take(16), (2, 2), np.dtype("int32"))
    value = np.array([[1, 2], [3, 4]], np.int32)
    array.write(value.T)
    np.testing.assert_array_equal(array.numpy(), value.T)
    for wrong in (value.astype(np.int64), value[:1], value.ravel()):
        with pytest.raises(InputError, match=r"the array on cuda:0 is int32 \[2, 2\]"):
            array.write(wrong)
    assert device.pinned == 0 and device.alive == (0, 0, 0)
    empty = DeviceArray(device, Blocks(device).take(0), (0, 2), np.dtype("int32"))
    empty.write(np.zeros((0, 2), np.int32))
    assert empty.numpy().shape == (0, 2)


def test_a_copy_is_not_promised(device: HostDevice) -> None:
    array = DeviceArray(device, Blocks(device).take(8), (2,), np.dtype("float32"))
    for asked in ({"copy": True}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="an array on cuda:0 is handed over in place"):
            array.__dlpack__(**asked)
    array.__dlpack__(copy=False, dl_device=(1, 0), max_version=(1, 0))


def test_only_gpu_memory_has_a_cuda_array_interface(device: HostDevice) -> None:
    array = DeviceArray(device, Blocks(device).take(8), (2,), np.dtype("float32"))
    assert not hasattr(array, "__cuda_array_interface__")
    device.dlpack_type = 2
    told = array.__cuda_array_interface__
    assert (told["shape"], told["typestr"], told["version"]) == ((2,), "<f4", 3)
    assert told["data"] == (array.address, False) and told["strides"] is None and told["stream"] is None
