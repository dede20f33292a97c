"""AutoCast as it is used here: what it leaves alone, what is put back, which constants it may not change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.precision.schemes import get
from attn_export.precision.typed import autocast as module
from attn_export.precision.typed.autocast import Cast, clip_casts, read_cast, require_autocast, to_half
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import BackendError, PassError
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(120) as child:
        child.start("attn_export.precision.typed.autocast:warm_up_here")
        yield child


def squares(path: Path, opset: int = 20) -> Path:
    """y = relu((x * x) @ w)."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], name="norm.square"),
        helper.make_node("MatMul", ["square", "w"], ["h"], name="project"),
        helper.make_node("Relu", ["h"], ["y"], name="relu"),
    ]
    for node in nodes:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', 'net.{node.name}', 'op']")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("x", "y")]
    weight = numpy_helper.from_array(np.full((4, 4), 1e-4, np.float32), "w")
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model.metadata_props.add(key="attn_export.source", value="{}")
    onnx.save(model, path)
    return path


def cast(source: Path, target: Path, kind: str, isolated: ChildProcess, **options: Any) -> Cast:
    to_half(source, target, get(kind), isolated, **options)
    return read_cast(target)


def test_a_large_weight_that_layers_share_lies_there_once(isolated: ChildProcess, tmp_path: Path) -> None:
    """And once more in float32 where one of them stays; small ones may have copies."""
    nodes = [
        helper.make_node("MatMul", [f"x{n}" if n else "x", "w"], [f"x{n + 1}"], name=f"layer{n}") for n in range(3)
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 256]) for n in ("x", "x3")]
    weight = numpy_helper.from_array(np.eye(256, dtype=np.float32) * np.float32(1 / 3), "w")
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    for keep, kinds in (((), ["FLOAT16"]), (("layer1",), ["FLOAT", "FLOAT16"])):
        found = cast(tmp_path / "m.onnx", tmp_path / "t.onnx", "fp16", isolated, fp32_nodes=keep)
        typed = onnx.load(found.path)
        assert sorted(TensorProto.DataType.Name(t.data_type) for t in typed.graph.initializer) == kinds
        assert found.in_fp32 == keep
        onnx.checker.check_model(typed, full_check=True)


def test_only_the_nodes_that_are_named_stay(isolated: ChildProcess, tmp_path: Path) -> None:
    source = squares(tmp_path / "m.onnx")
    # A name is neither a pattern nor the beginning of one.
    for keep, found in (
        ((), ()),
        (("relu",), ("relu",)),
        (("norm.square",), ("norm.square",)),
        (("re",), ()),
        ((".*",), ()),
    ):
        assert cast(source, tmp_path / "t.onnx", "fp16", isolated, fp32_nodes=keep).in_fp32 == found


@pytest.mark.parametrize(
    ("kind", "element", "opset"), [("fp16", TensorProto.FLOAT16, 20), ("bf16", TensorProto.BFLOAT16, 22)]
)
def test_names_module_paths_and_properties_stay(
    isolated: ChildProcess, tmp_path: Path, kind: str, element: int, opset: int
) -> None:
    source = squares(tmp_path / "m.onnx")
    to_half(source, tmp_path / "t.onnx", get(kind), isolated, fp32_nodes=["project"])
    typed = onnx.load(tmp_path / "t.onnx")
    onnx.checker.check_model(typed, full_check=True)
    assert typed.opset_import[0].version == opset
    told = {n.name: n.metadata_props[0].value for n in typed.graph.node}
    assert told["norm.square"] == "['', 'net.norm.square', 'op']"
    assert told["project"] == "['', 'net.project', 'op']"
    casts = {n.output[0]: n for n in typed.graph.node if n.op_type == "Cast"}
    # Of the value that is cast; at the graph's input, of the node that reads it.
    assert told[casts["square_cast_to_fp32"].name] == "['', 'net.norm.square', 'op']"
    assert told[casts[f"x_cast_to_{kind}"].name] == "['', 'net.norm.square', 'op']"
    assert [p.key for p in typed.metadata_props] == ["attn_export.source"]
    assert [v.type.tensor_type.elem_type for v in (*typed.graph.input, *typed.graph.output)] == [TensorProto.FLOAT] * 2
    assert element in [n.attribute[0].i for n in casts.values()]


def test_half_at_the_border(isolated: ChildProcess, tmp_path: Path) -> None:
    to_half(squares(tmp_path / "m.onnx"), tmp_path / "t.onnx", get("fp16"), isolated, half_io=True)
    graph = onnx.load(tmp_path / "t.onnx").graph
    assert [v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)] == [TensorProto.FLOAT16] * 2
    assert [n.op_type for n in graph.node] == ["Mul", "MatMul", "Relu"]


