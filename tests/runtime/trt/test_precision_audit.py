"""In which type an engine multiplies: real builds by TensorRT-RTX, and the layer lists that the other library prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import PrecisionError
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from attn_runtime.trt.layers import Layer, LayerTensor, layers_in
from attn_runtime.trt.precision_audit import Audit, Quantised, audit
from attn_runtime.trt.profiles import Shape
from support.tensorrt import trt_graphs as graphs

rtx = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))


def built(file: Path, **shapes: Shape) -> network.Built:
    """Of a batch of 1 to 4."""
    profile = {name: ((1, *rest), (2, *rest), (4, *rest)) for name, rest in shapes.items()}
    made = network.build(library.load("rtx"), file, [profile])
    assert made.plan is not None, made.errors
    return made


@rtx
@pytest.mark.parametrize(
    ("dtype", "kind", "counts"), [(np.float32, "fp32", {"float32": 1}), (np.float16, "fp16", {"float16": 1})]
)
def test_a_graph_of_one_type(dtype: type[np.generic], kind: str, counts: dict[str, int], tmp_path: Path) -> None:
    made = built(graphs.matmul(tmp_path / "m.onnx", dtype), x=(64,))
    assert made.products == {"product": next(iter(counts))}
    (layer,) = [layer for layer in made.layers if "product" in layer.nodes]
    assert [(t.dims, t.dtype) for t in layer.inputs + layer.outputs] == [
        ((-1, n), next(iter(counts))) for n in (64, 32)
    ]
    assert (64, 32) in [t.dims for t in layer.constants] and layer.tactic
    found = audit(made.layers, made.products, kind)
    found.require()
    assert found.counts == counts and found.layers == len(made.layers) and not found.offenders
    other = audit(made.layers, made.products, "fp16" if kind == "fp32" else "fp32")
    with pytest.raises(PrecisionError):
        other.require()


@rtx
def test_fp32_in_the_place_of_fp16_is_exit_code_5_with_the_list(tmp_path: Path) -> None:
    made = built(graphs.matmul(tmp_path / "m.onnx"), x=(64,))
    with pytest.raises(
        PrecisionError, match=r"asked for fp16, and of 1 layers .* runs 1 in float32; .*to-trt --fp16"
    ) as caught:
        audit(made.layers, made.products, "fp16").require()
    assert caught.value.exit_code == 5
    head, line = caught.value.details.splitlines()
    assert head.split()[:3] == ["layer", "kind", "type"] and line.split()[-2:] == ["float32", "product"]


@rtx
def test_what_is_kept_on_purpose_passes_and_is_counted(tmp_path: Path) -> None:
    made = built(graphs.mixed(tmp_path / "m.onnx"), x=(64,))
    assert made.products == {"narrow": "float16", "wide": "float32"}
    strict = audit(made.layers, made.products, "fp16")
    assert [layer.nodes for layer in strict.offenders if "wide" in layer.nodes] and len(strict.offenders) == 1
    kept = audit(made.layers, made.products, "fp16", ["wide"])
    kept.require()
    assert kept.counts == {"float16": 1, "float32": 1} and len(kept.kept) == 1
    assert str(kept).endswith("1 matmul/conv in float16, 1 in float32 (1 kept on purpose)")
    with pytest.raises(PrecisionError):
        audit(made.layers, made.products, "fp16", ["narrow"]).require()


@rtx
def test_a_fused_kernel_counts_in_the_type_that_it_multiplies_in(tmp_path: Path) -> None:
    made = built(graphs.written_out(tmp_path / "m.onnx"), q=(4, 64, 64), k=(4, 64, 64), v=(4, 64, 64))
    assert any("mha" in layer.tactic for layer in made.layers)
    found = audit(made.layers, made.products, "fp16")
    found.require()
    assert found.counts == {"float16": 1}


@rtx
def test_an_attention_operator_alone_is_audited(tmp_path: Path) -> None:
    """Its kernel bears the operator's name, which the network tells elsewhere than of other layers."""
    made = network.build(library.load("rtx"), graphs.attention(tmp_path / "m.onnx"), [{}])
    assert made.products == {"attn": "float16"}
    found = audit(made.layers, made.products, "fp16")
    found.require()
    assert found.counts == {"float16": 1}


def tensor(dtype: str, *dims: int) -> LayerTensor:
    return LayerTensor("t", dims, dtype)


def test_without_a_layer_list_nothing_passes_for_audited() -> None:
    found = audit((), {"product": "float16"}, "fp16")
    with pytest.raises(PrecisionError, match="the engine can't be audited: the build gave no list of layers"):
        found.require()
    audit((), {"product": "float32"}, "fp32").require()
    foreign = (Layer("x", "kgen", "", (tensor("float16", 4, 4),), (), ("relu",)),)
    with pytest.raises(PrecisionError, match="none of the graph's 1 matmuls and convolutions"):
        audit(foreign, {"product": "float16"}, "fp16").require()


def test_a_graph_without_products_has_nothing_to_offend() -> None:
    audit((Layer("x", "kgen", "", (tensor("float32", 4, 4),), (), ("relu",)),), {}, "fp16").require()


