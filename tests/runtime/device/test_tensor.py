"""Tensors of other libraries, taken and handed over without a copy: DLPack and __cuda_array_interface__."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from attn_runtime.device import dlpack
from attn_runtime.device.input_arrays import as_array
from attn_runtime.device.tensor import DeviceTensor, Intake, borrow
from attn_runtime.errors import InputError


class Waits:
    """An intake on the CPU, and the streams that it was told to wait for."""

    def __init__(self, device_type: int = 1, number: int = 0) -> None:
        self.streams: list[int] = []
        self.uses: list[str] = []
        self.intake = Intake(device_type, number, 77, self.streams.append, partial(self.uses.append, "used"))


class OnGpu:
    """What a CUDA tensor shows; the capsule is of host memory, and tells of a GPU."""

    def __init__(self, array: np.ndarray, number: int = 0) -> None:
        self.array, self.number, self.asked = array, number, list[Any]()
        self.before_asking: Callable[[], object] = lambda: None

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number

    def __dlpack__(self, **asked: Any) -> object:
        self.before_asking()
        self.asked.append(asked)
        return dlpack.write(self.array.ctypes.data, self.array.shape, self.array.dtype, 2, self.number, self)


class Interface:
    """An object with nothing but __cuda_array_interface__."""

    def __init__(self, array: np.ndarray, **more: Any) -> None:
        told = {"shape": array.shape, "typestr": array.dtype.str, "data": (array.ctypes.data, False), "version": 3}
        self.array, self.__cuda_array_interface__ = array, told | {"strides": None} | more


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


# --- DLPack -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 4)])
def test_others_read_what_is_written(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(int(np.prod(shape))) % 2).astype(dtype).reshape(shape)
    made = dlpack.write(array.ctypes.data, array.shape, array.dtype, 1, 0, array)
    taken = torch.utils.dlpack.from_dlpack(made)
    assert taken.data_ptr() == array.ctypes.data or not array.size
    np.testing.assert_array_equal(taken.numpy(), array)
    assert taken.numpy().dtype == array.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64, torch.bool, torch.uint8])
def test_what_others_write_is_read(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, 4).to(dtype)[1:]
    view = dlpack.read(tensor.__dlpack__())
    assert (view.address, view.shape) == (tensor.data_ptr(), (2, 4))
    assert view.dtype == tensor.numpy().dtype and (view.device_type, view.device_number) == (1, 0)


def test_memory_is_kept_until_the_consumer_lets_go() -> None:
    array = drawn(3)
    keep = Waits()
    gone = weakref.ref(keep)
    taken = torch.utils.dlpack.from_dlpack(dlpack.write(array.ctypes.data, array.shape, array.dtype, 1, 0, keep))
    del keep
    gc.collect()
    assert gone() is not None
    del taken
    assert gone() is None


def test_memory_is_let_go_of_when_nobody_consumes_it() -> None:
    array, keep = drawn(3), Waits()
    gone = weakref.ref(keep)
    capsule = dlpack.write(array.ctypes.data, array.shape, array.dtype, 1, 0, keep)
    del keep
    assert gone() is not None
    del capsule
    assert gone() is None and not dlpack._lent


def test_a_tensor_that_outlives_the_module_goes_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a process a module's names are set to None, before or after the tensors go."""
    array, keep = drawn(3), Waits()
    gone = weakref.ref(keep)
    held = [dlpack.write(array.ctypes.data, array.shape, array.dtype, 1, 0, keep) for _ in range(2)]
    held[0] = torch.utils.dlpack.from_dlpack(held[0])
    del keep
    for name in ("_lent", "_deleter", "_destructor", "_is_dying", "_get_dying", "_NAME"):
        monkeypatch.setattr(dlpack, name, None)
    gc.collect()
    assert gone() is not None
    held.clear()
    assert gone() is None


def test_producer_frees_what_was_only_read() -> None:
    tensor = torch.ones(3)
    view = dlpack.read(tensor.__dlpack__())
    assert tensor._use_count() > 1
    del view
    assert tensor._use_count() == 1


def test_data_may_begin_after_its_address() -> None:
    array = drawn(4)
    capsule = dlpack.write(array.ctypes.data, (3,), array.dtype, 1, 0, array)
    (managed, *_), = dlpack._lent.values()  # fmt: skip
    managed.tensor.byte_offset = 4  # type: ignore[attr-defined]
    assert dlpack.read(capsule).address == array.ctypes.data + 4