def test_a_number_that_stands_for_infinity_is_clipped_before_the_cast(isolated: ChildProcess, tmp_path: Path) -> None:
    import onnxruntime
    from attn_export.precision.typed.emulation import emulate

    source = squares(tmp_path / "m.onnx")
    x = np.full((1, 4), -3.4e38, np.float32)
    for saturate, largest in (([], np.inf), (["x"], 65504.0)):
        to_half(source, tmp_path / "t.onnx", get("fp16"), isolated, saturate=saturate)
        typed = onnx.load(tmp_path / "t.onnx")
        clips = [n for n in typed.graph.node if n.op_type == "Clip"]
        assert len(clips) == len(saturate)
        typed.graph.output.append(onnx.ValueInfoProto(name="x_cast_to_fp16"))
        typed.graph.output[-1].type.tensor_type.elem_type = TensorProto.FLOAT16
        session = onnxruntime.InferenceSession(emulate(typed).SerializeToString())
        _, entered = session.run(None, {"x": x})
        assert float(np.abs(entered).max()) == largest
    assert read_cast(tmp_path / "t.onnx").in_fp32 == ("x_clipped_to_fp16",)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_infinite_constants_stay_infinite_and_finite_ones_finite(
    isolated: ChildProcess, tmp_path: Path, kind: str
) -> None:
    """A constant of a guard (mask > -inf), and those of masks, which meet 0."""
    least = float(np.finfo(np.float32).min)
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 22]> g (float[n, 2] x) => (float[n, 2] y) {{
        c = Constant<value = float {{{least}}}>()  a = Add(x, w)  b = Add(a, w)  d = Add(b, c)  y = Relu(d) }}"""
    )
    for node in model.graph.node:
        node.name = node.output[0]
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([-np.inf, least], np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx")
    cast(tmp_path / "m.onnx", tmp_path / "t.onnx", kind, isolated)
    typed = onnx.load(tmp_path / "t.onnx").graph
    weights = [numpy_helper.to_array(t).astype(np.float32) for t in typed.initializer if t.dims]
    # AutoCast copies a weight that two nodes read.
    assert len(weights) == 2 and all(np.array_equal(w, [-np.inf, -get(kind).max_finite]) for w in weights)
    (constant,) = [n.attribute[0].t for n in typed.node if n.op_type == "Constant"]
    assert float(numpy_helper.to_array(constant).astype(np.float32)) == -np.float32(get(kind).max_finite)


def test_clipping_touches_the_named_casts_alone() -> None:
    nodes = [
        helper.make_node("Cast", ["a"], ["ah"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["b"], ["bh"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["a"], ["ai"], to=TensorProto.INT64),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    clip_casts(model, frozenset({"a"}), "fp16", TensorProto.FLOAT16, 65504.0)
    assert [(n.op_type, n.input[0]) for n in model.graph.node] == [
        ("Clip", "a"), ("Cast", "a_clipped_to_fp16"), ("Cast", "b"), ("Cast", "a"),
    ]  # fmt: skip
    bounds = [float(numpy_helper.to_array(t)) for t in model.graph.initializer]
    assert bounds == [-65504.0, 65504.0]


def test_large_weights_go_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXTERNAL_FROM_BYTES", 16)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 64]) for n in ("x", "y")]
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:], [weight]),
        opset_imports=[helper.make_opsetid("", 20)], ir_version=10,
    )  # fmt: skip
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    arguments: dict[str, Any] = {
        "type": "fp16", "onnx_type": TensorProto.FLOAT16, "max_finite": 65504.0, "fp32_nodes": [],
        "saturate": [], "half_io": False,
    }  # fmt: skip
    module.convert_here(str(tmp_path / "m.onnx"), str(tmp_path / "t.onnx"), **arguments)
    assert (tmp_path / "t.onnx.data").stat().st_size == 64 * 64 * 2
    assert onnx.load(tmp_path / "t.onnx").graph.initializer[0].data_type == TensorProto.FLOAT16


def test_what_autocast_can_not_convert_is_said_in_one_line(isolated: ChildProcess, tmp_path: Path) -> None:
    model = onnx.load(squares(tmp_path / "m.onnx"))
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(PassError, match=r"AutoCast can't convert bad\.onnx to fp16: ") as refused:
        to_half(tmp_path / "bad.onnx", tmp_path / "t.onnx", get("fp16"), isolated)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "t.onnx").exists()


def test_without_modelopt_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    require_autocast()
    monkeypatch.setattr(module, "_NEEDED", ("modelopt", "a_module_that_nobody_has"))
    with pytest.raises(
        BackendError, match="a_module_that_nobody_has not installed; pip install nvidia-modelopt onnx-graphsurgeon"
    ):
        require_autocast()
