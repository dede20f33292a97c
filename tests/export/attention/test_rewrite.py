"""The pass `attention`: equal answers, and a real TensorRT-RTX build that fuses what it did not fuse before."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from attn_export.attention.blocks import find_blocks
from attn_export.passes import _base as step
from attn_export.passes.attention import Rewritten, rewrite
from attn_export.source.resolve import load_source
from attn_runtime.child_process import ChildProcess
from attn_runtime.trt import library
from attn_runtime.trt.builder.network import build
from attn_runtime.trt.fused_attention import BlockFusion, fusion
from attn_runtime.trt.profiles import Profile
from onnx import TensorProto, helper, numpy_helper
from support.graphs.attention_cells import Cell, graph, profile

BASE = Cell(queries=64, heads=4)
#: what TensorRT does not fuse as it is written
UNFUSED = {
    "values wider than keys": replace(BASE, size=16, value_size=64),
    "keys wider than values": replace(BASE, size=64, value_size=32),
    "a width that no head size divides": replace(BASE, size=24, value_size=100),
    "dynamic batch and length": replace(BASE, size=16, value_size=64, batch=0, queries=0),
    "one head, dynamic": replace(BASE, size=32, value_size=256, batch=0, queries=0, heads=1),
    "no axis of heads": replace(BASE, size=32, value_size=256, batch=0, queries=0, form="3d"),
    "no axis of heads, equal sizes": replace(BASE, queries=0, batch=0, form="3d", scale="after"),
    "no batch": replace(BASE, size=32, value_size=128, form="2d"),
    "as AttentionNet": replace(BASE, size=8, value_size=64, batch=0, form="columns"),
    "as AttentionNet, dynamic": replace(BASE, size=32, value_size=256, batch=0, queries=0, form="columns"),
    "as AttentionNet, unaligned": replace(BASE, size=20, value_size=50, batch=0, queries=0, form="columns"),
    "heads folded into the batch": replace(BASE, size=16, value_size=64, batch=0, form="bmm"),
    "grouped heads": replace(BASE, size=16, value_size=64, kv_heads=2),
    "other keys than queries": replace(BASE, size=16, value_size=64, keys=77),
    "small heads": replace(BASE, size=4),
    "one head at batch 1": replace(BASE, heads=1),
    "one head at batch 1, odd length": replace(BASE, heads=1, queries=63),
    "one head at batch 1, dynamic length": replace(BASE, heads=1, queries=0),
    "columns at batch 1, dynamic length": replace(BASE, size=32, queries=0, form="columns"),
    "mask of the batch": replace(BASE, size=32, value_size=64, batch=0, queries=0, mask="add [B,1,1,S]"),
    "mask of all": replace(BASE, size=32, value_size=64, batch=0, queries=0, mask="add [1,1,S,S]"),
    "mask of rank 3": replace(BASE, size=32, value_size=64, batch=0, queries=0, mask="add [B,S,S]", form="columns"),
    "bool mask": replace(BASE, size=32, value_size=64, batch=0, queries=0, mask="bool where", form="3d"),
    "bool mask as numbers": replace(BASE, size=32, value_size=64, batch=0, mask="bool add"),
    "rows without keys": replace(BASE, size=32, value_size=64, batch=0, mask="bool, empty rows", form="columns"),
    "constant causal mask": replace(BASE, size=32, value_size=64, batch=0, mask="causal constant"),
    "computed causal mask": replace(BASE, size=32, value_size=64, batch=0, queries=0, mask="causal trilu"),
    "scale behind the scores": replace(BASE, size=32, value_size=64, batch=0, scale="divided"),
    "softmax in float32": replace(
        BASE, size=32, value_size=64, batch=0, scale="after", in_float32=frozenset(["softmax"]), form="3d"
    ),
}
#: what it fuses as it is
FUSED = {
    "plain": BASE,
    "dynamic": replace(BASE, batch=0, queries=0),
    "heads folded into the batch": replace(BASE, form="bmm"),
    "one head, dynamic batch": replace(BASE, heads=1, batch=0),
    "no axis of heads, fixed batch": replace(BASE, form="3d", batch=8, projected=True),
    "masked": replace(BASE, mask="add [B,1,1,S]", batch=0),
    "softmax in float32": replace(BASE, in_float32=frozenset(["softmax"])),
}


def feed(model: onnx.ModelProto, batch: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch * 1000 + length)
    fed = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value or {"batch": batch, "T": length}[d.dim_param] for d in tensor.shape.dim]
        if tensor.elem_type == TensorProto.BOOL:
            fed[value.name] = rng.random(shape) < 0.6
        else:
            fed[value.name] = rng.standard_normal(shape).astype(np.float32)
    return fed


def answer(model: onnx.ModelProto, fed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, fed)[0])


def written(model: onnx.ModelProto) -> onnx.ModelProto:
    """As onnx_ir writes it: weights are declared among the values as well."""
    return ir.to_proto(ir.from_proto(model))


def rewritten(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Rewritten]:
    graph = ir.from_proto(model)
    done = rewrite(graph)
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    return after, done


def built(model: onnx.ModelProto, folder: Path, shapes: Profile | None = None) -> tuple[BlockFusion, int]:
    """What became of the model's one block in a real engine, and its scratch memory in bytes."""
    onnx.save(model, folder / "cell.onnx")
    result = build(library.load("rtx"), folder / "cell.onnx", [p for p in [shapes or profile(model)] if p])
    assert result.plan is not None, result.errors
    (found,) = fusion(find_blocks(ir.from_proto(model)), result.layers)
    assert result.scratch is not None
    return found, result.scratch


