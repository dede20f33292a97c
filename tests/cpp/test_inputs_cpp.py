"""Pictures, recordings and texts become the same tensors in C++ as in Python, what is refused is refused with the same status,
and the example programs name the classes that `attn-run classify` names."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import AttnError
from attn_runtime.native.capi import Tensor
from attn_runtime.preprocess.audio import load_audio, prepare
from attn_runtime.preprocess.image import prepare as prepare_image
from attn_runtime.preprocess.text import open_text
from attn_runtime.preprocess.wav import read_wav, write_wav
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.tasks.classification import classify
from onnx import helper
from PIL import Image
from support.checks.message_places import is_one_line, place
from support.checks.time_limit import time_limit
from support.graphs import wav_files
from support.machines.generator_library import Refused
from support.models import small_classifiers

INPUT_STATUS = 7
#: Run an example program by its name, with arguments.
Example = Callable[..., subprocess.CompletedProcess[str]]


DTYPES = {2: np.float32, 7: np.int64, 12: np.bool_}


class Library:
    """libattn_runtime through ctypes: just what makes inputs."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.attn_last_error.restype = self.c.attn_last_notes.restype = ctypes.c_char_p
        self._open: list[ctypes.c_void_p] = []

    def bundle(self, path: Path) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self.check(self.c.attn_bundle_open(str(path).encode(), ctypes.byref(handle)))
        self._open.append(handle)
        return handle

    def check(self, status: int) -> None:
        if status:
            raise Refused(status, self.c.attn_last_error().decode())

    def made(self, function: str, bundle: ctypes.c_void_p, *arguments: Any, tensors: int = 1) -> list[np.ndarray]:
        """What an attn_bundle_* function gives, into memory that is as large as it asks for, and not a byte larger."""
        call = getattr(self.c, function)
        told = (Tensor * tensors)()
        places = [ctypes.byref(told, i * ctypes.sizeof(Tensor)) for i in range(tensors)]
        self.check(call(bundle, *arguments, *places))
        arrays, guards = [], []
        for one in told:
            shape = tuple(one.shape[: one.rank])
            assert one.bytes == np.dtype(DTYPES[one.dtype]).itemsize * int(np.prod(shape))
            memory = np.full(one.bytes + 64, 0xA5, np.uint8)
            guards.append(memory[one.bytes :])
            arrays.append(memory[: one.bytes].view(DTYPES[one.dtype]).reshape(shape))
            one.data = memory.ctypes.data
        self.check(call(bundle, *arguments, *places))
        assert all((guard == 0xA5).all() for guard in guards)
        if told[0].bytes:
            told[0].bytes -= 1
            with pytest.raises(Refused, match="there is room for") as caught:
                self.check(call(bundle, *arguments, *places))
            assert caught.value.status == INPUT_STATUS
        return arrays

    def image(self, bundle: ctypes.c_void_p, pixels: np.ndarray) -> np.ndarray:
        sizes = map(ctypes.c_size_t, pixels.shape)
        return self.made("attn_bundle_image", bundle, pixels.ctypes.data_as(ctypes.c_void_p), *sizes)[0]

    def audio(self, bundle: ctypes.c_void_p, samples: np.ndarray, rate: int) -> np.ndarray:
        sizes = map(ctypes.c_size_t, (*samples.shape, rate))
        return self.made("attn_bundle_audio", bundle, samples.ctypes.data_as(ctypes.c_void_p), *sizes)[0]

    def wav(self, bundle: ctypes.c_void_p, path: Path) -> np.ndarray:
        return self.made("attn_bundle_wav", bundle, bytes(path))[0]

    def text(self, bundle: ctypes.c_void_p, texts: Sequence[str]) -> list[np.ndarray]:
        given = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
        return self.made("attn_bundle_text", bundle, given, ctypes.c_size_t(len(texts)), tensors=2)


@pytest.fixture(scope="module")
def library(cpp_build: Path) -> Library:
    return Library(cpp_build / "libattn_runtime.so")


