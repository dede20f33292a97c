"""Fused or not, told from layer lists: real builds, and lines as builds printed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from attn_runtime.bundle.attention_block import AttentionBlock
from attn_runtime.trt import library
from attn_runtime.trt.fused_attention import UNKNOWN, BlockFusion, fusion
from attn_runtime.trt.layers import Layer, layers_in


def line(name: str, kind: str, tactic: str, *nodes: str) -> str:
    """A line of the list as TensorRT-RTX 1.7.1.116 prints it, with one input and one output."""
    tensor = "{ Name: t, Location: Device, Dimensions: [4,64,32], Format/Datatype: Half }"
    metadata = "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {tensor}], Outputs: [ {tensor}], "
        f"TacticName: {tactic}, StreamId: 0, Metadata: {metadata}"
    )


FUSED_LOG = "\n".join(
    [
        "Layers:",
        line("__myl_Tran_myl0_1", "kgen", "__myl_Tran_0x4ab5", "transpose_1"),
        line("_gemm_mha_v2_myl0_4", "kgen", "_gemm_mha_v2_0x660f", "values", "softmax", "scores"),
    ]
)
APART_LOG = "\n".join(
    [
        "Layers:",
        line("scores_myl0_18", "gemm", "__myelin_CASK_STUB", "scores"),
        line("__myl_MaxrSubExpSumDiv_myl0_19", "kgen", "__myl_MaxrSubExpSumDiv_0x1aac", "softmax"),
        line("values_myl0_24", "gemm", "__myelin_CASK_STUB", "values"),
    ]
)

BLOCK = AttentionBlock(
    "net.attend", "scores", "softmax", "values", "MatMul", "float16", 4, 4, 32, 32, "64", "64", "none"
)


def one(block: AttentionBlock, layers: tuple[Layer, ...]) -> BlockFusion:
    (found,) = fusion([block], layers)
    return found


def layers(log: str) -> tuple[Layer, ...]:
    found = layers_in(["something else", log])
    assert len(found) == log.count("LayerType")
    return found


def test_one_kernel_with_all_three_nodes_is_fused() -> None:
    found = one(BLOCK, layers(FUSED_LOG))
    assert found == BlockFusion(BLOCK, True, "_gemm_mha_v2_0x660f", "", "")


def test_three_kernels_are_not() -> None:
    found = one(BLOCK, layers(APART_LOG))
    assert not found.fused
    assert found.kernel == ""
    assert found.why_not == UNKNOWN  # nothing in this block explains it, and nothing is invented


@pytest.mark.parametrize("node", ["scores", "softmax", "values"])
def test_a_node_that_runs_elsewhere_is_not_fused(node: str) -> None:
    """A kernel of attention with a part of the block, the rest in a kernel of its own."""
    kernel, *rest = reversed(layers(FUSED_LOG))
    partial = replace(kernel, nodes=tuple(n for n in kernel.nodes if n != node))
    alone = replace(rest[0], nodes=(node,))
    assert not one(BLOCK, (alone, partial)).fused


def test_a_node_that_was_folded_away_does_not_hide_the_kernel() -> None:
    kernel = layers(FUSED_LOG)[1]
    assert one(BLOCK, (replace(kernel, nodes=("softmax", "values")),)).fused
    # One node alone proves nothing.
    assert not one(BLOCK, (replace(kernel, nodes=("values",)),)).fused


def test_names_prove_nothing() -> None:
    """torch calls a plain matmul node_scaled_dot_product_attention; a kernel of its name is no fused attention."""
    named = replace(BLOCK, values="node_scaled_dot_product_attention")
    log = APART_LOG.replace("ONNX Layer: values", "ONNX Layer: node_scaled_dot_product_attention")
    log = log.replace("Name: values_myl0_24", "Name: node_scaled_dot_product_attention_mha_myl0_24")
    assert not one(named, layers(log)).fused


def test_a_whole_graph_in_one_layer_proves_nothing() -> None:
    """The enterprise library lists a region of many nodes as one layer, fused attention or not."""
    region = replace(layers(APART_LOG)[0], name="{ForeignNode[scores...values]}", type="Myelin", tactic="0x0")
    assert not one(BLOCK, (replace(region, nodes=("scores", "softmax", "values")),)).fused


def test_another_blocks_kernel_is_not_this_ones() -> None:
    other = replace(BLOCK, scores="scores_2", softmax="softmax_2", values="values_2")
    assert [f.fused for f in fusion([BLOCK, other], layers(FUSED_LOG))] == [True, False]
    assert "none of its nodes" in one(other, layers(FUSED_LOG)).why_not


FLOAT_LOG = APART_LOG.replace("Half", "Float")


@pytest.mark.parametrize(
    ("block", "log", "why", "cure"),
    [
        (replace(BLOCK, dtype="float32"), FLOAT_LOG, "computes in float32", "--fp16"),
        (replace(BLOCK, dtype="float32"), APART_LOG, "scores computes in float32", "--bf16"),
        (replace(BLOCK, value_size=256), APART_LOG, "keys have 32 elements, values 256", "pass attention"),
        (replace(BLOCK, head_size=8, value_size=8), APART_LOG, "8 elements; 9 to 256", "pass attention"),
        (replace(BLOCK, head_size=320, value_size=320), APART_LOG, "320 elements; 9 to 256", "smaller heads"),
        (replace(BLOCK, heads=1, kv_heads=1), APART_LOG, "one head", "a second head"),
        (replace(BLOCK, query_length="1", key_length="1"), APART_LOG, "one query and one key", "none is needed"),
        (replace(BLOCK, query_length="1", joined=True), APART_LOG, "cache and of the new token", "a copy of the cache"),
        (replace(BLOCK, operator="Attention", value_size=64), APART_LOG, "values 64", "opset 22"),
        (replace(BLOCK, operator="Attention"), APART_LOG, UNKNOWN, "opset 22"),
        (BLOCK, "", "no list of layers", "build again"),
    ],
)
def test_why_not_and_what_would_help(block: AttentionBlock, log: str, why: str, cure: str) -> None:
    found = one(block, layers(log) if log else ())
    assert not found.fused
    assert why in found.why_not
    assert cure in found.cure


def test_json_brings_it_back() -> None:
    found = one(replace(BLOCK, value_size=None, heads=None), layers(APART_LOG))
    assert BlockFusion.from_json(found.to_json()) == found


# (cell of the survey, fused, what is said of it)
REAL = [
    ({}, True, ""),
    ({"dtype": "bfloat16"}, True, ""),
    ({"batch": 0, "queries": 0}, True, ""),
    ({"mask": "bool where"}, True, ""),
    ({"mask": "bool, empty rows"}, True, ""),
    ({"queries": 1, "keys": 64}, True, ""),
    ({"in_float32": frozenset(["softmax"]), "mask": "add [1,1,S,S]"}, True, ""),
    ({"form": "bmm"}, True, ""),
    ({"form": "Attention"}, True, ""),
    ({"form": "MultiHeadAttention"}, True, ""),
    ({"dtype": "float32"}, False, "computes in float32"),
    ({"in_float32": frozenset(["softmax", "values"])}, False, "values computes in float32"),
    ({"in_float32": frozenset(["scores"])}, False, "scores computes in float32"),
    ({"size": 16, "value_size": 32}, False, "keys have 16 elements, values 32"),
    ({"size": 8}, False, "a head has 8 elements"),
    ({"size": 320}, False, "a head has 320 elements"),
    ({"heads": 1}, False, "one head"),
    ({"form": "MultiHeadAttention", "dtype": "float32"}, False, "computes in float32"),
]


@pytest.mark.parametrize(("fields", "fused", "says"), REAL)
def test_real_builds(fields: dict[str, object], fused: bool, says: str, tmp_path: Path) -> None:
    """What the library itself made, by the words that the survey uses."""
    if reason := library.why_unavailable("rtx"):
        pytest.skip(reason)
    attention = pytest.importorskip("attn_export.attention.blocks")
    onnx, onnx_ir = pytest.importorskip("onnx"), pytest.importorskip("onnx_ir")
    from attn_runtime.trt.builder.network import build
    from support.graphs.attention_cells import Cell, graph, profile

    model = graph(Cell(**{"heads": 4, "queries": 64, **fields}))  # type: ignore[arg-type]
    onnx.save(model, tmp_path / "m.onnx")
    built = build(library.load("rtx"), tmp_path / "m.onnx", [p for p in [profile(model)] if p])
    assert built.plan is not None, built.errors
    (block,) = attention.find_blocks(onnx_ir.from_proto(model))
    found = one(block, built.layers)
    assert found.fused is fused
    assert says in found.why_not
    assert bool(found.kernel) is fused
    assert bool(found.cure) is not fused