@pytest.fixture
def rtx() -> None:
    if reason := library.why_unavailable("rtx"):
        pytest.skip(reason)


@pytest.mark.parametrize("name", UNFUSED)
def test_the_answers_stay(name: str) -> None:
    before = graph(replace(UNFUSED[name], dtype="float32", in_float32=frozenset()))
    after, done = rewritten(before)
    assert len(done.changed) == 1
    assert not done.notes
    for batch, length in ((1, 5), (3, 16), (2, 33)):
        fed = feed(before, batch, length)
        was, now = answer(before, fed), answer(after, fed)
        assert was.shape == now.shape
        keys = np.isfinite(was)  # a row without any key is NaN, and stays it
        assert np.array_equal(keys, np.isfinite(now))
        assert np.abs(was[keys] - now[keys]).max() <= 1e-5 * np.abs(was[keys]).max()


def test_a_softmax_whose_axis_is_counted_from_the_front() -> None:
    """The old exporter's: the last axis of three is no longer axis 2."""
    before = graph(replace(UNFUSED["as AttentionNet, dynamic"], dtype="float32"))
    softmax = next(node for node in before.graph.node if node.op_type == "Softmax")
    softmax.attribute[0].i = 2
    after, _ = rewritten(before)
    fed = feed(before, 2, 7)
    assert np.abs(answer(before, fed) - answer(after, fed)).max() < 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", UNFUSED)
def test_unfused_before_and_fused_after(rtx: None, tmp_path: Path, name: str, dtype: str) -> None:
    before = graph(replace(UNFUSED[name], dtype=dtype))
    after, _ = rewritten(before)
    was, scratch_before = built(before, tmp_path)
    now, scratch_after = built(after, tmp_path)
    assert not was.fused
    assert was.why_not
    assert was.cure
    assert now.fused
    assert "mha" in now.kernel
    assert scratch_after < scratch_before


def attentionnet(size: int, half: bool, path: Path) -> onnx.ModelProto:
    """AttentionNet, awake, for images of `size`, a dynamic batch, and all in float16 where `half`."""
    module = load_source("attentionnet").module
    image = torch.zeros(2, 3, size, size)
    if half:
        module, image = module.half(), image.half()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (image,), path, dynamo=False, opset_version=18, input_names=["image"], dynamic_axes={"image": [0]}
        )
    return onnx.load(path)


