"""The folder of one model in a Triton repository: nothing in it that another run made is lost, and nothing is waited for."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from attn_export.deploy.triton import repository
from attn_export.deploy.triton.repository import ModelFolder, check_place, write_model
from attn_runtime.bundle import OpenedFiles
from attn_runtime.errors import OutputError
from support.checks.time_limit import time_limit


def model(version: int) -> ModelFolder:
    return ModelFolder(
        "m",
        version,
        OpenedFiles(Path(), {"files": {}}, "bundle m"),
        {"x": 1},
        {"config.pbtxt": b"one", f"{version}/model.onnx": b"graph"},
    )


def test_two_runs_that_add_a_version_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, and carries its version over."""
    second = threading.Thread(target=write_model, args=(tmp_path, model(2)))
    fill = repository._fill

    def slowly(folder: Path, old: Path, made: ModelFolder, kept: Mapping[str, str]) -> None:
        if made.version == 1:
            second.start()
            second.join(0.3)
        fill(folder, old, made, kept)

    monkeypatch.setattr(repository, "_fill", slowly)
    write_model(tmp_path, model(1))
    second.join(30)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2", "attn-export.json", "config.pbtxt"]
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("file", ["config.pbtxt", "1/model.onnx", "attn-export.json"])
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path: Path, file: str) -> None:
    write_model(tmp_path, model(1))
    (tmp_path / "m" / file).unlink()
    os.mkfifo(tmp_path / "m" / file)
    with time_limit(20), pytest.raises(OutputError) as caught:
        write_model(tmp_path, model(2))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "m" / file).is_fifo()


def test_where_no_model_can_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "there").mkdir()
    for place, says in {
        "f": "but a FIFO",
        "loop": "symbolic links",
        "loop/r": "symbolic links",
        "n" * 300: "too long",
        "nothing/r": "does not exist",
    }.items():
        with pytest.raises(OutputError, match=says) as caught:
            check_place(tmp_path / place, "m")
        assert "Errno" not in str(caught.value) and "space" not in str(caught.value)
    with pytest.raises(OutputError, match="the name of 250 bytes is too long"):
        check_place(tmp_path / "there", "m" * 250)
    check_place(tmp_path / "there", "m")
    check_place(tmp_path / "new", "m")


def test_a_pipe_in_the_place_of_a_model_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m")
    with pytest.raises(OutputError, match="but a FIFO"):
        write_model(tmp_path, model(1), force=True)
    assert (tmp_path / "m").is_fifo()
