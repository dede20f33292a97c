"""Padding that a mask hides: found by the inputs' form, asked of PyTorch, and held against the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.parity.judge import ParityChecker
from attn_export.parity.padding import Padded, paddings
from attn_export.reference import Drawn, corner_cases, independent
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError, ParityError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]
BATCH, LENGTH = Dim("batch", 1, 2, 3), Dim("T", 1, 4, 16)
X = TensorSpec("x", "float32", (BATCH, LENGTH))
MASK = TensorSpec("mask", "bool", (BATCH, LENGTH))


def summed(inputs: Arrays) -> Arrays:
    """One number a row, of what is not padding; and each number of it doubled, in its place."""
    kept = np.where(inputs["mask"], inputs["x"], 0)
    return {"sum": kept.sum(1, keepdims=True), "each": 2 * inputs["x"]}


def inverted(inputs: Arrays) -> Arrays:
    return summed({**inputs, "mask": ~inputs["mask"]})


def careless(inputs: Arrays) -> Arrays:
    return {"sum": inputs["x"].sum(1, keepdims=True), "each": 2 * inputs["x"]}


def found(ask: Callable[[Arrays], Arrays], specs: tuple[TensorSpec, ...] = (X, MASK)) -> list[Padded]:
    answers = []
    for number, case in enumerate(corner_cases(specs)):
        inputs = draw_inputs(specs, case.sizes, number)
        answers.append(replace(case, inputs=inputs, outputs=ask(inputs)))
    return list(paddings(specs, answers, Tolerance(), ask))


def test_the_longer_case_starts_with_the_case_and_goes_on_with_anything_but_masked():
    (padded,) = found(summed)
    assert (padded.name, padded.mask, padded.dim, padded.error) == ("padded-mask", "mask", "T", 0)
    size = padded.words.shape[1]
    assert size > 1, "a single element is no case of its own"
    assert padded.inputs["x"].shape[1] == size + 7
    assert not padded.inputs["mask"][:, size:].any()
    assert (padded.inputs["x"][:, size:] != 0).all(), "zeros would hide a graph that adds them"
    np.testing.assert_array_equal(padded.inputs["mask"][:, :size], padded.words)


def test_only_what_answers_for_words_is_compared():
    (padded,) = found(summed)
    size = padded.words.shape[1]
    longer = padded.unpadded(summed(padded.inputs))
    assert longer["each"].shape[1] == size
    np.testing.assert_array_equal(longer["each"] == 0, ~padded.words)
    np.testing.assert_allclose(longer["sum"], summed({k: v[:, :size] for k, v in padded.inputs.items()})["sum"])


def test_a_mask_that_is_true_at_padding_is_understood_from_the_answers():
    (padded,) = found(inverted)
    assert padded.error == 0
    size = padded.words.shape[1]
    assert padded.inputs["mask"][:, size:].all()
    np.testing.assert_array_equal(padded.words, ~padded.inputs["mask"][:, :size])


def test_a_module_that_does_not_heed_its_mask_is_found_out():
    (padded,) = found(careless)
    assert padded.error > 0.1


def test_what_is_no_mask_of_padding_is_not_asked_about():
    fixed = TensorSpec("mask", "bool", (BATCH, Dim.fixed(4)))
    square = TensorSpec("mask", "bool", (LENGTH, LENGTH))
    heads = TensorSpec("mask", "bool", (BATCH, Dim.fixed(2), LENGTH))

    def ask(inputs: Arrays) -> Arrays:
        return {"y": inputs["x"]}

    for spec in (fixed, square, heads, TensorSpec("mask", "int64", (BATCH, LENGTH), low=0, high=2)):
        assert found(ask, (X, spec)) == []


@pytest.fixture(scope="module")
def isolated():
    with ChildProcess(60) as child:
        yield child


def judged(isolated: ChildProcess, path: Path, ask: Callable[[Arrays], Arrays], fault: str = ""):
    """A graph of `summed`, or with a fault, held against `ask`."""
    sums = "x" if fault == "careless" else "kept"
    nodes = [
        helper.make_node("Where", ["mask", "x", "zero"], ["kept"]),
        helper.make_node("ReduceSum", [sums, "last"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["x", "two"], ["each"]),
    ]
    weights = {"zero": np.float32(0), "two": np.float32(2), "last": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "T"]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", "T"]),
        ],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("each", TensorProto.FLOAT, ["batch", "T"]),
        ],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    answers = []
    for number, case in enumerate(corner_cases((X, MASK))):
        inputs = draw_inputs((X, MASK), case.sizes, number)
        if fault == "careless":
            inputs["mask"][:] = True  # else it would already differ from PyTorch's answers
        answers.append(replace(case, inputs=inputs, outputs=ask(inputs)))
    return ParityChecker((X, MASK), answers, Tolerance(), isolated, ask).check(path, "capture")


def test_a_graph_that_heeds_its_mask_passes(isolated: ChildProcess, tmp_path: Path):
    verdict = judged(isolated, tmp_path / "g.onnx", summed)
    assert {c.name for c in verdict.consistency} == {"padded-mask", "rows-permuted", "row-alone"}
    assert all(c.passed for c in verdict.consistency)


def test_a_graph_that_does_not_is_refused_although_it_has_every_recorded_answer_right(
    isolated: ChildProcess, tmp_path: Path
):
    with pytest.raises(ParityError, match='"padded-mask".*') as told:
        judged(isolated, tmp_path / "g.onnx", summed, "careless")
    assert "does not match itself without the padding" in str(told.value)
    assert 'output "sum"' in str(told.value)


def test_where_pytorch_does_not_heed_it_either_that_is_noted(isolated: ChildProcess, tmp_path: Path):
    verdict = judged(isolated, tmp_path / "g.onnx", careless, "careless")
    (padded,) = [c for c in verdict.consistency if c.name == "padded-mask"]
    assert not padded.passed
    assert 'depend on what is padded along T, whatever "mask" says of it' in padded.note


def drawn_together(extra: int = 0, refused: bool = False) -> list[Padded]:
    """With a draw of the user's, whose lengths come out `extra` longer than asked for; PyTorch may refuse what is longer."""
    answers, asked = [], independent((X, MASK))

    def draw(sizes: Mapping[str, int], seed: int) -> Drawn:
        return asked({**sizes, "T": sizes["T"] + extra}, seed)

    def ask(inputs: Arrays) -> Arrays:
        if refused:
            raise CaptureError("PyTorch itself fails")
        return summed(inputs)

    for number, case in enumerate(corner_cases((X, MASK))):
        inputs = asked(case.sizes, number).inputs
        answers.append(replace(case, inputs=inputs, outputs=summed(inputs)))
    return list(paddings((X, MASK), answers, Tolerance(), ask, draw))


def test_dependent_inputs_are_padded_only_where_they_can_be():
    (padded,) = drawn_together()
    assert padded.error == 0 and padded.inputs["x"].shape[1] == padded.words.shape[1] + 7
    assert drawn_together(extra=1) == []
    assert drawn_together(refused=True) == []
