"""Recordings, pictures and arrays from what is open already: stdin, and the pipes that a shell makes."""

from __future__ import annotations

import io
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import InputError
from attn_runtime.files import bytes_or_path, open_descriptor, streams
from attn_runtime.preprocess import kind_of, read_lines
from attn_runtime.tasks.attention_run import run_graphs
from attn_runtime.tasks.classification import classify
from attn_runtime.tasks.file_run import run_file
from PIL import Image
from support.checks.time_limit import time_limit
from support.graphs.wav_files import GOOD, open_size
from support.models.small_classifiers import pictures, recordings


@contextmanager
def piped(content: bytes, folder: str = "/dev/fd") -> Iterator[str]:
    """The name of a pipe that gives `content`, as a shell passes <(...)."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield f"{folder}/{reading}"
    finally:
        writer.join()
        os.close(reading)


def saved(image: Image.Image, form: str) -> bytes:
    made = io.BytesIO()
    image.save(made, form)
    return made.getvalue()


GREY = Image.fromarray(np.full((20, 20, 3), 90, np.uint8))


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("streams") / "pictures.attn")


@pytest.fixture(scope="module")
def of_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("streams") / "recordings.attn")


def test_what_stands_for_a_descriptor(tmp_path: Path) -> None:
    assert open_descriptor("-") == 0
    with piped(b"x") as name, piped(b"x", "/proc/self/fd") as other:
        assert open_descriptor(name) == int(name.rpartition("/")[2]) and open_descriptor(Path(other)) is not None
    for name in ("x.wav", "./-", "/dev/fd/", "/dev/fd/x", "/dev/null", "", "/dev/fd/" + "9" * 12):
        assert open_descriptor(name) is None
    with (tmp_path / "file").open("wb") as file:  # as stdin is behind < FILE: it is read by its name, from its start
        assert open_descriptor(f"/dev/fd/{file.fileno()}") is None


def test_a_fifo_of_a_folder_is_none_and_is_not_waited_for(of_recordings: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    with time_limit(20), pytest.raises(InputError, match="not a regular file, but a FIFO"):
        run_file(of_recordings, tmp_path / "x.wav")


@pytest.mark.parametrize("content", [GOOD, open_size(0x7FFFF000)], ids=["whole", "open"])
def test_a_recording_from_a_pipe(of_recordings: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.wav").write_bytes(GOOD)
    expected = run_file(of_recordings, tmp_path / "x.wav").outputs
    with piped(content) as name:
        np.testing.assert_equal(dict(run_file(of_recordings, name).outputs), dict(expected))
    with piped(content) as name:
        found = classify(of_recordings, [name])
    with piped(content) as name:
        assert classify(of_recordings, [], file=name).inputs[0].guesses == found.inputs[0].guesses


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_from_a_pipe(of_pictures: Path, tmp_path: Path, form: str) -> None:
    content = saved(GREY, form)
    (tmp_path / "x.png").write_bytes(content)
    expected = run_file(of_pictures, tmp_path / "x.png").outputs
    with piped(content) as name:
        np.testing.assert_equal(dict(run_file(of_pictures, name).outputs), dict(expected))


def test_arrays_from_a_pipe(of_recordings: Path) -> None:
    made, bundle = io.BytesIO(), Bundle.open(of_recordings)
    (graph,) = bundle.graphs.values()
    np.savez(made, **{spec.name: np.ones(spec.shape({}), spec.dtype) for spec in graph.inputs})  # type: ignore[arg-type]
    with piped(made.getvalue()) as name:
        assert run_file(of_recordings, name).outputs
    with piped(made.getvalue()) as name:
        assert run_graphs(bundle, name, {graph.name}, {"device": "cpu"}, None).outputs


@pytest.mark.parametrize("by_name", [False, True])
def test_a_non_blocking_stream_is_read_to_its_end(by_name: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a parent leaves it that waits on the same pipe: what is not written yet is waited for."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    later, wait = [b"one\n", b"two"], streams._wait_for

    def write_and_wait(stream: Any) -> None:
        if later:
            os.write(writing, later.pop(0))
        else:
            os.close(writing)
        wait(stream)

    monkeypatch.setattr(streams, "_wait_for", write_and_wait)
    with os.fdopen(reading, "rb") as stream:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        assert read_lines(f"/dev/fd/{reading}" if by_name else "-") == ["one", "two"]


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open some thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    except ValueError:
        pytest.skip(f"at most {hard} files may be open here")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_non_blocking_stream_of_a_process_with_many_files_open() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.dup2(reading, 2000)
    later = threading.Timer(0.2, lambda: (os.write(writing, b"one\n"), os.close(writing)))
    later.start()
    with time_limit(20):
        assert read_lines("/dev/fd/2000") == ["one"]
    later.join()
    os.close(reading)
    os.close(2000)


def test_a_terminal_ends_at_the_first_end_that_is_typed() -> None:
    terminal, other = os.openpty()
    os.write(terminal, b"one\n\4")
    with time_limit(20):
        assert read_lines(f"/dev/fd/{other}") == ["one"]
    os.close(terminal)
    os.close(other)


def test_stdin(of_pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(saved(GREY, "PNG"))))
    assert run_file(of_pictures, "-").outputs
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="stdin is closed"):
        run_file(of_pictures, "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    sys.stdin.close()
    with pytest.raises(InputError, match="stdin is closed"):
        run_file(of_pictures, "-")


def test_what_a_pipe_can_not_give(of_pictures: Path, of_recordings: Path) -> None:
    with (
        piped(b"") as name,
        pytest.raises(InputError, match="is empty; the program that writes .* or it was read before"),
    ):
        run_file(of_pictures, name)
    with piped(b"x" * 101) as name, pytest.raises(InputError, match="gives more than 100 bytes"):
        bytes_or_path(name, "input", 100)
    with piped(b"hello") as name, pytest.raises(InputError, match=r"image \(piped\): none of PNG"):
        run_file(of_pictures, name)
    with piped(GOOD[:-3]) as name, pytest.raises(InputError, match=r"recording \(piped\): truncated"):
        run_file(of_recordings, name)
    with pytest.raises(InputError, match="descriptor 987654 can't be read"):
        run_file(of_pictures, "/dev/fd/987654")
    terminal, other = os.openpty()
    with pytest.raises(InputError, match="is a terminal"):
        run_file(of_pictures, f"/dev/fd/{other}")
    os.close(terminal)
    os.close(other)


def test_kinds_by_name_and_by_content(tmp_path: Path) -> None:
    webp = saved(GREY, "WEBP")
    assert [kind_of(content) for content in (GOOD, webp, b"PK\3\4....", b"")] == [
        "recording", "picture", "arrays", "picture"
    ]  # fmt: skip
    assert [kind_of(Path(name)) for name in ("a.npz", "a.WAV", "a.wav", "a.png")] == [
        "arrays", "recording", "recording", "picture"
    ]  # fmt: skip
    (tmp_path / "x").write_bytes(GOOD)
    assert kind_of(tmp_path / "x") == "recording" and kind_of(tmp_path / "none") == "picture"
