"""Recordings become the same samples in C++ as in Python, from files and from what is piped in, and what is refused is refused
with the same status."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import struct
import sys
import termios
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.errors import AttnError
from attn_runtime.native.capi import Tensor
from attn_runtime.preprocess.audio import load_audio, prepare
from attn_runtime.preprocess.wav import read_wav
from attn_runtime.spec import Dim, TensorSpec
from support.checks.message_places import is_one_line, place
from support.checks.time_limit import end_after, time_limit
from support.graphs import wav_files
from support.machines.generator_library import Refused
from support.machines.inputs_library import INPUT_STATUS, Library, write_input


@pytest.mark.parametrize(("to", "least", "most"), [(16000, 16000, 16000), (8000, 1, 40000), (1000, 500, 700)])
def test_recordings_of_many_rates(library: Library, tmp_path: Path, to: int, least: int, most: int) -> None:
    """Within one rounding of float32: the order of a sum is numpy's own affair."""
    spec = TensorSpec("wave", "float32", (Dim("batch", 1, 1, 2), Dim("samples", least, most, most)))
    recipe = {"input": "wave", "sample_rate": to} | ({"pad": "end", "cut": "end"} if to == 1000 else {})
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


def test_a_child_of_a_fork_reads_its_own_stream_while_another_is_read(
    library: Library, recordings: ctypes.c_void_p
) -> None:
    def read(descriptor: int) -> int:
        told = Tensor()
        return int(library.c.attn_bundle_wav(recordings, f"/dev/fd/{descriptor}".encode(), ctypes.byref(told)))

    (reading, writing), (own, full) = os.pipe(), os.pipe()
    os.write(writing, wav_files.GOOD[:20])
    os.write(full, wav_files.GOOD)
    os.close(full)
    reader = threading.Thread(target=read, args=(reading,))
    reader.start()
    while unread(reading):
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        end_after(20)
        os._exit(read(own))
    status = os.waitpid(child, 0)[1]
    os.write(writing, wav_files.GOOD[20:])
    os.close(writing)
    reader.join()
    os.close(reading)
    os.close(own)
    assert status == 0


def unread(descriptor: int) -> int:
    """Bytes that lie in a pipe."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_samples_that_are_no_recording(library: Library, recordings: ctypes.c_void_p) -> None:
    for samples, rate, says in (
        (np.zeros((0, 1), np.float32), 8000, "holds no samples"),
        (np.zeros((4, 0), np.float32), 8000, "0 channels at 8000 Hz"),
        (np.zeros((4, 1), np.float32), 0, "1 channels at 0 Hz"),
        (np.array([[np.nan], [0.5], [np.inf]], np.float32), 8000, "2 samples are NaN or infinite"),
    ):
        with pytest.raises(Refused, match=says):
            library.audio(recordings, samples, rate)
