"""The contract around a pass: what breaks it is named, and the example to copy is a pass."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from attn_export.onnx_graph import onnx_file
from attn_export.onnx_graph.onnx_file import GraphInfo, IoInfo, load
from attn_export.passes import _base as step
from attn_export.passes._base import PassResult
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import PassError, UsageError
from onnx import TensorProto, helper


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


def dropout(path: Path, last: str = "Relu") -> Path:
    """y = last(Dropout(Relu(x)))"""
    operators = ("Relu", "Dropout", last)
    nodes = [helper.make_node(o, [a], [b]) for o, a, b in zip(operators, ("x", "h", "d"), ("h", "d", "y"), strict=True)]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def example() -> step.Pass:
    """The pass in the docstring of `_base`."""
    lines = [line for line in (step.__doc__ or "").splitlines() if line.startswith("    ") or not line]
    names = {
        "GraphInfo": GraphInfo,
        "ChildProcess": ChildProcess,
        "Path": Path,
        "PassResult": PassResult,
        "ir": ir,
        "load": load,
    }
    code = textwrap.dedent("\n".join(lines)).strip()
    assert len(code.splitlines()) <= 20
    exec(code, names)
    made: step.Pass = names["DropDropout"]()  # type: ignore[operator, assignment]
    return made


def test_the_example_to_copy_is_a_pass(isolated: ChildProcess, tmp_path: Path) -> None:
    done = step.run_pass(example(), dropout(tmp_path / "m.onnx"), tmp_path / "m.0.onnx", isolated)
    assert [node.op_type for node in load(done.result.path).graph] == ["Relu", "Relu"]
    assert (done.before.nodes, done.after.nodes) == (3, 2)


def test_what_is_known_of_a_graph_is_not_read_again(
    isolated: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dropout(tmp_path / "m.onnx", "Abs")
    known = step.read_info(source)
    read: list[Path] = []
    monkeypatch.setattr(step, "read_info", lambda path: read.append(path) or onnx_file.read_info(path))
    idle = step.run_pass(step.get("rotary"), source, tmp_path / "r.onnx", isolated, known=known)
    assert idle.result.idle and idle.before is known and idle.after is known and not read
    done = step.run_pass(example(), source, tmp_path / "d.onnx", isolated, known=known)
    assert read == [tmp_path / "d.onnx"] and done.after.nodes == 2


def test_a_pass_that_fails_is_named(isolated: ChildProcess, tmp_path: Path) -> None:
    """The example can't leave out a Dropout whose result is an output of the graph."""
    with pytest.raises(PassError, match='pass "dropout" failed: ValueError: ') as problem:
        step.run_pass(example(), dropout(tmp_path / "m.onnx", "Dropout"), tmp_path / "m.0.onnx", isolated)
    assert "--skip-pass dropout" in str(problem.value)


class Spoils:
    """A pass that breaks whatever `broken` says."""

    name = "spoils"
    summary = "for tests"

    def __init__(self, broken: str) -> None:
        self.broken = broken

    def requires(self, before: GraphInfo) -> str:
        return "it wants more nodes" if self.broken == "requires" else ""

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = onnx.load(source)
        if self.broken == "name":
            model.graph.node[-1].output[0] = model.graph.output[0].name = "other"
        if self.broken == "axis":
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
        if self.broken == "run":
            raise IndexError("list index out of range")
        if self.broken == "dtype":
            model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        onnx.save(model, source if self.broken == "source" else target)
        return PassResult(source if self.broken == "source" else target)

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return "it promised less" if self.broken == "ensures" else ""


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("requires", "can't run: it wants more nodes"),
        ("run", "failed: IndexError: list index out of range"),
        ("name", "outputs were y and are other"),
        ("axis", "x: axis 0 was batch and is fixed at 7"),
        ("dtype", "x was float32"),
        ("ensures", "it promised less"),
        ("source", "broke its contract: it wrote over the graph that it was given"),
    ],
)
def test_a_pass_that_breaks_its_contract_is_named(
    isolated: ChildProcess, tmp_path: Path, broken: str, says: str
) -> None:
    with pytest.raises(PassError) as problem:
        source, target = dropout(tmp_path / "m.onnx"), tmp_path / "m.0.onnx"
        step.run_pass(Spoils(broken), source, target, isolated, earlier=["capture", "simplify"])
    assert 'pass "spoils" after capture, simplify ' in str(problem.value)
    assert says in str(problem.value)


def test_every_name_is_a_pass() -> None:
    assert step.names() == ["attention", "early_split", "heads", "rms_norm", "rotary", "simplify", "tensorrt"]
    assert [step.get(name).name for name in step.names()] == step.names()


def test_a_misspelt_pass_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean simplify?"):
        step.get("simplfy")


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("Addy_dim_1", ""),
        ("s7", ""),
        ("batch", "y: axis 1 was batch and is fixed at 4"),
        ("floor(batch/2)", "y: axis 1 was"),
    ],
)
def test_an_invented_name_of_an_output_may_become_a_number(name: str, broken: str) -> None:
    """What the exporter did not know, a pass may find out; a declared dim, or what follows from one, stays dynamic."""

    def info(axis: int | str) -> GraphInfo:
        return GraphInfo(
            (IoInfo("x", "float32", ("batch", 4)),), (IoInfo("y", "float32", ("batch", axis)),), 18, 1, 0, ()
        )

    assert step.same_io(info(name), info(4)).startswith(broken)
    assert bool(step.same_io(info(name), info(4))) == bool(broken)
    assert step.same_io(info(5), info(4)) == "y: axis 1 was 5 and is fixed at 4"
