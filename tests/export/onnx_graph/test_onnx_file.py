"""Files as they are, and the dims asked for against those of the graph: an exporter that bakes one in says nothing of it."""

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from attn_export.onnx_graph.onnx_file import annotate, load, name_dims, read_info
from attn_runtime.errors import BundleError, CaptureError
from attn_runtime.spec import Dim, TensorSpec

BATCH, LENGTH = Dim("batch", 1, 4, 8), Dim("T", 1, 5, 9)


def model(*axes: int | str) -> ir.Model:
    """y = Relu(x), with x of these axes."""
    kind = ir.TensorType(ir.DataType.FLOAT)
    x = ir.Value(name="x", shape=ir.Shape(axes), type=kind)
    node = ir.node("Relu", [x])
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = "y", ir.Shape(axes), kind
    return ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18}, name="g"), ir_version=10)


def named(*axes: int | str, dims: tuple[Dim, ...] = (BATCH, LENGTH)) -> ir.Model:
    made = model(*axes)
    name_dims(made, [TensorSpec("x", "float32", dims)])
    return made


def test_symbols_get_the_declared_names_everywhere() -> None:
    made = named("s1", "s7")
    assert [str(d) for d in made.graph.inputs[0].shape or ()] == ["batch", "T"]
    assert [str(d) for d in made.graph.outputs[0].shape or ()] == ["batch", "T"]


def test_expressions_are_renamed_inside() -> None:
    made = model("s1", "s7")
    made.graph.outputs[0].shape = ir.Shape(["s1", "s7 + 1"])
    name_dims(made, [TensorSpec("x", "float32", (BATCH, LENGTH))])
    assert [str(d) for d in made.graph.outputs[0].shape or ()] == ["batch", "T + 1"]


def test_a_dim_that_was_baked_in_is_an_error() -> None:
    with pytest.raises(CaptureError, match=r"dim batch was asked to be 1\.\.8, but axis 0 of \"x\" is fixed at 4"):
        named(4, "s7")


def test_a_fixed_dim_may_be_fixed() -> None:
    named(4, "s7", dims=(Dim.fixed(4), LENGTH))


def test_two_dims_that_became_one_are_an_error() -> None:
    with pytest.raises(CaptureError, match="makes dims batch and T equal"):
        named("s1", "s1")


def test_an_input_that_vanished_is_an_error() -> None:
    with pytest.raises(CaptureError, match='input "mask" is not in the graph'):
        name_dims(model("s1", "s7"), [TensorSpec("mask", "float32", (BATCH,))])


def branches(path: Path) -> Path:
    """y = If(c) of two bodies with a Relu; no node has a name."""
    value = [onnx.helper.make_tensor_value_info("x", 1, [2]), onnx.helper.make_tensor_value_info("c", 9, [])]
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["r"])], "b", [], [onnx.helper.make_tensor_value_info("r", 1, None)]
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    graph = onnx.helper.make_graph([node], "g", value, [onnx.helper.make_tensor_value_info("y", 1, [2])])
    onnx.save(onnx.helper.make_model(graph, producer_name="someone"), path)
    return path


def test_nodes_without_a_name_are_left_without_one(tmp_path: Path) -> None:
    path = branches(tmp_path / "m.onnx")
    assert [node.name for node in load(path).graph.all_nodes()] == ["", "", ""]
    before = onnx.load(path)
    annotate(path, {"key": "value"})
    after = onnx.load(path)
    assert [(p.key, p.value) for p in after.metadata_props] == [("key", "value")]
    assert after.graph == before.graph


def test_info_counts_the_nodes_in_bodies(tmp_path: Path) -> None:
    assert read_info(branches(tmp_path / "m.onnx")).nodes == 3


def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(BundleError, match=r"m\.onnx is no readable ONNX model: .*") as problem:
        load(tmp_path / "m.onnx")
    assert "\n" not in str(problem.value)
