"""From an image file, or pixels in memory, to the tensor that an image model takes. Training uses the same code.

A recipe is a bundle's `image` asset: {"input", "height", "width", "channels", "resize", "scale", "mean", "std"}, and what
`image_fit` reads. Pixel values 0..255 are resized, cropped or padded with `fill`, multiplied by scale, less mean, over std
(per channel), and come out as float32 NCHW. Pillow is needed, and imported when called.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, InputError
from ..files import bytes_or_path, irregular, reason, source_name
from .image_fit import Placement, placement

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow can open some sixty formats, among them ones that start other programs. These are what people have.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: As many pixels as 89 megapixels, Pillow's own limit; a few kilobytes of PNG can unpack to gigabytes.
MAX_PIXELS = 89_478_485

# A damaged file ends in any of these inside Pillow's decoders.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, KeyError, TypeError, OverflowError)


def load_image(
    image: str | os.PathLike[str] | bytes | NDArray[np.uint8], recipe: Mapping[str, Any]
) -> NDArray[np.float32]:
    """An image file, its content, or uint8 pixels, as float32 [1, channels, height, width].

    "-", /dev/stdin and /dev/fd/N are read until their writer closes them.

    Raises InputError for a file that is missing, damaged, of no known format or of more than `MAX_PIXELS`, and
    BackendError when Pillow is not installed.
    """
    return prepare(image if isinstance(image, np.ndarray) else _open(image), recipe)


def load_picture(file: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """An image file as it is to be looked at: uint8 [height, width, 3]. Raises as `load_image`."""
    return np.array(_in_mode(_open(file), "RGB"))


def prepare(image: Image | NDArray[np.uint8], recipe: Mapping[str, Any]) -> NDArray[np.float32]:
    """A Pillow image, or uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], as float32 [1, channels, height, width].

    Transparent pixels are laid over white where the model takes no alpha. Raises InputError for pixels of another
    dtype or shape and where the result, or the resized picture, would be larger than `MAX_PIXELS`.
    """
    pillow = _pillow()
    height, width, channels = recipe["height"], recipe["width"], recipe["channels"]
    if height * width > MAX_PIXELS:
        raise InputError(f"the image recipe asks for {width} x {height} pixels; at most {MAX_PIXELS} are made.")
    picture = pillow.fromarray(_pixels(image)) if isinstance(image, np.ndarray) else image
    picture = _in_mode(picture, _MODES[channels])
    if (colour := recipe.get("square")) is not None:
        picture = _squared(picture, colour)
    placed = placement(recipe, picture.height, picture.width)
    _refuse_large(picture, placed.width, placed.height)
    resample = getattr(pillow.Resampling, recipe["resize"].upper())
    resized = picture.resize((placed.width, placed.height), resample)
    values = np.asarray(resized, np.float32).reshape(placed.height, placed.width, channels)
    values = _placed(values, placed, height, width, np.asarray(recipe.get("fill", [0] * channels), np.float32))
    if recipe.get("channel_order", "rgb") == "bgr":
        values = np.concatenate([values[:, :, 2::-1], values[:, :, 3:]], axis=2)
    mean, std = np.asarray(recipe["mean"], np.float32), np.asarray(recipe["std"], np.float32)
    values = (values * np.float32(recipe["scale"]) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _refuse_large(picture: Image, width: int, height: int) -> None:
    """A narrow picture whose shorter side is made longer has a longer one beyond reason."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f"image: {picture.width} x {picture.height} pixels would become {width} x {height}; at most {MAX_PIXELS} are made. "
            "Cut it."
        )


def _squared(picture: Image, colour: Sequence[int]) -> Image:
    """In the middle of a square of its longer side."""
    side = max(picture.size)
    _refuse_large(picture, side, side)
    square: Image = _pillow().new(picture.mode, (side, side), tuple(colour) if len(colour) > 1 else colour[0])
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _placed(
    values: NDArray[np.float32], placed: Placement, height: int, width: int, fill: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The resized picture [rows, columns, channels], cropped and padded to [height, width, channels]."""
    top, left = max(placed.top, 0), max(placed.left, 0)
    seen = values[max(-placed.top, 0) :, max(-placed.left, 0) :][: height - top, : width - left]
    if seen.shape[:2] == (height, width):
        return seen
    whole = np.empty((height, width, len(fill)), np.float32)
    whole[:] = fill
    whole[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return whole


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendError("images need Pillow; pip install pillow") from error
    return Image


def _open(file: str | os.PathLike[str] | bytes) -> Image:
    pillow = _pillow()
    from PIL import ImageOps, UnidentifiedImageError

    source = file if isinstance(file, bytes) else bytes_or_path(file, "image")
    path = Path(source_name(source)) if isinstance(source, bytes) else source
    if problem := irregular(path) if source is path else "":
        raise InputError(f"image {path}: {problem}; give a picture")
    try:
        with warnings.catch_warnings():
            # Such as of many pixels, which are counted below, and of a damaged EXIF block beside whole pixels.
            warnings.simplefilter("ignore")
            with pillow.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise pillow.DecompressionBombError
                image.load()
                # Cameras store the turned picture and how to turn it back.
                turned: Image = ImageOps.exif_transpose(image)
                return turned
    except pillow.DecompressionBombError:
        raise InputError(f"image {path.name}: more than {MAX_PIXELS} pixels. Make it smaller.") from None
    except UnidentifiedImageError:
        raise InputError(f"image {path.name}: none of {', '.join(_FORMATS)}, or damaged at its start.") from None
    except FileNotFoundError:
        raise InputError(f"image {path}: there is no such file.") from None
    except _DAMAGE as error:
        raise InputError(f"image {path.name}: can't be read: {reason(error)}") from error


def _pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        got = f"{array.dtype.name} {list(array.shape)}"
        raise InputError(f"image: got {got}; expected uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]")
    if not array.size:
        raise InputError(f"image: got {list(array.shape)}, which has no pixels")
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _in_mode(image: Image, mode: str) -> Image:
    if image.mode.startswith("I"):
        # 16 bits per pixel, which Pillow's own conversion would clip at 255.
        wide = np.asarray(image)
        image = _pillow().fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise InputError("image: pixels are floating point, of a range that no file tells. Convert it to 8 bits.")
    if mode != "RGBA" and (image.has_transparency_data):
        over = image.convert("RGBA")
        image = _pillow().new("RGBA", over.size, "white")
        image.alpha_composite(over)
    return image.convert(mode)
