"""Every way of image.json to fit a picture gives in C++ the tensor that it gives in Python, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.manifest import check_asset
from attn_runtime.errors import BundleError, InputError
from attn_runtime.preprocess.image import prepare
from attn_runtime.spec import Dim, TensorSpec
from support.checks.message_places import place
from support.machines.generator_library import Refused
from support.machines.inputs_library import INPUT_STATUS, Library, write_input

IMAGENET = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
FITS: dict[str, dict[str, Any]] = {
    "shortest edge": {"fit": "shortest_edge", "shortest_edge": 37, "resize": "lanczos"},
    "shortest edge, rounded": {"fit": "shortest_edge", "shortest_edge": 40, "place": "center_rounded", "resize": "hamming"},
    "shortest edge below the tensor": {"fit": "shortest_edge", "shortest_edge": 11, "fill": [1.5, 0.0, 255.0]},
    "edges": {"fit": "edges", "shortest_edge": 20, "longest_edge": 33, "place": "top_left", "fill": [123.7, 116.3, 103.5]},
    "edges that crop": {"fit": "edges", "shortest_edge": 50, "longest_edge": 90, "resize": "box"},
    "inside": {"fit": "inside", "place": "top_left", "resize": "lanczos"},
    "inside, nearest": {"fit": "inside", "rounding": "nearest", "fit_height": 24, "fit_width": 24, "fill": [9.0, 8.0, 7.0]},
    "cover": {"fit": "cover", "rounding": "nearest", "fit_height": 35, "fit_width": 40, "place": "center_rounded"},
    "cover, down": {"fit": "cover"},
    "stretched, then cropped": {"fit": "stretch", "fit_height": 40, "fit_width": 29, "resize": "box"},
    "multiples": {"fit": "edges", "shortest_edge": 20, "longest_edge": 33, "multiple": 7, "place": "top_left"},
    "multiples, up": {"fit": "inside", "multiple": 8, "multiple_rounding": "up", "resize": "lanczos"},
    "as it is": {"fit": "none", "place": "center"},
    "a square first": {"square": [127, 3, 250], "resize": "hamming"},
    "blue first": {"channel_order": "bgr", "fit": "inside", "place": "top_left", "fill": [200.0, 100.0, 50.0]},
}  # fmt: skip


def recipe_of(fit: dict[str, Any], channels: int = 3) -> dict[str, Any]:
    whole = {"input": "image", "height": 33, "width": 26, "channels": channels, "resize": "bicubic", **IMAGENET, **fit}
    for name in ("mean", "std", "fill", "square"):
        if name in whole:
            whole[name] = (whole[name] * 2)[:channels]
    return whole


def bundle_of(library: Library, path: Path, recipe: dict[str, Any]) -> Any:
    sides = [Dim.fixed(recipe[name]) for name in ("channels", "height", "width")]
    return library.bundle(
        write_input(path, TensorSpec("image", "float32", (Dim("batch", 1, 1, 2), *sides)), image=recipe)
    )


@pytest.mark.parametrize("channels", [3, pytest.param(1, marks=pytest.mark.full), 4])
@pytest.mark.parametrize("name", FITS)
def test_pictures_of_many_sizes(library: Library, tmp_path: Path, name: str, channels: int) -> None:
    recipe = recipe_of(FITS[name], channels)
    bundle, rng = bundle_of(library, tmp_path / "a.attn", recipe), np.random.default_rng(len(name) + channels)
    sizes = [(1, 1), (1, 70), (70, 1), (33, 26), (32, 25), (26, 33), (120, 45), *rng.integers(1, 99, (12, 2)).tolist()]
    for number, (rows, columns) in enumerate(sizes):
        pixels = rng.integers(0, 256, (rows, columns, (1, 3, 4)[number % 3]), dtype=np.uint8)
        if number % 2:
            pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
        got = library.image(bundle, pixels)
        np.testing.assert_array_equal(got, prepare(pixels, recipe), f"{rows} x {columns}")


def test_a_narrow_picture_that_would_be_made_too_long(library: Library, tmp_path: Path) -> None:
    recipe = recipe_of({"fit": "shortest_edge", "shortest_edge": 5000})
    bundle, pixels = bundle_of(library, tmp_path / "a.attn", recipe), np.zeros((1, 4000, 3), np.uint8)
    with pytest.raises(InputError) as expected:
        prepare(pixels, recipe)
    with pytest.raises(Refused) as caught:
        library.image(bundle, pixels)
    assert caught.value.status == INPUT_STATUS and str(caught.value) == str(expected.value)


@pytest.mark.parametrize(
    "broken",
    [{"fit": "edges", "shortest_edge": 5}, {"fit": "shortest_edge"}, {"fill": [1.0]}, {"square": [1, 2, 3, 4]}, {"fit": "x"},
     {"place": "left"}, {"resize": "sinc"}, {"square": [1, 2, 256]}, {"channel_order": "grb"},
     {"fit_height": 0}, {"crop": 1}, {"multiple": 0}],
)  # fmt: skip
def test_a_recipe_that_is_none(library: Library, tmp_path: Path, broken: dict[str, Any]) -> None:
    good = {"input": "image", "height": 33, "width": 26, "channels": 3, "resize": "bicubic", **IMAGENET}
    check_asset("image", good, "bundle a.attn")
    with pytest.raises(BundleError) as expected:
        check_asset("image", good | broken, "bundle a.attn")
    bundle = bundle_of(library, tmp_path / "a.attn", good | broken)
    with pytest.raises(Refused) as caught:
        library.image(bundle, np.zeros((4, 4, 3), np.uint8))
    assert caught.value.status == 8
    assert place(str(caught.value)) == place(str(expected.value))
