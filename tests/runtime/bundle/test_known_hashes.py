"""What is not read again is what nobody has touched, and what is remembered is believed where nobody else can have written it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attn_runtime import Bundle, BundleError
from attn_runtime.bundle import known_hashes
from attn_runtime.bundle.opened_files import OpenedFiles
from support.machines.spoilt_memory import HASHES_SPOILT, flip_last


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty; files count as settled however young they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(known_hashes, "_YOUNG_NS", -(10**12))
    return tmp_path / "cache"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read for their hash, as it happens."""
    names: list[str] = []
    hashed = OpenedFiles.hash

    def hash(self: OpenedFiles, relative: str, keep: bool = False) -> str:
        names.append(relative)
        return hashed(self, relative, keep)

    monkeypatch.setattr(OpenedFiles, "hash", hash)
    return names


def remembered(cache: Path) -> Path:
    (file,) = (cache / "attn-runtime" / "known").iterdir()
    return file


def test_a_bundle_that_was_read_is_not_read_again(valid_bundle: Path, cache: Path, read: list[str]) -> None:
    whole = sorted(Bundle.open(valid_bundle).manifest["files"])
    assert sorted(read) == whole
    assert remembered(cache).stat().st_mode & 0o777 == 0o600
    read.clear()
    opened = Bundle.open(valid_bundle)
    assert not read and opened.graphs
    assert all(opened.asset(name) is not None for name in opened.manifest["assets"])


def test_paranoid_reads_all_and_writes_nothing(
    valid_bundle: Path, cache: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Bundle.open(valid_bundle, paranoid=True)
    assert not cache.exists()
    Bundle.open(valid_bundle)
    read.clear()
    Bundle.open(valid_bundle, paranoid=True)
    assert len(read) == len(json.loads((valid_bundle / "manifest.json").read_text())["files"])
    read.clear()
    monkeypatch.setenv("ATTN_PARANOID", "1")
    Bundle.open(valid_bundle)
    assert read


def spoil(file: Path) -> None:
    data = flip_last(file.read_bytes())
    with file.open("r+b") as f:  # the same inode
        f.write(data)


def another_in_its_place(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    before = file.stat()
    spoil(copy)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    copy.replace(file)


@pytest.mark.parametrize("change", [spoil, another_in_its_place])
def test_changed_bytes_are_found_though_size_and_time_of_the_content_are_as_before(
    change: Callable[[Path], None], valid_bundle: Path, cache: Path
) -> None:
    Bundle.open(valid_bundle)
    file = valid_bundle / "model.onnx"
    before = file.stat()
    change(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        Bundle.open(valid_bundle)


def test_a_link_to_a_changed_file_is_found(valid_bundle: Path, cache: Path) -> None:
    Bundle.open(valid_bundle)
    file = valid_bundle / "model.onnx"
    file.rename(valid_bundle / "other.onnx")
    spoil(valid_bundle / "other.onnx")
    file.symlink_to("other.onnx")
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        Bundle.open(valid_bundle)


@pytest.mark.parametrize("spoilt", HASHES_SPOILT)
def test_what_somebody_else_could_have_written_or_damaged_is_not_believed(
    spoilt: str, valid_bundle: Path, cache: Path, read: list[str]
) -> None:
    Bundle.open(valid_bundle)
    HASHES_SPOILT[spoilt](remembered(cache))
    read.clear()
    Bundle.open(valid_bundle)
    assert sorted(read) == sorted(Bundle.open(valid_bundle).manifest["files"])


def test_what_another_user_owns_is_not_believed(
    valid_bundle: Path, cache: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Bundle.open(valid_bundle)
    read.clear()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    Bundle.open(valid_bundle)
    assert read


def test_a_damaged_memory_is_written_anew(valid_bundle: Path, cache: Path, read: list[str]) -> None:
    Bundle.open(valid_bundle)
    remembered(cache).write_text("{")
    Bundle.open(valid_bundle)
    read.clear()
    Bundle.open(valid_bundle)
    assert not read


def test_a_file_that_was_just_written_is_not_remembered(
    valid_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_hashes, "_YOUNG_NS", 10**12)
    Bundle.open(valid_bundle)
    assert not cache.exists()


def test_where_nothing_can_be_remembered_bundles_open_all_the_same(
    valid_bundle: Path, cache: Path, read: list[str]
) -> None:
    cache.write_text("no folder")
    Bundle.open(valid_bundle)
    read.clear()
    Bundle.open(valid_bundle)
    assert read


def test_the_oldest_are_forgotten(valid_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_hashes, "_MOST_FILES", 3)
    for number in range(5):
        Bundle.open(shutil.copytree(valid_bundle, valid_bundle.with_name(f"{number}.attn")))
    assert len(list((cache / "attn-runtime" / "known").iterdir())) == 3
