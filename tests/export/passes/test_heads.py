"""Heads turned by one node: the same numbers to the bit, and what a session fuses of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.passes.heads import PASS, rewrite, scale_queries
from attn_runtime.child_process import ChildProcess
from support.checks.operators_in_session import operators_in_session
from support.checks.passes import rewritten
from support.quantised.products import drawn, model, node, ran

LARGE = np.iinfo(np.int64).max


def keys(swapped: bool = True, of: str = "k", mixed: bool = False) -> onnx.ModelProto:
    """q [B, 2, T, 8] times k [B, 2, S, 8] as PyTorch's exporter turns it; `of`: whose sizes the keys are folded by.

    `mixed`: they are folded into matrices [8, S], which no keys are.
    """
    last = ["size", "rows"] if swapped else ["rows", "size"]
    nodes = [
        node("Shape", [of], "shape", start=0),
        node("Slice", ["shape", "minus1", "large"], "size"),
        node("Slice", ["shape", "minus2", "minus1"], "rows"),
        node("Slice", ["shape", "least", "minus2"], "front"),
        node("Concat", ["minus1", *(["size", "rows"] if mixed else ["rows", "size"])], "folded", axis=0),
        node("Reshape", ["k", "folded"], "matrices"),
        node("Transpose", ["matrices"], "turned", perm=[0, 2, 1]),
        node("Concat", ["front", *last], "unfolded", axis=0),
        node("Reshape", ["turned", "unfolded"], "kt"),
        node("MatMul", ["q", "kt"], "y"),
    ]
    sizes = {"minus1": [-1], "minus2": [-2], "large": [LARGE], "least": [-LARGE - 1]}
    inputs = {"q": ["B", 2, "T", 8 if swapped else "S"], "k": ["B", 2, "S", 8], "other": ["B", 2, 8, "S"]}
    return model(nodes, inputs, ["y"], {name: np.array(value) for name, value in sizes.items()})


def step(length: int | str = 1, batch: int | str = "B", turned: bool = False) -> onnx.ModelProto:
    """x [B, 1, 16] by heads, [B, 2, 1, 8], and back; `turned`: the heads are an output too."""
    nodes = [
        node("MatMul", ["x", "w"], "product"),
        node("Reshape", ["product", "by heads"], "split"),
        node("Transpose", ["split"], "heads", perm=[0, 2, 1, 3]),
        node("Tanh", ["heads"], "computed"),
        node("Transpose", ["computed"], "back", perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "joined"], "y"),
    ]
    rows = 0 if isinstance(length, str) else length
    weights = {"w": drawn(16, 16, seed=1), "by heads": np.array([-1 if rows else 0, rows, 2, 8])}
    weights["joined"] = np.array([-1 if rows else 0, rows, 16])
    return model(nodes, {"x": [batch, length, 16]}, ["y", *(["heads"] if turned else [])], weights)


def scores(
    before: str = "Mul",
    beside: str = "",
    behind: str = "",
    length: int | str = 1,
    fixed: bool = False,
    shown: bool = False,
    also: bool = False,
) -> onnx.ModelProto:
    """A query [B, 2, length, 4] times two tensors of keys, as a generator's step has them, with a single number multiplied or
    divided by before the products, beside the keys, and behind.

    `fixed`: the keys are weights; `shown`: the products are outputs too; `also`: a further node reads them.
    """
    nodes = [node(before, ["q", "half"], "scaled")] if before else []
    for name in ("past", "new"):
        nodes.append(node("Transpose", [name], f"{name} turned", perm=[0, 1, 3, 2]))
        nodes += [node(beside, [f"{name} turned", "third"], f"{name} scaled")] if beside else []
        nodes.append(
            node(
                "MatMul", ["scaled" if before else "q", f"{name} {'scaled' if beside else 'turned'}"], f"{name} product"
            )
        )
        nodes.append(node(behind or "Tanh", [f"{name} product", *(["half"] if behind else [])], f"{name} scores"))
        nodes += [node("Tanh", [f"{name} product"], f"{name} also")] if also else []
    weights = {"half": np.float32(0.5), "third": np.full(1, 0.3, np.float32)}
    keys = {"past": ["B", 2, "S", 4], "new": ["B", 2, 1, 4]}
    weights |= {"past": drawn(1, 2, 3, 4), "new": drawn(1, 2, 1, 4)} if fixed else {}
    outputs = ["past scores", "new scores", *(["past product", "new product"] if shown else [])]
    outputs += ["past also", "new also"] if also else []
    return model(nodes, {"q": ["B", 2, length, 4], **({} if fixed else keys)}, outputs, weights)


def operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node]


def test_keys_are_turned_by_one_node_which_the_product_takes_in(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(keys(), path)
    before = operators_in_session(path)
    assert before["Transpose"] == 1 and before["FusedMatMul"] == 0
    assert rewritten(keys(), path, rewrite) == (1, 0)
    assert operators(path) == ["Transpose", "MatMul"]
    assert operators_in_session(path) == {"FusedMatMul": 1}
    for batch, t, s in ((1, 1, 1), (3, 1, 5), (2, 4, 7)):
        feeds = {"q": drawn(batch, 2, t, 8), "k": drawn(batch, 2, s, 8, seed=3), "other": drawn(batch, 2, 8, s)}
        for optimizations in (True, False):
            got = ran(path, optimizations, **feeds)["y"]
            assert np.allclose(got, ran(keys(), optimizations, **feeds)["y"], rtol=0, atol=1e-5)
        assert np.allclose(got, feeds["q"] @ feeds["k"].swapaxes(2, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "graph", [keys(swapped=False), keys(of="other"), keys(mixed=True)], ids=["not swapped", "sizes of another", "mixed"]
)
def test_reshapes_that_do_more_stay(graph: onnx.ModelProto, tmp_path: Path) -> None:
    assert rewritten(graph, tmp_path / "m.onnx", rewrite) == (0, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_heads_of_one_token_are_a_reshape(turned: bool, tmp_path: Path) -> None:
    path, graph = tmp_path / "m.onnx", step(turned=turned)
    assert rewritten(graph, path, rewrite) == (0, 2)
    assert operators(path) == ["MatMul", "Reshape", "Tanh", "Reshape"]
    session = operators_in_session(path)
    assert session["Transpose"] == 0 and session["Reshape"] == 2
    for batch in (1, 3):
        x = drawn(batch, 1, 16)
        got, expected = ran(path, x=x), ran(graph, x=x)
        assert list(got) == list(expected)
        assert all((got[name] == expected[name]).all() and got[name].shape == expected[name].shape for name in got)


@pytest.mark.parametrize("graph", [step("T"), step(3)], ids=["a dynamic length", "three tokens"])
def test_heads_of_several_tokens_stay_transposed(graph: onnx.ModelProto, tmp_path: Path) -> None:
    assert rewritten(graph, tmp_path / "m.onnx", rewrite) == (0, 0)


def test_a_turn_that_a_product_takes_in_stays(tmp_path: Path) -> None:
    """[B, 2, 1, 8] to [B, 2, 8, 1] moves an axis of size 1 too, and is no node of its own in a session."""
    nodes = [
        node("Reshape", ["x", "by heads"], "k"),
        node("Transpose", ["k"], "kt", perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], "y"),
    ]
    weights = {"by heads": np.array([-1, 2, 1, 8])}
    graph, path = model(nodes, {"x": ["B", 1, 16], "q": ["B", 2, 1, 8]}, ["y"], weights), tmp_path / "m.onnx"
    assert rewritten(graph, path, rewrite) == (0, 0)
    assert operators_in_session(path) == {"Reshape": 1, "FusedMatMul": 1}


def test_two_dims_that_vary_are_kept_where_they_are(tmp_path: Path) -> None:
    """[B, T, 1, 16] to [B, T, 2, 1, 8]: one size is copied from its own place, where -1 can't stand for both."""
    nodes = [
        node("Reshape", ["x", "by heads"], "split"),
        node("Transpose", ["split"], "y", perm=[0, 1, 3, 2, 4]),
    ]
    graph = model(nodes, {"x": ["B", "T", 1, 16]}, ["y"], {"by heads": np.array([0, 0, 1, 2, 8])})
    path = tmp_path / "m.onnx"
    assert rewritten(graph, path, rewrite) == (0, 1)
    x = drawn(2, 3, 1, 16)
    assert (ran(path, x=x)["y"] == x.reshape(2, 3, 2, 1, 8)).all()


