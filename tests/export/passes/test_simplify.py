"""The pass is judged by what it gives, and so are its tests: on graphs where onnxsim helps, and where it does harm."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.onnx_graph.onnx_file import read_info
from attn_export.passes import _base as step
from attn_runtime.child_process import ChildProcess
from onnx import TensorProto, helper, numpy_helper

SHAPE = [2, 4, 4]


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


def save(
    path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], output: str, **external: bool
) -> Path:
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *SHAPE[1:]]) for n in ("x", output)]
    weights = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", value[:1], value[1:], weights),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    if external:
        onnx.save(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def foldable(path: Path, **external: bool) -> Path:
    """x @ w + (a + b), where a + b can be folded and Identity dropped."""
    one = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Identity", ["x"], ["i"], name="skip"),
        helper.make_node("MatMul", ["i", "w"], ["h"], name="matmul"),
        helper.make_node("Add", ["a", "b"], ["c"], name="fold"),
        helper.make_node("Add", ["h", "c"], ["y"], name="bias"),
    ]
    nodes[1].metadata_props.add(key="namespace", value="net.attention")
    return save(path, nodes, {"w": one, "a": np.float32([1, 2, 3, 4]), "b": np.float32([4, 3, 2, 1])}, "y", **external)


def test_what_can_be_folded_is_and_the_answers_stay(isolated: ChildProcess, tmp_path: Path) -> None:
    import onnxruntime

    source = foldable(tmp_path / "m.onnx")
    done = step.run_pass(step.get("simplify"), source, tmp_path / "m.0.onnx", isolated)
    assert done.before.nodes == 4
    assert done.after.nodes == 2
    assert done.result.path == tmp_path / "m.0.onnx"
    x = np.random.default_rng(1).standard_normal((3, 4, 4)).astype(np.float32)
    old, new = (onnxruntime.InferenceSession(p).run(None, {"x": x})[0] for p in (source, done.result.path))
    assert np.array_equal(old, new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.0.onnx", "m.onnx"]


def test_nodes_keep_the_module_path_that_onnxsim_drops(isolated: ChildProcess, tmp_path: Path) -> None:
    done = step.run_pass(step.get("simplify"), foldable(tmp_path / "m.onnx"), tmp_path / "m.0.onnx", isolated)
    model = onnx.load(done.result.path)
    matmul = next(n for n in model.graph.node if n.op_type == "MatMul")
    assert [(p.key, p.value) for p in matmul.metadata_props] == [("namespace", "net.attention")]
    assert not [p for p in model.metadata_props if p.key.startswith("onnxsim")]


def test_a_graph_that_would_grow_is_kept_as_it_was(isolated: ChildProcess, tmp_path: Path) -> None:
    # onnxsim's optimizer turns a matmul with bias on rank 3 into Reshape, Gemm, Reshape; there is nothing to fold.
    one = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    source = save(tmp_path / "m.onnx", nodes, {"w": one, "b": one[0]}, "y")
    before = source.read_bytes()
    done = step.run_pass(step.get("simplify"), source, tmp_path / "m.0.onnx", isolated)
    assert done.result.path == source
    assert "kept the graph as captured" in done.result.note
    assert source.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_external_weights_stay_where_they_are(isolated: ChildProcess, tmp_path: Path) -> None:
    import onnxruntime

    source = foldable(tmp_path / "m.onnx", external=True)
    data = (tmp_path / "m.onnx.data").read_bytes()
    done = step.run_pass(step.get("simplify"), source, tmp_path / "m.0.onnx", isolated)
    assert done.after.nodes < done.before.nodes
    assert done.after.data_files == ("m.onnx.data",)
    assert (tmp_path / "m.onnx.data").read_bytes() == data
    x = np.ones((2, 4, 4), np.float32)
    old, new = (onnxruntime.InferenceSession(p).run(None, {"x": x})[0] for p in (source, done.result.path))
    assert np.array_equal(old, new)


def test_large_weights_do_not_pass_through_onnxsim_and_are_there_again(
    isolated: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = np.random.default_rng(0).standard_normal((1, 512, 512)).astype(np.float32)
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Identity", ["same"], ["again"]),
        helper.make_node("Add", ["again", "w"], ["y"]),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 512, 512]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    given: list[int] = []
    run = isolated.run

    def noted(task: str, stage: str, **arguments: Any) -> dict[str, Any]:
        given.append(Path(arguments["source"]).stat().st_size)
        return run(task, stage, **arguments)

    monkeypatch.setattr(isolated, "run", noted)
    done = step.run_pass(step.get("simplify"), tmp_path / "m.onnx", tmp_path / "s.onnx", isolated)
    assert done.after.nodes == 1 and max(given) < 10_000
    model = onnx.load(done.result.path)
    (stored,) = model.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(stored), weight)
    assert [i.name for i in model.graph.input] == ["x"]
    assert {f.name for f in tmp_path.iterdir()} == {"m.onnx", "s.onnx"}


def test_simplify_promises_opset_and_size(tmp_path: Path) -> None:
    from dataclasses import replace

    before = read_info(foldable(tmp_path / "m.onnx"))
    simplify = step.get("simplify")
    assert simplify.ensures(before, before) == ""
    assert "opset was 18 and is 21" in simplify.ensures(before, replace(before, opset=21))
    assert "grew from 4 to 5" in simplify.ensures(before, replace(before, nodes=5))