def test_a_layer_that_only_moves_data_for_a_product_is_not_one() -> None:
    moves = Layer("pad", "kgen", "", (tensor("float32", 1, 3, 8, 8),), (tensor("float32", 1, 4, 8, 8),), ("conv",))
    works = Layer(
        "conv", "correlation", "", (tensor("float16", 1, 4, 8, 8),), (tensor("float16", 1, 4, 8, 8),), ("conv",)
    )
    found = audit((moves, works), {"conv": "float16"}, "fp16")
    assert found.counts == {"float16": 1} and not found.offenders


def test_a_kernel_with_a_cast_inside_is_judged_by_the_network() -> None:
    layer = Layer("fc", "runtime_fusion", "", (tensor("float16", 4, 8),), (tensor("float32", 4, 8),), ("product",))
    assert audit((layer,), {"product": "float16"}, "fp16").counts == {"float16": 1}
    assert audit((layer,), {"product": "float32"}, "fp16").offenders
    assert audit((layer,), {}, "fp16").counts == {}  # no node of it multiplies


def test_a_product_that_no_layer_names_is_judged_by_the_network() -> None:
    layer = Layer("g", "gemm", "", (tensor("float16", 4, 8),), (), ("one",))
    products = {"one": "float16", "two": "float32", "three": "float16"}
    assert [o.nodes for o in audit((layer,), products, "fp16").offenders] == [("two",)]
    assert not audit((layer,), products, "fp16", ["two"]).offenders


def test_single_numbers_do_not_decide_and_lower_precisions_pass() -> None:
    inputs = (tensor("float16", 4, 8),)
    scaled = Layer("g", "gemm", "", inputs, inputs, ("product",), (tensor("float32", 1), tensor("float32", 1, 1)))
    assert audit((scaled,), {"product": "float16"}, "fp16").counts == {"float16": 1}
    unnamed = Layer("__mye1", "gemm", "", inputs, inputs, (), (tensor("float32", 1),))
    assert audit((unnamed,), {}, "fp16").counts == {"float16": 1}
    quantized = Layer("g", "gemm", "", (tensor("int8", 4, 8),), (tensor("float16", 4, 8),), ("product",))
    found = audit((quantized,), {"product": "int8"}, "fp16")
    found.require()
    assert found.counts == {"int8": 1}


def enterprise_line(kind: str, name: str, dtypes: tuple[str, str], tactic: str, nodes: str) -> str:
    """A layer as the enterprise library's log has it."""
    source, target = (
        f"{{ Name: {tensor}, Location: Device, Dimensions: [-1,512], Format/Datatype: {dtype} }}"
        for tensor, dtype in zip(("x", "y"), dtypes, strict=True)
    )
    return (
        f"Layer({kind}): Name: {name}, LayerType: {kind}, Inputs: [ {source}], Outputs: [ {target}], ParameterType: "
        f"Any, Kernel: [3,3], {tactic}, StreamId: 0, Metadata: {nodes}"
    )


ENTERPRISE = "\n".join(
    [
        "Engine Layer Information:",
        enterprise_line(
            "CaskConvolution", "conv1 + relu1", ("Half", "Half"), "TacticName: sm80_xmma_fprop, TacticValue: 0x1",
            "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
        ),
        enterprise_line(
            "CaskGemmMatrixMultiply", "fc", ("Float", "Float"), "TacticName: sm80_gemm, TacticValue: 0x2", "[ONNX Layer: fc]"
        ),
        enterprise_line("Reformat", "Reformatting CopyNode", ("Float", "Half"), "TacticValue: 0x0", ""),
    ]
)  # fmt: skip


def test_the_other_librarys_layer_names() -> None:
    layers = layers_in([ENTERPRISE])
    assert [(layer.type, layer.tactic) for layer in layers] == [
        ("CaskConvolution", "sm80_xmma_fprop"), ("CaskGemmMatrixMultiply", "sm80_gemm"), ("Reformat", "0x0"),
    ]  # fmt: skip
    found = audit(layers, {"conv1": "float16", "fc": "float32"}, "fp16")
    assert found.counts == {"float16": 1, "float32": 1} and [o.name for o in found.offenders] == ["fc"]


def test_an_audit_reads_as_it_was_written() -> None:
    found = audit(layers_in([ENTERPRISE]), {"conv1": "float16", "fc": "float32"}, "fp16", ["conv1"])
    assert Audit.from_json(found.to_json()) == found


def test_a_body_that_stays_in_float32_with_its_node_is_kept_on_purpose() -> None:
    """At any depth; the body of another node is not."""
    for node in ("linear | t (then_branch) | cond (If)", "m | b (body) | loop (Loop) | t (then_branch) | cond (If)"):
        tensors = ((node, "float32"), ("a", "float16"))
        layers = [Layer(name, "gemm", "", (tensor(dtype, 4, 8),), (), (name,)) for name, dtype in tensors]
        found = audit(layers, {node: "float32", "a": "float16"}, "fp16", ["cond"])
        assert not found.offenders and len(found.kept) == 1
        assert audit(layers, {node: "float32", "a": "float16"}, "fp16", ["other", "linear"]).offenders


