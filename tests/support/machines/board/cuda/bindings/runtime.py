"""A stand-in for cuda-python's runtime on a board: device memory is the host's, and every stream is done at once."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from enum import IntEnum


class cudaError_t(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1


class cudaStreamCaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class cudaMemcpyKind(IntEnum):
    cudaMemcpyDefault = 4


cudaHostAllocDefault, cudaStreamNonBlocking, cudaEventDisableTiming = 0, 1, 2
_OK = cudaError_t.cudaSuccess
_ALIGNMENT = 256
_memory: dict[int, ctypes.Array] = {}
_numbers = itertools.count(1000)


def cudaGetErrorString(error: int) -> tuple[cudaError_t, bytes]:
    return _OK, b"invalid argument"


def cudaSetDevice(number: int) -> tuple[cudaError_t]:
    return (_OK if number == 0 else cudaError_t.cudaErrorInvalidValue,)


def cudaMalloc(size: int) -> tuple[cudaError_t, int]:
    raw = ctypes.create_string_buffer(size + _ALIGNMENT)
    address = -(-ctypes.addressof(raw) // _ALIGNMENT) * _ALIGNMENT
    _memory[address] = raw
    return _OK, address


def cudaFree(address: int) -> tuple[cudaError_t]:
    return (_OK if _memory.pop(address, None) is not None else cudaError_t.cudaErrorInvalidValue,)


def cudaHostAlloc(size: int, flags: int) -> tuple[cudaError_t, int]:
    return cudaMalloc(size)


cudaFreeHost = cudaFree


def cudaStreamCreateWithFlags(flags: int) -> tuple[cudaError_t, int]:
    return _OK, next(_numbers)


cudaEventCreateWithFlags = cudaStreamCreateWithFlags


def _done(*arguments: object) -> tuple[cudaError_t]:
    return (_OK,)


cudaStreamDestroy = cudaStreamSynchronize = cudaEventDestroy = cudaEventRecord = cudaStreamWaitEvent = _done


# --- work on streams: done at once, or recorded ------------------------------------------------------------------------

_recording: dict[int, list[Callable[[], object]]] = {}
_graphs: dict[int, list[Callable[[], object]]] = {}


def put(stream: int, work: Callable[[], object]) -> None:
    """For the stand-in of TensorRT too."""
    if stream in _recording:
        _recording[stream].append(work)
    else:
        work()


def cudaMemcpyAsync(target: int, source: int, size: int, kind: int, stream: int) -> tuple[cudaError_t]:
    put(stream, lambda: ctypes.memmove(target, source, size))
    return (_OK,)


def cudaMemsetAsync(target: int, value: int, size: int, stream: int) -> tuple[cudaError_t]:
    put(stream, lambda: ctypes.memset(target, value, size))
    return (_OK,)


def cudaStreamBeginCapture(stream: int, mode: int) -> tuple[cudaError_t]:
    _recording[stream] = []
    return (_OK,)


def cudaStreamEndCapture(stream: int) -> tuple[cudaError_t, int]:
    number = next(_numbers)
    _graphs[number] = _recording.pop(stream)
    return _OK, number


def cudaGraphInstantiate(graph: int, flags: int) -> tuple[cudaError_t, int]:
    number = next(_numbers)
    _graphs[number] = list(_graphs[graph])
    return _OK, number


def cudaGraphDestroy(graph: int) -> tuple[cudaError_t]:
    return (_OK if _graphs.pop(graph, None) is not None else cudaError_t.cudaErrorInvalidValue,)


cudaGraphExecDestroy = cudaGraphDestroy


def cudaGraphLaunch(graph: int, stream: int) -> tuple[cudaError_t]:
    for work in _graphs[graph]:
        work()
    return (_OK,)
