"""The first node at fault, by name: on graphs made for it, and through the command line on real exports."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.precision.layerwise import activations, compare_intermediates, ranges
from attn_export.precision.layerwise.bisection import Step, compare_graphs
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import UsageError
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from support.command_lines.json_answers import result_of


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


def chain(path: Path, half: bool, mean: float = 0.0, gain: float = 1.0, external: bool = False) -> Path:
    """centre = (x * g) - mean, out = centre * centre, back = sqrt(out); in float16 between casts when `half`."""
    element, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    x, back = ("xh", "bh") if half else ("x", "back")
    nodes = [
        helper.make_node("Mul", [x, "g"], ["scaled"], name="scale"),
        helper.make_node("Sub", ["scaled", "mean"], ["centre"], name="centre"),
        helper.make_node("Mul", ["centre", "centre"], ["out"], name="square"),
        helper.make_node("Sqrt", ["out"], [back], name="root"),
    ]
    for node in nodes:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', 'net', 'net.{node.name}', 'op']")
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value='File "net.py", line 7, in forward\n    code')
    if half:
        nodes.insert(0, helper.make_node("Cast", ["x"], ["xh"], to=element))
        nodes.append(helper.make_node("Cast", ["bh"], ["back"], to=TensorProto.FLOAT))
    weights = [
        numpy_helper.from_array(np.full(8, gain).astype(dtype), "g"),
        numpy_helper.from_array(np.full(8, mean).astype(dtype), "mean"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in ("x", "back")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def case(path: Path, largest: float, offset: float = 0.0, rows: int = 2) -> tuple[str, Path]:
    x = offset + largest * np.linspace(0.1, 1, 8 * rows, dtype=np.float32).reshape(rows, 8)
    save_file({"x": x.astype(np.float32)}, path)
    return path.stem, path


def test_overflow_is_named_with_place_and_magnitude(isolated: ChildProcess, tmp_path: Path) -> None:
    cases = [case(tmp_path / "small.st", 10), case(tmp_path / "large.st", 300)]
    found = compare_graphs(
        chain(tmp_path / "a.onnx", False), chain(tmp_path / "b.onnx", True), cases, isolated, tmp_path
    )
    first = found.first
    assert first is not None and found.how == "overflow"
    assert (first.node, first.operator, first.module, first.source) == ("square", "Mul", "net.square", "net.py:7")
    assert first.case == "large"
    assert first.reason(found.limit) == "overflow 9.0e4 > 65504"
    assert 0 < first.lost < 16
    # What comes after it is not the first.
    assert [(s.tensor, s.lost > 0) for s in found.steps] == [
        ("scaled", False), ("centre", False), ("out", True), ("back", True),
    ]  # fmt: skip


def test_drift_is_named_where_it_starts_not_where_it_shows(isolated: ChildProcess, tmp_path: Path) -> None:
    graphs = [chain(tmp_path / f"{half}.onnx", half, mean=1000) for half in (False, True)]
    cases = [case(tmp_path / "c.st", 2, offset=1000)]
    found = compare_graphs(*graphs, cases, isolated, tmp_path)
    assert found.how == "drift" and found.first is not None
    assert found.first.node == "centre"
    assert found.first.growth > 100
    by_name = {s.tensor: s for s in found.steps}
    assert by_name["scaled"].relative < 5e-4 < 0.1 < by_name["centre"].relative
    assert by_name["out"].growth < 3


def test_an_overflow_counts_before_a_drift_that_comes_earlier(isolated: ChildProcess, tmp_path: Path) -> None:
    graphs = [chain(tmp_path / f"{half}.onnx", half, mean=1000) for half in (False, True)]
    cases = [case(tmp_path / "drifts.st", 2, offset=1000), case(tmp_path / "overflows.st", 300)]
    found = compare_graphs(*graphs, cases, isolated, tmp_path)
    assert found.how == "overflow" and found.first is not None
    assert (found.first.node, found.first.case) == ("square", "overflows")


def test_without_a_culprit_the_error_creeps(isolated: ChildProcess, tmp_path: Path) -> None:
    graphs = [chain(tmp_path / f"{half}.onnx", half) for half in (False, True)]
    found = compare_graphs(*graphs, [case(tmp_path / "c.st", 2)], isolated, tmp_path)
    assert found.how == "creep"
    assert all(s.relative < 2e-3 for s in found.steps)
    same = compare_graphs(graphs[0], graphs[0], [case(tmp_path / "c.st", 2)], isolated, tmp_path)
    assert same.first is None and same.limit == float("inf")


def test_a_graph_of_another_model_is_refused(isolated: ChildProcess, tmp_path: Path) -> None:
    other = onnx.load(chain(tmp_path / "b.onnx", True))
    for node in other.graph.node[1:]:
        for position, name in enumerate(node.output):
            node.output[position] = f"other_{name}" if name != "back" else name
        for position, name in enumerate(node.input):
            node.input[position] = f"other_{name}" if name in ("scaled", "centre", "out", "bh") else name
    onnx.save(other, tmp_path / "b.onnx")
    with pytest.raises(
        UsageError, match=r"b\.onnx is a graph of another model than a\.onnx: it has 1 of its 4 tensors"
    ):
        compare_graphs(
            chain(tmp_path / "a.onnx", False), tmp_path / "b.onnx", [case(tmp_path / "c.st", 2)], isolated, tmp_path
        )


def test_weights_beside_the_graph_are_found_from_another_folder(isolated: ChildProcess, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    graphs = [chain(tmp_path / f"{half}.onnx", half, external=True) for half in (False, True)]
    found = compare_graphs(*graphs, [case(tmp_path / "c.st", 300)], isolated, tmp_path / "work")
    assert found.first is not None and found.first.node == "square"


def test_tensors_are_compared_a_few_at_a_time_with_one_result(isolated: ChildProcess, tmp_path: Path) -> None:
    graphs = [chain(tmp_path / "a.onnx", False), chain(tmp_path / "b.onnx", False, mean=1.5)]
    cases = [case(tmp_path / "a.st", 20)[1], case(tmp_path / "b.st", 3, rows=5)[1]]
    names = ["scaled", "centre", "out", "back"]
    few, all_at_once = (compare_intermediates(*graphs, names, cases, isolated, budget) for budget in (1, 1 << 30))
    assert few == all_at_once and list(few) == names
    assert (few["scaled"].error, few["centre"].error, few["out"].largest) == (0.0, pytest.approx(1.5), 400.0)
    assert few["out"].case == 1  # the smaller numbers, of which 1.5 is more


def test_no_tensor_is_left_out_between_two_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "_FIRST_CHUNK", 1)
    graph, names = chain(tmp_path / "a.onnx", False), ["scaled", "centre", "out", "back"]
    inputs = str(case(tmp_path / "a.st", 20)[1])
    for budget in (1, 1 << 30):
        rows = activations.compare_here(str(graph), str(graph), names, [inputs], budget, str(tmp_path))["rows"]
        assert [row[0] for row in rows] == names


def test_ranges_cover_inputs_and_all_cases(isolated: ChildProcess, tmp_path: Path) -> None:
    cases = [case(tmp_path / "a.st", 20)[1], case(tmp_path / "b.st", 30)[1]]
    found = ranges(chain(tmp_path / "a.onnx", False), cases, isolated)
    assert found == {"x": 30.0, "scaled": 30.0, "centre": 30.0, "out": 900.0, "back": 30.0}


def test_numbers_that_stand_for_infinity_do_not_hide_the_error_of_the_others(
    isolated: ChildProcess, tmp_path: Path
) -> None:
    graph = chain(tmp_path / "a.onnx", False)
    shifted = chain(tmp_path / "b.onnx", False, mean=0.5)
    x = np.full((1, 8), 2, np.float32)
    x[0, 0] = -3.4e38
    save_file({"x": x}, tmp_path / "c.st")
    found = compare_intermediates(graph, shifted, ["centre"], [tmp_path / "c.st"], isolated)["centre"]
    assert (found.largest, found.scale, found.error) == (pytest.approx(3.4e38), 2.0, 0.5)


def masked(path: Path, number: float) -> Path:
    """weights = softmax(scores + mask), with a mask that is `number` at the last three of eight keys."""
    mask = np.where(np.arange(8) < 5, 0, number).astype(np.float32)[None]
    nodes = [
        helper.make_node("Mul", ["x", "one"], ["scores"], name="scores"),
        helper.make_node("Mul", ["mask", "one"], ["scaled"], name="scaled"),
        helper.make_node("Add", ["scores", "scaled"], ["sum"], name="sum"),
        helper.make_node("Softmax", ["sum"], ["weights"], name="weights", axis=-1),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in ("x", "weights")]
    constants = [numpy_helper.from_array(mask, "mask"), numpy_helper.from_array(np.float32(1), "one")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("number", [-1e9, -3e38, -65504.0, float("-inf")])
def test_a_mask_of_another_number_is_no_drift(isolated: ChildProcess, tmp_path: Path, number: float) -> None:
    other = number if number == float("-inf") else -32752.0
    graphs = masked(tmp_path / "a.onnx", number), masked(tmp_path / "b.onnx", other)
    found = compare_graphs(*graphs, [case(tmp_path / "c.st", 2)], isolated, tmp_path)
    assert found.first is None
    assert [s.scale for s in found.steps[:3]] == [2.0, 0.0, pytest.approx(1.64)]
    opened = masked(tmp_path / "c.onnx", -1.0)
    assert compare_graphs(graphs[0], opened, [case(tmp_path / "c.st", 2)], isolated, tmp_path).first is not None


EXPORT = ("nets:attention", "--input", "x:float32[batch,T,16]", "--dim", "batch=1:2:3", "--dim", "T=3:5:9", "-q")
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A net with its fp16 graph, exported once."""
    from attn_export import export
    from attn_export.console import Console
    from attn_export.precision.conversion import add_precision
    from attn_export.source.resolve import load_source

    target = tmp_path_factory.mktemp("bisect") / "a.attn"
    loaded = load_source(
        "support.models.deep_nets:Small", inputs=["x:float32[batch,T,64]"], dims=["batch=1:2:3", "T=4:6:9"]
    )
    export(loaded, target)
    add_precision(target, "fp16", skip=["attention"], console=Console(True))
    yield target