def test_a_body_that_was_not_converted_is_named_as_such() -> None:
    node = "linear | true_graph_0 (then_branch) | cond (If)"
    layer = Layer("fc", "gemm", "", (tensor("float32", 4, 8),), (), (node,))
    with pytest.raises(PrecisionError, match="in the body of an If, Loop or Scan, which is not converted"):
        audit((layer,), {node: "float32"}, "fp16").require()


# --- what the graph quantises; real builds are in builder/test_quantised_products.py -------------------------------

STATIC = {"product": Quantised("int8", False, ("w_dq",))}
WEIGHTS = {"product": Quantised("int4", True, ("w_dq",))}
HALF, SCALES = tensor("float16", 4, 8), tensor("float16", 1, 8)
HALF_PRODUCT = {"product": "float16"}


def product(kind: str, inputs: tuple[LayerTensor, ...], constants: tuple[LayerTensor, ...] = ()) -> Layer:
    return Layer("layer", kind, "", inputs, (HALF,), ("product", "w_dq"), constants)


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "dtype"),
    [
        ("gemm", ("int8",), ("int8",), "int8"),
        ("gemm", ("int8", "int8"), (), "int8"),  # weights that were computed, or two activations
        ("gemm", ("int8",), (), "int8"),  # the enterprise library does not list what lies in the engine
        ("CaskConvolution", ("int8",), (), "int8"),
        ("gemm", ("int8",), ("float16",), "float16"),  # activations alone are narrow, and widened by the kernel
        ("gemm", ("float16",), ("int8",), "float16"),
        ("runtime_fusion", ("int8",), ("int8",), "int8"),
        ("runtime_fusion", ("int8",), ("int8", "float16"), "float16"),  # with scales inside, it widens
        ("kgen", ("int8",), (), "float16"),
    ],
)
def test_a_layer_multiplies_in_a_narrow_type_where_both_operands_reach_it_so(
    kind: str, inputs: tuple[str, ...], constants: tuple[str, ...], dtype: str
) -> None:
    layer = product(kind, tuple(tensor(d, 4, 8) for d in inputs), tuple(tensor(d, 8, 8) for d in constants))
    found = audit((layer,), HALF_PRODUCT, "fp16", quantised=STATIC)
    assert found.counts == {dtype: 1} and bool(found.offenders) == (dtype != "int8")


def test_an_attention_kernel_multiplies_in_the_type_of_its_inputs() -> None:
    narrow = (tensor("int8", 4, 8),) * 3
    kernel = Layer("mha", "kgen", "_gemm_mha_v2_0x1", narrow, (HALF,), ("product",), (SCALES,))
    assert audit((kernel,), HALF_PRODUCT, "fp16", quantised=STATIC).counts == {"int8": 1}


def test_weights_that_the_engine_holds_in_no_narrow_type_any_more() -> None:
    folded = product("gemm", (HALF,), (tensor("float16", 8, 8),))
    found = audit((folded,), HALF_PRODUCT, "fp16", quantised=WEIGHTS)
    with pytest.raises(PrecisionError, match=r"1 product to int4 weights .* \(its weights were widened for good\)"):
        found.require()
    unlisted = audit((product("gemm", (HALF,)),), HALF_PRODUCT, "fp16", quantised=WEIGHTS)
    unlisted.require()  # nothing tells of them
    assert not unlisted.weights and not unlisted.widened
    other = audit((product("gemm", (HALF,), (tensor("int8", 8, 8),)),), HALF_PRODUCT, "fp16", quantised=WEIGHTS)
    assert len(other.offenders) == 1  # another narrow type is not that one


def test_all_products_that_are_not_multiplied_so_are_in_the_list() -> None:
    layers = [Layer(n, "gemm", "", (HALF,), (HALF,), (n,), (tensor("float16", 8, 8),)) for n in ("a", "b", "c")]
    asked = {"a": Quantised("int8"), "b": Quantised("float8", why_not="such is life")}
    found = audit(layers, dict.fromkeys("abc", "float16"), "fp16", quantised=asked)
    with pytest.raises(
        PrecisionError, match="2 products to float8 and int8 .*: a runs in float16, and more below"
    ) as told:
        found.require()
    assert [line.split()[0] for line in told.value.details.splitlines()] == ["layer", "a", "b"]
    assert told.value.details.endswith("such is life")
    assert Audit.from_json(found.to_json()) == found
    # A node that no layer names was merged with another, and the network has it as it was asked for.
    assert not audit(layers, dict.fromkeys("abcd", "float16"), "fp16", quantised={"d": Quantised("int8")}).offenders


def test_narrow_types_are_told_first() -> None:
    found = Audit("fp16", 9, {"float16": 2, "int8": 4}, weights={"int4": 2}, widened=("x",))
    assert str(found) == "9 layers: 4 matmul/conv in int8, 2 in float16, 0 in float32; weights of 2 lie in int4"
    assert Audit.from_json(found.to_json()) == found
    assert set(Audit("fp16", 9, {"float16": 2}).to_json()) == {
        *("type", "layers", "counts", "unaudited", "kept", "offenders")
    }
