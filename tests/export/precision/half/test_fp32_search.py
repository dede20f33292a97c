"""What has to stay in fp32, on graphs of a few nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.parity import recorded
from attn_export.parity.judge import passed
from attn_export.parity.recorded import check
from attn_export.precision.conversion import file_conversion, workshop
from attn_export.precision.half import fp32_search
from attn_export.precision.half.fp32_search import Conversion, NodeConsumers
from attn_export.precision.schemes import get
from attn_runtime.child_process import ChildProcess
from onnx import TensorProto, helper, numpy_helper

MakeConversion = Callable[..., Conversion]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildProcess]:
    with workshop(60, get("fp16")) as (_, isolated):
        yield isolated


@pytest.fixture
def make(shop: ChildProcess, tmp_path: Path) -> MakeConversion:
    def build(nodes: list[onnx.NodeProto], kind: str = "fp16", **weights: float | list[float]) -> Conversion:
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 8]) for n in ("x", "y")]
        initializers = [numpy_helper.from_array(np.float32(np.atleast_1d(v)), n) for n, v in weights.items()]
        graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), tmp_path / "m.onnx"
        )
        return file_conversion(tmp_path / "m.onnx", get(kind), False, None, None, tmp_path, shop)

    return build


def node(operator: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=f"{output}.{operator}")


def operators(result: fp32_search.SearchResult) -> list[str]:
    return [n.op_type for n in onnx.load(result.best.cast.path).graph.node]


def test_what_holds_only_by_rounding_does_not_hold(make: MakeConversion) -> None:
    # Everything is masked, so fp32 answers with equal parts. In fp16 the mask is -65504, and x rounds away beside it: equal
    # parts again. But an engine that fuses the sum with the softmax does not round in between, and x is all there is. Written
    # as the mask where it masks, there is nothing to round.
    it = make([node("Add", ["x", "mask"], "s"), node("Softmax", ["s"], "y")], mask=-3.4e38)
    plain = fp32_search.plain(it)
    assert passed(check(plain.emulated, it.record, it.tolerance, it.work, it.isolated))
    assert not plain.passed
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed and result.best.cast.in_fp32 == ()
    assert "Where" in operators(result)


def test_an_overflow_that_the_answers_do_not_show_stays_in_fp32(make: MakeConversion) -> None:
    # tanh(inf) is what tanh(1e5) is, by luck.
    it = make([node("Mul", ["x", "gain"], "large"), node("Tanh", ["large"], "y")], gain=1e6)
    assert fp32_search.plain(it).passed
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed and result.best.cast.in_fp32 == ("large.Mul", "y.Tanh")


def test_a_mask_that_turns_infinite_is_written_as_it_is_meant(make: MakeConversion) -> None:
    # -65504 less a hundred is -inf: right as long as a row has something to see, and NaN where it has not.
    nodes = [node("Mul", ["x", "gain"], "s"), node("Add", ["s", "mask"], "m"), node("Softmax", ["m"], "y")]
    it = make(nodes, gain=100.0, mask=[0.0] * 4 + [-3.4e38] * 4)
    assert fp32_search.plain(it).passed
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed and result.best.cast.in_fp32 == () and "Where" in operators(result)


def test_a_mask_of_zeros_and_ones_masks_whole_rows_though_no_case_has_one(
    make: MakeConversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(_specs: object, sizes: dict[str, int], _seed: int) -> dict[str, np.ndarray]:
        return {"x": np.tile(np.float32([1, 0] * 4), (sizes["batch"], 1))}

    monkeypatch.setattr(recorded, "draw_inputs", drawn)
    nodes = [node("Sub", ["one", "x"], "u"), node("Mul", ["u", "least"], "m"), node("Add", ["m", "scores"], "s")]
    it = make([*nodes, node("Softmax", ["s"], "y")], one=1.0, least=-1e9, scores=[3.0, 1.0] * 4)
    assert it.masks == {"least", "m", "s"} and fp32_search.plain(it).passed
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed and result.best.cast.in_fp32 == () and "Where" in operators(result)


def test_drift_keeps_what_makes_and_reads_the_tensor_and_what_lies_between(make: MakeConversion) -> None:
    nodes = [
        node("Add", ["x", "offset"], "far"),
        node("Flatten", ["far"], "flat"),
        node("Sub", ["flat", "offset"], "near"),
        node("Tanh", ["near"], "t"),
        node("Neg", ["t"], "n"),
        node("Sigmoid", ["n"], "y"),
    ]
    it = make(nodes, offset=5000.0)
    assert fp32_search.plain(it).ratio > 10
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed
    assert result.best.cast.in_fp32 == ("far.Add", "near.Sub")
    assert result.best.cast.moved_in_fp32 == ("flat.Flatten",)
    assert result.drifting[0].tensor == "far" and result.drifting[0].ratio > 10


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_nothing_is_kept_where_nothing_is_needed(make: MakeConversion, kind: str) -> None:
    it = make([node("Mul", ["x", "gain"], "m"), node("Tanh", ["m"], "y")], kind, gain=0.5)
    first = fp32_search.start(it)
    assert fp32_search.search(it, first).best is first and first.cast.in_fp32 == ()


def test_a_search_that_keeps_most_of_the_graph_has_failed(make: MakeConversion) -> None:
    nodes = [node("Add", ["x", "offset"], "far"), node("Sub", ["far", "offset"], "near"), node("Tanh", ["near"], "y")]
    it = make(nodes, offset=5000.0)
    assert not fp32_search.search(it, fp32_search.start(it)).passed


def test_what_stays_in_fp32_whatever_its_range_is_not_the_searchs_share(make: MakeConversion) -> None:
    nodes = [
        node("Mul", ["x", "x"], "square"), node("ReduceMean", ["square", "axis"], "mean"), node("Sqrt", ["mean"], "root"),
        node("Div", ["x", "root"], "normal"), node("Add", ["normal", "offset"], "far"), node("Sub", ["far", "offset"], "near"),
        node("Tanh", ["near"], "t"), node("Neg", ["t"], "y"),
    ]  # fmt: skip
    nodes.insert(0, helper.make_node("Constant", [], ["axis"], name="axis", value_ints=[1]))
    it = make(nodes, offset=5000.0)
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed
    assert set(result.best.cast.in_fp32) == {
        "square.Mul",
        "mean.ReduceMean",
        "root.Sqrt",
        "normal.Div",
        "far.Add",
        "near.Sub",
    }


def test_where_all_that_is_wanted_is_too_much_what_fits_is_tried(make: MakeConversion) -> None:
    """The second offset alone is just under the limit, so that a search would rather be rid of it too."""
    nodes = [
        node("Add", ["x", "offset"], "far"), node("Sub", ["far", "offset"], "near"),
        node("Add", ["near", "shift"], "moved"), node("Sub", ["moved", "shift"], "back"), node("Tanh", ["back"], "t"),
        node("Neg", ["t"], "y"),
    ]  # fmt: skip
    it = make(nodes, offset=5000.0, shift=20.0)
    result = fp32_search.search(it, fp32_search.start(it))
    assert result.passed and set(result.best.cast.in_fp32) == {"far.Add", "near.Sub"}
    assert 0.7 < result.best.ratio < 1, "and the search could not know"


def test_carriers_are_found_through_what_moves_values() -> None:
    nodes = [
        node("Exp", ["x"], "a"), node("Reshape", ["a", "shape"], "b"), node("Transpose", ["b"], "c"),
        node("Mul", ["c", "w"], "d"), node("Add", ["b", "v"], "e"), node("Neg", ["d"], "f"),
    ]  # fmt: skip
    consumers = NodeConsumers(helper.make_model(helper.make_graph(nodes, "g", [], [])))
    around = {"a.Exp", "b.Reshape", "c.Transpose", "d.Mul", "e.Add"}
    assert consumers.carriers("a") == consumers.carriers("b") == around
    # The transposed tensor is the same numbers, and the sum reads them as well.
    assert consumers.carriers("c") == around
    assert consumers.carriers("d") == {"d.Mul", "f.Neg"}
    assert consumers.carriers("w") == {"d.Mul"}
    assert consumers.share(frozenset({"a.Exp", "b.Reshape"})) == 1 / 4
    assert consumers.share(frozenset({"a.Exp", "b.Reshape"}), frozenset({"d.Mul"})) == 1 / 3
