"""What a network quantises, and what an engine makes of it: real builds by TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import PrecisionError
from attn_runtime.onnx_file import read_graph
from attn_runtime.trt import Audit, Quantised, audit, library
from attn_runtime.trt.builder import network
from support.tensorrt import quantised_graphs as graphs
from support.tensorrt import trt_graphs
from support.tensorrt.quantised_graphs import FLOAT, FP8, HALF, INT4, INT8, K, N

pytestmark = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))


def built(file: Path, gpus: Sequence[str] = ("8.9",), rows: tuple[int, int, int] = (1, 2, 4)) -> network.Built:
    dims = read_graph(file, "test").values["x"].dims
    assert dims is not None
    low, usual, high = ((count, *(int(size or 0) for size in dims[1:])) for count in rows)
    options = network.BuildOptions(capabilities=tuple(gpus))
    made = network.build(library.load("rtx"), file, [{"x": (low, usual, high)}], options)
    assert made.plan is not None, (made.problems, made.errors)
    return made


def audited(made: network.Built, kind: str = "fp16") -> Audit:
    return audit(made.layers, made.products, kind, quantised=made.quantised)


@pytest.mark.parametrize("gpu", ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1"])
def test_int8_is_multiplied_in_int8_by_every_gpu(gpu: str, tmp_path: Path) -> None:
    made = built(graphs.linear(tmp_path / "m.onnx"), [gpu])
    assert made.quantised == {"product": Quantised("int8", False, ("w_dq",))}
    assert made.products == {"product": "float16"}  # what it would be without
    found = audited(made)
    found.require()
    assert found.counts == {"int8": 1} and not found.weights and not found.widened
    assert str(found).endswith("layers: 1 matmul/conv in int8, 0 in float16, 0 in float32")


@pytest.mark.parametrize("dtype", [INT8, FP8])
@pytest.mark.parametrize("rest", [HALF, FLOAT])
def test_int8_and_fp8_beside_either_rest(dtype: int, rest: int, tmp_path: Path) -> None:
    found = audited(built(graphs.linear(tmp_path / "m.onnx", dtype, rest)), "fp16" if rest == HALF else "fp32")
    found.require()
    assert found.counts == {"int8" if dtype == INT8 else "float8": 1}


@pytest.mark.parametrize("dtype", [INT8, FP8])
def test_a_convolution(dtype: int, tmp_path: Path) -> None:
    """Its kernel writes float32 where the rest is float16."""
    found = audited(built(graphs.convolution(tmp_path / "m.onnx", dtype)))
    found.require()
    assert found.counts == {"int8" if dtype == INT8 else "float8": 1}


def test_attention_in_int8_is_one_kernel(tmp_path: Path) -> None:
    made = built(graphs.attention(tmp_path / "m.onnx"))
    assert set(made.quantised) == {"q", "k", "v", "o", "scores", "values"}
    assert not made.quantised["scores"].nodes  # it has no weights
    found = audited(made)
    found.require()
    assert found.counts == {"int8": 3} and any("_mha" in layer.tactic for layer in made.layers)
    half = built(graphs.attention(tmp_path / "half.onnx", products=False))
    assert set(half.quantised) == {"q", "k", "v", "o"}
    found = audited(half)
    found.require()
    assert found.counts == {"int8": 2, "float16": 1} and any("_mha" in layer.tactic for layer in half.layers)


def test_queries_keys_and_values_by_a_product_each(tmp_path: Path) -> None:
    """By one they are no int8 (below); by three they are, in one layer, and attention is one kernel."""
    made = built(graphs.packed(tmp_path / "m.onnx", apart=True))
    found = audited(made)
    found.require()
    assert found.counts == {"int8": 1, "float16": 1} and any("_mha" in layer.tactic for layer in made.layers)


@pytest.mark.parametrize(
    ("dtype", "rest", "block", "tied"),
    [
        (INT8, HALF, 0, False), (INT8, FLOAT, 0, False), (INT8, HALF, 0, True), (FP8, HALF, 0, False),
        (INT4, HALF, 32, False), (INT4, HALF, 16, False), (INT4, FLOAT, 32, False), (INT4, HALF, 32, True),
    ],
)  # fmt: skip
def test_weights_alone(dtype: int, rest: int, block: int, tied: bool, tmp_path: Path) -> None:
    made = built(graphs.of_weights(tmp_path / "m.onnx", dtype, rest, block, tied=tied))
    name = {INT8: "int8", FP8: "float8", INT4: "int4"}[dtype]
    assert made.quantised == {"product": Quantised(name, True, ("w_dq",))}
    found = audited(made, "fp16" if rest == HALF else "fp32")
    found.require()
    assert found.counts == {"float16" if rest == HALF else "float32": 1}
    assert found.weights == {name: 1} and not found.widened and str(found).endswith(f"; weights of 1 lie in {name}")


@pytest.mark.parametrize(
    ("dtype", "block", "sizes", "gpu", "rows"),
    [
        (INT8, 0, (512, 512), "8.9", (1, 1, 1)),  # one row
        (INT8, 0, (K, 31), "8.9", (1, 2, 4)),
        (INT8, 32, (K, N), "8.9", (1, 2, 4)),
        (INT4, 0, (K, N), "8.9", (1, 2, 4)),  # a scale for each channel
        (INT4, K, (K, N), "8.9", (1, 2, 4)),  # one block
    ],
)
def test_weights_that_a_kernel_widens_before_each_use(
    dtype: int, block: int, sizes: tuple[int, int], gpu: str, rows: tuple[int, int, int], tmp_path: Path
) -> None:
    """They lie in the engine as they were quantised, so that this is told and is no error."""
    found = audited(built(graphs.of_weights(tmp_path / "m.onnx", dtype, HALF, block, sizes), [gpu], rows))
    found.require()
    assert found.widened == ("product",) and not found.weights


def test_weights_of_a_convolution_are_widened(tmp_path: Path) -> None:
    assert audited(built(graphs.convolution(tmp_path / "m.onnx", activations=False))).widened == ("product",)


@pytest.mark.parametrize(
    ("made", "kind", "why"),
    [
        (
            lambda file: graphs.convolution(file, transposed=True),
            "fp16",
            r"\(no kernel multiplies a ConvTranspose so\)",
        ),
        (lambda file: graphs.linear(file, weight_axis=0), "fp16", "other scales than one for each output"),
        (lambda file: graphs.linear(file, scale=np.full(K, 0.05)), "fp16", "its activations have more than one scale"),
        (graphs.packed, "fp16", "its result is cut in parts, as queries, keys and values are"),
        (lambda file: graphs.convolution(file, listed=True), "fp16", "is a list of one, not a scalar"),
        (graphs.scaled_while_it_runs, "fp32", "the scale of its activations is computed while it runs"),
    ],
)
def test_what_is_not_multiplied_as_it_is_quantised_is_exit_code_5(made, kind, why, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Each of these builds, and the layer list has int8 tensors in it."""
    done = built(made(tmp_path / "m.onnx"))
    assert done.quantised["product"].dtype == "int8" and not done.quantised["product"].weights_only
    found = audited(done, kind)
    assert "int8" not in found.counts
    with pytest.raises(PrecisionError, match=f"quantises 1 product to int8 .* product runs in float.*{why}") as caught:
        found.require()
    assert caught.value.exit_code == 5 and "\n" not in str(caught.value)
    head, *lines = caught.value.details.splitlines()
    assert head.split()[:4] == ["layer", "kind", "type", "asked"]
    assert lines and all(" int8 " in line and " product" in line for line in lines)
    assert Audit.from_json(found.to_json()) == found


