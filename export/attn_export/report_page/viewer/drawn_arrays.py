"""Arrays as pictures: an image as it looks, a recording as its waveform, any other as lines or shades."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from attn_runtime.page import Html, tag
from numpy.typing import NDArray

#: Pixels of the longer side of a picture in the page.
_MOST_PIXELS = 384
#: Numbers that are written out.
_WRITTEN = 24
#: Columns of a waveform.
COLUMNS = 400


def pixels_of(tensor: NDArray[Any], recipe: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The picture that [channels, height, width] was made of by the bundle's image recipe, as far as the model sees it."""
    mean, std = (np.asarray(recipe[name], np.float32)[:, None, None] for name in ("mean", "std"))
    values = (tensor.astype(np.float32) * std + mean) / np.float32(recipe["scale"])
    if recipe.get("channel_order", "rgb") == "bgr":
        values = np.concatenate([values[2::-1], values[3:]])
    colours = np.nan_to_num(values[:3] if len(values) >= 3 else np.repeat(values[:1], 3, axis=0), nan=0.0)
    return np.asarray(np.clip(np.rint(colours), 0, 255), np.uint8).transpose(1, 2, 0)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """uint8 [height, width, 3] or [height, width] as a PNG inside an address, made smaller where it is large."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    kept = BytesIO()
    image.save(kept, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()}"


def picture(pixels: NDArray[np.uint8], told: str) -> Html:
    """An image of about the same size in the page, however many pixels it has."""
    height, width = pixels.shape[:2]
    shown = 160 / max(height, width)
    return tag(
        "img", src=data_uri(pixels), alt=told, width=max(round(width * shown), 8), height=max(round(height * shown), 8),
        class_="picture", limit=None,
    )  # fmt: skip


def envelope(samples: NDArray[Any], columns: int = COLUMNS) -> list[tuple[int, int]]:
    """(least, greatest) of each stretch of a recording, in hundredths of its greatest sample."""
    clean = np.nan_to_num(np.asarray(samples, np.float32))
    parts = np.array_split(clean, min(columns, max(len(clean), 1)))
    most = float(np.abs(clean).max(initial=0.0)) or 1.0
    return [
        (round(float(p.min(initial=0.0)) / most * 100), round(float(p.max(initial=0.0)) / most * 100)) for p in parts
    ]


def waveform(samples: NDArray[Any], told: str) -> Html:
    found = envelope(samples)
    bars = " ".join(f"M{x} {50 - high / 2:g}V{50 - low / 2 + 1:g}" for x, (low, high) in enumerate(found))
    return tag(
        "svg", tag("path", d=bars, class_="wave", limit=None), viewBox=f"0 0 {len(found)} 101", class_="waveform",
        preserveAspectRatio="none", role="img", aria_label=told,
    )  # fmt: skip


def drawn(array: NDArray[Any], told: str) -> Html:
    """Row 0 of any array: few numbers as they are, a line of many as a curve, and what has two axes and more as shades."""
    row = array[0] if array.ndim > 1 else array
    if row.size <= _WRITTEN:
        return tag("code", ", ".join(_number(value) for value in row.flat), limit=600)
    if row.ndim == 1:
        return waveform(row, told)
    plane = np.nan_to_num(row.reshape(-1, *row.shape[-2:])[0].astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(plane.min(initial=0.0)), float(plane.max(initial=0.0))
    shades = np.rint((plane - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    return picture(shades, told)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, np.floating) else str(value)