@pytest.mark.parametrize("size", [32, 64, pytest.param(128, marks=pytest.mark.full)])
def test_attentionnet_fuses_at_every_size_of_image(rtx: None, size: int, tmp_path: Path) -> None:
    before = attentionnet(size, False, tmp_path / "fp32.onnx")
    after, _ = rewritten(before)
    image = np.random.default_rng(size).standard_normal((3, 3, size, size)).astype(np.float32)
    was, now = (answer(m, {"image": image}) for m in (before, after))
    assert np.abs(was - now).max() <= 1e-5 * np.abs(was).max()
    typed = attentionnet(size, True, tmp_path / "fp16.onnx")
    typed_after, done = rewritten(typed)
    assert done.changed == ("attention",)
    shapes = {"image": tuple((n, 3, size, size) for n in (1, 8, 32))}
    (unfused, scratch), (fused, scratch_after) = (
        built(m, tmp_path, shapes)  # type: ignore[arg-type]
        for m in (typed, typed_after)
    )
    assert not unfused.fused
    assert unfused.why_not == "keys have 32 elements, values 256"
    assert fused.fused
    assert scratch_after < scratch


@pytest.mark.parametrize("name", FUSED)
def test_what_fuses_is_left_alone(rtx: None, tmp_path: Path, name: str) -> None:
    before = graph(FUSED[name])
    after, done = rewritten(before)
    assert done == Rewritten((), ())
    assert after == written(before)
    assert built(before, tmp_path)[0].fused


def test_a_rewritten_block_is_left_alone_the_next_time() -> None:
    for cell in UNFUSED.values():
        once, _ = rewritten(graph(cell))
        twice, done = rewritten(once)
        assert done == Rewritten((), ()), cell.title
        assert twice == once


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (replace(BASE, size=320), "a key has 320 elements"),
        (replace(BASE, size=32, value_size=64, mask="add [1,H,S,S]"), "differs from head to head"),
        (replace(BASE, form="einsum", size=32, value_size=64), "written with Einsum"),
        (replace(BASE, heads=1, mask="add [1,1,S,S]"), "one head at a batch of 1, with the mask mask"),
    ],
)
def test_what_has_no_equal_form_is_left_with_the_reason(cell: Cell, says: str) -> None:
    before = graph(cell)
    after, done = rewritten(before)
    assert done.changed == ()
    assert after == written(before)
    assert says in done.notes[0]


def test_keys_that_heads_share_by_broadcasting_are_left() -> None:
    """Repeated as if each head had its own, they would be cut into pieces of other keys."""
    model = graph(replace(BASE, size=32, value_size=64, dtype="float32"))
    for value in model.graph.input:
        if value.name != "q":
            value.type.tensor_type.shape.dim[1].dim_value = 1
    after, done = rewritten(model)
    assert done.changed == ()
    assert after == written(model)
    assert "share keys or values by broadcasting" in done.notes[0]


def test_weights_that_are_an_output_too_keep_the_block_as_it_is() -> None:
    model = graph(replace(BASE, size=32, value_size=64))
    model.graph.output.append(helper.make_tensor_value_info("softmax_out", TensorProto.FLOAT16, None))
    done = rewrite(ir.from_proto(model))
    assert done.changed == ()
    assert "softmax_out is an output of the graph" in done.notes[0]


def test_weights_that_a_body_reads_keep_the_block_as_it_is() -> None:
    model = graph(replace(BASE, size=32, value_size=64))
    sum_ = helper.make_node("ReduceSum", ["softmax_out"], ["sum"], keepdims=0)
    body = helper.make_graph([sum_], "body", [], [helper.make_tensor_value_info("sum", TensorProto.FLOAT16, [])])
    node = helper.make_node("If", ["choose"], ["total"], then_branch=body, else_branch=body)
    model.graph.node.append(node)
    model.graph.input.append(helper.make_tensor_value_info("choose", TensorProto.BOOL, []))
    model.graph.output.append(helper.make_tensor_value_info("total", TensorProto.FLOAT16, []))
    done = rewrite(ir.from_proto(model))
    assert done.changed == ()
    assert "softmax_out is read by ReduceSum" in done.notes[0]


