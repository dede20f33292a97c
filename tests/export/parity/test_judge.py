"""The judge must see every kind of wrong graph. Each graph here is a real one, spoilt on purpose."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.parity.judge import ParityChecker, Rows, batch_dim, take_rows
from attn_export.reference import corner_cases, independent
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError, ParityError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
INPUTS = (TensorSpec("x", "float32", (Dim("batch", 1, 4, 9), Dim.fixed(4))),)


def graph(path: Path, weight: np.ndarray = WEIGHT, after: str = "", name: str = "y", rows: int | str = "batch") -> Path:
    """y = after(x @ weight), written to `path`."""
    nodes = [helper.make_node("MatMul", ["x", "w"], [name if not after else "h"])]
    initializers = [numpy_helper.from_array(weight, "w")]
    if after == "centred":
        nodes += [
            helper.make_node("ReduceMean", ["h", "axes"], ["m"], keepdims=1),
            helper.make_node("Sub", ["h", "m"], [name]),
        ]
        initializers.append(numpy_helper.from_array(np.array([0]), "axes"))
    elif after == "log":
        nodes += [helper.make_node("Log", ["h"], [name])]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [rows, 4]) for n in ("x", name)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", value[:1], value[1:], initializers),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, path)
    return path


def module(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": inputs["x"] @ WEIGHT}


def centred(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    y = inputs["x"] @ WEIGHT
    return {"y": y - y.mean(0, keepdims=True)}


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


def judge(isolated: ChildProcess, ask: Callable[..., dict[str, np.ndarray]] = module) -> ParityChecker:
    answers = []
    for number, case in enumerate(corner_cases(INPUTS)):
        inputs = draw_inputs(INPUTS, case.sizes, number)
        answers.append(replace(case, inputs=inputs, outputs=ask(inputs)))
    return ParityChecker(INPUTS, answers, Tolerance(), isolated, ask)


def test_the_right_graph_passes_everywhere(isolated: ChildProcess, tmp_path: Path) -> None:
    verdict = judge(isolated).check(graph(tmp_path / "g.onnx"), "capture")
    assert {c.case.name for c in verdict.checks} == {"min", "opt", "max", "odd"}
    assert {c.name for c in verdict.consistency} == {"rows-permuted", "row-alone"}
    assert all(c.passed for c in verdict.consistency)
    assert 0 <= verdict.worst < 1e-6


def test_one_weight_off_by_a_little_is_seen_and_placed(isolated: ChildProcess, tmp_path: Path) -> None:
    weight = WEIGHT.copy()
    weight[:, 2] *= 1.001
    with pytest.raises(ParityError, match=r"^squeeze \(after capture\) does not match PyTorch") as told:
        judge(isolated).check(graph(tmp_path / "g.onnx", weight), "squeeze", ["capture"])
    assert "Nothing was written" in str(told.value)
    assert "\n" not in str(told.value)
    first = told.value.details.splitlines()[1]
    assert ", 2]" in first  # the column that was spoilt


def test_further_answers_are_held_alone(isolated: ChildProcess, tmp_path: Path) -> None:
    judging, file = judge(isolated), graph(tmp_path / "g.onnx")
    inputs = {"x": np.full((2, 4), 3, np.float32)}
    further = replace(judging.answers[0], name="threes", sizes={"batch": 2}, inputs=inputs, outputs=module(inputs))
    assert {c.case.name for c in judging.hold(file, "capture", [further])} == {"threes"}
    assert judging.hold(file, "capture", []) == []
    with pytest.raises(ParityError, match=r'^simplify \(after capture\) does not match PyTorch: .* case "threes"'):
        judging.hold(file, "simplify", [replace(further, outputs={"y": -further.outputs["y"]})], ["capture"])


def test_nan_is_seen(isolated: ChildProcess, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="NaN in"):
        judge(isolated).check(graph(tmp_path / "g.onnx", after="log"), "capture")


def test_a_missing_output_is_seen(isolated: ChildProcess, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="missing"):
        judge(isolated).check(graph(tmp_path / "g.onnx", name="z"), "capture")


def test_a_graph_that_runs_at_one_shape_only_is_seen(isolated: ChildProcess, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="The graph can't be run"):
        judge(isolated).check(graph(tmp_path / "g.onnx", rows=4), "capture")


def test_rows_that_lean_on_each_other_are_the_graphs_fault_when_pytorchs_do_not(
    isolated: ChildProcess, tmp_path: Path
) -> None:
    leaning = judge(isolated, centred)
    # The graph matches its references, but asked again PyTorch gives each row what it gave it in the batch.
    base = leaning.answers[leaning._base()]  # type: ignore[index]
    leaning.ask = lambda inputs: {
        "y": np.stack([base.outputs["y"][(base.inputs["x"] == row).all(1).argmax()] for row in inputs["x"]])
    }
    with pytest.raises(ParityError, match="does not match itself in a batch"):
        leaning.check(graph(tmp_path / "g.onnx", after="centred"), "capture")


def test_rows_that_lean_on_each_other_in_pytorch_too_are_noted(isolated: ChildProcess, tmp_path: Path) -> None:
    verdict = judge(isolated, centred).check(graph(tmp_path / "g.onnx", after="centred"), "capture")
    alone = next(c for c in verdict.consistency if c.name == "row-alone")
    assert not alone.passed
    assert "PyTorch's own answers depend on the other rows along batch" in alone.note


def test_the_batch_dim_is_the_one_that_counts_rows() -> None:
    batch, length = Dim("batch", 1, 2, 3), Dim("T", 1, 4, 5)
    case = corner_cases([TensorSpec("x", "float32", (batch, length))])[-1]
    sizes = (case.sizes["batch"], case.sizes["T"])

    def found(inputs: list[TensorSpec], output: tuple[int, ...]) -> Rows | None:
        return batch_dim(inputs, [replace(case, outputs={"y": np.zeros(output)})])

    both = [TensorSpec("x", "float32", (batch, length)), TensorSpec("mask", "float32", (length, length))]
    assert found(both, sizes) == Rows("batch", 0)
    # a sequence first: the batch is known by its name
    assert found([TensorSpec("x", "float32", (length, batch))], sizes[::-1]) == Rows("batch", 1)
    assert found([TensorSpec("x", "float32", (length, batch))], sizes) is None
    assert found([TensorSpec("x", "float32", (Dim.fixed(3), length))], (3, sizes[1])) is None
    assert found(both, (7,)) is None
    assert found(both, ()) is None


def test_rows_are_taken_of_inputs_that_have_them() -> None:
    batch, length = Dim("batch", 1, 2, 3), Dim("T", 1, 4, 5)
    inputs = [TensorSpec("x", "float32", (batch, length)), TensorSpec("mask", "float32", (length, length))]
    arrays = {"x": np.arange(6.0).reshape(3, 2), "mask": np.arange(4.0).reshape(2, 2)}
    found = take_rows(inputs, arrays, Rows("batch", 0), np.array([2]))
    assert found["x"].tolist() == [[4.0, 5.0]]
    assert found["mask"].tolist() == arrays["mask"].tolist()


def test_rows_of_a_sequence_first_input_lie_on_its_second_axis() -> None:
    batch, length = Dim("batch", 1, 2, 3), Dim("T", 1, 4, 5)
    x = np.arange(6.0).reshape(2, 3)
    found = take_rows([TensorSpec("x", "float32", (length, batch))], {"x": x}, Rows("batch", 1), np.array([2, 0]))
    assert found["x"].tolist() == [[2.0, 0.0], [5.0, 3.0]]


def test_rows_that_others_refer_to_are_not_taken_apart(isolated: ChildProcess, tmp_path: Path) -> None:
    """With a draw of the user's, only what PyTorch takes is asked of the graph."""

    def refusing(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if len(inputs["x"]) == 1:
            raise CaptureError("PyTorch itself fails")
        return module(inputs)

    checker = judge(isolated)
    checker = ParityChecker(INPUTS, checker.answers, Tolerance(), isolated, refusing, independent(INPUTS))
    verdict = checker.check(graph(tmp_path / "g.onnx"), "capture")
    assert [c.name for c in verdict.consistency] == ["rows-permuted"]


def test_rows_are_taken_apart_of_usual_values(isolated: ChildProcess) -> None:
    """Small as they are, cases of large inputs and of empty masks say little of rows."""
    checker = judge(isolated, module)
    base = checker.answers[checker._base()]  # type: ignore[index]
    sizes = {**base.sizes, "batch": 3}
    for name in ("large", "mask-keep"):
        checker.answers.insert(0, replace(base, name=name, sizes=sizes))
    found = checker._base()
    assert found is not None and checker.answers[found].name == base.name
