"""What is read of a bundle after it was opened is of the export that was opened, or is refused in one line."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle import opened_files
from attn_runtime.bundle.opened_files import ReplacedError
from attn_runtime.bundle.reader import Bundle, with_bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.errors import BundleError
from support.graphs.next_export import WAYS, exchanged, next_export, rewritten

REPLACED = r"^bundle gemm.attn: was replaced since it was opened; open it again$"
Way = Callable[[Path, Path], None]


@pytest.fixture
def after(valid_bundle: Path) -> Path:
    return next_export(valid_bundle, valid_bundle.with_name("next.attn"))


def settle() -> None:
    """Let the files get older than a tick of the clock that stamps them."""
    time.sleep(2 * opened_files._TICK_NS / 1e9)


@pytest.mark.parametrize("way", WAYS)
def test_assets_are_those_of_the_export_that_was_opened(valid_bundle: Path, after: Path, way: Way) -> None:
    bundle = Bundle.open(valid_bundle)
    way(valid_bundle, after)
    assert bundle.asset("labels")[0] == "class 0" and bundle.asset("nothing") is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("settled", [False, True])
def test_what_was_not_read_when_it_was_opened_is_refused(
    valid_bundle: Path, after: Path, way: Way, settled: bool
) -> None:
    if settled:
        settle()
    bundle = Bundle.open(valid_bundle, check_hashes=settled)
    way(valid_bundle, after)
    with pytest.raises(BundleError, match=REPLACED):
        bundle.files.read([bundle.graph().precisions["fp32"].file], lambda: pytest.fail("it was read"))
    if not settled:  # nothing was read of it
        with pytest.raises(BundleError, match=REPLACED):
            bundle.asset("labels")


@pytest.mark.parametrize("way", [exchanged, rewritten])
def test_golden_cases_and_the_manifest(valid_bundle: Path, after: Path, way: Way) -> None:
    (after / "golden").rename(after / "other")
    shutil.copytree(after / "other", after / "golden")
    for file in (after / "golden").iterdir():
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(bytes(data))
    bundle = Bundle.open(valid_bundle)
    cases = bundle.graph().cases()
    next(cases)
    shutil.rmtree(after / "other")
    way(valid_bundle, after)
    with pytest.raises(BundleError, match=REPLACED):
        next(cases)
    with pytest.raises(BundleError, match=REPLACED):
        bundle.files.read(["manifest.json"], lambda: pytest.fail("it was read"))


def test_files_that_are_the_same_are_no_other_export(valid_bundle: Path, tmp_path: Path) -> None:
    """As `convert` links them, as a person changes their modes, and as the same export again has them."""
    bundle = Bundle.open(valid_bundle)
    (tmp_path / "link").hardlink_to(valid_bundle / "model.onnx")
    (valid_bundle / "model.onnx").chmod(0o640)
    (valid_bundle / "engines").mkdir(exist_ok=True)
    assert bundle.files.read(["model.onnx"], lambda: 1) == 1
    exchanged(valid_bundle, shutil.copytree(valid_bundle, tmp_path / "again"))
    assert bundle.files.read(["model.onnx", "manifest.json"], lambda: 2) == 2


def test_unchanged_files_are_not_hashed_again(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle()
    bundle, files = Bundle.open(valid_bundle), ["model.onnx", "golden/min.inputs.safetensors"]
    monkeypatch.setattr(opened_files, "sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    assert bundle.files.read(files, lambda: "read") == "read"


def test_files_as_young_as_a_tick_are(valid_bundle: Path, after: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On such a disk nothing tells a file from what is written over it within the same tick."""

    def of_this_tick(path: Path) -> tuple[int, ...]:
        return 1, 1, path.stat().st_size, 0, time.time_ns() // 10**12 * 10**12 + 10**12

    monkeypatch.setattr(opened_files, "_mark", of_this_tick)
    bundle = Bundle.open(valid_bundle)
    rewritten(valid_bundle, after)
    with pytest.raises(ReplacedError):
        bundle.files.read(["model.onnx"], lambda: pytest.fail("it was read"))


