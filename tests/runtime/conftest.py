"""Bundles to test with: a valid one, made afresh for each test, and one for each attack."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.graphs.make_hostile_bundles import make_hostile_bundles, make_valid_bundle


@pytest.fixture(scope="module")
def own_garbage() -> Iterator[None]:
    """For files whose tests collect garbage: what the files before them left alive takes seconds to look through, each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()  # what was alive may become garbage now, with the files that it holds


@pytest.fixture(scope="session")
def hostile_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with one bundle per attack, and base.attn, which is valid."""
    return make_hostile_bundles(tmp_path_factory.mktemp("data") / "hostile")


@pytest.fixture(scope="session")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_valid_bundle(tmp_path_factory.mktemp("base") / "gemm.attn")


@pytest.fixture
def valid_bundle(_base: Path, tmp_path: Path) -> Path:
    """A bundle of one graph, y[batch, 10] = x[batch, 16] @ w, that the test may spoil."""
    return shutil.copytree(_base, tmp_path / "gemm.attn")


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices as on a machine where the C++ library was not built: the CPU is ort's."""
    monkeypatch.setenv("ATTN_RUNTIME_LIBRARY", "/nowhere/libattn_runtime.so")
