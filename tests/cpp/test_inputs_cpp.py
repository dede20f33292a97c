"""Pictures and texts become the same tensors in C++ as in Python, what is refused is refused with the same status,
and the example programs name the classes that `attn-run classify` names."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import AttnError
from attn_runtime.native.capi import Tensor
from attn_runtime.preprocess.image import prepare as prepare_image
from attn_runtime.preprocess.text import open_text
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.tasks.classification import classify
from PIL import Image
from support.checks.message_places import place
from support.graphs import wav_files
from support.machines.generator_library import Refused
from support.machines.inputs_library import INPUT_STATUS, Library, write_input
from support.models import small_classifiers
from support.texts import small_text_models
from support.texts.small_text_models import TEXT

#: Run an example program by its name, with arguments.
Example = Callable[..., subprocess.CompletedProcess[str]]


# --- pictures ------------------------------------------------------------------------------------------------------

RECIPES = [
    (resize, channels, height, width)
    for resize in ("nearest", "bilinear", "bicubic")
    for channels, height, width in ((1, 1, 1), (3, 32, 32), (3, 7, 50), (4, 40, 9))
]


@pytest.mark.parametrize(("resize", "channels", "height", "width"), RECIPES)
def test_pictures_of_many_sizes(
    library: Library, tmp_path: Path, resize: str, channels: int, height: int, width: int
) -> None:
    """Bit by bit: what rounds differently, a model answers differently."""
    rng = np.random.default_rng(RECIPES.index((resize, channels, height, width)))
    recipe = {"input": "image", "height": height, "width": width, "channels": channels, "resize": resize, "scale": 1 / 255,
              "mean": rng.random(channels).tolist(), "std": (rng.random(channels) + 0.1).tolist()}  # fmt: skip
    dims = (Dim("batch", 1, 1, 2), Dim.fixed(channels), Dim.fixed(height), Dim.fixed(width))
    bundle = library.bundle(write_input(tmp_path / "a.attn", TensorSpec("image", "float32", dims), image=recipe))
    sizes = [
        (1, 1),
        (1, 300),
        (300, 1),
        (height, width),
        (height, 20),
        (20, width),
        *rng.integers(1, 80, (20, 2)).tolist(),
    ]
    for number, (rows, columns) in enumerate(sizes):
        for given in (1, 3, 4):
            pixels = rng.integers(0, 256, (rows, columns, given), dtype=np.uint8)
            if number % 3 == 0:  # edges, over which a cubic overshoots, and alpha that is nothing or all
                pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
            expected = prepare_image(pixels, recipe)
            np.testing.assert_array_equal(library.image(bundle, pixels), expected, f"{rows} x {columns} x {given}")


def test_a_photograph_in_full_size(library: Library, tmp_path: Path) -> None:
    recipe = {"input": "image", "height": 224, "width": 224, "channels": 3, "resize": "bicubic", "scale": 1 / 255,
              "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # fmt: skip
    dims = (Dim("batch", 1, 1, 2), Dim.fixed(3), Dim.fixed(224), Dim.fixed(224))
    bundle = library.bundle(write_input(tmp_path / "a.attn", TensorSpec("image", "float32", dims), image=recipe))
    y, x = np.mgrid[:1080, :1920]
    waves = [127 + 60 * np.sin(x / 37 + c) + 60 * np.cos(y / 23 - c) for c in range(3)]
    pixels = np.stack(waves, -1).astype(np.uint8)
    np.testing.assert_array_equal(library.image(bundle, pixels), prepare_image(pixels, recipe))


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4, 5), (0, 4, 3), (4, 0, 3)])
def test_pixels_that_are_no_picture(library: Library, tmp_path: Path, shape: tuple[int, ...]) -> None:
    bundle = library.bundle(small_classifiers.pictures(tmp_path / "p.attn"))
    with pytest.raises(Refused, match=r"image: got \[\d, \d, \d\](; expected uint8|, which has no pixels)") as caught:
        library.image(bundle, np.zeros(shape, np.uint8))
    assert caught.value.status == INPUT_STATUS


def test_a_picture_that_no_memory_holds(library: Library, tmp_path: Path) -> None:
    bundle = library.bundle(small_classifiers.pictures(tmp_path / "p.attn"))
    told = Tensor()
    for height, width in ((2**63, 2), (2**32, 2**32), (2**40, 1)):
        arguments = (ctypes.c_size_t(height), ctypes.c_size_t(width), ctypes.c_size_t(3), ctypes.byref(told))
        assert library.c.attn_bundle_image(bundle, None, *arguments) == INPUT_STATUS


# --- texts ---------------------------------------------------------------------------------------------------------


def test_texts(library: Library, tmp_path: Path) -> None:
    path = small_classifiers.texts(tmp_path / "t.attn")
    bundle, text = library.bundle(path), open_text(Bundle.open(path))
    words = [word for word in Bundle.open(path).asset("tokenizer")["model"]["vocab"] if word.isalpha()]
    for texts in ([words[0]], [" ".join(words[:3]), words[1]], ["what nobody knows"], [words[0].upper()]):
        for got, expected in zip(library.text(bundle, texts), text.encode(texts), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
    for bad in (["  "], [" ".join(words * 9)]):
        with pytest.raises(AttnError) as expected_error:
            text.encode(bad)
        with pytest.raises(Refused) as refused:
            library.text(bundle, bad)
        assert place(str(refused.value)) == place(str(expected_error.value))
        assert refused.value.status == expected_error.value.exit_code == INPUT_STATUS


def test_pairs_of_texts_and_their_types(library: Library, tmp_path: Path) -> None:
    recipe = TEXT | {"types": "token_type_ids", "max_length": 9}
    path = small_text_models.pooled(tmp_path / "p.attn", small_text_models.table(2), types=True, text=recipe)
    bundle, text = library.bundle(path), open_text(Bundle.open(path))
    texts, seconds = ["where ?", "who lives in paris"], ["in New York .", "anna"]
    for given in ((texts, None), (texts, seconds), (["anna"], ["zorp zorp"])):
        rows = [text.encoded(one, given[1][n] if given[1] else None) for n, one in enumerate(given[0])]
        assert_inputs_alike(library.pairs(bundle, *given), text.batch(rows))
    assert library.text(bundle, texts)[0].shape == (2, 6)  # tokens and mask alone
    for bad in (["anna", " "], [" ", "anna"], ["anna lives in new york", "and paris"]):
        with pytest.raises(AttnError) as expected_error:
            text.encoded(*bad)
        with pytest.raises(Refused) as refused:
            library.pairs(bundle, [bad[0]], [bad[1]])
        assert str(refused.value).partition("(")[0] == str(expected_error.value).partition("(")[0]
        assert refused.value.status == INPUT_STATUS


def test_a_model_without_a_mask(library: Library, tmp_path: Path) -> None:
    path = small_text_models.pooled(tmp_path / "p.attn", small_text_models.table(2), mask=False)
    bundle, text = library.bundle(path), open_text(Bundle.open(path))
    assert_inputs_alike(library.pairs(bundle, ["who ?", "in york"]), text.inputs(["who ?", "in york"]))
    fixed = small_text_models.pooled(tmp_path / "f.attn", small_text_models.table(2), mask=False, length=Dim.fixed(6))
    expected = open_text(Bundle.open(fixed)).inputs(["who ?", "anna"])
    assert_inputs_alike(library.pairs(library.bundle(fixed), ["who ?", "anna"]), expected)
    with pytest.raises(Refused, match="texts of 3 to 4 tokens: .* has no mask") as refused:
        library.pairs(bundle, ["who", "who ?"])
    assert refused.value.status == INPUT_STATUS


def assert_inputs_alike(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype
        np.testing.assert_array_equal(got[name], value, name)


def test_a_tokenizer_of_17_mib_is_read_in_both(library: Library, tmp_path: Path) -> None:
    small = Bundle.open(small_classifiers.texts(tmp_path / "small.attn")).asset("tokenizer")
    padding = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
    }
    large = small | {"padding": padding | {"pad_token": "x" * (17 << 20)}}
    path = small_classifiers.texts(tmp_path / "large.attn", tokenizer=large)
    expected = open_text(Bundle.open(path)).encode(["good bad"])
    for got, wanted in zip(library.text(library.bundle(path), ["good bad"]), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


# --- bundles that do not take them ---------------------------------------------------------------------------------


def test_a_bundle_that_takes_something_else(library: Library, tmp_path: Path) -> None:
    pictures = library.bundle(small_classifiers.pictures(tmp_path / "p.attn"))
    with pytest.raises(Refused, match="takes no recordings") as caught:
        library.wav(pictures, tmp_path / "nothing.wav")
    assert caught.value.status == 2
    with pytest.raises(Refused, match="takes no texts"):
        library.text(pictures, ["a"])
    wrong = TensorSpec("image", "float32", (Dim("batch", 1, 1, 2), Dim.fixed(3)))
    recipe = {"input": "image", "height": 4, "width": 4, "channels": 3, "resize": "nearest", "scale": 1.0}
    recipe |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    for name, spec in (("rank", wrong), ("name", TensorSpec("other", "float32", wrong.dims))):
        bundle = library.bundle(write_input(tmp_path / f"{name}.attn", spec, image=recipe))
        with pytest.raises(Refused, match=r'expected an input "image" of float32 .*re-export the bundle') as caught:
            library.image(bundle, np.zeros((4, 4, 3), np.uint8))
        assert caught.value.status == 8


# --- the examples --------------------------------------------------------------------------------------------------


@pytest.fixture
def example(cpp_build: Path, cpp_environment: dict[str, str]) -> Example:
    def run(name: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
        command = [cpp_build / "examples" / name, *arguments]
        return subprocess.run(command, env=cpp_environment, capture_output=True, text=True, timeout=120)

    return run


def classified(done: subprocess.CompletedProcess[str]) -> list[tuple[str, float]]:
    assert done.returncode == 0, done.stderr
    return [(line.partition(" ")[2], float(line.partition(" ")[0])) for line in done.stdout.splitlines()]


def assert_classified_alike(got: list[tuple[str, float]], bundle: Path, file: Path) -> None:
    (found,) = classify(bundle, [str(file)], device="cpu").inputs
    expected = [(guess.label, guess.probability) for guess in found.guesses]
    assert [name for name, _ in got] == [name for name, _ in expected]
    np.testing.assert_allclose([share for _, share in got], [share for _, share in expected], atol=2e-6)


@pytest.mark.parametrize("kind", ["ppm", "pgm", "png", "palette.png", "alpha.png", "grey16.png"])
def test_classify_image(example: Example, tmp_path: Path, kind: str) -> None:
    bundle, file = small_classifiers.pictures(tmp_path / "p.attn"), tmp_path / f"x.{kind}"
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (11, 17, 3), dtype=np.uint8)
    pixels[..., 1] = np.maximum(pixels[..., 1], 120)
    if kind == "grey16.png":
        Image.fromarray(rng.integers(0, 65536, (11, 17)).astype(np.uint16)).save(file)
    else:
        picture = Image.fromarray(pixels)
        {"pgm": lambda: picture.convert("L"), "palette.png": lambda: picture.quantize(16),
         "alpha.png": lambda: Image.fromarray(np.dstack([pixels, rng.integers(0, 256, (11, 17), dtype=np.uint8)]))}.get(
            kind, lambda: picture)().save(file)  # fmt: skip
    done = example("classify_image", bundle, file)
    if "built without libpng" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert_classified_alike(classified(done), bundle, file)


def test_classify_image_that_keeps_its_shape(example: Example, tmp_path: Path) -> None:
    """Red is cropped away on the right, and what is left is blue."""
    bundle = small_classifiers.pictures(tmp_path / "p.attn", fit="shortest_edge", shortest_edge=5, resize="lanczos")
    pixels = np.zeros((20, 80, 3), np.uint8)
    pixels[:, 30:50, 2], pixels[:, 55:, 0] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "x.ppm")
    got = classified(example("classify_image", bundle, tmp_path / "x.ppm"))
    assert got[0][0] == "blue"
    assert_classified_alike(got, bundle, tmp_path / "x.ppm")


@pytest.mark.parametrize(
    "data",
    [b"", b"P", b"P6", b"P6 9999999999 1 255\n", b"P6 60000 60000 255\n", b"P6 4 4 255\nabc", b"P6 4 4 65535\n" + bytes(96),
     b"P6 0 4 255\n", b"P2 2 1 9\n1 10", b"P3 2 2 255\n1 2", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\x89PNG\r\n\x1a\n"],
)  # fmt: skip
def test_a_damaged_picture_is_told_in_one_line(example: Example, tmp_path: Path, data: bytes) -> None:
    bundle, file = small_classifiers.pictures(tmp_path / "p.attn"), tmp_path / "x"
    file.write_bytes(data)
    done = example("classify_image", bundle, file)
    assert done.returncode == INPUT_STATUS and re.fullmatch(r"error: image [^\n]+\n", done.stderr), done.stderr


def test_plain_pnm(example: Example, tmp_path: Path) -> None:
    bundle, file = small_classifiers.pictures(tmp_path / "p.attn"), tmp_path / "x.ppm"
    file.write_text("P3 # a comment\n2 1\n# another\n255\n200 10 20\n220 5 5\n")
    assert classified(example("classify_image", bundle, file))[0][0] == "red"


@pytest.mark.parametrize(("level", "rate", "seconds"), [(0.5, 1000, 0.1), (0.01, 8000, 0.3), (0.5, 44100, 0.05)])
def test_spot_keyword(example: Example, tmp_path: Path, level: float, rate: int, seconds: float) -> None:
    bundle, file = small_classifiers.recordings(tmp_path / "r.attn"), tmp_path / "x.wav"
    samples = level * np.sin(np.arange(round(rate * seconds)) * 2 * np.pi * 50 / rate)
    write_wav(file, samples.astype(np.float32), rate)
    assert_classified_alike(classified(example("spot_keyword", bundle, file)), bundle, file)


def test_spot_keyword_tells_what_is_peculiar(example: Example, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav_files.NARROW["plain"][0])
    done = example("spot_keyword", small_classifiers.recordings(tmp_path / "r.attn"), tmp_path / "x.wav")
    assert done.returncode == 0 and done.stderr.startswith("note: samples of 12 bits in 16")


@pytest.mark.parametrize("name", ["classify_image", "spot_keyword"])
def test_an_example_tells_its_usage(example: Example, name: str) -> None:
    done = example(name)
    assert done.returncode == 2 and done.stderr.startswith(f"usage: {name} ")
