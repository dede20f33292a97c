"""From what a caller has, a numpy array or any tensor that speaks DLPack, to an array over the same memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import type_name
from ..errors import AttnError, InputError
from ..escape import printable
from ..spec import odd_bool
from .interface import DLPACK_CPU, DLPACK_CUDA, DLPACK_PINNED

if TYPE_CHECKING:
    from .tensor import DeviceTensor, Intake

_DEVICES = {DLPACK_CUDA: "CUDA device", 7: "Vulkan device", 8: "Metal device", 10: "ROCm device"}
#: What those who speak DLPack raise with a sentence for its reader.
_TOLD = (AttributeError, BufferError, RuntimeError, TypeError, ValueError)


def as_array(name: object, value: Any, where: str, intake: Intake | None = None) -> NDArray[Any] | DeviceTensor:
    """`value` as a numpy array in native byte order, over the same memory where that holds the values as they are.

    Copied where it does not: an array of foreign byte order, a tensor of PyTorch's that is negated or conjugated when it is
    read (`is_neg`, `is_conj`). Where the engine has an `intake`, a tensor in the memory of that device becomes a DeviceTensor,
    by DLPack or __cuda_array_interface__, without a copy. Raises InputError for what can't be read in place: a tensor on
    another device, one that requires grad, one with gaps in device memory, one of a dtype that numpy lacks, one without
    memory (meta, fake), a masked array, a list; and for a bool array in host memory with a byte other than 0 and 1.
    """
    if not isinstance(name, str):
        raise InputError(f"got an input whose name is {type(name).__name__}, expected a string ({where})")
    if is_masked(value):
        raise InputError(
            f'input "{name}": got a masked array, whose mask would be lost ({where}). Call .filled(value).'
        )
    array: NDArray[Any] | DeviceTensor
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        # ONNX Runtime goes by the kind of the dtype, and would read swapped bytes as they lie.
        array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    else:
        array = _of_tensor(name, value, where, intake)
    if isinstance(array, np.ndarray):
        check_bool(name, array, where)
    return array


def is_masked(value: object) -> bool:
    """Whether it is a masked array. Where numpy.ma, which takes as long to import as half of numpy, is not loaded, nothing is."""
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(value, masked.MaskedArray)


def check_bool(name: str, array: NDArray[Any], where: str) -> None:
    """InputError where bytes of a bool array are neither 0 nor 1: some kernels would take them for true, some for false."""
    if (byte := odd_bool(array)) is not None:
        raise InputError(
            f'input "{name}": is bool and holds a byte {byte}, expected 0 and 1 alone ({where}). '
            f"Make it with array.view(numpy.uint8) != 0."
        )


def _of_tensor(name: str, value: Any, where: str, intake: Intake | None) -> NDArray[Any] | DeviceTensor:
    kind = type_name(value)
    on_cuda = intake is not None and intake.device_type == DLPACK_CUDA
    place, number = DLPACK_CUDA, 0
    try:
        speaks_dlpack = hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__")
        if not speaks_dlpack and not (on_cuda and hasattr(value, "__cuda_array_interface__")):
            raise InputError(
                f'input "{name}": got {kind}; expected a numpy array or a tensor with DLPack ({where}). '
                f"Convert it with numpy.asarray."
            )
        if speaks_dlpack:
            place, number = map(int, value.__dlpack_device__())
        value = _resolved(value)
        if intake is not None and place == intake.device_type:
            from .tensor import borrow

            return borrow(value, intake)
        if place in (DLPACK_CPU, DLPACK_PINNED):
            array = np.from_dlpack(value)
            if array.size and array.flags.owndata:
                # numpy takes an address of 0, which fake tensors give, for a wish for new memory, and fills in nothing.
                raise ValueError("it has no memory")
            return array
    except AttnError:
        raise
    except Exception as error:  # the tensor's own code may raise anything
        reason = printable(" ".join(str(error).split()).rstrip("."))
        reason = reason if reason and isinstance(error, _TOLD) else f"{type(error).__name__} {reason}".rstrip()
        raise InputError(f'input "{name}": got a {kind} that can\'t be read in place: {reason} ({where}).') from error
    device = _DEVICES.get(place, f"device type {place}")
    expected = "CPU memory" if intake is None else f"CPU memory or {_DEVICES[DLPACK_CUDA]} {intake.number}"
    raise InputError(
        f'input "{name}": got a {kind} on {device} {number}; expected {expected} ({where}). Copy it there first.'
    )


def _resolved(value: Any) -> Any:
    """PyTorch negates and conjugates when a tensor is read. DLPack (2.13) shows the memory below a negated one, with the other
    sign, and says nothing."""
    for is_lazy, resolve in (("is_conj", "resolve_conj"), ("is_neg", "resolve_neg")):
        if callable(asked := getattr(value, is_lazy, None)) and asked():
            value = getattr(value, resolve)()
    return value
