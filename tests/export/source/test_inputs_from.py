"""A function of the user's draws the inputs: what it returns is held against the declared ones, and sizes are read off it."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export.source.inputs_from import draw_with
from attn_export.source.resolve import load_source
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec

IMAGES, PATCHES = Dim("images", 1, 2, 4), Dim("P", 1, 8, 36)
SPECS = (
    TensorSpec("grid", "int64", (IMAGES, Dim.fixed(2)), low=1, high=4),
    TensorSpec("patches", "float32", (PATCHES, Dim.fixed(3))),
)
SIZES = {"images": 2, "P": 8}


def patches(sizes: dict[str, int], seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    grid = rng.integers(1, 4, (sizes["images"], 2))
    rows = int(grid.prod(-1).sum())
    return {"patches": torch.from_numpy(rng.standard_normal((rows, 3), dtype=np.float32)), "grid": grid}


def test_sizes_are_read_off_the_arrays() -> None:
    ref, draw = draw_with(patches, SPECS)
    assert ref == f"{__name__}:patches"
    inputs, sizes = draw(SIZES, 5)
    assert list(inputs) == ["grid", "patches"] and all(type(v) is np.ndarray for v in inputs.values())
    assert sizes == {"images": 2, "P": int(inputs["grid"].prod(-1).sum())} != SIZES
    np.testing.assert_array_equal(inputs["patches"], draw(SIZES, 5).inputs["patches"])
    assert not np.array_equal(inputs["patches"][:2], draw(SIZES, 6).inputs["patches"][:2])


def test_what_is_drawn_is_a_copy_in_this_byte_order() -> None:
    kept = {"grid": np.ones((2, 2), ">i8"), "patches": np.ones((4, 6), np.float32)[:, ::2]}
    inputs, _ = draw_with(lambda sizes, seed: kept, SPECS)[1](SIZES, 0)
    assert inputs["grid"].dtype.isnative and inputs["patches"].flags.c_contiguous
    inputs["patches"][:] = 7
    assert (kept["patches"] == 1).all()
    scalar = (TensorSpec("s", "float32", ()),)
    assert draw_with(lambda sizes, seed: {"s": np.float32(3)}, scalar)[1]({}, 0).inputs["s"].shape == ()


def changed(**arrays: Any) -> Any:
    return lambda sizes, seed: {**patches(sizes, seed), **arrays}


def raising(problem: BaseException) -> Any:
    def draw(sizes: dict[str, int], seed: int) -> Any:
        raise problem

    return draw


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda sizes, seed: [1], "got a list, expected a dict of the inputs grid, patches"),
        (lambda sizes, seed: {"grid": np.ones((2, 2), np.int64)}, "missing input patches"),
        (changed(grids=np.ones(2)), "unknown input grids"),
        (changed(patches=np.ones((4, 3))), "got float64 [4, 3]; expected dtype float32"),
        (changed(patches=np.ones(4, np.float32)), "expected rank 2"),
        (changed(patches=np.ones((40, 3), np.float32)), "dim P allows 1..36"),
        (changed(patches=np.ones((4, 5), np.float32)), "axis 1 is fixed at 3"),
        (changed(patches=[[1.0, 2.0, 3.0]]), "got a list, expected a numpy array or a torch tensor"),
        (changed(patches=torch.ones(4, 3, dtype=torch.bfloat16)), "return float32"),
        (changed(grid=np.full((2, 2), 4)), "got values 4..4, expected 1..3"),
        (changed(grid=np.full((2, 2), 0)), "got values 0..0, expected 1..3"),
        (raising(ValueError("no\nsecond line")), "failed: ValueError: no"),
        (raising(SystemExit(3)), "failed: SystemExit: 3"),
        (lambda sizes: {}, "failed: TypeError:"),
        (lambda sizes, seed: {"grid": np.ones((sizes["rows"], 2))}, "failed: KeyError: 'rows'"),
    ],
)
def test_what_does_not_fit_is_one_line_with_function_sizes_and_seed(function: Any, says: str) -> None:
    with pytest.raises(UsageError) as told:
        draw_with(function, SPECS)[1](SIZES, 9)
    message = str(told.value)
    assert says in message and "\n" not in message
    assert message.startswith("--inputs-from ") and "at images=2, P=8, seed 9: " in message


def test_a_function_that_does_not_follow_its_seed_is_refused() -> None:
    calls = itertools.count(1)
    of_another_size = lambda sizes, seed: patches(sizes, next(calls))  # noqa: E731
    of_another_value = lambda sizes, seed: changed(grid=np.full((2, 2), next(calls) % 2 + 1))(sizes, seed)  # noqa: E731
    for function in (of_another_size, of_another_value):
        with pytest.raises(UsageError, match="answers differently when asked twice"):
            draw_with(function, SPECS)[1](SIZES, 0)


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("draws", "expected package.module:callable"),
        ("nowhere_at_all:draw", "--inputs-from nowhere_at_all:draw: there is no module nowhere_at_all"),
        ("draws:drow", "did you mean draw?"),
        ("draws:NUMBER", "got a int, expected a function"),
        ("draws:Net", "got a class, expected a function"),
    ],
)
def test_what_names_no_function(ref: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "draws.py").write_text("NUMBER = 3\nclass Net: pass\ndef draw(sizes, seed): return {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "draws", raising=False)
    with pytest.raises(UsageError) as told:
        draw_with(ref, SPECS)
    assert says in str(told.value)
    sys.modules.pop("draws", None)


def test_a_model_of_several_graphs_takes_none() -> None:
    with pytest.raises(UsageError, match="leave --inputs-from out, or take one of them with --graph NAME"):
        load_source("lm", inputs_from=patches)


def test_the_source_tells_who_draws() -> None:
    source = load_source("textclassifier", inputs_from=patches)
    assert source.graph.draw is not None and source.provenance["inputs_from"].endswith(":patches")
    assert "inputs_from" not in load_source("textclassifier").provenance
