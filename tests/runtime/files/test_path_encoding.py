"""Folders whose names are bytes and no UTF-8 are opened all the same; what can't be is told, and is no damaged model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_runtime.bundle import BundleWriter, check_target
from attn_runtime.errors import BundleError, OutputError
from attn_runtime.files import not_utf8, utf8_path
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from support.graphs.make_hostile_bundles import gemm_model

ODD = os.fsdecode(b"m\xff")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / ODD
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    return folder


def test_another_name_for_a_file_in_such_a_folder(odd: Path, tmp_path: Path) -> None:
    (odd / "a").write_text("x")
    (tmp_path / "é").write_text("y")
    with utf8_path(odd / "a") as given:
        assert given.read_text() == "x" and not not_utf8(given)
    with utf8_path(tmp_path / "é") as given:
        assert given == tmp_path / "é"
    with pytest.raises(OSError, match="its name is not UTF-8"), utf8_path(tmp_path / f"{ODD}.onnx"):
        pass


def test_a_bundle_in_such_a_folder_is_verified(odd: Path, valid_bundle: Path) -> None:
    shutil.copytree(valid_bundle, odd / f"{ODD}.attn")
    assert verify(odd / f"{ODD}.attn", device="cpu", backend="ort").passed


def test_a_plain_file_with_its_data(odd: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    onnx.save(gemm_model(), plain / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    shutil.copytree(plain, odd, dirs_exist_ok=True)
    feed = {"x": np.ones((1, 16), np.float32)}
    assert open_session(odd / "a.onnx", "cpu").run(feed)["y"].shape == (1, 10)
    (odd / "a.onnx").rename(odd / f"{ODD}.onnx")
    with pytest.raises(BundleError, match=r"^file [^:]*: its name is not UTF-8.*rename it") as caught:
        open_session(odd / f"{ODD}.onnx", "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.attn", "a.onnx"])
def test_nothing_is_written_there(odd: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for target in (odd / name, tmp_path / f"{ODD}{name}"):
        with pytest.raises(OutputError, match="its path is not UTF-8.*rename it"):
            check_target(target)
    monkeypatch.chdir(odd)
    with pytest.raises(OutputError, match="its path is not UTF-8"), BundleWriter("a.attn"):
        pass
    assert not list(odd.iterdir())
