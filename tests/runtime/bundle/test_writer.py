"""A writer leaves the new bundle or the old one, and nothing beside it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.bundle import reader as bundle_module
from attn_runtime.bundle.reader import Bundle, is_bundle
from attn_runtime.bundle.writer import BundleWriter, OnnxWriter, check_target
from attn_runtime.errors import BundleError, OutputError
from attn_runtime.files import atomic_write, output_place
from safetensors.numpy import load_file
from support.graphs.make_hostile_bundles import gemm_model, make_valid_bundle


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones too, by its path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rewrite(
    path: Path, name: str = "second", labels: Callable[[bytes], bytes] = lambda data: data, force: bool = False
) -> None:
    """Write a bundle whose model name is `name`, so that one can tell which bundle is there."""
    content = make_valid_bundle(path.parent / f"source-of-{name}.attn")
    manifest = {k: v for k, v in Bundle.open(content).manifest.items() if k != "files"}
    with BundleWriter(path, force) as writer:
        for file, data in snapshot(content).items():
            if file != "manifest.json":
                writer.path(file).write_bytes(labels(data) if file == "assets/labels.json" else data)
        writer.commit(manifest | {"name": name})


def test_what_is_written_is_read(valid_bundle: Path) -> None:
    bundle = Bundle.open(valid_bundle)
    assert is_bundle(valid_bundle) and bundle.name == "gemm"
    graph = bundle.graph()
    assert graph.name == "model" and bundle.graph("model") is graph
    assert [str(spec) for spec in (*graph.inputs, *graph.outputs)] == [
        "x: float32[batch=1..4, 16]",
        "y: float32[batch=1..4, 10]",
    ]
    assert graph.precisions["fp32"].file == valid_bundle / "model.onnx"
    assert graph.precisions["ext"].data == (valid_bundle / "model.ext.onnx.data",)
    assert graph.precisions["fp32"].tolerance.rtol == 2e-5
    weight = onnx.numpy_helper.to_array(onnx.load(graph.precisions["ext"].file).graph.initializer[0])
    cases = list(graph.cases())
    assert [(case.name, case.sizes, case.inputs["x"].shape) for case in cases] == [
        ("min", {"batch": 1}, (1, 16)),
        ("opt", {"batch": 2}, (2, 16)),
        ("max", {"batch": 4}, (4, 16)),
    ]
    for case in cases:
        np.testing.assert_array_equal(case.outputs["y"], case.inputs["x"] @ weight)
    assert bundle.asset("labels") == [f"class {i}" for i in range(10)]
    assert bundle.asset("image")["channels"] == 1
    assert bundle.asset("vocabulary") is None
    assert bundle.file("assets/labels.json").is_file()


def test_questions_a_bundle_can_not_answer(valid_bundle: Path) -> None:
    bundle = Bundle.open(valid_bundle)
    with pytest.raises(BundleError, match=r'gemm.attn: has no graph "decoder"; name one of model'):
        bundle.graph("decoder")
    with pytest.raises(BundleError, match=r"did you mean model.onnx\?"):
        bundle.file("model.onx")
    with pytest.raises(BundleError, match=r"did you mean gemm.attn\?"):
        Bundle.open(valid_bundle.with_name("gem.attn"))


def test_hashes_are_checked_only_when_asked(valid_bundle: Path) -> None:
    weights = valid_bundle / "model.ext.onnx.data"
    weights.write_bytes(bytes(weights.stat().st_size))
    Bundle.open(valid_bundle, check_hashes=False)
    with pytest.raises(BundleError, match=r"sha256 of model.ext.onnx.data is [0-9a-f]{64}, manifest says [0-9a-f]{64}"):
        Bundle.open(valid_bundle)


def test_link_inside_the_bundle_is_followed(valid_bundle: Path) -> None:
    (valid_bundle / "model.onnx").rename(valid_bundle / "engines")
    (valid_bundle / "model.onnx").symlink_to("engines")
    Bundle.open(valid_bundle)


def test_bundle_behind_a_link_is_opened(valid_bundle: Path) -> None:
    link = valid_bundle.with_name("latest.attn")
    link.symlink_to(valid_bundle)
    assert Bundle.open(link).name == "gemm"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "int64", "uint64", "bool"])
def test_tensors_survive_whatever_their_layout(dtype: str, tmp_path: Path) -> None:
    base = np.arange(24).reshape(2, 3, 4).astype(dtype)
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "plain": base,
        "transposed": base.transpose(2, 0, 1),
        "reversed": base[:, ::-1],
        "strided": base[..., ::2],
        "broadcast": np.broadcast_to(base[:1], (5, 3, 4)),
        "scalar": base[1, 1, 1],
        "scalar array": np.asarray(base[1, 1, 1]),
        "nothing": base[:0],
    }
    if dtype not in ("int8", "bool"):
        tensors["big endian"] = base.astype(base.dtype.newbyteorder(">"))
    with BundleWriter(tmp_path / "a.attn") as writer:
        writer.add_tensors("t.safetensors", tensors)
        found = load_file(writer.path("t.safetensors"))
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].shape == value.shape and found[name].dtype == dtype
        np.testing.assert_array_equal(found[name], value)


def test_dtypes_no_bundle_holds(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "a.attn") as writer, pytest.raises(ValueError, match="complex64"):
        writer.add_tensors("t.safetensors", {"x": np.zeros(2, np.complex64)})


def test_replacing_leaves_one_bundle(valid_bundle: Path) -> None:
    (valid_bundle / "engines").mkdir()
    (valid_bundle / "engines" / "a.plan").write_text("derived")
    rewrite(valid_bundle)
    assert Bundle.open(valid_bundle).name == "second"
    assert not (valid_bundle / "engines").exists(), "engines of the old graph must not serve the new one"
    assert not list(valid_bundle.parent.glob(".*"))


@pytest.mark.parametrize("end", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_leaving_without_commit_changes_nothing(end: type[BaseException] | None, valid_bundle: Path) -> None:
    before = snapshot(valid_bundle.parent)
    try:
        with BundleWriter(valid_bundle) as writer:
            writer.add_json("assets/labels.json", ["half"])
            if end:
                raise end
    except (RuntimeError, KeyboardInterrupt, SystemExit) as error:
        assert type(error) is end
    assert snapshot(valid_bundle.parent) == before
    assert not list(valid_bundle.parent.glob(".*"))
    with pytest.raises(RuntimeError, match="outside its with block"):
        writer.path("late")


def test_manifest_that_no_reader_takes_is_not_published(valid_bundle: Path) -> None:
    before = snapshot(valid_bundle.parent)
    manifest = Bundle.open(valid_bundle).manifest
    with pytest.raises(BundleError, match="is not listed in files"), BundleWriter(valid_bundle) as writer:
        writer.path("other.onnx").write_bytes(b"")
        writer.commit({k: v for k, v in manifest.items() if k != "files"})
    assert snapshot(valid_bundle.parent) == before


def test_nan_is_not_written(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "a.attn") as writer, pytest.raises(ValueError, match="JSON"):
        writer.add_json("a.json", float("nan"))


@pytest.mark.parametrize("relative", ["../a", "/a", "a\\b", "manifest.json", ".hidden", ""])
def test_writer_stays_inside(relative: str, tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "a.attn") as writer, pytest.raises(OutputError, match=r"can't write"):
        writer.path(relative)


# --- what may be replaced ---------------------------------------------------------------------------------------------


def test_target_needs_a_name_and_a_folder(tmp_path: Path) -> None:
    check_target(tmp_path / "a.attn")
    check_target(tmp_path / "a.onnx")
    for name in ("a", "a.pt", ".attn"):
        with pytest.raises(OutputError, match=r"expected a name NAME.attn"):
            check_target(tmp_path / name)
    with pytest.raises(OutputError, match="does not exist; create it"):
        check_target(tmp_path / "none" / "a.attn")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not a folder"):
        check_target(tmp_path / "file" / "a.attn")
    with pytest.raises(OutputError, match="too long"):
        check_target(tmp_path / f"{'a' * 300}.attn")
    for writer, name in ((BundleWriter, "a.onnx"), (OnnxWriter, "a.attn")):
        with pytest.raises(OutputError, match="expected a name"), writer(tmp_path / name):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("bytes_", [236, 250, 255])
def test_a_name_that_leaves_no_room_for_a_temporary_one_is_refused_at_once(tmp_path: Path, bytes_: int) -> None:
    for stem, suffix in (("a", ".attn"), ("a", ".onnx"), ("\u00e9", ".onnx")):
        name = stem * ((bytes_ - 5) // len(stem.encode())) + suffix
        with pytest.raises(OutputError, match=r"the name of 2\d\d bytes is too long; 2\d\d leave room"):
            check_target(tmp_path / name)
    longest = next(n for n in range(255, 0, -1) if not output_place.name_excess(tmp_path / ("a" * n)))
    assert longest > 225
    with OnnxWriter(tmp_path / f"{'a' * (longest - 5)}.onnx") as writer:
        writer.path().write_bytes(b"x")
        writer.commit()


def test_folder_nobody_can_write_to() -> None:
    with pytest.raises(OutputError), BundleWriter(Path("/proc/a.attn")):
        pass


def test_folder_that_is_no_bundle_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "photos.attn"
    target.mkdir()
    (target / "one.jpg").write_text("precious")
    for manifest in (None, "{}", "no json", '{"manifest_version": 3}', "[]"):
        if manifest is not None:
            (target / "manifest.json").write_text(manifest)
        before = snapshot(tmp_path)
        with pytest.raises(OutputError, match=r"exists and is not a bundle; .*--force"), BundleWriter(target):
            pass
        assert snapshot(tmp_path) == before
    rewrite(target, force=True)
    assert Bundle.open(target).name == "second" and not (target / "one.jpg").exists()


def test_file_in_the_place_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.attn"
    target.write_text("precious")
    with pytest.raises(OutputError, match="is a file, not a bundle"), BundleWriter(target):
        pass
    assert target.read_text() == "precious"
    rewrite(target, force=True)
    assert Bundle.open(target).name == "second"


@pytest.mark.parametrize("stranger", ["notes.txt", "golden/notes.txt", "linked"])
def test_bundle_with_a_strangers_file_is_kept(stranger: str, valid_bundle: Path) -> None:
    if stranger == "linked":
        (valid_bundle / stranger).symlink_to(valid_bundle.parent)
    else:
        (valid_bundle / stranger).write_text("precious")
    with pytest.raises(OutputError, match=f'holds "{stranger}", which is not the bundle'), BundleWriter(valid_bundle):
        pass
    rewrite(valid_bundle, force=True)
    assert Bundle.open(valid_bundle).name == "second"


def test_damaged_bundle_may_be_replaced(valid_bundle: Path) -> None:
    (valid_bundle / "model.onnx").write_text("damaged")
    manifest = json.loads((valid_bundle / "manifest.json").read_text())
    (valid_bundle / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 0}))
    rewrite(valid_bundle)
    assert Bundle.open(valid_bundle).name == "second"


def test_link_to_a_bundle_stays_a_link(valid_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "latest.attn"
    link.symlink_to(valid_bundle)
    rewrite(link)
    assert link.is_symlink() and Bundle.open(valid_bundle).name == "second"


# --- how it is replaced -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that can't exchange two names (NFS, say)."""
    monkeypatch.setattr(atomic_write, "_exchange", lambda one, other: False)