def test_an_old_opset_is_told() -> None:
    model = graph(replace(BASE, size=32, value_size=64))
    model.opset_import[0].version = 12
    assert "opset 13" in rewrite(ir.from_proto(model)).notes[0]


def test_new_nodes_name_the_module_that_they_serve() -> None:
    model = graph(replace(BASE, size=32, value_size=64, batch=0, form="columns", mask="add [B,S,S]"))
    for node in model.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', 'net.attend', '{node.name}']")
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="net.py, line 7")
    model, done = rewritten(model)
    assert done.changed == ("net.attend",)
    for node in model.graph.node:
        assert {p.key for p in node.metadata_props} >= {"pkg.torch.onnx.name_scopes", "pkg.torch.onnx.stack_trace"}, (
            node.name
        )
    (block,) = find_blocks(ir.from_proto(model))
    assert (block.module, block.scores, block.softmax, block.values) == ("net.attend", "scores", "softmax", "values")
    assert (block.heads, block.kv_heads, block.head_size, block.value_size) == (2, 2, 32, 32)


def test_two_blocks_in_one_graph() -> None:
    """Names of new nodes must not collide, and constants may be shared."""
    first, second = (graph(replace(BASE, dtype="float32", size=16, value_size=64, form="columns")) for _ in range(2))
    one, other = (onnx.compose.add_prefix(m, p) for m, p in ((first, "a_"), (second, "b_")))
    inputs = [*one.graph.input, *other.graph.input]
    whole = helper.make_model(
        helper.make_graph(
            [*one.graph.node, *other.graph.node],
            "two",
            inputs,
            [*one.graph.output, *other.graph.output],
            [*one.graph.initializer, *other.graph.initializer],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    after, done = rewritten(whole)
    assert len(done.changed) == 2
    fed = feed(whole, 1, 64)
    assert np.abs(answer(whole, fed) - answer(after, fed)).max() < 1e-5


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


def test_as_a_pass_it_leaves_the_weights_where_they_are(isolated: ChildProcess, tmp_path: Path) -> None:
    model = graph(replace(BASE, dtype="float32", size=16, value_size=64))
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("MatMul", [model.graph.output[0].name, "w"], ["y"], name="linear"))
    model.graph.output[0].name = "y"
    source = tmp_path / "m.onnx"
    onnx.save(model, source, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    data = (tmp_path / "m.onnx.data").read_bytes()
    done = step.run_pass(step.get("attention"), source, tmp_path / "m.0.onnx", isolated)
    assert done.result.path == tmp_path / "m.0.onnx"
    assert done.result.note == "rewrote softmax"
    assert done.after.data_files == ("m.onnx.data",)
    assert (tmp_path / "m.onnx.data").read_bytes() == data
    fed = feed(model, 1, 64)
    sessions = [onnxruntime.InferenceSession(p) for p in (source, done.result.path)]
    was, now = (s.run(None, fed)[0] for s in sessions)
    assert np.abs(was - now).max() <= 1e-5 * np.abs(was).max()


def test_as_a_pass_it_says_that_there_is_nothing_to_do(isolated: ChildProcess, tmp_path: Path) -> None:
    onnx.save(graph(BASE), tmp_path / "m.onnx")
    done = step.run_pass(step.get("attention"), tmp_path / "m.onnx", tmp_path / "m.0.onnx", isolated)
    assert done.result.path == tmp_path / "m.onnx"
    assert done.result.note == "every block can be fused as it is"
    assert not (tmp_path / "m.0.onnx").exists()