@pytest.mark.parametrize("behind", ["", "Mul", "Div"])
@pytest.mark.parametrize("beside", ["", "Mul", "Div"])
@pytest.mark.parametrize("before", ["", "Mul", "Div"])
def test_a_query_of_one_row_is_scaled_for_the_keys_and_the_scores_too(
    before: str, beside: str, behind: str, tmp_path: Path
) -> None:
    graph, path = scores(before, beside, behind), tmp_path / "m.onnx"
    some = bool(before or beside or behind)
    assert rewritten(graph, path, scale_queries) == 2 * some
    ends = [] if behind else ["Tanh"]
    assert sorted(operators(path)) == sorted(["Mul"] * some + ["Transpose", "MatMul", *ends] * 2)
    for batch, size in ((1, 1), (2, 5)):
        feeds = {
            "q": drawn(batch, 2, 1, 4),
            "past": drawn(batch, 2, size, 4, seed=1),
            "new": drawn(batch, 2, 1, 4, seed=2),
        }
        got, expected = ran(path, **feeds), ran(graph, **feeds)
        assert list(got) == list(expected)
        for name, value in got.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-6)


def test_a_session_multiplies_a_scaled_row_with_keys_as_they_lie(tmp_path: Path) -> None:
    """A factor in ONNX Runtime's product (alpha) has it copy the keys in another order first: 1.31.1."""

    def factors(graph: onnx.ModelProto, scale: bool) -> list[float]:
        path = tmp_path / "m.onnx"
        rewritten(graph, path, scale_queries if scale else rewrite)
        assert operators_in_session(path)["FusedMatMul"] == 2
        made = onnx.load(path.with_suffix(".optimised.onnx")).graph.node
        return [a.f for n in made if n.op_type == "FusedMatMul" for a in n.attribute if a.name == "alpha"]

    assert factors(scores(), scale=False) == [0.5, 0.5]
    assert factors(scores(), scale=True) == [1.0, 1.0]


