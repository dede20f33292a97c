"""Cases that take PyTorch long are asked of a graph's last form alone, and an earlier form is named where it was at fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from attn_export import ExportOptions, export
from attn_export.console import Console
from attn_export.parity import ParityChecker, Verdict
from attn_export.passes import _base as step
from attn_export.reference import Signature
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import ParityError
from support.checks.passes import PlainPass
from torch import nn

#: Elements of the inputs of the cases "max" and "batch-max" together: those with more than LIGHT are heavy here.
INPUTS, DIMS, LIGHT = ["x:float32[batch,T,16]"], ["batch=1:2:4", "T=2:8:16"], 16 * 50


class Wide(nn.Module):
    """Wrong beyond what is light where a tracer takes the branch of its example."""

    def __init__(self, branch: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(16, 16)
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.branch and x.numel() > LIGHT:
            return self.project(x) * 2
        return self.project(x)


class Scales(PlainPass):
    """Doubles what the graph answers where its input has more elements than `beyond`."""

    name = "scales"

    def __init__(self, beyond: int) -> None:
        self.beyond = beyond

    def run(self, source: Path, target: Path, isolated: object) -> step.PassResult:
        model = onnx.load(source)
        inner = model.graph
        last = next(node for node in inner.node if inner.output[0].name in node.output)
        last.output[0] = "before"
        constants = {"limit": np.array(self.beyond), "once": np.float32(1), "twice": np.float32(2)}
        inner.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items())
        inner.node.extend(
            [
                onnx.helper.make_node("Size", [inner.input[0].name], ["size"]),
                onnx.helper.make_node("Greater", ["size", "limit"], ["large"]),
                onnx.helper.make_node("Where", ["large", "twice", "once"], ["factor"]),
                onnx.helper.make_node("Mul", ["before", "factor"], [inner.output[0].name]),
            ]
        )
        onnx.save(model, target)
        return step.PassResult(target)


@pytest.fixture(autouse=True)
def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signature, "took", lambda _, inputs: 9.0 * (inputs["x"].size > LIGHT))


def test_all_cases_are_asked_of_the_last_form_and_the_heavy_ones_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: [Scales(beyond=10 * LIGHT)])
    export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, console=Console())
    told = Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]
    first, last = [{check["case"] for check in stage["checks"]} for stage in told["stages"]]
    assert last - first == {"max"} and last > {"min", "opt", "odd", "batch-min", "batch-max"}
    assert {found["name"] for found in told["consistency"]} == {"row-alone", "rows-permuted"}
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "scales = PyTorch" in text]
    assert "(min, opt, max, odd, batch-min, batch-max" in line


def test_a_large_case_is_heavy_however_quick_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signature, "took", lambda _, inputs: 0.0)
    monkeypatch.setattr("attn_export.pipeline.graph_export._HEAVY_BYTES", 2 * 4 * LIGHT)
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: [Keeps()])
    export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, options=ExportOptions(sweep=0))
    told = Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]["stages"]
    first, last = [{check["case"] for check in stage["checks"]} for stage in told]
    assert last - first == {"max"}


def test_a_graph_that_no_pass_follows_is_asked_all(tmp_path: Path) -> None:
    export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, options=ExportOptions(skip=("simplify",)))
    (stage,) = Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]["stages"]
    assert "max" in {check["case"] for check in stage["checks"]}


@pytest.mark.parametrize("skip", [(), ("simplify",)])
def test_a_capture_that_is_wrong_at_a_heavy_case_alone_is_named(tmp_path: Path, skip: tuple[str, ...]) -> None:
    options = ExportOptions(exporter="torchscript", sweep=0, skip=skip)
    with pytest.raises(ParityError, match=r'^capture does not match PyTorch: .* at case "max"'):
        export(Wide(branch=True).eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, options=options)
    assert not list(tmp_path.iterdir())


def test_a_pass_that_is_wrong_at_a_heavy_case_alone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: [Scales(beyond=LIGHT)])
    with pytest.raises(ParityError, match=r'^scales \(after capture\) does not match PyTorch: .* at case "max"'):
        export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS)
    assert not list(tmp_path.iterdir())


class Keeps(PlainPass):
    """Writes the graph as it is: a new form of it, which answers the same."""

    name = "keeps"

    def run(self, source: Path, target: Path, isolated: object) -> step.PassResult:
        onnx.save(onnx.load(source), target)
        return step.PassResult(target, "as it was")


class Leaves(Keeps):
    """Has no new form of the graph."""

    name = "leaves"

    def run(self, source: Path, target: Path, isolated: object) -> step.PassResult:
        return step.PassResult(source, "nothing to do")


class Fails(Keeps):
    name = "fails"

    def run(self, source: Path, target: Path, isolated: object) -> step.PassResult:
        raise ValueError("not on this graph")


def test_passes_are_held_together_and_the_manifest_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool | None]] = []
    check = ParityChecker.check

    def counted(self: ParityChecker, graph: Path, stage: str, after: tuple[str, ...], heavy: bool | None) -> Verdict:
        asked.append((stage, heavy))
        return check(self, graph, stage, after, heavy)

    monkeypatch.setattr(ParityChecker, "check", counted)
    passes = [Keeps(), Leaves(), Scales(beyond=10 * LIGHT)]
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: passes)
    export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, options=ExportOptions(sweep=0))
    assert asked == [("capture", False), ("scales", None)]
    _, keeps, leaves, scales = Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]["stages"]
    assert keeps["note"] == "as it was; held against PyTorch together with scales" and not keeps["checks"]
    assert leaves["note"] == "nothing to do; held against PyTorch together with scales" and not leaves["checks"]
    assert "max" in {check["case"] for check in scales["checks"]}


@pytest.mark.parametrize("behind", [Keeps, Fails])
def test_the_first_pass_at_fault_is_named_whatever_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: type[Keeps]
) -> None:
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: [Scales(beyond=LIGHT), behind()])
    with pytest.raises(ParityError, match=r'^scales \(after capture\) does not match PyTorch: .* at case "max"'):
        export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, options=ExportOptions(sweep=0))
    assert not list(tmp_path.iterdir())


def test_the_quickest_case_is_asked_of_the_capture_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Signature, "took", lambda _, inputs: 9.0 + inputs["x"].size)
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: [Keeps()])
    export(Wide().eval(), tmp_path / "a.attn", inputs=INPUTS, dims=DIMS, options=ExportOptions(sweep=0))
    told = Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]["stages"]
    assert [len(stage["checks"]) for stage in told] == [1, 8]
