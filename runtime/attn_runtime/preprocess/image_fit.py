"""How a picture of any size comes into an image tensor of one size: what it is resized to, and where it lies in there.

The recipe's `fit` is one of

- stretch: to `fit_height` x `fit_width`, which are the tensor's height and width where they are left out
- shortest_edge: its shorter side becomes `shortest_edge`, the longer one follows
- edges: as shortest_edge, unless the longer side would be more than `longest_edge`; then that becomes `longest_edge`
- inside, cover: as large as fits into `fit_height` x `fit_width`, or just fills it, rounded as `rounding` says
- none: as it is

With `multiple` both sides then become multiples of it, `multiple_rounding` down or up. What is larger than the tensor is
cropped, what is smaller is padded, at the place that `place` says. The arithmetic is that of transformers 5.23
(image_transforms.py), torchvision 0.28 (shortest_edge) and timm 1.0 (inside and cover, nearest): one of them decides to the
pixel which part of a picture a model sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Placement:
    """In pixels: the picture is made `height` x `width`, and its upper left corner comes to row `top`, column `left` of the
    tensor; below 0 where it is cropped."""

    height: int
    width: int
    top: int
    left: int


def placement(recipe: Mapping[str, Any], height: int, width: int) -> Placement:
    """Of a picture of `height` x `width` pixels, which has been made square already where the recipe says so."""
    rows, columns = _resized(recipe, height, width)
    if multiple := recipe.get("multiple"):
        up = multiple - 1 if recipe.get("multiple_rounding", "down") == "up" else 0
        rows, columns = ((side + up) // multiple * multiple for side in (rows, columns))
    rows, columns = max(rows, 1), max(columns, 1)
    place = recipe.get("place", "center")
    return Placement(rows, columns, _start(rows, recipe["height"], place), _start(columns, recipe["width"], place))


@dataclass(frozen=True)
class Frame:
    """Pixel (y, x) of a picture lies at (y * rows + top, x * columns + left) of the tensor."""

    rows: float
    columns: float
    top: float
    left: float


def frame_of(recipe: Mapping[str, Any], height: int, width: int) -> Frame:
    """Where a picture of `height` x `width` pixels lies in the tensor that `prepare` makes of it."""
    above = before = 0
    tall, wide = height, width
    if "square" in recipe:
        tall = wide = max(height, width)
        above, before = (tall - height) // 2, (wide - width) // 2
    placed = placement(recipe, tall, wide)
    rows, columns = placed.height / tall, placed.width / wide
    return Frame(rows, columns, placed.top + above * rows, placed.left + before * columns)


def _resized(recipe: Mapping[str, Any], height: int, width: int) -> tuple[int, int]:
    fit = recipe.get("fit", "stretch")
    to = recipe.get("fit_height", recipe["height"]), recipe.get("fit_width", recipe["width"])
    if fit == "none":
        return height, width
    if fit == "shortest_edge":
        return _shortest_edge(height, width, recipe["shortest_edge"])
    if fit == "edges":
        return _edges(height, width, recipe["shortest_edge"], recipe["longest_edge"])
    if fit == "stretch":
        return to
    if recipe.get("rounding", "down") == "down":
        scales = to[0] / height, to[1] / width
        scale = min(scales) if fit == "inside" else max(scales)
        return int(height * scale), int(width * scale)
    ratios = height / to[0], width / to[1]
    ratio = max(ratios) if fit == "inside" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _shortest_edge(height: int, width: int, edge: int) -> tuple[int, int]:
    long = int(edge * max(height, width) / min(height, width))
    return (long, edge) if width <= height else (edge, long)


def _edges(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    short, long = float(min(height, width)), float(max(height, width))
    exact = float(shortest)
    if long / short * exact > longest:
        exact = longest * short / long
        shortest = round(exact)
    if min(height, width) == shortest:
        return height, width
    if width < height:
        return int(exact * height / width), shortest
    return shortest, int(exact * width / height)


def _start(size: int, wanted: int, place: str) -> int:
    """Of an axis of `size` pixels that is cropped or padded to `wanted`."""
    if place == "top_left":
        return 0
    if size <= wanted:
        return (wanted - size) // 2
    # torchvision and timm round a half to even, transformers rounds down: a pixel where the difference is odd.
    return -round((size - wanted) / 2) if place == "center_rounded" else -((size - wanted) // 2)