@pytest.mark.parametrize(
    "graph",
    [
        scores(length="T"),
        scores(length=3),
        scores(fixed=True),
        scores("", "", "Mul", shown=True),
        scores("", "", "Mul", also=True),
    ],
    ids=["a dynamic length", "three rows", "a layer's weights", "an output", "a product that others read"],
)
def test_what_else_is_scaled_stays(graph: onnx.ModelProto, tmp_path: Path) -> None:
    assert rewritten(graph, tmp_path / "m.onnx", scale_queries) == 0


def test_the_pass_scales_queries_once(tmp_path: Path) -> None:
    onnx.save(scores(), tmp_path / "m.onnx")
    with ChildProcess(60) as isolated:
        done = PASS.run(tmp_path / "m.onnx", tmp_path / "m.0.onnx", isolated)
        assert done.note.endswith("2 products of one row are scaled by a vector")
        assert PASS.run(done.path, tmp_path / "m.1.onnx", isolated).idle


def test_a_graph_without_heads_is_not_written(tmp_path: Path) -> None:
    onnx.save(model([node("Tanh", ["x"], "y")], {"x": ["B", 4]}, ["y"], {}), tmp_path / "m.onnx")
    with ChildProcess(60) as isolated:
        done = PASS.run(tmp_path / "m.onnx", tmp_path / "m.0.onnx", isolated)
    assert done.idle and done.path == tmp_path / "m.onnx"