@pytest.fixture
def bundle(exported: Path, project: Path) -> Path:
    return Path(shutil.copytree(exported, project / "a.attn"))


def test_on_the_command_line(bundle: Path, attn_export: Run) -> None:
    ran = attn_export("bisect", "a.attn", "--plot", "error.svg")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("no node stands out; the error grows most at ")
    assert "node_softmax" in ran.out and "x its inputs'" in ran.out
    assert Path("error.svg").read_text().count("<path") > 10
    told = result_of(attn_export("bisect", "a.attn", "--against", "fp16", "--case", "max", "--json").out)
    assert told["how"] == "creep" and told["holds"] is True and told["cases"] == ["max"] and told["precision"] == "fp16"
    assert {s["module"] for s in told["steps"]} >= {"attention", "head"}
    assert any("deep_nets.py:" in s["source"] for s in told["steps"])


@pytest.mark.parametrize(
    ("operator", "largest", "says"),
    [
        ("Mul", 9.1e4, "overflow 9.1e4 > 65504"),
        ("Where", 9.1e4, "overflow 9.1e4 > 65504"),
        ("Softmax", 1.0, "4 values are inf or NaN, max|value| in fp32 1.0e0"),
        ("Where", 0.0, "4 values fall on the other side of its condition, for what is compared is rounded"),
    ],
)
def test_why_values_are_lost(operator: str, largest: float, says: str) -> None:
    step = Step("t", "n", operator, "m", "s", largest, largest, 0.1, 0.1, 2.0, 4, "c")
    assert step.reason(65504.0) == says