@pytest.mark.parametrize("raises", [False, True])
def test_what_was_read_while_another_export_was_there_is_read_again(
    valid_bundle: Path, after: Path, raises: bool
) -> None:
    """Nothing tells afterwards: the folder that was opened is back in its place."""
    bundle, read = Bundle.open(valid_bundle), []

    def action() -> bytes:
        away = not read
        if away:
            valid_bundle.rename(valid_bundle.with_name("away"))
            after.rename(valid_bundle)
        read.append((valid_bundle / "model.onnx").read_bytes())
        if away:
            valid_bundle.rename(after)
            valid_bundle.with_name("away").rename(valid_bundle)
            if raises:
                raise BundleError("half of one and half of the other")
        return read[-1]

    assert bundle.files.read(["model.onnx"], action) == (valid_bundle / "model.onnx").read_bytes() == read[1] != read[0]


def test_what_fails_for_another_reason_is_told_as_that(valid_bundle: Path) -> None:
    def action() -> None:
        raise BundleError("no such luck")

    with pytest.raises(BundleError, match="no such luck"):
        Bundle.open(valid_bundle).files.read(["model.onnx"], action)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(valid_bundle: Path) -> None:
    bundle = Bundle.open(valid_bundle)
    (valid_bundle / "model.onnx").unlink()
    os.mkfifo(valid_bundle / "model.onnx")
    with pytest.raises(BundleError, match=REPLACED):
        bundle.files.read(["model.onnx"], lambda: pytest.fail("it was read"))


def test_a_bundle_that_a_link_leads_to_stays_when_the_link_goes_on(valid_bundle: Path, after: Path) -> None:
    link = valid_bundle.with_name("current.attn")
    link.symlink_to(valid_bundle)
    bundle = Bundle.open(link)
    link.unlink()
    link.symlink_to(after)
    case = next(iter(bundle.graph().cases()))
    assert np.array_equal(case.inputs["x"], next(iter(Bundle.open(valid_bundle).graph().cases())).inputs["x"])
    assert bundle.graph().precisions["fp32"].file == valid_bundle.resolve() / "model.onnx"


def test_a_relative_path_survives_a_chdir(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(valid_bundle.parent)
    bundle = Bundle.open(valid_bundle.name, check_hashes=False)
    monkeypatch.chdir("/")
    assert bundle.asset("labels") and list(bundle.graph().cases()) and bundle.path == Path("gemm.attn")
    assert bundle.file("model.onnx").is_file() and bundle.file("model.onnx").is_absolute()


def test_so_does_that_of_a_bundle_that_was_just_written(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(valid_bundle.parent)
    manifest = {key: value for key, value in Bundle.open("gemm.attn").manifest.items() if key != "files"}
    with BundleWriter("gemm.attn", amends=Bundle.open("gemm.attn")) as writer:
        bundle = writer.commit(manifest)
    monkeypatch.chdir("/")
    assert bundle.asset("labels") and list(bundle.graph().cases())


def test_with_a_path_the_bundle_is_opened_again(valid_bundle: Path, after: Path) -> None:
    seen: list[str] = []

    def use(bundle: Bundle) -> str:
        seen.append(bundle.asset("labels")[0])
        if len(seen) == 1:
            exchanged(valid_bundle, after)
        return bundle.files.read(["model.onnx"], lambda: seen[-1])

    assert with_bundle(valid_bundle, use) == "next 0" and seen == ["class 0", "next 0"]
    opened = Bundle.open(valid_bundle)
    exchanged(valid_bundle, shutil.copytree(valid_bundle, after.with_name("same.attn")))
    assert with_bundle(opened, use) == "next 0"


def test_a_bundle_that_is_replaced_over_and_over_is_given_up(valid_bundle: Path, after: Path) -> None:
    others = [shutil.copytree(valid_bundle, after.with_name("first.attn")), after]

    def use(bundle: Bundle) -> object:
        others.reverse()
        exchanged(valid_bundle, others[0])
        return bundle.files.read(["model.onnx"], lambda: pytest.fail("it was read"))

    with pytest.raises(BundleError, match=REPLACED):
        with_bundle(valid_bundle, use)
