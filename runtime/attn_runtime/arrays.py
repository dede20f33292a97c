"""From what a caller has, a numpy array or any CPU tensor that speaks DLPack, to a numpy array over the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

_CPU = 1  # DLPack's kDLCPU
_DEVICES = {2: "CUDA device", 3: "pinned CUDA memory", 7: "Vulkan device", 8: "Metal device", 10: "ROCm device"}


def as_array(name: str, value: Any, where: str) -> NDArray[Any]:
    """`value` as a numpy array in native byte order, copied only where its byte order is foreign.

    Raises InputError for what can't be read in place: a tensor on another device, one that requires grad, one of a
    dtype that numpy lacks, a masked array, a list.
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
    if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
        raise InputError(
            f'input "{name}": got {kind}; expected a numpy array or a tensor with DLPack ({where}). '
            f"Convert it with numpy.asarray."
        )
    try:
        place, number = value.__dlpack_device__()
        if place == _CPU:
            return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f'input "{name}": got a {kind} that can\'t be read in place: {reason} ({where}).') from error
    device = _DEVICES.get(int(place), f"device type {int(place)}")
    raise InputError(
        f'input "{name}": got a {kind} on {device} {number}; expected CPU memory ({where}). Copy it there first.'
    )
