"""Amending a bundle: what is not touched comes along without a copy, what is touched never reaches the old one."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.errors import BundleError, OutputError
from attn_runtime.files.atomic_write import sweep
from support.graphs.make_hostile_bundles import make_valid_bundle


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def amend(path: Path, name: str = "amended") -> Bundle:
    opened = Bundle.open(path)
    with BundleWriter(path, amends=opened) as writer:
        writer.path("assets/labels.json").write_text('["a"]')
        return writer.commit({**opened.manifest, "name": name})


def test_what_is_not_touched_is_the_same_file(valid_bundle: Path) -> None:
    before = {n: valid_bundle.joinpath(n).stat().st_ino for n in ("model.onnx", "assets/labels.json")}
    amended = amend(valid_bundle)
    assert amended.name == Bundle.open(valid_bundle).name == "amended"
    assert Bundle.open(valid_bundle).asset("labels") == ["a"]
    assert valid_bundle.joinpath("model.onnx").stat().st_ino == before["model.onnx"]
    assert valid_bundle.joinpath("assets/labels.json").stat().st_ino != before["assets/labels.json"]
    assert all(p.stat().st_nlink == 1 for p in valid_bundle.rglob("*") if p.is_file())
    assert sorted(p.name for p in valid_bundle.parent.iterdir()) == [valid_bundle.name]


@pytest.mark.parametrize("end", [None, RuntimeError, KeyboardInterrupt])
def test_without_commit_the_old_bundle_is_as_it_was(valid_bundle: Path, end: type[BaseException] | None) -> None:
    before = snapshot(valid_bundle)
    try:
        with BundleWriter(valid_bundle, amends=Bundle.open(valid_bundle)) as writer:
            writer.path("model.onnx").write_bytes(b"half a graph")
            writer.add_json("assets/labels.json", ["other"])
            writer.remove("golden/min.inputs.safetensors")
            if end:
                raise end()
    except BaseException as raised:
        if end is None or not isinstance(raised, end):
            raise
    assert snapshot(valid_bundle.parent) == {f"{valid_bundle.name}/{n}": v for n, v in before.items()}


def test_engines_come_along_also_those_built_meanwhile(valid_bundle: Path) -> None:
    engines = valid_bundle / "engines"
    (engines / "deep").mkdir(parents=True)
    (engines / "old.engine").write_bytes(b"old")
    (engines / ".building.tmp").write_bytes(b"half")
    opened = Bundle.open(valid_bundle)
    with BundleWriter(valid_bundle, amends=opened) as writer:
        (engines / "deep/new.engine").write_bytes(b"new")
        bundle = writer.commit(opened.manifest)
    assert snapshot(engines) == {"old.engine": b"old", "deep/new.engine": b"new"}
    assert not [name for name in bundle.manifest["files"] if name.startswith("engines")]


def test_a_file_can_be_left_out(valid_bundle: Path) -> None:
    opened = Bundle.open(valid_bundle)
    with BundleWriter(valid_bundle, amends=opened) as writer:
        writer.remove("assets/labels.json")
        writer.remove("never/there.json")
        bundle = writer.commit({**opened.manifest, "assets": {}})
    assert "assets/labels.json" not in bundle.manifest["files"]
    assert not (valid_bundle / "assets/labels.json").exists()


def test_a_copy_where_there_are_no_hard_links(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here", str(target))

    monkeypatch.setattr(Path, "hardlink_to", refuses)
    before = (valid_bundle / "model.onnx").stat().st_ino
    amend(valid_bundle)
    assert (valid_bundle / "model.onnx").stat().st_ino != before
    Bundle.open(valid_bundle)  # with all its hashes


def test_a_full_disk_is_told_and_costs_nothing(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "hardlink_to", full)
    before = snapshot(valid_bundle)
    with pytest.raises(OutputError, match="No space left on device"):
        amend(valid_bundle)
    assert snapshot(valid_bundle.parent) == {f"{valid_bundle.name}/{n}": v for n, v in before.items()}


def test_a_bundle_that_was_replaced_meanwhile_is_left_alone(valid_bundle: Path) -> None:
    opened = Bundle.open(valid_bundle)
    with pytest.raises(OutputError, match="was replaced by another run meanwhile"):  # noqa: SIM117
        with BundleWriter(valid_bundle, amends=opened) as writer:
            manifest = json.loads((valid_bundle / "manifest.json").read_text())
            (valid_bundle / "manifest.json").write_text(json.dumps({**manifest, "name": "theirs"}))
            writer.commit(opened.manifest)
    assert Bundle.open(valid_bundle).name == "theirs"


def test_a_manifest_that_no_reader_takes_is_not_published(valid_bundle: Path) -> None:
    before, opened = snapshot(valid_bundle), Bundle.open(valid_bundle)
    with pytest.raises(BundleError), BundleWriter(valid_bundle, amends=opened) as writer:
        writer.remove("model.onnx")
        writer.commit(opened.manifest)
    assert snapshot(valid_bundle) == before


def test_links_inside_a_bundle_are_followed(tmp_path: Path) -> None:
    bundle = make_valid_bundle(tmp_path / "linked.attn")
    (bundle / "model.onnx").rename(bundle / "real.onnx")
    (bundle / "model.onnx").symlink_to("real.onnx")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["real.onnx"] = manifest["files"]["model.onnx"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    amend(bundle)
    assert not (bundle / "model.onnx").is_symlink()
    Bundle.open(bundle)


def test_what_a_killed_run_left_holds_no_second_name_after_a_sweep(valid_bundle: Path) -> None:
    litter = valid_bundle.parent / f".{valid_bundle.name}.tmp-1-dead/new/{valid_bundle.name}"
    litter.mkdir(parents=True)
    (litter / "model.onnx").hardlink_to(valid_bundle / "model.onnx")
    sweep(valid_bundle)
    assert (valid_bundle / "model.onnx").stat().st_nlink == 1