def write_input(path: Path, spec: TensorSpec, **assets: Any) -> Path:
    """A bundle that gives its input back."""
    nodes = [helper.make_node("Identity", [spec.name], ["same"])]
    return small_classifiers.write_bundle(
        path, nodes, {}, (spec,), (TensorSpec("same", spec.dtype, spec.dims),), assets
    )


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


# --- recordings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "least", "most"), [(16000, 16000, 16000), (8000, 1, 40000), (1000, 500, 700)])
def test_recordings_of_many_rates(library: Library, tmp_path: Path, to: int, least: int, most: int) -> None:
    """Within one rounding of float32: the order of a sum is numpy's own affair."""
    spec = TensorSpec("wave", "float32", (Dim("batch", 1, 1, 2), Dim("samples", least, most, most)))
    recipe = {"input": "wave", "sample_rate": to}
    bundle = library.bundle(write_input(tmp_path / "a.attn", spec, audio=recipe))
    rng = np.random.default_rng(to)
    for rate in (1000, 8000, 11025, 16000, 22050, 44100, 48000, 12345, 192000):
        for channels in (1, 2, 6):
            loud = np.repeat(rng.random(9), -(-rate // 12))[: int(rng.integers(1, rate * 3 // 4))]
            samples = (rng.standard_normal((len(loud), channels)) * loud[:, None]).astype(np.float32)
            expected = prepare(samples, rate, recipe, least, most).samples
            got = library.audio(bundle, samples, rate)
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=0, atol=2**-23)


@pytest.fixture(scope="module")
def recordings(library: Library, tmp_path_factory: pytest.TempPathFactory) -> ctypes.c_void_p:
    spec = TensorSpec("wave", "float32", (Dim("batch", 1, 1, 2), Dim("samples", 1, 16000, 16000)))
    recipe = {"input": "wave", "sample_rate": 16000}
    return library.bundle(write_input(tmp_path_factory.mktemp("wav") / "a.attn", spec, audio=recipe))


def both(library: Library, bundle: ctypes.c_void_p, path: Path) -> tuple[Any, Any]:
    """What C++ and Python make of a WAV file: an array or a message."""

    def tried(call: Any) -> Any:
        try:
            return call()
        except (Refused, AttnError) as error:
            assert (error.status if isinstance(error, Refused) else error.exit_code) == INPUT_STATUS
            return str(error)

    recipe = {"input": "wave", "sample_rate": 16000}
    return tried(lambda: library.wav(bundle, path)), tried(lambda: load_audio(path, recipe, 1, 16000).samples)


def assert_alike(got: Any, expected: Any) -> None:
    assert type(got) is type(expected), (got, expected)
    if isinstance(got, str):
        assert place(got) == place(expected) and is_one_line(got), (got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=0, atol=2**-23)


@pytest.mark.parametrize("name", wav_files.REFUSED)
def test_what_is_no_recording(library: Library, recordings: ctypes.c_void_p, tmp_path: Path, name: str) -> None:
    data, says = wav_files.REFUSED[name]
    (tmp_path / "x.wav").write_bytes(data)
    got, expected = both(library, recordings, tmp_path / "x.wav")
    assert isinstance(expected, str) and re.search(says, expected)
    assert_alike(got, expected)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [8, 16, 24, 32, -32, -64])
def test_wav_of_every_kind(
    library: Library, recordings: ctypes.c_void_p, tmp_path: Path, bits: int, extensible: bool
) -> None:
    whole = bits > 0
    data = wav_files.packed(bits) if whole else wav_files.VALUES.astype(f"<f{-bits // 8}").tobytes()
    file = wav_files.riff(
        data, 1 if whole else 3, 2, 8000, abs(bits), extensible=extensible, before=b"LIST\3\0\0\0abc\0"
    )
    (tmp_path / "x.wav").write_bytes(file)
    got, expected = both(library, recordings, tmp_path / "x.wav")
    assert not isinstance(got, str), got
    assert_alike(got, expected)


