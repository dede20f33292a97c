"""Models in a cache whose files are links (as Hugging Face's): refused, with the command that copies the files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BundleError
from attn_runtime.session import open_session
from support.graphs.make_hostile_bundles import gemm_model


def cached(folder: Path, cache: Path) -> Path:
    """`folder` as a cache keeps it: snapshots/REVISION/NAME, each file a link to ../../blobs/NUMBER."""
    kept = cache / "snapshots" / "rev 1" / folder.name
    (cache / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        shutil.copyfile(file, cache / "blobs" / str(number))
        link = kept / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / "blobs" / str(number))
    return kept


def copied(error: BundleError, ends: str, tmp_path: Path) -> None:
    """Run the command out of the message, as a user does."""
    message = str(error)
    assert "\n" not in message
    command = message[message.index("cp -rL") :].removesuffix(ends)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)


def test_a_bundle(valid_bundle: Path, tmp_path: Path) -> None:
    kept = cached(valid_bundle, tmp_path / "cache")
    with pytest.raises(BundleError, match="manifest.json is a link out of the bundle") as caught:
        Bundle.open(kept)
    copied(caught.value, " and open the copy", tmp_path)
    assert Bundle.open(tmp_path / f"{kept.stem}-copy.attn").manifest == Bundle.open(valid_bundle).manifest


def test_a_plain_file_with_its_data(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    onnx.save(gemm_model(), tmp_path / "m" / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    kept = cached(tmp_path / "m", tmp_path / "cache")
    with pytest.raises(BundleError, match="outside its own folder") as caught:
        open_session(kept / "a.onnx", "cpu")
    copied(caught.value, ", and take the copy.", tmp_path)
    assert open_session(tmp_path / "m-copy" / "a.onnx", "cpu").inputs[0].name == "x"
