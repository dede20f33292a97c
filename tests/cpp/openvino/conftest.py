"""OpenVINO's C library for the C++ runtime, and a bundle to run with it. Tests skip where openvino is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.native import capi
from onnx import helper, numpy_helper
from support.graphs.cpp_bundles import bundle
from support.graphs.make_graphs import floats, save


@pytest.fixture(scope="session")
def openvino_folder() -> Path:
    """The installed package, which is not imported for it."""
    found = importlib.util.find_spec("openvino")
    if found is None or not found.submodule_search_locations:
        pytest.skip("openvino is not installed; pip install openvino")
    return Path(found.submodule_search_locations[0])


@pytest.fixture(scope="session")
def openvino_library(openvino_folder: Path) -> Path:
    return next(iter(sorted((openvino_folder / "libs").glob("libopenvino_c.so*"))))


@pytest.fixture(autouse=True)
def _libraries(
    cpp_build: Path, cpp_environment: dict[str, str], openvino_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(capi.VARIABLE, str(cpp_build / "libattn_runtime.so"))
    monkeypatch.setenv("ATTN_ONNXRUNTIME", cpp_environment["ATTN_ONNXRUNTIME"])
    monkeypatch.setenv("ATTN_OPENVINO", str(openvino_library))


def product(file: Path) -> Any:
    weights = np.random.default_rng(0).standard_normal((256, 16)).astype(np.float32)
    save(file, [helper.make_node("MatMul", ["x", "w"], ["y"])], [floats("x", "N", 256)], [floats("y", "N", 16)],
         [numpy_helper.from_array(weights, "w")])  # fmt: skip
    return weights


@pytest.fixture
def products(tmp_path: Path) -> tuple[Path, Any]:
    weights = product(tmp_path / "once.onnx")
    x = np.ones((2, 256), np.float32)
    bundle(tmp_path / "product.attn", product, {"x": x}, lambda x: {"y": x @ weights}, "N", "N")
    return tmp_path / "product.attn", weights
