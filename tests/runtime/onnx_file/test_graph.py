"""The reader of nodes says what onnx says, and a broken or hostile file is an error of one line."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from attn_runtime.errors import BundleError
from attn_runtime.onnx_file import graph as onnx_nodes
from attn_runtime.onnx_file.graph import METADATA_KEY, read_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from support.tensorrt import quantised_graphs
from support.tensorrt import trt_graphs as graphs


def bodies(file: Path) -> Path:
    """An If with a MatMul in one branch and an Add in the other, and a model-local function."""
    x, y = graphs.info("x", 1, 4, 4), graphs.info("y", 1, 4, 4)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"], name="in_then")
    add = helper.make_node("Add", ["x", "w"], ["y"], name="in_else")
    branches = {
        "then_branch": helper.make_graph([matmul], "then", [], [y]),
        "else_branch": helper.make_graph([add], "else", [], [y]),
    }
    nodes = [
        helper.make_node("If", ["c"], ["i"], name="choice", **branches),
        helper.make_node("Twice", ["i"], ["y"], name="call", domain="local"),
    ]
    inside = helper.make_node("Add", ["p", "p"], ["q"], name="inside")
    twice = helper.make_function("local", "Twice", ["p"], ["q"], [inside], [helper.make_opsetid("", 20)])
    graph = helper.make_graph(nodes, "g", [x, graphs.info("c", TensorProto.BOOL)], [y], [graphs.weight("w", 4, 4)])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, functions=[twice], ir_version=10), file)
    return file


def test_nodes_are_those_that_onnx_reads(tmp_path: Path) -> None:
    file = graphs.attention(tmp_path / "m.onnx", is_causal=1, scale=0.25, mask=TensorProto.BOOL)
    wanted = onnx.load(file).graph
    found = read_graph(file, "test")
    assert [(n.name, n.op_type, n.inputs, n.outputs) for n in found.nodes] == [
        (n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in wanted.node
    ]
    assert found.nodes[0].attributes == {"is_causal": 1, "scale": pytest.approx(0.25)}
    assert found.inputs == ("q", "k", "v", "mask") and found.outputs == ("y",)
    assert found.values["q"] == onnx_nodes.Value("float16", (2, 4, 64, 64)) and found.values["mask"].dtype == "bool"
    assert found.opset == 23


def test_weights_have_their_sizes_and_types_that_numpy_has_not(tmp_path: Path) -> None:
    """onnx writes sizes one field each; protobuf allows a list of them in one, of the same length here."""
    file = quantised_graphs.of_weights(tmp_path / "m.onnx", TensorProto.INT4, block=32)
    single = file.read_bytes()
    packed = single.replace(b"\x08\x40\x08\x20\x10\x16", b"\x0a\x02\x40\x20\x10\x16")
    assert packed != single
    for data in (single, packed):
        file.write_bytes(data)
        values = read_graph(file, "test").values
        assert values["w"] == onnx_nodes.Value("int4", (64, 32)) and values["w_scale"].dims == (2, 32)
    of_fp8 = read_graph(quantised_graphs.of_weights(tmp_path / "f.onnx", TensorProto.FLOAT8E4M3FN), "test")
    assert of_fp8.values["w"].dtype == "float8_e4m3fn" and of_fp8.values["w_scale"].dims == (32,)


def test_a_node_tells_its_module_and_the_users_own_line(tmp_path: Path) -> None:
    node = read_graph(graphs.attention(tmp_path / "m.onnx"), "test").nodes[0]
    assert (node.module, node.source) == ("encoder.attn", "/src/net.py:34")


@pytest.mark.parametrize(
    ("name", "module"),
    [("/net/net.0/MatMul", "net.0"), ("/encoder/layers.1/attn/MatMul", "encoder.layers.1.attn"), ("/MatMul", ""), ("plain", "")],
)  # fmt: skip
def test_torchscript_keeps_modules_in_names(name: str, module: str, tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name=name)
    file = graphs.save(tmp_path / "m.onnx", [node], [graphs.info("x", 1, 4)], [graphs.info("y", 1, 4)])
    assert read_graph(file, "test").nodes[0].module == module


def test_bodies_and_functions_are_read_too_and_weights_are_no_inputs(tmp_path: Path) -> None:
    found = read_graph(bodies(tmp_path / "m.onnx"), "test")
    assert {n.name for n in found.nodes} == {"choice", "call", "in_then", "in_else", "inside"}
    assert found.inputs == ("x", "c") and found.weights == {"w"} and found.values["w"].dtype == "float32"


def test_a_node_without_a_name_is_called_as_tensorrt_calls_it(tmp_path: Path) -> None:
    file = graphs.save(
        tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [graphs.info("x", 1, "n")], [graphs.info("y", 1, "n")]
    )  # fmt: skip
    found = read_graph(file, "test")
    assert found.nodes[0].name == "node_of_y" and found.values["x"].dims == ("n",)


def test_the_metadata_text_that_the_file_carries(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx")
    model = onnx.load(file)
    assert read_graph(file, "test").embedded == ""
    helper.set_model_props(model, {"other": "1", METADATA_KEY: "what an export knows"})
    onnx.save(model, file)
    assert read_graph(file, "test").embedded == "what an export knows"


def test_every_cut_of_a_file_is_an_error_where_protobuf_has_one(tmp_path: Path) -> None:
    whole = bodies(tmp_path / "m.onnx").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        try:
            sound = onnx.ModelProto.FromString(whole[:length]).HasField("graph")
        except Exception:
            sound = False
        try:
            read_graph(tmp_path / "cut.onnx", "test")
            assert sound, length
        except BundleError as error:
            assert not sound, length
            assert "\n" not in str(error) and str(error).startswith("test")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_flipped_byte_is_a_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "fuzz.onnx").exists():
        bodies(folder / "fuzz.onnx")
    whole = bytearray((folder / "fuzz.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "flipped.onnx").write_bytes(whole)
    try:
        read_graph(folder / "flipped.onnx", "test")
    except BundleError as error:
        assert "\n" not in str(error)


def test_deep_nesting_is_read_without_recursion(tmp_path: Path) -> None:
    def sized(field: int, inner: bytes) -> bytes:
        size, length = b"", len(inner)
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        return bytes([field << 3 | 2]) + size + bytes([length]) + inner

    graph = sized(1, sized(4, b"Relu"))
    for _ in range(5000):  # a graph holds a node that holds an attribute that holds a graph
        graph = sized(1, sized(4, b"If") + sized(5, sized(6, graph)))
    (tmp_path / "deep.onnx").write_bytes(sized(7, graph))
    assert len(read_graph(tmp_path / "deep.onnx", "test").nodes) == 5001


def test_what_would_exhaust_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="n" * 70_000)
    file = graphs.save(tmp_path / "m.onnx", [node], [graphs.info("x", 1, 4)], [graphs.info("y", 1, 4)])
    with pytest.raises(BundleError, match="a name of 70000 bytes"):
        read_graph(file, "test")
    monkeypatch.setattr(onnx_nodes, "_MOST_NODES", 20)
    with pytest.raises(BundleError, match="more than 20 nodes"):
        read_graph(graphs.slow(tmp_path / "many.onnx", 30), "test")
