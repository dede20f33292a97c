"""Lines of a file or pipe of texts, and all tokens of a long one."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import InputError
from attn_runtime.preprocess.text import Encoded, open_text, read_lines
from support.models.tiny_generators import Tiny, write_bundle
from support.models.tiny_texts import text_assets


def given(tmp_path: Path, data: bytes) -> str:
    file = tmp_path / "in.txt"
    file.write_bytes(data)
    return str(file)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a cat\na dog\n", ["a cat", "a dog"]),
        (b"a cat\r\n\r\na dog", ["a cat", "", "a dog"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        (b"a\r", ["a\r"]),
        (b"a\0b\n", ["a\0b"]),
        # What str.splitlines cuts at too.
        (
            "a\rb\x0bc\x0cd\x1ce\x1df\x1eg\x85h\u2028i\u2029j\n".encode(),
            ["a\rb\x0bc\x0cd\x1ce\x1df\x1eg\x85h\u2028i\u2029j"],
        ),
    ],
)
def test_lines_end_at_line_ends_alone(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    assert read_lines(given(tmp_path, data)) == lines


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a\n\nthe \xff cat", r"^file in.txt: line 3 is no UTF-8 text \(byte 7\); convert it$"),
        (b"a\n\xc3", r"line 2 is no UTF-8 text \(byte 2\)"),
        (b"\xff\xfea\0", r"line 1 is no UTF-8 text \(byte 0\)"),
        (b"\n \r\n", "holds no text"),
        (b"", "holds no text"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_lines(given(tmp_path, data))


def test_a_folder_and_a_device_are_no_text(tmp_path: Path) -> None:
    for file, kind in ((str(tmp_path), "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(InputError, match=f"not a regular file, but {kind}; give a text file, or pipe it into -"):
            read_lines(file)


def test_pipes_are_read_to_their_end(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(InputError, match="but a FIFO; give a text file, or pipe it into -"):  # at once
        read_lines(str(fifo))
    # As bash's <(...) is: the writer has ended, what it wrote is still there.
    reading, writing = os.pipe()
    os.write(writing, b"a dog")
    os.close(writing)
    assert read_lines(f"/dev/fd/{reading}") == ["a dog"]
    os.close(reading)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a cat\n\nb\x0c")))
    assert read_lines("-") == ["a cat", "", "b\x0c"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="stdin is closed"):
        read_lines("-")


def test_all_tokens_of_a_text_that_is_longer_than_the_model_takes(tmp_path: Path) -> None:
    tiny = Tiny(encoder=False)
    text = open_text(Bundle.open(write_bundle(tmp_path / "lm.attn", tiny, **text_assets(tiny))))
    found = text.all_tokens("the cat " * 100)
    assert found.dtype == np.int64 and found.tolist() == [3, 4] * 100 and len(found) > text.most
    for wrong, says in (("  ", "is empty"), ("\ud800", "is not valid Unicode")):
        with pytest.raises(InputError, match=says):
            text.all_tokens(wrong)


def test_many_texts_at_once_are_what_each_is_alone(tmp_path: Path) -> None:
    tiny = Tiny()
    text = open_text(Bundle.open(write_bundle(tmp_path / "t.attn", tiny, **text_assets(tiny))))
    said = ["the cat", "", "\ud800", "the " * 200, "dog zorp"]
    for truncate in (False, True):
        for given, one in zip(said, text.encoded_each(said, truncate=truncate), strict=True):
            try:
                alone = text.encoded(given, None, truncate)
            except InputError as error:
                assert str(one) == str(error)
                continue
            assert isinstance(one, Encoded)
            assert (one.tokens.tolist(), one.types.tolist(), one.spans, one.texts, one.cut) == (
                alone.tokens.tolist(), alone.types.tolist(), alone.spans, alone.texts, alone.cut,
            )  # fmt: skip
    (plain,) = text.encoded_each(["the cat"], spans=False)
    assert (
        isinstance(plain, Encoded)
        and plain.tokens.tolist() == text.encoded("the cat").tokens.tolist()
        and plain.spans == ()
    )
