"""The pass is judged by what it gives, and so are its tests: on graphs where onnxsim helps, and where it does harm."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.isolate import Isolated
from attn_export.onnx_graph import onnx_file as graph_module
from attn_export.onnx_graph.onnx_file import read_info
from attn_export.passes import _base as step
from attn_export.passes._base import PassResult
from attn_runtime.errors import PassError, UsageError
from onnx import TensorProto, helper, numpy_helper

SHAPE = [2, 4, 4]


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    with Isolated(60) as child:
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


def test_what_can_be_folded_is_and_the_answers_stay(isolated: Isolated, tmp_path: Path) -> None:
    import onnxruntime

    source = foldable(tmp_path / "m.onnx")
    done = step.run_pass(step.get("simplify"), source, tmp_path / "m.0.onnx", isolated)
    assert done.before.nodes == 4
    assert done.after.nodes == 2
    assert done.outcome.path == tmp_path / "m.0.onnx"
    x = np.random.default_rng(1).standard_normal((3, 4, 4)).astype(np.float32)
    old, new = (onnxruntime.InferenceSession(p).run(None, {"x": x})[0] for p in (source, done.outcome.path))
    assert np.array_equal(old, new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.0.onnx", "m.onnx"]


def test_nodes_keep_the_module_path_that_onnxsim_drops(isolated: Isolated, tmp_path: Path) -> None:
    done = step.run_pass(step.get("simplify"), foldable(tmp_path / "m.onnx"), tmp_path / "m.0.onnx", isolated)
    model = onnx.load(done.outcome.path)
    matmul = next(n for n in model.graph.node if n.op_type == "MatMul")
    assert [(p.key, p.value) for p in matmul.metadata_props] == [("namespace", "net.attention")]
    assert not [p for p in model.metadata_props if p.key.startswith("onnxsim")]


def test_a_graph_that_would_grow_is_kept_as_it_was(isolated: Isolated, tmp_path: Path) -> None:
    # onnxsim's optimizer turns a matmul with bias on rank 3 into Reshape, Gemm, Reshape; there is nothing to fold.
    one = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    source = save(tmp_path / "m.onnx", nodes, {"w": one, "b": one[0]}, "y")
    before = source.read_bytes()
    done = step.run_pass(step.get("simplify"), source, tmp_path / "m.0.onnx", isolated)
    assert done.outcome.path == source
    assert "kept the graph as captured" in done.outcome.note
    assert source.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_external_weights_stay_where_they_are(isolated: Isolated, tmp_path: Path) -> None:
    import onnxruntime

    source = foldable(tmp_path / "m.onnx", external=True)
    data = (tmp_path / "m.onnx.data").read_bytes()
    done = step.run_pass(step.get("simplify"), source, tmp_path / "m.0.onnx", isolated)
    assert done.after.nodes < done.before.nodes
    assert done.after.data_files == ("m.onnx.data",)
    assert (tmp_path / "m.onnx.data").read_bytes() == data
    x = np.ones((2, 4, 4), np.float32)
    old, new = (onnxruntime.InferenceSession(p).run(None, {"x": x})[0] for p in (source, done.outcome.path))
    assert np.array_equal(old, new)


class Spoils:
    """A pass that breaks whatever `broken` says."""

    name = "spoils"
    summary = "for tests"

    def __init__(self, broken: str) -> None:
        self.broken = broken

    def requires(self, before: graph_module.GraphInfo) -> str:
        return "it wants more nodes" if self.broken == "requires" else ""

    def run(self, source: Path, target: Path, isolated: Isolated) -> PassResult:
        model = onnx.load(source)
        if self.broken == "name":
            model.graph.node[-1].output[0] = model.graph.output[0].name = "other"
        if self.broken == "axis":
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
        if self.broken == "dtype":
            model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        onnx.save(model, target)
        return PassResult(target)

    def ensures(self, before: graph_module.GraphInfo, after: graph_module.GraphInfo) -> str:
        return "it promised less" if self.broken == "ensures" else ""


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("requires", "can't run: it wants more nodes"),
        ("name", "outputs were y and are other"),
        ("axis", "x: axis 0 was batch and is fixed at 7"),
        ("dtype", "x was float32"),
        ("ensures", "it promised less"),
    ],
)
def test_a_pass_that_breaks_its_contract_is_named(isolated: Isolated, tmp_path: Path, broken: str, says: str) -> None:
    with pytest.raises(PassError) as told:
        step.run_pass(Spoils(broken), foldable(tmp_path / "m.onnx"), tmp_path / "m.0.onnx", isolated)
    assert 'pass "spoils"' in str(told.value)
    assert says in str(told.value)


def test_simplify_promises_opset_and_size(tmp_path: Path) -> None:
    from dataclasses import replace

    before = read_info(foldable(tmp_path / "m.onnx"))
    simplify = step.get("simplify")
    assert simplify.ensures(before, before) == ""
    assert "opset was 18 and is 21" in simplify.ensures(before, replace(before, opset=21))
    assert "grew from 4 to 5" in simplify.ensures(before, replace(before, nodes=5))


def test_a_misspelt_pass_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean simplify?"):
        step.get("simplfy")


def test_facts_count_the_bodies_of_branches(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"])], "b", [], [helper.make_tensor_value_info("r", 1, None)]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    value = [helper.make_tensor_value_info("x", 1, [2]), helper.make_tensor_value_info("c", 9, [])]
    model = helper.make_model(helper.make_graph([node], "g", value, [helper.make_tensor_value_info("y", 1, [2])]))
    onnx.save(model, tmp_path / "m.onnx")
    assert read_info(tmp_path / "m.onnx").nodes == 3