def peculiar() -> dict[str, bytes]:
    good = wav_files.GOOD
    size = good.index(b"data") + 4
    other = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44100, 176400, 4, 16)
    extensible = wav_files.riff(wav_files.packed(16), 1, 1, 8000, 16, extensible=True)
    return {
        "from-a-pipe": good[:size] + b"\xff\xff\xff\xff" + good[size + 4 :],
        "another-chunk-from-a-pipe": good[:12] + b"LIST\xff\xff\xff\xff" + good[12:],
        "two-formats": good[: size - 4] + other + good[size - 4 :],
        "two-recordings": good + good[size - 4 :],
        "a-million-hertz": wav_files.riff(wav_files.packed(16), 1, 1, 1_000_000, 16),
        "beyond-a-million": wav_files.riff(wav_files.packed(16), 1, 1, 1_000_001, 16),
        # The header says extensible, and ends before it tells of what.
        "cut-extensible": extensible[:16] + struct.pack("<I", 18) + extensible[20:38] + extensible[60:],
        "cut-at-the-end": extensible[:12] + extensible[60:] + b"fmt " + struct.pack("<I", 16) + extensible[20:36],
        # ... and the next chunk goes on where it ended.
        "cut-before-its-guid": extensible[:16]
        + struct.pack("<I", 18)
        + extensible[20:38]
        + b"junk"
        + struct.pack("<I", 0x1000E)
        + extensible[46:60]
        + bytes(0x10000)
        + extensible[60:],
        "another-guid": extensible.replace(bytes.fromhex("0000000010008000"), bytes.fromhex("0000000010008001")),
        **{f"open-{name}": data for name, data in wav_files.OPEN.items()},
        **{f"narrow-{name}": data for name, (data, _) in wav_files.NARROW.items()},
        "open-cut": wav_files.open_size(0x7FFFF000, cut=3, channels=2),
        "quotes": b"'\"\\\t" + good[4:],
        "a-name-of-control-characters": good[:12] + b"\x1b[2J" + struct.pack("<I", 999) + good[12:],
    }


@pytest.mark.parametrize("name", peculiar())
def test_peculiar_wav_files(library: Library, recordings: ctypes.c_void_p, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.wav").write_bytes(peculiar()[name])
    got, expected = both(library, recordings, tmp_path / "x.wav")
    told = library.c.attn_last_notes().decode()
    assert told == ("" if isinstance(got, str) else "; ".join(read_wav(tmp_path / "x.wav").notes))
    assert bool(told) == name.startswith(("narrow-", "open-never-patched", "open-cut")) or "rf64" in name
    good = ("from-a-pipe", "two-formats", "two-recordings", "a-million-hertz")
    assert isinstance(got, str) == (name not in good and not name.startswith(("open-", "narrow-")))
    assert_alike(got, expected)


def test_damaged_wav_files(library: Library, recordings: ctypes.c_void_p, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.wav"
    refused = 0
    for number in range(400):
        data = bytearray(
            wav_files.riff(wav_files.packed(16) * 3, 1, 1 + number % 2, 8000, 16, extensible=number % 3 == 0)
        )
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, len(data) if number % 2 else 60))] = int(rng.integers(0, 256))
        if number % 5 == 0:
            del data[int(rng.integers(0, len(data))) :]
        path.write_bytes(data)
        got, expected = both(library, recordings, path)
        refused += isinstance(got, str)
        assert_alike(got, expected)
    assert 100 < refused < 390


def test_a_recording_that_lies_of_its_rate(library: Library, recordings: ctypes.c_void_p, tmp_path: Path) -> None:
    """An hour of silence a second: no machine has the memory, nor the time."""
    (tmp_path / "x.wav").write_bytes(wav_files.riff(bytes(40000), 1, 1, 1, 16))
    got, expected = both(library, recordings, tmp_path / "x.wav")
    assert "would be more than 268435456 at 16000 Hz" in got
    assert_alike(got, expected)


