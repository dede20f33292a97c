"""DLPack (https://dmlc.github.io/dlpack), read and written with ctypes: a tensor of any framework, without a copy.

Only the form without versions is spoken: a consumer that wants another one asks for it, and gets this one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: DLPack's type codes -> numpy's kinds
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}
_CODES = {kind: code for code, kind in _KINDS.items()}
_BFLOAT = 4

_NAME = b"dltensor"  # a consumer that takes the tensor over renames the capsule


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_number", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


@dataclass(frozen=True)
class View:
    """What a capsule holds. `strides` in elements, None for rows without gaps; `keep` must live as long as it is read."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype[Any]
    device_type: int
    device_number: int
    keep: object


def read(capsule: object) -> View:
    """Look into a capsule that `__dlpack__` gave. Its producer frees the tensor when the capsule goes.

    Raises ValueError for a dtype that numpy lacks and for a capsule of another form.
    """
    try:
        address = _get_pointer(capsule, _NAME)
    except ValueError:
        raise ValueError(f"its DLPack capsule is not a {_NAME.decode()}") from None
    tensor = ctypes.cast(address, ctypes.POINTER(_Managed)).contents.tensor
    if tensor.code not in _KINDS or tensor.lanes != 1 or tensor.bits % 8:
        told = "bfloat16" if (tensor.code, tensor.bits) == (_BFLOAT, 16) else f"DLPack type {tensor.code}"
        raise ValueError(f"its dtype ({told}, {tensor.bits} bits, {tensor.lanes} lanes) is none of numpy's")
    return View(
        (tensor.data or 0) + tensor.byte_offset,
        tuple(tensor.shape[axis] for axis in range(tensor.ndim)),
        tuple(tensor.strides[axis] for axis in range(tensor.ndim)) if tensor.strides else None,
        np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}"),
        tensor.device_type,
        tensor.device_number,
        capsule,
    )


def write(
    address: int, shape: tuple[int, ...], dtype: np.dtype[Any], device_type: int, device_number: int, keep: object
) -> object:
    """A capsule over memory that lies in C order. `keep` lives until its consumer, or the capsule itself, lets go."""
    managed = _Managed()
    sizes = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    managed.tensor = _Tensor(
        address, device_type, device_number, len(shape), _CODES[dtype.kind], dtype.itemsize * 8, 1, sizes, None, 0
    )
    managed.deleter = ctypes.cast(_deleter, ctypes.c_void_p).value
    at = ctypes.addressof(managed)
    _lent[at] = (managed, sizes, keep)
    return _new_capsule(at, _NAME, ctypes.cast(_destructor, ctypes.c_void_p))


# What consumers hold, by the address of the struct that they know it by.
_lent: dict[int, tuple[object, ...]] = {}


def _python_api(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function = ctypes.pythonapi[name]  # by index it is ours alone: others set types on the attribute
    function.restype, function.argtypes = result, arguments
    return function


_new_capsule = _python_api("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_get_pointer = _python_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
# A capsule that is being destroyed must not become a Python reference again.
_is_dying = _python_api("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_get_dying = _python_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)


def _callback(function: Callable[[int], None]) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)


# What these two need they hold themselves: at the end of a process a consumer may let go when this module is empty already.


@_callback
def _deleter(at: int, lent: dict[int, Any] = _lent) -> None:
    """Called by the consumer, from any thread, when it is done with the tensor."""
    lent.pop(at, None)


@_callback
def _destructor(
    capsule: int,
    lent: dict[int, Any] = _lent,
    is_dying: Callable[..., int] = _is_dying,
    get_dying: Callable[..., int] = _get_dying,
    name: bytes = _NAME,
) -> None:
    """Called when the capsule goes; a consumer has renamed it, and calls the deleter itself."""
    if is_dying(capsule, name):
        lent.pop(get_dying(capsule, name), None)


for _kept in (_deleter, _destructor):
    ctypes.pythonapi["Py_IncRef"](ctypes.py_object(_kept))
