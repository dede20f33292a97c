"""Rotary places in fewer nodes: the same numbers to the bit, negated once for all layers, and in pairs in a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.passes.rotary import PASS, rewrite
from attn_export.precision.half.angles import of_positions
from attn_runtime.child_process import ChildProcess
from support.checks.operators_in_session import operators_in_session
from support.checks.passes import rewritten
from support.quantised.products import Array, drawn, model, node, ran

SIZE = 8
HALF = SIZE // 2


def turns(
    heads: Sequence[int] = (2, 2),
    length: int | str = "T",
    *,
    split: bool = False,
    chained: bool = False,
    quarter: bool = False,
) -> onnx.ModelProto:
    """x0 [B, heads, T, 8], x1, ... turned by the same angles [B, T] as transformers does, to y0, y1, ...

    `split`: halves by one Split. `chained`: each is turned after the one before it. `quarter`: it is not cut in the middle.
    """
    nodes = [
        node("Unsqueeze", ["angle", "one and three"], "wide"),
        node("Mul", ["wide", "frequencies"], "angles"),
        node("Cos", ["angles"], "cos"),
        node("Sin", ["angles"], "sin"),
    ]
    for n in range(len(heads)):
        x = f"y{n - 1}" if chained and n else f"x{n}"
        if split:
            nodes.append(
                onnx.helper.make_node("Split", [x], [f"low{n}", f"high{n}"], name=f"split{n}", axis=-1, num_outputs=2)
            )
        else:
            nodes.append(node("Slice", [x, "zero", "middle", "last"], f"low{n}"))
            nodes.append(node("Slice", [x, "middle", "end", "last"], f"high{n}"))
        nodes += [
            node("Neg", [f"high{n}"], f"negated{n}"),
            node("Concat", [f"negated{n}", f"low{n}"], f"halves{n}", axis=-1),
            node("Mul", [x, "cos"], f"straight{n}"),
            node("Mul", [f"halves{n}", "sin"], f"across{n}"),
            node("Add", [f"straight{n}", f"across{n}"], f"y{n}"),
        ]
    weights = {
        "one and three": np.array([1, 3]), "zero": np.array([0]), "middle": np.array([2 if quarter else HALF]),
        "end": np.array([np.iinfo(np.int64).max]), "last": np.array([3]),
        "frequencies": np.tile(np.float32([1, 0.3, 0.1, 0.01]), 2),
    }  # fmt: skip
    inputs = {f"x{n}": ["B", count, length, SIZE] for n, count in enumerate(heads[:1] if chained else heads)}
    return model(nodes, {"angle": ["B", length], **inputs}, [f"y{n}" for n in range(len(heads))], weights)


def fed(graph: onnx.ModelProto, batch: int, length: int) -> dict[str, Array]:
    shapes = {
        v.name: [batch if d.dim_param == "B" else d.dim_value or length for d in v.type.tensor_type.shape.dim]
        for v in graph.graph.input
    }
    return {name: drawn(*shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}


def same(graph: onnx.ModelProto, path: Path, lengths: Sequence[int]) -> bool:
    for batch, length in [(b, n) for b in (1, 3) for n in lengths]:
        feeds = fed(graph, batch, length)
        for optimizations in (True, False):
            got, expected = (ran(one, optimizations, **feeds) for one in (path, graph))
            assert list(got) == list(expected)
            if not all((got[name] == expected[name]).all() and got[name].shape == expected[name].shape for name in got):
                return False
    return True


def operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node]


@pytest.mark.parametrize("split", [False, True])
def test_the_sine_is_negated_once(split: bool, tmp_path: Path) -> None:
    graph, path = turns((2, 2, 1), split=split), tmp_path / "m.onnx"
    assert rewritten(graph, path, rewrite) == (3, 0)
    assert "Neg" not in operators(path) and operators(path).count("Mul") == 1 + 1 + 3 * 2
    assert same(graph, path, (1, 5))


@pytest.mark.parametrize("heads", [(2, 2), (4, 1)])
def test_queries_and_keys_of_a_step_are_turned_together(heads: tuple[int, int], tmp_path: Path) -> None:
    graph, path = turns(heads, 1), tmp_path / "m.onnx"
    assert rewritten(graph, path, rewrite) == (2, 1)
    assert same(graph, path, (1,))
    onnx.save(graph, tmp_path / "before.onnx")
    before, after = operators_in_session(tmp_path / "before.onnx"), operators_in_session(path)
    assert before["Split"] == before["Neg"] == before["Concat"] == before["Add"] == 2
    # One Split makes the halves, one the results.
    assert after["Split"] == after["Concat"] == 2 and after["Add"] == 1 and not after["Neg"] and not after["Slice"]


def test_layers_are_turned_one_after_another(tmp_path: Path) -> None:
    """What comes of a tensor that was turned can't be turned together with it."""
    graph, path = turns((2, 2, 2), 1, chained=True), tmp_path / "m.onnx"
    assert rewritten(graph, path, rewrite) == (3, 0)
    assert same(graph, path, (1,))


def test_angles_stay_those_of_positions(tmp_path: Path) -> None:
    """Half precision keeps them in fp32: what is multiplied by signs is a sine, and no angle."""
    graph, path = turns(), tmp_path / "m.onnx"
    graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    graph.graph.node.insert(0, node("Cast", ["angle"], "position", to=onnx.TensorProto.FLOAT))
    graph.graph.node[1].input[0] = "position"
    before = of_positions(graph)
    rewritten(graph, path, rewrite)
    assert before and of_positions(onnx.load(path)) == before


@pytest.mark.parametrize(
    "graph", [turns((2,)), turns(quarter=True)], ids=["a sine that one tensor has", "not cut in the middle"]
)
def test_what_would_gain_nothing_or_is_something_else_is_left(graph: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(graph, tmp_path / "m.onnx")
    with ChildProcess(60) as isolated:
        done = PASS.run(tmp_path / "m.onnx", tmp_path / "m.0.onnx", isolated)
    assert done.idle and done.path == tmp_path / "m.onnx"