def test_names_are_exchanged_where_the_kernel_can(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("1")
    (tmp_path / "file").write_text("2")
    assert atomic_write._exchange(tmp_path / "folder", tmp_path / "file")
    assert (tmp_path / "folder").read_text() == "2" and (tmp_path / "file" / "inside").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        atomic_write._exchange(tmp_path / "folder", tmp_path / "none")


@pytest.mark.usefixtures("no_exchange")
def test_replacing_without_exchange(valid_bundle: Path) -> None:
    rewrite(valid_bundle)
    assert Bundle.open(valid_bundle).name == "second"
    assert not list(valid_bundle.parent.glob(".*"))


@pytest.mark.usefixtures("no_exchange")
def test_failing_half_way_puts_the_old_bundle_back(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = snapshot(make_valid_bundle(valid_bundle.with_name("source.attn")))
    manifest = Bundle.open(valid_bundle).manifest
    before = snapshot(valid_bundle.parent)
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if target == valid_bundle:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    with pytest.raises(OutputError, match="No space left"), BundleWriter(valid_bundle) as writer:
        for file, data in source.items():
            if file != "manifest.json":
                writer.path(file).write_bytes(data)
        monkeypatch.setattr(Path, "rename", full)
        writer.commit({k: v for k, v in manifest.items() if k != "files"} | {"name": "second"})
    assert snapshot(valid_bundle.parent) == before
    assert not list(valid_bundle.parent.glob(".*"))


def test_two_writers_at_once(valid_bundle: Path) -> None:
    source = {k: v for k, v in snapshot(valid_bundle).items() if k != "manifest.json"}
    manifest = {k: v for k, v in Bundle.open(valid_bundle).manifest.items() if k != "files"}
    with BundleWriter(valid_bundle) as early, BundleWriter(valid_bundle) as late:
        assert early.folder.exists(), "a live run's folder is not swept"
        for writer in (early, late):
            for file, data in source.items():
                writer.path(file).write_bytes(data)
        early.commit(manifest | {"name": "early"})
        assert Bundle.open(valid_bundle).name == "early"
        late.commit(manifest | {"name": "late"})
    assert Bundle.open(valid_bundle).name == "late"
    assert not list(valid_bundle.parent.glob(".*"))


def test_replaced_while_it_is_opened(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is the old bundle's, the files are already the new one's: the reader starts over."""
    whole = bundle_module._check_hash

    def slow(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(bundle_module, "_check_hash", whole)
        rewrite(valid_bundle, "second", lambda data: data + b" ")
        whole(*arguments, **options)

    monkeypatch.setattr(bundle_module, "_check_hash", slow)
    assert Bundle.open(valid_bundle).name == "second"


def test_a_run_killed_in_the_gap_is_undone_before_the_sweep(tmp_path: Path) -> None:
    target = tmp_path / "a.attn"
    old = tmp_path / ".a.attn.tmp-1-0" / "old" / "a.attn"
    old.mkdir(parents=True)
    (old / "precious").write_text("")
    atomic_write.Staging(target).discard()
    assert (target / "precious").exists() and [path.name for path in tmp_path.iterdir()] == ["a.attn"]


def test_other_targets_temporaries_are_left_alone(valid_bundle: Path) -> None:
    other = valid_bundle.parent / ".other.attn.tmp-1-0"
    other.mkdir()
    stale = valid_bundle.parent / ".gemm.attn.tmp-1-0"
    (stale / "new" / "gemm.attn").mkdir(parents=True)
    rewrite(valid_bundle)
    assert other.exists() and not stale.exists()


# --- plain ONNX files -------------------------------------------------------------------------------------------------


def write_onnx(target: Path, doc: str, data: bool) -> None:
    model = gemm_model()
    model.doc_string = doc
    with OnnxWriter(target) as writer:
        if data:
            onnx.save(
                model, writer.path(), save_as_external_data=True, location=f"{target.name}.data", size_threshold=0
            )
        else:
            onnx.save(model, writer.path())
        writer.commit()


@pytest.mark.parametrize("before", [None, False, True])
@pytest.mark.parametrize("after", [False, True])
def test_onnx_file_is_replaced(before: bool | None, after: bool, tmp_path: Path) -> None:
    target = tmp_path / "gemm.onnx"
    if before is not None:
        write_onnx(target, "first", before)
    write_onnx(target, "second", after)
    model = onnx.load(target)
    assert model.doc_string == "second"
    assert model.graph.initializer[0] == gemm_model().graph.initializer[0] or after
    onnx.checker.check_model(str(target))
    assert not list(tmp_path.glob(".*"))
    assert {path.name for path in tmp_path.iterdir()} == {"gemm.onnx"} | (
        {"gemm.onnx.data"} if before or after else set()
    )


def test_onnx_file_and_data_fail_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "gemm.onnx"
    write_onnx(target, "first", True)
    before = snapshot(tmp_path)
    rename = Path.rename

    moves = []

    def full(self: Path, other: Path) -> Path:
        moves.append((self.name, self.parent.name, other.parent.name))
        if other == target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OutputError, match="No space left"):
        write_onnx(target, "second", True)
    assert snapshot(tmp_path) == before
    here = tmp_path.name
    assert moves[:4] == [
        ("gemm.onnx", here, "old"),
        ("gemm.onnx.data", here, "old"),
        ("gemm.onnx.data", "new", here),
        ("gemm.onnx", "new", here),
    ], "an old graph must never stand beside new weights, nor a new one beside old weights"


@pytest.mark.parametrize("name", ["f.attn", "f.onnx", "loop.attn", "loop.onnx", "loop.attn/a.attn"])
def test_a_pipe_or_a_loop_of_links_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(name) if name.startswith("loop") and "/" not in name else None
    if "/" in name:
        (tmp_path / "loop.attn").symlink_to("loop.attn")
    elif name.startswith("f"):
        os.mkfifo(tmp_path / name)
    before = snapshot(tmp_path)
    for force in (False, True):
        with pytest.raises(OutputError, match="but a FIFO|symbolic links") as caught:
            check_target(tmp_path / name, force)
        assert "Errno" not in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_link_to_nothing_is_no_name_to_mean(tmp_path: Path) -> None:
    (tmp_path / "gemm.attn").symlink_to("gone.attn")
    with pytest.raises(BundleError, match="does not exist; check the path"):
        Bundle.open(tmp_path / "gemm.attn")


def test_onnx_target_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path / "a.onnx", force=True)
    with OnnxWriter(tmp_path / "b.onnx") as writer:
        with pytest.raises(OutputError, match="no file name beside it"):
            writer.path("../b.data")
        with pytest.raises(OutputError, match="was not written"):
            writer.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
