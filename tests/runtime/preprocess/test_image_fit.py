"""Where a picture comes to lie in the tensor, by the numbers of transformers, torchvision and timm; what is cropped or padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attn_runtime.errors import InputError
from attn_runtime.preprocess.image import prepare
from attn_runtime.preprocess.image_fit import Placement, placement
from PIL import Image

PLAIN = {
    "input": "image",
    "height": 4,
    "width": 4,
    "channels": 1,
    "resize": "nearest",
    "scale": 1.0,
    "mean": [0.0],
    "std": [1.0],
}


def recipe(**changes: Any) -> dict[str, Any]:
    return PLAIN | changes


@pytest.mark.parametrize(
    ("fit", "height", "width", "expected"),
    [
        ({}, 9, 7, (4, 4, 0, 0)),
        ({"fit_height": 7, "fit_width": 3}, 9, 7, (7, 3, -1, 0)),
        ({"fit_height": 7, "fit_width": 3, "place": "center_rounded"}, 9, 7, (7, 3, -2, 0)),
        ({"fit_height": 7, "fit_width": 3, "place": "top_left"}, 9, 7, (7, 3, 0, 0)),
        ({"fit_height": 9, "fit_width": 1, "place": "center_rounded"}, 9, 7, (9, 1, -2, 1)),
        # 256 / 333 * 500 = 384.38; int(256 * 500 / 333).
        ({"fit": "shortest_edge", "shortest_edge": 256}, 500, 333, (384, 256, -190, -126)),
        ({"fit": "shortest_edge", "shortest_edge": 256}, 333, 500, (256, 384, -126, -190)),
        # Of transformers' get_size_with_aspect_ratio: 640 x 480 to 800 by 1066, 1000 x 333 is bound by its longer side.
        (
            {"fit": "edges", "shortest_edge": 800, "longest_edge": 1333, "place": "top_left"},
            480,
            640,
            (800, 1066, 0, 0),
        ),
        (
            {"fit": "edges", "shortest_edge": 800, "longest_edge": 1333, "place": "top_left"},
            1000,
            333,
            (1333, 444, 0, 0),
        ),
        ({"fit": "edges", "shortest_edge": 800, "longest_edge": 1333, "place": "top_left"}, 1, 5000, (1, 1333, 0, 0)),
        ({"fit": "edges", "shortest_edge": 80, "longest_edge": 133, "place": "top_left"}, 90, 80, (90, 80, 0, 0)),
        ({"fit": "inside"}, 8, 7, (4, 3, 0, 0)),
        ({"fit": "inside", "rounding": "nearest"}, 8, 7, (4, 4, 0, 0)),
        ({"fit": "inside", "rounding": "nearest"}, 8, 5, (4, 2, 0, 1)),  # 2.5, to even
        ({"fit": "cover"}, 8, 7, (4, 4, 0, 0)),
        ({"fit": "cover", "fit_height": 6, "fit_width": 5}, 12, 9, (6, 5, -1, 0)),
        ({"fit": "cover", "rounding": "nearest", "fit_height": 6, "fit_width": 5}, 12, 9, (7, 5, -1, 0)),
        (
            {"fit": "inside", "fit_height": 40, "fit_width": 40, "multiple": 16, "place": "top_left"},
            80,
            70,
            (32, 32, 0, 0),
        ),
        (
            {"fit_height": 33, "fit_width": 5, "multiple": 16, "multiple_rounding": "up", "place": "top_left"},
            9,
            9,
            (48, 16, 0, 0),
        ),
        ({"fit_height": 33, "fit_width": 5, "multiple": 16, "place": "top_left"}, 9, 9, (32, 1, 0, 0)),
        ({"fit": "none"}, 1, 9, (1, 9, 1, -2)),
    ],
)
def test_placement(fit: dict[str, Any], height: int, width: int, expected: tuple[int, ...]) -> None:
    assert placement(recipe(**fit), height, width) == Placement(*expected)


def test_what_is_cropped_is_the_middle() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(prepare(pixels, recipe(fit="none"))[0, 0], pixels[1:5, 2:6])
    np.testing.assert_array_equal(prepare(pixels, recipe(fit="none", place="top_left"))[0, 0], pixels[:4, :4])


def test_what_is_padded_is_filled_before_the_arithmetic() -> None:
    pixels = np.full((2, 1), 100, np.uint8)
    made = prepare(pixels, recipe(fit="none", fill=[61.5], scale=0.5, mean=[10.0], std=[2.0]))[0, 0]
    expected = np.full((4, 4), (61.5 * 0.5 - 10) / 2, np.float32)
    expected[1:3, 1] = (100 * 0.5 - 10) / 2
    np.testing.assert_array_equal(made, expected)


def test_a_square_of_its_colour() -> None:
    pixels = np.full((1, 4, 3), (9, 8, 7), np.uint8)
    made = prepare(pixels, recipe(channels=3, mean=[0.0] * 3, std=[1.0] * 3, square=[1, 2, 3]))[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(made[1], [[9, 8, 7]] * 4)
    np.testing.assert_array_equal(made[[0, 2, 3]], np.broadcast_to([1, 2, 3], (3, 4, 3)))


@pytest.mark.parametrize(("channels", "order"), [(1, [0]), (3, [2, 1, 0]), (4, [2, 1, 0, 3])])
def test_blue_first(channels: int, order: list[int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    given = recipe(channels=channels, mean=[float(c) for c in range(channels)], std=[1.0] * channels)
    plain, turned = (prepare(pixels, given | {"channel_order": name})[0] for name in ("rgb", "bgr"))
    np.testing.assert_array_equal(
        turned, plain[order] + np.array(order)[:, None, None] - np.arange(channels)[:, None, None]
    )


@pytest.mark.parametrize("name", ["lanczos", "hamming", "box"])
def test_the_filters_are_pillows(name: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (23, 31), dtype=np.uint8)
    made = prepare(pixels, recipe(height=11, width=40, resize=name))[0, 0]
    expected = Image.fromarray(pixels).resize((40, 11), getattr(Image.Resampling, name.upper()))
    np.testing.assert_array_equal(made, np.asarray(expected))


@pytest.mark.parametrize("changes", [{"fit": "shortest_edge", "shortest_edge": 60000}, {"square": [0]}])
def test_a_narrow_picture_that_would_be_made_too_large(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"image: 1 x 60000 pixels would become \d+ x \d+; at most 89478485 are made"):
        prepare(np.zeros((60000, 1), np.uint8), recipe(**changes))