def test_capsules_that_are_not_taken() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        dlpack.read(torch.zeros(2, dtype=torch.bfloat16).__dlpack__())
    with pytest.raises(ValueError, match="complex|DLPack type"):
        dlpack.read(torch.zeros(2, dtype=torch.complex64).__dlpack__())
    used = torch.zeros(2).__dlpack__()
    torch.utils.dlpack.from_dlpack(used)
    with pytest.raises(ValueError, match="not a dltensor"):
        dlpack.read(used)


# --- as an input --------------------------------------------------------------------------------------------------


def test_a_tensor_on_the_engines_device_is_borrowed() -> None:
    tensor = torch.from_numpy(drawn(2, 3))
    got = as_array("x", tensor, "test", Waits().intake)
    assert isinstance(got, DeviceTensor)
    assert (got.address, got.shape, got.dtype, got.nbytes) == (tensor.data_ptr(), (2, 3), np.float32, 24)


def test_a_gpu_tensor_is_asked_for_on_the_engines_stream() -> None:
    """With that GPU as the current one: PyTorch refuses to hand over a tensor of any other."""
    value, waits = OnGpu(drawn(2, 3), number=1), Waits(2, 1)
    value.before_asking = lambda: value.asked.append(list(waits.uses))
    got = as_array("x", value, "test", waits.intake)
    assert isinstance(got, DeviceTensor) and got.address == value.array.ctypes.data
    assert value.asked == [["used"], {"stream": 77}]


def test_numpy_stays_numpy_where_there_is_an_intake() -> None:
    x = drawn(2)
    assert as_array("x", x, "test", Waits().intake) is x


@pytest.mark.parametrize(
    ("value", "intake", "says"),
    [
        (lambda: OnGpu(drawn(2), number=1), Waits(2, 0), "on device 1, the session on 0"),
        (lambda: OnGpu(drawn(2)), None, "on CUDA device 0; expected CPU memory "),
        (lambda: torch.ones(3, 4).T, Waits(), r"strides \[1, 4\] leave gaps in \[4, 3\]; call .contiguous"),
        (lambda: torch.ones(3, 4)[:, ::2], Waits(), "leave gaps"),
        (lambda: torch.ones(3, dtype=torch.bfloat16), Waits(), "bfloat16"),
        (lambda: torch.ones(3, requires_grad=True), Waits(), "detach"),
        (lambda: Interface(drawn(2)), None, "expected a numpy array or a tensor with DLPack"),
        (lambda: Interface(drawn(2), mask=drawn(2)), Waits(2), "mask, which would be lost"),
        (lambda: Interface(drawn(2, 3), strides=(4, 8)), Waits(2), "leave gaps"),
        (lambda: torch.ones(2, device="meta"), Waits(2), "torch.Tensor"),
    ],
    ids=["other-gpu", "no-intake", "transposed", "strided", "bfloat16", "grad", "no-gpu", "mask", "gaps", "meta"],
)
def test_tensors_that_are_not_taken(value: Any, intake: Waits | None, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        as_array("x", value(), "test", intake and intake.intake)
    assert "\n" not in str(caught.value)


def test_axes_of_one_have_any_stride() -> None:
    tensor = torch.ones(4, 1, 3).as_strided((4, 1, 3), (3, 999, 1))
    assert isinstance(as_array("x", tensor, "test", Waits().intake), DeviceTensor)
    assert isinstance(as_array("x", torch.ones(0, 3).T, "test", Waits().intake), DeviceTensor)


@pytest.mark.parametrize(
    ("more", "waited"),
    [
        ({}, []),
        ({"stream": None}, []),
        ({"stream": 5}, [5]),
        ({"version": 2}, [1]),  # the work is on the legacy default stream, which is number 1
        ({"strides": (12, 4)}, []),
    ],
)
def test_cuda_array_interface(more: dict, waited: list[int]) -> None:
    there, value = Waits(2), Interface(drawn(2, 3), **more)
    got = as_array("x", value, "test", there.intake)
    assert isinstance(got, DeviceTensor)
    assert (got.address, got.shape, got.dtype) == (value.array.ctypes.data, (2, 3), np.float32)
    assert there.streams == waited


def test_dlpack_is_preferred_since_it_orders_the_work() -> None:
    class Both(OnGpu):
        __cuda_array_interface__ = property(lambda self: pytest.fail("must not be asked"))

    assert borrow(Both(drawn(2)), Waits(2).intake).shape == (2,)
