"""Weights of several graphs lie once on disk, where every reader finds them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export.onnx_graph.shared_weights import LEAST_BYTES, share
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError, PassError
from attn_runtime.tasks.verification import verify
from onnx import TensorProto, helper, numpy_helper

LARGE = np.random.default_rng(0).standard_normal((96, 200)).astype(np.float32)  # 75 KiB
MIDDLE = np.random.default_rng(1).standard_normal((96, 4)).astype(np.float32)
SMALL = np.arange(96, dtype=np.float32)


def graph(path: Path, weights: dict[str, np.ndarray], external: bool = False) -> Path:
    """y = the sum of x @ (the sum over columns of each weight)."""
    nodes = []
    for name in weights:
        nodes.append(helper.make_node("MatMul", ["x", name], [f"{name}_y"]))
        nodes.append(helper.make_node("ReduceSum", [f"{name}_y"], [f"{name}_s"], keepdims=0))
    nodes.append(helper.make_node("Sum", [f"{name}_s" for name in weights], ["y"]))
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 96])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return path


def answer(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.linspace(-1, 1, 3 * 96, dtype=np.float32).reshape(3, 96)})
    return found


@pytest.mark.parametrize("external", [False, True])
def test_equal_contents_lie_once_whatever_they_are_called(tmp_path: Path, external: bool) -> None:
    a = graph(tmp_path / "a.onnx", {"one": LARGE, "two": MIDDLE, "small": SMALL.reshape(96, 1)}, external)
    b = graph(tmp_path / "b.onnx", {"other": MIDDLE, "same": LARGE, "own": LARGE[:, ::-1]})
    before = answer(a), answer(b)
    done = share([a, b], tmp_path / "weights.data")
    assert np.array_equal(before[0], answer(a)) and np.array_equal(before[1], answer(b))
    assert done.together == 2 * (LARGE.nbytes + MIDDLE.nbytes) + LARGE.nbytes
    assert done.once < 2 * LARGE.nbytes + MIDDLE.nbytes + 3 * 4096
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "weights.data"]
    onnx.checker.check_model(str(a), full_check=True)


def test_large_tensors_begin_at_a_page_and_small_ones_stay_in_their_graph(tmp_path: Path) -> None:
    a = graph(tmp_path / "a.onnx", {"two": MIDDLE, "one": LARGE, "small": SMALL.reshape(96, 1)})
    share([a], tmp_path / "weights.data")
    tensors = {t.name: t for t in onnx.load(a, load_external_data=False).graph.initializer}
    offsets = {n: int({e.key: e.value for e in t.external_data}.get("offset", -1)) for n, t in tensors.items()}
    assert offsets["one"] % 4096 == 0 and offsets["two"] % 64 == 0 and offsets["small"] == -1
    assert SMALL.nbytes < LEAST_BYTES


def test_without_weights_there_is_no_file(tmp_path: Path) -> None:
    a = graph(tmp_path / "a.onnx", {"small": SMALL.reshape(96, 1)}, external=True)
    before = answer(a)
    share([a], tmp_path / "weights.data")
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"] and np.array_equal(before, answer(a))


def test_what_does_not_read_back_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = graph(tmp_path / "a.onnx", {"one": LARGE, "two": LARGE[::-1]})
    monkeypatch.setattr(
        "attn_export.onnx_graph.shared_weights._append", lambda content, file: file.write(content.data) and 0
    )
    with pytest.raises(PassError, match="one does not read back"):
        share([a], tmp_path / "weights.data")


def places(path: Path) -> dict[str, tuple[str, int]]:
    """Weight -> the data file that it lies in, and where there."""
    found = {}
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        entries = {e.key: e.value for e in tensor.external_data}
        found[tensor.name] = (entries["location"], int(entries["offset"]))
    return found


def test_what_lies_beside_is_referred_to_there(tmp_path: Path) -> None:
    kept = graph(tmp_path / "kept.onnx", {"middle": MIDDLE, "large": LARGE})
    share([kept], tmp_path / "kept.data")
    before = (tmp_path / "kept.data").read_bytes(), kept.read_bytes()
    a = graph(tmp_path / "a.onnx", {"same": LARGE, "new": LARGE[::-1], "small": MIDDLE, "again": LARGE[::-1]}, True)
    expected = answer(a)
    done = share([a], tmp_path / "a.data", beside=[kept])
    assert np.array_equal(answer(a), expected)
    there = places(kept)
    assert places(a) == {
        "same": there["large"], "new": ("a.data", 0), "small": there["middle"], "again": ("a.data", 0)
    }  # fmt: skip
    assert done.once == (tmp_path / "a.data").stat().st_size == LARGE.nbytes
    assert before == ((tmp_path / "kept.data").read_bytes(), kept.read_bytes())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.data", "a.onnx", "kept.data", "kept.onnx"]


def test_with_everything_beside_there_is_no_file(tmp_path: Path) -> None:
    kept = graph(tmp_path / "kept.onnx", {"large": LARGE}, external=True)
    a = graph(tmp_path / "a.onnx", {"same": LARGE})
    expected = answer(a)
    assert share([a], tmp_path / "a.data", beside=[kept]).once == 0
    assert np.array_equal(answer(a), expected) and places(a) == {"same": ("kept.onnx.data", 0)}
    assert not (tmp_path / "a.data").exists()


def test_weights_of_another_folder_are_read_there_and_stay(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    a = graph(source / "a.onnx", {"large": LARGE, "other": LARGE[::-1]})
    b = graph(source / "b.onnx", {"other": LARGE[::-1]})
    share([a, b], source / "weights.data")
    before = (source / "weights.data").read_bytes()
    copy = Path(shutil.copyfile(b, tmp_path / "b.onnx"))
    share([copy], tmp_path / "b.data", source=source)
    assert np.array_equal(answer(copy), answer(b)) and places(copy) == {"other": ("b.data", 0)}
    assert (tmp_path / "b.data").stat().st_size == LARGE.nbytes
    assert (source / "weights.data").read_bytes() == before


def test_no_file_is_written_over(tmp_path: Path) -> None:
    a = graph(tmp_path / "weights.data", {"large": LARGE})
    before = a.read_bytes()
    with pytest.raises(FileExistsError):
        share([a], a)
    assert a.read_bytes() == before


def test_a_bundle_of_several_graphs_is_about_one_copy(small_translator: Path) -> None:
    import torch
    from support.models.small_generators import translator

    bundle = Bundle.open(small_translator)
    data = {graph.precisions["fp32"].data for graph in bundle.graphs.values()}
    assert data == {(small_translator / "weights.data",)}
    module = translator().build()
    assert isinstance(module, torch.nn.Module)
    parameters = sum(p.numel() * 4 for p in module.parameters())
    size = bundle.manifest["files"]["weights.data"]["size"]
    # The head is a Gemm in one graph and a MatMul in others: a transposed copy of it is another content.
    assert size < 1.2 * parameters, f"{size} bytes for {parameters} of parameters"
    for graph in bundle.graphs.values():
        model = onnx.load(graph.precisions["fp32"].file, load_external_data=False)
        inline = [t for t in model.graph.initializer if t.data_location != TensorProto.EXTERNAL]
        assert all(len(t.raw_data) < LEAST_BYTES for t in inline)


def test_a_changed_byte_is_caught(small_translator: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(small_translator, tmp_path / "t.attn")
    with (spoilt / "weights.data").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        byte = file.read(1)
        file.seek(-3, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(BundleError, match="sha256 of weights.data"):
        verify(spoilt)
