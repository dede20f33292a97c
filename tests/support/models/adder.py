"""z = a + b for the tests on a GPU: its engine, its calls, and the shapes that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from attn_runtime.session import Session
from attn_runtime.trt.builder.compile import compile_engine

from support.graphs.make_graphs import add

SMALL = (1, 1), (1, 8), (4, 64)
RANGE = (1, 1), (4, 64), (64, 512)


def build(folder: Path, library: str) -> Path:
    """The graph, with an engine of two profiles beside it."""
    model = add(folder / "add.onnx")
    compile_engine(model, flavour=library, profiles=[dict.fromkeys("ab", SMALL), dict.fromkeys("ab", RANGE)])
    return model


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def check(session: Session, *shape: int, seed: int = 0) -> None:
    a, b = drawn(*shape, seed=seed), drawn(*shape, seed=seed + 1)
    np.testing.assert_array_equal(session.run({"a": a, "b": b})["z"], a + b)
