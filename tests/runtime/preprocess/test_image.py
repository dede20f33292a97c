"""Images of every kind come out as the tensor that the recipe describes; damaged ones as one line."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import InputError
from attn_runtime.preprocess import image as image_module
from attn_runtime.preprocess.image import load_image, prepare
from PIL import Image

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def recipe(channels: int = 3, size: int = 2, resize: str = "nearest", **changes: object) -> dict:
    plain = {"input": "image", "height": size, "width": size, "channels": channels, "resize": resize, "scale": 1.0}
    return plain | {"mean": [0.0] * channels, "std": [1.0] * channels} | changes


def test_layout_and_arithmetic() -> None:
    got = prepare(COLOURS, recipe(scale=1 / 255, mean=[0.5, 0.25, 0.0], std=[0.5, 0.25, 2.0]))
    expected = (COLOURS.transpose(2, 0, 1) / 255 - np.array([0.5, 0.25, 0.0])[:, None, None]) / np.array(
        [0.5, 0.25, 2.0]
    )[:, None, None]
    assert got.dtype == np.float32 and got.shape == (1, 3, 2, 2) and got.flags.c_contiguous
    np.testing.assert_allclose(got[0], expected, atol=1e-6)


def test_height_and_width_are_not_swapped(tmp_path: Path) -> None:
    wide = np.zeros((2, 6, 3), np.uint8)
    wide[:, 4:] = 200
    got = prepare(wide, recipe() | {"height": 2, "width": 3})
    np.testing.assert_array_equal(got[0, 0], [[0, 0, 200], [0, 0, 200]])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "gif"])
def test_file_formats(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(load_image(tmp_path / f"a.{suffix}", recipe())[0], COLOURS.transpose(2, 0, 1))


def test_grey_becomes_three_equal_channels_and_colour_one() -> None:
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    for pixels in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(prepare(pixels, recipe())[0], np.stack([grey] * 3))
        np.testing.assert_array_equal(prepare(pixels, recipe(1))[0, 0], grey)
    luma = np.array([[76, 150], [29, 18]])  # 0.299 R + 0.587 G + 0.114 B
    np.testing.assert_array_equal(prepare(COLOURS, recipe(1))[0, 0], luma)


def test_transparent_pixels_lie_over_white() -> None:
    pixels = np.dstack([COLOURS, np.array([[255, 0], [128, 255]], np.uint8)])
    got = prepare(pixels, recipe())[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(got[[0, 0, 1], [0, 1, 1]], [[255, 0, 0], [255, 255, 255], [10, 20, 30]])
    np.testing.assert_allclose(got[1, 0], [127, 127, 255], atol=1)
    np.testing.assert_array_equal(prepare(pixels, recipe(4))[0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["P", "1", "LA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_of_a_white_image_are_white(mode: str) -> None:
    white = Image.new("RGB", (5, 4), "white")
    image = (
        white.convert("L").convert("LA") if mode == "LA" else _as_lab(white) if mode == "LAB" else white.convert(mode)
    )
    np.testing.assert_allclose(prepare(image, recipe())[0], 255, atol=1)


def _as_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    got = load_image(tmp_path / "a.png", recipe())[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(got[0], [[0, 0, 255], [255, 255, 255]])


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_pixel_fills_the_whole_input(tmp_path: Path, resize: str, channels: int) -> None:
    Image.fromarray(np.array([[70]], np.uint8)).save(tmp_path / "dot.png")
    got = load_image(tmp_path / "dot.png", recipe(channels, 8, resize))
    np.testing.assert_array_equal(got, np.full((1, channels, 8, 8), 70, np.float32))


def test_sixteen_bit_grey_keeps_its_scale(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535], [32768, 256]], np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", recipe(1))[0, 0], [[0, 255], [128, 1]])


def test_camera_that_lay_on_its_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to view
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    turned = np.rot90(COLOURS, -1).transpose(2, 0, 1)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", recipe())[0], turned)


def test_resize_filters_differ() -> None:
    pixels = np.array([[0, 255], [255, 0]], np.uint8)
    got = {r: prepare(pixels, recipe(1, 4, r)) for r in ("nearest", "bilinear", "bicubic")}
    np.testing.assert_array_equal(got["nearest"][0, 0, 0], [0, 0, 255, 255])
    assert 0 < got["bilinear"][0, 0, 1, 1] < 128
    assert not np.array_equal(got["bilinear"], got["bicubic"])


# --- bad input ----------------------------------------------------------------------------------------------------


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "none of PNG"),
        (b"hello world", "none of PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "none of PNG"),
        (png(40, 40, bytes(range(41)) * 40)[:60], "can't be read"),
        (b"\xff\xd8\xff\xe0" + bytes(30), "none of PNG|can't be read"),
        (png(60000, 60000, b"\0"), "more than 89478485 pixels"),
        (png(10000, 10000, b"\0"), "more than 89478485 pixels"),
        (png(2**31 - 1, 2**31 - 1, b"\0"), "more than 89478485 pixels|can't be read"),
    ],
    ids=["empty", "text", "postscript", "cut", "jpeg-cut", "bomb", "small-bomb", "absurd"],
)
def test_file_that_is_no_image(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        load_image(tmp_path / "a.png", recipe())
    assert "\n" not in str(caught.value) and caught.value.exit_code == 7


@pytest.mark.filterwarnings("error")
def test_every_truncation_of_an_image_is_told(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "gif", "tiff", "webp", "bmp"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"a.{suffix}")
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        for cut in range(0, len(whole), max(1, len(whole) // 40)):
            (tmp_path / f"b.{suffix}").write_bytes(whole[:cut])
            with contextlib.suppress(InputError):
                load_image(tmp_path / f"b.{suffix}", recipe())


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_image(tmp_path / "a.png", recipe())
    with pytest.raises(InputError, match="is not a regular file, but a folder"):
        load_image(tmp_path, recipe())


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 2), np.float32), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 2, 3), np.uint8)],
    ids=["float", "two-channels", "flat", "empty"],
)
def test_array_that_is_no_image(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="image: got"):
        prepare(pixels, recipe())


def test_floating_point_image() -> None:
    with pytest.raises(InputError, match="floating point"):
        prepare(Image.new("F", (2, 2)), recipe())


def test_absurd_recipe_makes_nothing() -> None:
    with pytest.raises(InputError, match=f"at most {image_module.MAX_PIXELS}"):
        prepare(COLOURS, recipe(3, 65536))
