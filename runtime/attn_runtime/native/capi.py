"""The C++ runtime (runtime/cpp) as this process sees it: its C interface through ctypes, and where its file is.

Only what a session needs is declared here; include/attn/runtime.h says what each call does.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import struct
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import AttnError, BackendError, BundleError, EngineError, InputError, UsageError
from ..files import irregular

ABI_VERSION = 1
MAX_RANK = 8
#: By numpy's names, as attn_dtype numbers them.
DTYPES: dict[str, int] = {
    "float16": 1,
    "float32": 2,
    "float64": 3,
    "int8": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "uint8": 8,
    "uint16": 9,
    "uint32": 10,
    "uint64": 11,
    "bool": 12,
}
#: Names a library elsewhere; else it lies in the folder `lib` of this package, where `make cpp` puts it.
VARIABLE = "ATTN_RUNTIME_LIBRARY"
_BESIDE = Path(__file__).parents[1] / "lib" / "libattn_runtime.so"
_ERRORS: dict[int, type[AttnError]] = {
    each.exit_code: each for each in (UsageError, InputError, BundleError, BackendError, EngineError)
}


class Tensor(Structure):
    """attn_tensor"""

    _fields_ = [
        ("name", c_char_p),
        ("dtype", c_int),
        ("data", c_void_p),
        ("bytes", c_size_t),
        ("rank", c_size_t),
        ("shape", c_int64 * MAX_RANK),
    ]

    @classmethod
    def of(cls, name: str, value: NDArray[Any]) -> Tensor:
        """The memory of a C-contiguous array, which the caller keeps alive."""
        shape = (c_int64 * MAX_RANK)(*value.shape)
        return cls(name.encode(), DTYPES[value.dtype.name], value.ctypes.data, value.nbytes, value.ndim, shape)


class OpenOptions(Structure):
    """attn_open_options"""

    _fields_ = [
        ("size", c_size_t),
        ("device", c_char_p),
        ("backend", c_char_p),
        ("graph", c_char_p),
        ("precision", c_char_p),
        ("threads", c_int),
        ("low_memory", c_int),
        ("cache", c_char_p),
        ("library", c_char_p),
        ("stop_spinning", c_int),
    ]


def path() -> Path:
    """Where the library is, or would be."""
    return Path(os.environ.get(VARIABLE) or _BESIDE)


def why_unavailable() -> str | None:
    """None when the library loads here, else the reason and what to do."""
    if not path().exists():
        return (
            f"{path().name} is not in this attn-runtime; its wheel for Linux (manylinux) has it, make cpp builds it, "
            f"{VARIABLE} names one"
        )
    try:
        library()
    except (OSError, AttributeError) as error:
        return f"{path()} does not load ({error}); make cpp builds it anew"
    found = library().attn_abi_version()
    return (
        None
        if found == ABI_VERSION
        else f"{path()} has interface {found}, expected {ABI_VERSION}; make cpp builds it anew"
    )


def library() -> Any:
    """The loaded library, its calls declared. Raises OSError."""
    return _load(str(path().resolve()))


@cache
def _load(file: str) -> Any:
    _check_whole(file)
    loaded = ctypes.CDLL(file)
    loaded.attn_last_error.restype = loaded.attn_bundle_manifest.restype = c_char_p
    loaded.attn_bundle_manifest.argtypes = [c_void_p]
    for name, arguments in {
        "attn_bundle_open": [c_char_p, POINTER(c_void_p)],
        "attn_bundle_open_paranoid": [c_char_p, POINTER(c_void_p)],
        "attn_session_open": [c_void_p, POINTER(OpenOptions), POINTER(c_void_p)],
        "attn_session_bind": [
            *[c_void_p, c_void_p, c_size_t],
            *[POINTER(Tensor), c_size_t] * 2,
            POINTER(c_void_p),
        ],
    }.items():
        call = getattr(loaded, name)
        call.argtypes, call.restype = arguments, _checker(loaded)
    for name in ("attn_bundle_close", "attn_session_close", "attn_binding_close"):
        getattr(loaded, name).argtypes, getattr(loaded, name).restype = [c_void_p], None
    # Called at every run: ctypes calls `restype` with the status, which costs less than a check around the call.
    loaded.attn_binding_run.restype = _checker(loaded)
    return loaded


def _check_whole(file: str) -> None:
    """OSError for a 64-bit ELF file that a copy cut short: the loader would map it and die of SIGBUS."""
    if problem := irregular(file):
        raise OSError(f"it {problem}")
    with Path(file).open("rb") as opened:
        head, size = opened.read(64), os.fstat(opened.fileno()).st_size
    if head[:6] == b"\x7fELF\x02\x01" and len(head) == 64:
        # The table of sections is the last thing in it.
        (start,), (each, count) = struct.unpack_from("<Q", head, 40), struct.unpack_from("<HH", head, 58)
        if start + each * count > size:
            raise OSError(f"it ends after {size} bytes, expected {start + each * count}")


def _checker(loaded: Any) -> Any:
    def check(status: int) -> None:
        if status:
            raise _ERRORS.get(status, BackendError)(loaded.attn_last_error().decode())

    return check


def onnxruntime_library() -> Path | None:
    """The shared library inside the installed onnxruntime package, which is not imported for it."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "capi"
    return next(iter(sorted(folder.glob("libonnxruntime.so*"))), None)


class Handle:
    """A handle of the library, closed with it when nothing needs it any more."""

    def __init__(self, close: Any) -> None:
        self.value, self._close = c_void_p(), close

    def __del__(self) -> None:
        if self.value:
            self._close(self.value)
            self.value = c_void_p()


def open_bundle(folder: Path, paranoid: bool = False) -> Handle:
    handle = Handle(library().attn_bundle_close)
    open_ = library().attn_bundle_open_paranoid if paranoid else library().attn_bundle_open
    open_(os.fsencode(folder), byref(handle.value))
    return handle


def manifest(bundle: Handle) -> bytes:
    """manifest.json as the library read it."""
    return bytes(library().attn_bundle_manifest(bundle.value))


def open_session(bundle: Handle, options: OpenOptions) -> Handle:
    handle = Handle(library().attn_session_close)
    library().attn_session_open(bundle.value, byref(options), byref(handle.value))
    return handle


def bind(session: Handle, inputs: list[Tensor], outputs: list[Tensor]) -> Handle:
    handle = Handle(library().attn_binding_close)
    given, taken = (Tensor * len(inputs))(*inputs), (Tensor * len(outputs))(*outputs)
    library().attn_session_bind(session.value, None, 0, given, len(inputs), taken, len(outputs), byref(handle.value))
    return handle
