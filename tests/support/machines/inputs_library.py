"""libattn_runtime through ctypes: just what makes inputs."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.native.capi import Tensor
from attn_runtime.spec import TensorSpec
from onnx import helper

from support.machines.generator_library import Refused
from support.models import small_classifiers

INPUT_STATUS = 7
DTYPES = {2: np.float32, 7: np.int64, 12: np.bool_}


class Library:
    """The library, loaded from `path`."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.attn_last_error.restype = self.c.attn_last_notes.restype = ctypes.c_char_p
        self._open: list[ctypes.c_void_p] = []

    def bundle(self, path: Path) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self.check(self.c.attn_bundle_open(str(path).encode(), ctypes.byref(handle)))
        self._open.append(handle)
        return handle

    def check(self, status: int) -> None:
        if status:
            raise Refused(status, self.c.attn_last_error().decode())

    def made(self, function: str, bundle: ctypes.c_void_p, *arguments: Any, tensors: int = 1) -> list[np.ndarray]:
        """What an attn_bundle_* function gives, into memory that is as large as it asks for, and not a byte larger."""
        call = getattr(self.c, function)
        told = (Tensor * tensors)()
        places = [ctypes.byref(told, i * ctypes.sizeof(Tensor)) for i in range(tensors)]
        self.check(call(bundle, *arguments, *places))
        arrays, guards = [], []
        for one in told:
            shape = tuple(one.shape[: one.rank])
            assert one.bytes == np.dtype(DTYPES[one.dtype]).itemsize * int(np.prod(shape))
            memory = np.full(one.bytes + 64, 0xA5, np.uint8)
            guards.append(memory[one.bytes :])
            arrays.append(memory[: one.bytes].view(DTYPES[one.dtype]).reshape(shape))
            one.data = memory.ctypes.data
        self.check(call(bundle, *arguments, *places))
        assert all((guard == 0xA5).all() for guard in guards)
        if told[0].bytes:
            told[0].bytes -= 1
            with pytest.raises(Refused, match="there is room for") as caught:
                self.check(call(bundle, *arguments, *places))
            assert caught.value.status == INPUT_STATUS
        return arrays

    def image(self, bundle: ctypes.c_void_p, pixels: np.ndarray) -> np.ndarray:
        sizes = map(ctypes.c_size_t, pixels.shape)
        return self.made("attn_bundle_image", bundle, pixels.ctypes.data_as(ctypes.c_void_p), *sizes)[0]

    def audio(self, bundle: ctypes.c_void_p, samples: np.ndarray, rate: int) -> np.ndarray:
        sizes = map(ctypes.c_size_t, (*samples.shape, rate))
        return self.made("attn_bundle_audio", bundle, samples.ctypes.data_as(ctypes.c_void_p), *sizes)[0]

    def wav(self, bundle: ctypes.c_void_p, path: Path) -> np.ndarray:
        return self.made("attn_bundle_wav", bundle, bytes(path))[0]

    def text(self, bundle: ctypes.c_void_p, texts: Sequence[str]) -> list[np.ndarray]:
        given = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
        return self.made("attn_bundle_text", bundle, given, ctypes.c_size_t(len(texts)), tensors=2)

    def pairs(
        self, bundle: ctypes.c_void_p, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Every input that texts, or pairs of them, give, by name."""
        rows = [
            None if row is None else (ctypes.c_char_p * len(row))(*(t.encode() for t in row))
            for row in (texts, seconds)
        ]
        told = (Tensor * 3)()
        places = [ctypes.byref(told, i * ctypes.sizeof(Tensor)) for i in range(3)]
        arguments = (bundle, *rows, ctypes.c_size_t(len(texts)), *places)
        self.check(self.c.attn_bundle_text_pairs(*arguments))
        found = {}
        for one in told:
            if not one.name:
                assert (one.rank, one.bytes) == (0, 0)
                continue
            array = np.zeros(tuple(one.shape[: one.rank]), DTYPES[one.dtype])
            one.data, one.bytes = array.ctypes.data, array.nbytes
            found[one.name.decode()] = array
        self.check(self.c.attn_bundle_text_pairs(*arguments))
        for one in told:
            one.bytes -= bool(one.name)
            if one.name:
                with pytest.raises(Refused, match="there is room for"):
                    self.check(self.c.attn_bundle_text_pairs(*arguments))
                one.bytes += 1
        return found


def write_input(path: Path, spec: TensorSpec, **assets: Any) -> Path:
    """A bundle that gives its input back."""
    nodes = [helper.make_node("Identity", [spec.name], ["same"])]
    return small_classifiers.write_bundle(
        path, nodes, {}, (spec,), (TensorSpec("same", spec.dtype, spec.dims),), assets
    )