def test_the_mended_graph_holds(project: Path, attn_export: Run) -> None:
    chain(Path("a.onnx"), False, gain=300)
    chain(Path("spoilt.onnx"), True, gain=300)
    ran = attn_export("bisect", "a.onnx", "--against", "spoilt.onnx", "-o", "mended.onnx", "--json")
    assert ran.code == 0, ran.err
    told = result_of(ran.out)
    assert (told["how"], told["first"]["node"], told["holds"]) == ("overflow", "square", False)
    assert [k["node"] for k in told["mended"]["kept"]] == ["square", "root"]
    assert told["mended"]["path"] == "mended.onnx" and all(c["passed"] for c in told["mended"]["checks"])
    onnx.checker.check_model("mended.onnx", full_check=True)
    again = result_of(attn_export("bisect", "a.onnx", "--against", "mended.onnx", "--json").out)
    assert again["how"] == "creep"
    assert attn_export("bisect", "a.onnx").code == 2
    assert attn_export("bisect", "a.onnx", "--against", "a.onnx", "-o", "b.onnx").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["bisect", "a.attn", "--against", "fp61"], 2, "did you mean fp16? available: fp16, or an .onnx file"),
        (["bisect", "a.attn", "--against", "none.onnx"], 2, "neither a precision that is there nor an existing .onnx"),
        (["bisect", "a.attn", "--case", "mac"], 2, "--case mac: did you mean max? available: min, opt, max"),
        (["bisect", "a.attn", "--plot", "x.txt"], 2, "got suffix txt, expected one of"),
        (["bisect", "a.attn", "-o", "x.attn"], 2, "expected NAME.onnx"),
        (["bisect", "b.attn"], 8, "b.attn does not exist; did you mean a.attn?"),
        (["convert", "a.attn", "--fp16", "--bf16"], 2, "one of them at a time"),
        (["convert", "a.attn"], 2, "Give --fp16 or --bf16"),
        (["convert", "a.attn", "--bf16", "--half-io"], 2, "numpy has no bfloat16"),
        (["convert", "a.attn", "--fp16", "-o", "x.onnx"], 2, "-o is for a plain MODEL.onnx"),
        (["convert", "a.attn/model.onnx", "--fp16"], 2, "name the new file with -o"),
        (["convert", "a.attn/model.fp16.onnx", "--fp16", "-o", "x.onnx"], 2, "is in fp16 already"),
        (["to-onnx", *EXPORT, "-o", "b.onnx", "--fp16"], 2, "--fp16 adds to a bundle, and b.onnx is none"),
        (["to-onnx", *EXPORT, "-o", "b.attn", "--half-io"], 2, "--half-io: to which precision?"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    bundle: Path, attn_export: Run, arguments: list[str], code: int, says: str
) -> None:
    before = sorted(p.name for p in Path.cwd().rglob("*"))
    ran = attn_export(*arguments)
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert ran.code == code and len(lines) == 1 and says in lines[0], ran.err
    assert "Traceback" not in ran.err
    assert sorted(p.name for p in Path.cwd().rglob("*")) == before


def test_a_damaged_bundle_is_refused(bundle: Path, attn_export: Run) -> None:
    other = Path(shutil.copytree(bundle, "d.attn"))
    (other / "model.fp16.onnx").write_bytes(b"\0" * (other / "model.fp16.onnx").stat().st_size)
    for command in (["bisect", "d.attn"], ["convert", "d.attn", "--fp16"]):
        ran = attn_export(*command)
        assert ran.code == 8 and "sha256 of model.fp16.onnx" in ran.err
