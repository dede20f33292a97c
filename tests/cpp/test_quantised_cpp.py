"""Quantised bundles through C++ alone: their golden cases hold, and weights that were changed show."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest
from attn_export import convert
from attn_runtime.native.capi import OpenOptions
from support.checks.once import once
from support.quantised.small_net import export_small, spoil

PARITY_STATUS = 4


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("name", ["int8", "int8-dynamic", "int4-weights"])
def test_what_cpp_answers_is_what_pytorch_did(
    name: str,
    cpp_build: Path,
    cpp_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    exported = once(tmp_path_factory, "small-for-quantisation", export_small) / "small.attn"
    bundle = Path(shutil.copytree(exported, tmp_path / "small.attn"))
    convert(bundle, name, skip=["attention"])
    c = ctypes.CDLL(str(cpp_build / "libattn_runtime.so"))
    c.attn_last_error.restype = ctypes.c_char_p
    options = OpenOptions(
        ctypes.sizeof(OpenOptions), b"cpu", None, None, name.encode(), 1, 0, None, cpp_environment["ATTN_ONNXRUNTIME"].encode()
    )  # fmt: skip

    def verified() -> tuple[int, str]:
        handle = ctypes.c_void_p()
        assert c.attn_bundle_open(str(bundle).encode(), ctypes.byref(handle)) == 0, c.attn_last_error()
        try:
            status = c.attn_bundle_verify(handle, ctypes.byref(options), None, None)
            return status, c.attn_last_error().decode() if status else ""
        finally:
            c.attn_bundle_close(handle)

    assert verified() == (0, "")
    spoil(bundle, name)
    status, told = verified()
    assert status == PARITY_STATUS and "golden cases do not match" in told, told
