"""Sessions of libattn_runtime through ctypes: what a C program does, on the library that ATTN_RUNTIME_LIBRARY names."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attn_runtime.native import capi

Arrays = Mapping[str, Any]


class Check(ctypes.Structure):
    """attn_check"""

    _fields_ = [
        ("graph", ctypes.c_char_p),
        ("test_case", ctypes.c_char_p),
        ("output", ctypes.c_char_p),
        ("max_error", ctypes.c_double),
        ("max_reference", ctypes.c_double),
        ("limit", ctypes.c_double),
        ("passed", ctypes.c_int),
        ("problem", ctypes.c_char_p),
    ]


def options(**given: Any) -> capi.OpenOptions:
    """Of backend openvino on the CPU, as far as nothing else is given."""
    made = capi.OpenOptions(**{"device": b"cpu", "backend": b"openvino", **given})
    made.size = ctypes.sizeof(made)
    return made


class Opened:
    """A session of C++ on a bundle."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.c = capi.library()
        for name in ("choice", "passed_over", "backend"):
            call = getattr(self.c, f"attn_session_{name}")
            call.argtypes, call.restype = [ctypes.c_void_p], ctypes.c_char_p
        self.c.attn_session_run.argtypes = [ctypes.c_void_p, *[ctypes.c_void_p, ctypes.c_size_t] * 2]
        self.c.attn_session_run.restype = self.c.attn_binding_run.restype  # raises what the status says
        self._bundle = capi.open_bundle(path)
        self._session = capi.open_session(self._bundle, options(**given))

    def told(self, what: str) -> str:
        text: bytes = getattr(self.c, f"attn_session_{what}")(self._session.value)
        return text.decode()

    def run(self, feed: Arrays, outputs: Arrays) -> None:
        """Fill `outputs`, whose shapes are expected."""
        given = [capi.Tensor.of(name, value) for name, value in feed.items()]
        taken = [capi.Tensor.of(name, value) for name, value in outputs.items()]
        sides = (capi.Tensor * len(given))(*given), (capi.Tensor * len(taken))(*taken)
        self.c.attn_session_run(self._session.value, sides[0], len(given), sides[1], len(taken))
        for made, value in zip(sides[1], outputs.values(), strict=True):
            assert tuple(made.shape[: made.rank]) == value.shape

    def bind(self, feed: Arrays, outputs: Arrays) -> Callable[[], None]:
        given = [capi.Tensor.of(name, value) for name, value in feed.items()]
        taken = [capi.Tensor.of(name, value) for name, value in outputs.items()]
        handle = capi.bind(self._session, given, taken)
        return lambda: self.c.attn_binding_run(handle.value)


def verified(path: Path, **given: Any) -> tuple[int, dict[tuple[str, str, str], float]]:
    """The status of attn_bundle_verify, and the error of each output of each golden case."""
    errors: dict[tuple[str, str, str], float] = {}

    @ctypes.CFUNCTYPE(None, ctypes.POINTER(Check), ctypes.c_void_p)
    def on_check(found: Any, _user: Any) -> None:
        told = found.contents
        if told.output is not None:
            errors[told.graph.decode(), told.test_case.decode(), told.output.decode()] = told.max_error

    c, opened = capi.library(), capi.open_bundle(path)
    c.attn_bundle_verify.restype = ctypes.c_int
    status = c.attn_bundle_verify(opened.value, ctypes.byref(options(**given)), on_check, None)
    return status, errors