def test_what_is_not_quantised_is_not_asked_for(tmp_path: Path) -> None:
    plain = built(trt_graphs.matmul(tmp_path / "m.onnx", np.float16))
    assert plain.quantised == {} and not {"weights", "widened"} & set(audited(plain).to_json())
    graph = graphs.Graph()  # activations alone: the product is one of floats
    x = graph.activations("x")
    made = graph.add("MatMul", [x, graph.floats("w", np.ones((K, N)))], "product")
    alone = built(graph.save(tmp_path / "a.onnx", made, "batch", K))
    assert alone.quantised == {}
    found = audited(alone)
    found.require()
    assert found.counts == {"float16": 1}
    graph = graphs.Graph()  # a convolution's weights are no tensor of the network, and its bias may be one
    bias = graph.channels("b", (32,), axis=0)
    inputs = [graph.activations("x"), graph.floats("w", np.ones((32, 16, 3, 3))), bias]
    alone = built(graph.save(tmp_path / "c.onnx", graph.add("Conv", inputs, "product"), "batch", 16, 8, 8))
    assert alone.quantised == {} and audited(alone).counts == {"float16": 1}


def test_of_two_types_the_product_is_in_that_of_the_activations(tmp_path: Path) -> None:
    graph = graphs.Graph()
    w = graph.channels("w", (K, N), INT4, 0, 32)
    file = graph.save(tmp_path / "m.onnx", graph.add("MatMul", [graph.activations("x"), w], "product"), "batch", K)
    made = built(file)
    assert made.quantised == {"product": Quantised("int8", False, ("w_dq",))}
    audited(made).require()


def test_a_weight_that_two_products_share_is_each_ones_own_matter(tmp_path: Path) -> None:
    graph = graphs.Graph()
    w = graph.channels("w", (K, N))
    first = graph.add("MatMul", [graph.activations("x"), w], "first")
    made = graph.add("Add", [first, graph.add("MatMul", ["x", w], "second")], "sum")
    done = built(graph.save(tmp_path / "m.onnx", made, "batch", K))
    assert {node: told.weights_only for node, told in done.quantised.items()} == {"first": False, "second": True}
    found = audited(done)
    found.require()
    assert found.counts == {"int8": 1, "float16": 1} and found.weights == {"int8": 1}
