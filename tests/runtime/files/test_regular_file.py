"""A pipe, a folder or a device in the place of a file is refused in one line, and nothing waits for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.bundle import Bundle, sha256_of
from attn_runtime.errors import AttnError, BundleError, EngineError, InputError, OutputError
from attn_runtime.files import (
    check_file,
    copy_command,
    irregular,
    open_regular,
    read_json,
    reason,
    resolved,
    write_file,
)
from attn_runtime.jetson import bootstrap
from attn_runtime.onnx_file.external_data import check_external_data
from attn_runtime.preprocess import load_audio, load_image
from attn_runtime.preprocess.text import read_lines
from attn_runtime.session import open_session
from attn_runtime.tasks.file_run import load_npz
from attn_runtime.trt.builder.compile import _read_cache
from attn_runtime.trt.engine_files import check_engine_target
from support.checks.time_limit import time_limit

_AUDIO = {"input": "x", "rate": 16000, "channels": 1}
_IMAGE = {
    "input": "x",
    "channels": 3,
    "height": 2,
    "width": 2,
    "resize": "bilinear",
    "scale": 1,
    "mean": [0],
    "std": [1],
}

READERS: dict[str, tuple[Callable[[Path], Any], type[Exception]]] = {
    "npz": (load_npz, InputError),
    "picture": (lambda path: load_image(path, _IMAGE), InputError),
    "recording": (lambda path: load_audio(path, _AUDIO, 1, 9), InputError),
    "texts": (lambda path: read_lines(str(path)), InputError),
    "bundle": (Bundle.open, BundleError),
    "graph": (open_session, BundleError),
    "data": (lambda path: check_external_data(path, "w"), BundleError),
    "timings": (_read_cache, OutputError),
    "json": (lambda path: read_json(path, "w"), BundleError),
    "hash": (sha256_of, OSError),
    "any": (open_regular, OSError),
    "wheel": (bootstrap._read, OSError),
}


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "make", [_fifo, _link, _device, Path.mkdir], ids=["fifo", "link to a fifo", "device", "folder"]
)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, reader: str, make: Callable[[Path], None]) -> None:
    read, error = READERS[reader]
    path = tmp_path / "x.onnx"
    make(path)
    if reader in ("bundle", "graph") and path.is_dir():
        return
    with time_limit(20), pytest.raises(error, match="is not a regular file, but a (FIFO|device|folder)") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_files_and_what_is_not_there_are_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "link", "none", "loop", "a\0b", "x" * 300):
        assert irregular(tmp_path / name) == ""


@pytest.mark.parametrize("reader", READERS)
def test_too_long_a_name_is_no_file_and_no_surprise(tmp_path: Path, reader: str) -> None:
    read, error = READERS[reader]
    if reader != "timings":  # which may be written first
        with pytest.raises(error) as caught:
            read(tmp_path / ("n" * 300))
        assert "\n" not in str(caught.value)


def test_the_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("s")
        assert irregular("s") == "is not a regular file, but a socket"
    assert irregular("/dev/null") == "is not a regular file, but a device"


def test_the_command_that_copies_is_quoted() -> None:
    assert copy_command(Path("/cache/it's/rev 1")) == """cp -rL '/cache/it'"'"'s/rev 1' 'rev 1-copy'"""
    assert copy_command(Path("/cache/a.attn")) == "cp -rL /cache/a.attn a-copy.attn"


def test_a_timing_cache_that_is_not_there_yet(tmp_path: Path) -> None:
    assert _read_cache(tmp_path / "none") == b"" and EngineError.exit_code != OutputError.exit_code


@pytest.mark.parametrize("name", ["loop", "a", "a/x", "a/x/y"])
def test_a_loop_of_links_is_an_os_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        resolved(tmp_path / name)
    (tmp_path / "good").symlink_to("nothing/there")
    assert resolved(tmp_path / "good") == tmp_path / "nothing" / "there"
    before = sorted(tmp_path.iterdir())
    for write in (check_file, lambda file: write_file(file, b"x")):
        with pytest.raises(OutputError, match="symbolic links") as caught:
            write(tmp_path / name)
        assert "Errno" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "loop").is_symlink()


@pytest.mark.parametrize("name", ["loop", "n" * 300])
def test_the_systems_words_are_told_without_number_and_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert reason(ValueError("one\n  two")) == "one two"
    for read in (
        Bundle.open,
        load_npz,
        lambda path: read_lines(str(path)),
        lambda path: load_image(path, _IMAGE),
        lambda path: load_audio(path, _AUDIO, 1, 2),
        check_engine_target,
    ):
        with pytest.raises(AttnError) as caught:
            read(tmp_path / f"{name}")
        assert "Errno" not in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "a.engine").symlink_to("a.engine")
    with pytest.raises(OutputError, match="symbolic links"):
        check_engine_target(tmp_path / "a.engine")
    assert (tmp_path / "a.engine").is_symlink()
