"""Where an output goes is looked at before the work: what can't be written there is told with what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attn_runtime.errors import OutputError
from attn_runtime.files import check_file, output_problem, too_long, write_file


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("folder", "is a folder"),
        ("none/file", "none does not exist"),
        ("n" * 240, "the name of 240 bytes is too long; 233 leave room"),
        ("é" * 120, "the name of 240 bytes is too long; 233 leave room"),
        ("n" * 300, "the name of 300 bytes is too long"),
    ],
)
def test_a_place_where_no_file_can_be_put(tmp_path: Path, place: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError) as caught:
        check_file(tmp_path / place)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_path_that_leaves_no_room() -> None:
    assert too_long(Path("/" + "d/" * 1900, "a.attn")) == ""
    assert too_long(Path("/" + "d/" * 2010, "a.attn")) == (
        "the path of 4027 bytes is too long; 3999 leave room for a temporary folder and its files"
    )


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    (tmp_path / "link").symlink_to("f")
    assert output_problem(tmp_path / "nothing") == output_problem(__file__) == ""
    for name in ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2", "/dev/null"):
        assert output_problem(name)
    for file in (tmp_path / "f", tmp_path / "link"):
        for write in (check_file, lambda file: write_file(file, b"x")):
            with pytest.raises(OutputError, match="is not a regular file, but a FIFO"):
                write(file)
    assert (tmp_path / "f").is_fifo() and (tmp_path / "link").is_symlink()
