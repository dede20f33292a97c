"""From what a caller has, a numpy array or any tensor that speaks DLPack, to an array over the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .interface import DLPACK_CPU, DLPACK_CUDA, DLPACK_PINNED
from .tensor import DeviceTensor, Intake, borrow

_DEVICES = {DLPACK_CUDA: "CUDA device", 7: "Vulkan device", 8: "Metal device", 10: "ROCm device"}


def as_array(name: str, value: Any, where: str, intake: Intake | None = None) -> NDArray[Any] | DeviceTensor:
    """`value` as a numpy array in native byte order, copied only where its byte order is foreign.

    Where the engine has an `intake`, a tensor in the memory of that device becomes a DeviceTensor, by DLPack or
    __cuda_array_interface__, without a copy. Raises InputError for what can't be read in place: a tensor on another
    device, one that requires grad, one with gaps in device memory, one of a dtype that numpy lacks, a masked array, a list.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(
            f'input "{name}": got a masked array, whose mask would be lost ({where}). Call .filled(value).'
        )
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        # ONNX Runtime goes by the kind of the dtype, and would read swapped bytes as they lie.
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    speaks_dlpack = hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__")
    on_cuda = intake is not None and intake.device_type == DLPACK_CUDA
    if not speaks_dlpack and not (on_cuda and hasattr(value, "__cuda_array_interface__")):
        raise InputError(
            f'input "{name}": got {kind}; expected a numpy array or a tensor with DLPack ({where}). '
            f"Convert it with numpy.asarray."
        )
    place, number = DLPACK_CUDA, 0
    try:
        if speaks_dlpack:
            place, number = map(int, value.__dlpack_device__())
        if intake is not None and place == intake.device_type:
            return borrow(value, intake)
        if place in (DLPACK_CPU, DLPACK_PINNED):
            return np.from_dlpack(value)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f'input "{name}": got a {kind} that can\'t be read in place: {reason} ({where}).') from error
    device = _DEVICES.get(place, f"device type {place}")
    expected = "CPU memory" if intake is None else f"CPU memory or {_DEVICES[DLPACK_CUDA]} {intake.number}"
    raise InputError(
        f'input "{name}": got a {kind} on {device} {number}; expected {expected} ({where}). Copy it there first.'
    )