def test_files_that_are_none(library: Library, recordings: ctypes.c_void_p, tmp_path: Path) -> None:
    with (tmp_path / "huge.wav").open("wb") as file:
        file.truncate((256 << 20) + 1)  # a hole: it takes no room
    for path in (tmp_path, tmp_path / "nothing.wav", tmp_path / "huge.wav"):
        got, expected = both(library, recordings, path)
        assert isinstance(got, str)
        assert_alike(got, expected)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (wav_files.GOOD, ""),
        (wav_files.open_size(0x7FFFF000), ""),
        (b"", "the file is empty"),
        (b"hello", "starts with"),
    ],
    ids=["whole", "open", "empty", "other"],
)
@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_a_recording_from_a_pipe(
    library: Library, recordings: ctypes.c_void_p, tmp_path: Path, folder: str, content: bytes, says: str
) -> None:
    """It can be read once, and is asked for its size before its samples."""
    (tmp_path / "x.wav").write_bytes(wav_files.GOOD)
    for louder in (False, True):  # the second pipe may have the first one's number
        reading, writing = os.pipe()
        os.write(writing, content.replace(b"\x00\x40", b"\x00\x20") if louder else content)
        os.close(writing)
        memory = np.zeros(16000, np.float32)
        told = Tensor()
        call = partial(library.c.attn_bundle_wav, recordings, f"{folder}/{reading}".encode(), ctypes.byref(told))
        status = call()
        if status:
            assert says and says in library.c.attn_last_error().decode()
            assert status == INPUT_STATUS
        else:
            told.data = memory.ctypes.data
            assert not says and told.bytes <= memory.nbytes and call() == 0
            same = np.array_equal(memory[: told.shape[1]], library.wav(recordings, tmp_path / "x.wav")[0])
            assert same != louder
        os.close(reading)


def test_a_descriptor_that_is_closed(library: Library, recordings: ctypes.c_void_p) -> None:
    with pytest.raises(Refused, match="can't be read") as caught:
        library.wav(recordings, Path("/dev/fd/987654"))
    assert caught.value.status == INPUT_STATUS


def test_a_fifo_of_a_folder_is_not_waited_for(library: Library, recordings: ctypes.c_void_p, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    with time_limit(20), pytest.raises(Refused, match="is not a regular file, but a FIFO"):
        library.wav(recordings, tmp_path / "x.wav")
    with pytest.raises(Refused, match="is not a regular file, but a device"):
        library.wav(recordings, Path("/dev/null"))


def test_a_pipe_that_does_not_wait_is_waited_for(library: Library, recordings: ctypes.c_void_p, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav_files.GOOD)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, wav_files.GOOD[:20])

    def end() -> None:
        os.write(writing, wav_files.GOOD[20:])
        os.close(writing)

    later = threading.Timer(0.2, end)
    later.start()
    told = Tensor()
    with time_limit(20):
        library.check(library.c.attn_bundle_wav(recordings, f"/dev/fd/{reading}".encode(), ctypes.byref(told)))
    later.join()
    os.close(reading)
    assert told.bytes == library.wav(recordings, tmp_path / "x.wav")[0].nbytes


def test_samples_that_are_no_recording(library: Library, recordings: ctypes.c_void_p) -> None:
    for samples, rate, says in (
        (np.zeros((0, 1), np.float32), 8000, "holds no samples"),
        (np.zeros((4, 0), np.float32), 8000, "0 channels at 8000 Hz"),
        (np.zeros((4, 1), np.float32), 0, "1 channels at 0 Hz"),
        (np.array([[np.nan], [0.5], [np.inf]], np.float32), 8000, "2 samples are NaN or infinite"),
    ):
        with pytest.raises(Refused, match=says):
            library.audio(recordings, samples, rate)


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
