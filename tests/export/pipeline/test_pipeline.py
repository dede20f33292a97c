"""Whole exports of small modules: what is written, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export import ExportOptions, export
from attn_export.console import Console
from attn_export.onnx_graph import onnx_file as graph
from attn_export.parity.against_module import verify_against
from attn_export.passes import _base as step
from attn_export.pipeline.pipeline import export_source
from attn_export.pipeline.types import Export
from attn_export.reference.value_cases import MAGNITUDES
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import CaptureError, ParityError, UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from support.checks.passes import PlainPass

X = ["x:float32[batch,T,16]"]
DIMS = ["batch=1:2:4", "T=1:8:16"]


def run(
    ref: str,
    target: Path,
    inputs: list[str] = X,
    dims: list[str] = DIMS,
    example: Path | None = None,
    config: tuple[str, ...] | list[str] = (),
    **options: Any,
) -> Export:
    source = load_source(ref, inputs=inputs, dims=dims, example=example, config=config)
    return export(source, target, options=ExportOptions(**options)).export


def test_a_pass_that_has_nothing_to_do_is_told_where_it_was_asked_for(project: Path) -> None:
    done = run("nets:attention", project / "a.attn", passes=("rotary",))
    assert [stage.name for stage in done.graph.stages] == ["capture", "simplify", "rotary"]
    assert not done.graph.stages[-1].changed and done.graph.stages[-1].note == "nothing is turned by halves"


def test_a_bundle_holds_the_graph_the_proof_and_the_account_of_it(project: Path) -> None:
    run("nets:attention", project / "a.attn")
    bundle = Bundle.open(project / "a.attn")
    told = bundle.manifest["graphs"]["model"]
    assert told["opset"] == 22
    assert [s["name"] for s in told["stages"]] == ["capture", "simplify"]
    cases = {c["case"] for c in told["stages"][0]["checks"]}
    assert cases == {"min", "opt", "max", "odd", "batch-min", "batch-max", "large", "tiny"}
    assert all(c["passed"] and c["max_error"] <= c["limit"] for s in told["stages"] for c in s["checks"])
    assert {g["case"] for g in told["golden"]} == cases
    assert {c["name"] for c in told["consistency"]} == {"row-alone", "rows-permuted"}
    assert bundle.manifest["versions"]["torch"].startswith("2.")
    output = bundle.graph().outputs[0]
    assert [d.name for d in output.dims] == ["batch", "T", None]
    assert verify(project / "a.attn").passed
    assert not list(project.glob(".*"))


def test_the_attention_of_the_fp32_graph_is_recorded(attention_project: Path) -> None:
    (block,) = Bundle.open(attention_project / "a.attn").graph().precisions["fp32"].attention
    nodes = {node.name for node in onnx.load(attention_project / "a.attn/model.onnx").graph.node}
    assert set(block.nodes) <= nodes and block.dtype == "float32" and block.query_length == "T"


def test_a_plain_onnx_carries_its_metadata(project: Path) -> None:
    run("nets:attention", project / "a.onnx")
    assert [p.name for p in project.iterdir() if p.suffix != ".py" and p.name != "__pycache__"] == ["a.onnx"]
    session = open_session(project / "a.onnx")
    assert session.inputs[0].dims[0].max == 4
    model = onnx.load(project / "a.onnx")
    told = {p.key: json.loads(p.value) for p in model.metadata_props if p.key.startswith("attn_export.")}
    assert told["attn_export.checked"]["stages"][0]["checks"]
    assert any("namespace" in {p.key for p in n.metadata_props} for n in model.graph.node)


def test_several_inputs_and_nested_outputs(project: Path) -> None:
    inputs = ["tokens:int64[batch,T]<50", "keep:float32[batch,T]"]
    run("nets:Classifier", project / "c.attn", inputs)
    graph = Bundle.open(project / "c.attn").graph()
    assert [o.name for o in graph.outputs] == ["logits", "hidden_0", "hidden_1"]
    assert verify(project / "c.attn").passed


@pytest.mark.full
def test_a_dataclass_and_names_of_the_users_own(project: Path) -> None:
    run("nets:Dataclass", project / "d.attn", output_names=("p", "a", "b"))
    assert [o.name for o in Bundle.open(project / "d.attn").graph().outputs] == ["p", "a", "b"]


@pytest.mark.full
def test_an_example_is_a_case_of_its_own(project: Path) -> None:
    tokens = np.array([[7, 3, 49, 0, 11]])
    np.savez(project / "x.npz", tokens=tokens, keep=np.ones((1, 5), np.float32))
    run("nets:Classifier", project / "c.attn", [], ["tokens.1=5", "keep.1=5"], project / "x.npz")
    stored = {c.name: c for c in Bundle.open(project / "c.attn").graph().cases()}
    assert np.array_equal(stored["example"].inputs["tokens"], tokens)


def test_large_weights_lie_beside_the_graph(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EXTERNAL_FROM_BYTES", 1)
    monkeypatch.setattr("attn_export.parity.judge.EXTERNAL_FROM_BYTES", 1)
    wide = ["x:float32[batch,T,64]"]
    run("nets:attention", project / "a.attn", wide, config=["width=64"])
    told = Bundle.open(project / "a.attn").manifest["graphs"]["model"]["precisions"]["fp32"]
    assert told["data"] == ["model.onnx.data"]
    assert verify(project / "a.attn").passed
    run("nets:attention", project / "b.onnx", wide, config=["width=64"])
    assert (project / "b.onnx.data").is_file()
    session = open_session(project / "b.onnx")
    assert session.run({"x": np.ones((1, 3, 64), np.float32)})["output"].shape == (1, 3, 64)


def test_big_corners_are_stored_smaller_and_none_is_left_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn_export.pipeline.graph_export.MOST_BYTES", 1200)
    run("nets:attention", project / "a.attn")
    golden = Bundle.open(project / "a.attn").manifest["graphs"]["model"]["golden"]
    assert {g["case"] for g in golden} == {"min", "opt", "max", "odd", "batch-min", "batch-max"}
    largest = next(g for g in golden if g["case"] == "max")
    assert largest["checked_sizes"] == {"batch": 4, "T": 16}
    assert largest["sizes"] != largest["checked_sizes"]
    told = Bundle.open(project / "a.attn").manifest["graphs"]["model"]["stages"][0]["checks"]
    assert "max-stored" in {c["case"] for c in told}, "what is stored smaller must be judged at that size too"
    assert verify(project / "a.attn").passed
    sizes = [f.stat().st_size for f in (project / "a.attn/golden").iterdir()]
    assert max(sizes) < 1200


class BreaksParity(PlainPass):
    name = "breaks"

    def run(self, source: Path, target: Path, isolated: object) -> step.PassResult:
        model = onnx.load(source)
        softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
        next(a for a in softmax.attribute if a.name == "axis").i = 1
        onnx.save(model, target)
        return step.PassResult(target)


def test_a_pass_that_breaks_parity_is_an_error_that_names_it_and_the_old_bundle_stays(
    attention_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (attention_project / "a.attn/manifest.json").read_bytes()
    monkeypatch.setattr("attn_export.pipeline.pipeline.plan", lambda options: [step.get("simplify"), BreaksParity()])
    with pytest.raises(ParityError, match=r"^breaks \(after capture, simplify\) does not match PyTorch") as told:
        run("nets:attention", attention_project / "a.attn")
    assert "expected" in told.value.details
    assert (attention_project / "a.attn/manifest.json").read_bytes() == before
    assert verify(attention_project / "a.attn").passed
    with pytest.raises(ParityError):
        run("nets:attention", attention_project / "new.attn")
    assert not (attention_project / "new.attn").exists()
    assert not list(attention_project.glob(".*"))


def test_rows_that_depend_on_their_neighbours_are_recorded(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_source("nets:BatchCentred", inputs=X, dims=DIMS)
    export(loaded, project / "b.attn", console=Console())
    told = capsys.readouterr().err
    assert told.count("PyTorch's own answers depend on the other rows along batch") == 1
    consistency = Bundle.open(project / "b.attn").manifest["graphs"]["model"]["consistency"]
    alone = next(c for c in consistency if c["name"] == "row-alone")
    assert not alone["passed"]


def test_an_input_that_nothing_reads_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_source("nets:Ignores", inputs=[*X, "unused:float32[batch]"], dims=DIMS)
    export(loaded, project / "i.attn", console=Console())
    assert 'input "unused" is never read' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ref", "inputs", "dims", "says"),
    [
        ("nets:Noisy", X, DIMS, "answers differently when asked twice"),
        ("nets:Rarely", ["x:float32[batch,2]"], ["batch=1:4:64"], "answers differently when asked twice"),
        ("nets:OnlyNan", X, DIMS, 'answers only NaN in output "output"'),
        ("nets:Counts", X, DIMS, "changes its buffer seen in eval mode"),
        ("nets:Exits", X, DIMS, "PyTorch itself fails .*SystemExit"),
        ("nets:Untranslatable", ["x:float32[batch,4,4]"], ["batch=1:2:4"], r"at nets\.py:\d+: .*linalg_eig"),
        ("nets:Eight", ["x:float32[batch,4]"], ["batch=1:4:16"], r"dim batch was asked to be 1\.\.16 .*nets\.py:\d+"),
        ("nets:attention", ["x:float32[batch,T,15]"], DIMS, 'PyTorch itself fails at case "min"'),
    ],
)
def test_what_can_not_be_captured_is_told_in_a_line(
    project: Path, ref: str, inputs: list[str], dims: list[str], says: str
) -> None:
    with pytest.raises(CaptureError, match=says) as told:
        run(ref, project / "x.attn", inputs, dims)
    assert "\n" not in str(told.value)
    assert not (project / "x.attn").exists()


def test_torchscript_on_request_under_the_same_checks(project: Path) -> None:
    done = run("nets:attention", project / "a.attn", exporter="torchscript")
    assert done.graph.exporter == "torchscript"
    assert done.graph.opset == 20
    assert verify(project / "a.attn").passed


@pytest.mark.full
def test_torchscript_that_bakes_a_branch_in_is_caught(project: Path) -> None:
    # It traces the branch of the traced size; another size shows it. dynamo refuses this module.
    with pytest.raises(ParityError):
        run("nets:Eight", project / "e.attn", ["x:float32[batch,4]"], ["batch=1:8:16"], exporter="torchscript")


def test_opset_and_passes_are_the_users_choice(project: Path) -> None:
    done = run("nets:attention", project / "a.attn", opset=18, skip=("simplify",))
    assert done.graph.opset == 18
    assert [s.name for s in done.graph.stages] == ["capture"]
    for options, says in (
        ({"opset": 7}, "writes 18\\.\\."),
        ({"opset": 21, "exporter": "torchscript"}, "writes 18\\.\\.20"),
        ({"exporter": "dynmo"}, "did you mean dynamo"),
        ({"rtol": float("inf")}, "expected finite limits"),
        ({"rtol": 1.0}, "expected finite limits"),  # under which a graph of zeros equals PyTorch
        ({"atol": float("nan")}, "expected finite limits"),
        ({"passes": ("simplfy",)}, "did you mean simplify"),
        ({"skip": ("simplfy",)}, "did you mean simplify"),
    ):
        with pytest.raises(UsageError, match=says):
            run("nets:attention", project / "b.attn", **options)


@pytest.mark.full
def test_a_looser_tolerance_is_stored(project: Path) -> None:
    run("nets:attention", project / "a.attn", atol=1e-4, rtol=1e-3)
    tolerance = Bundle.open(project / "a.attn").graph().precisions["fp32"].tolerance
    assert (tolerance.atol, tolerance.rtol) == (1e-4, 1e-3)
    run("nets:attention", project / "a.onnx", atol=1e-4, rtol=1e-3)
    checks = verify_against(project / "a.onnx", "nets:attention")
    assert all(c.difference.limit > 1e-4 for c in checks)  # the tolerance in the file, not the default one


def test_a_padded_transformer_is_held_to_its_own_arithmetic(project: Path) -> None:
    """PyTorch's fast path for it answers zeros at padded positions, and fails on a row that is all padding."""
    inputs = ["tokens:int64[batch,T]<50", "padded:bool[batch,T]"]
    run("nets:Encoder", project / "e.attn", inputs)
    assert verify(project / "e.attn").passed


def test_an_output_that_the_absolute_limit_swallows_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_source("nets:Tiny", inputs=X, dims=DIMS)
    export(loaded, project / "t.attn", console=Console())
    assert 'output "output" is so small' in capsys.readouterr().err


def test_sizes_beyond_memory_are_refused_before_they_are_drawn(project: Path) -> None:
    with pytest.raises(UsageError, match=r'case "max" .*GB of inputs'):
        run("nets:attention", project / "a.attn", X, ["batch=1:2:2147483647", "T=1:8:16"])
    with pytest.raises(
        UsageError, match=r"max: got 99999999999, expected at most 2147483647; narrow the range with --dim"
    ):
        run("nets:attention", project / "a.attn", X, ["batch=1:2:99999999999", "T=1:8:16"])


def test_every_case_has_inputs_of_its_own(project: Path) -> None:
    done = run("nets:attention", project / "a.attn")
    drawn = [g.inputs["x"].ravel()[:8] for g in done.graph.golden]
    assert len({v.tobytes() for v in drawn}) == len(drawn)
    for golden, reference in zip(done.graph.golden, Bundle.open(project / "a.attn").graph().golden, strict=True):
        again = draw_inputs(done.graph.inputs, reference.sizes, reference.seed)["x"]
        again = (again.astype(np.float64) * MAGNITUDES.get(reference.name, 1)).astype(np.float32)
        assert np.array_equal(again, golden.inputs["x"])


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        (
            "a.attn",
            {"inputs": [f"{'x' * 300}:float32[2,16]"], "dims": []},
            r"inputs\[0\]\.name: got .*, expected 1 to 256 characters",
        ),
        (
            "a.attn",
            {"inputs": [f"x:float32[2,{'n' * 300},16]"], "dims": [f"{'n' * 300}=1:2:4"]},
            r"dims\[1\].name: got",
        ),
        ("a.attn", {"output_names": ["é" * 257]}, "--output-names: got .*, expected 1 to 256 characters"),
        ("a.onnx", {"output_names": ["a\x1b[2J"]}, "--output-names: got"),
        ("a\x1b.attn", {}, "output .*: got .*, expected text without control characters"),
    ],
)
def test_names_that_no_bundle_holds_are_refused_before_the_work(
    tmp_path: Path, name: str, asked: dict[str, Any], said: str, project: Path
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        run("nets:attention", tmp_path / name, **asked)
    assert "\n" not in str(caught.value) and not list(tmp_path.glob("*.attn"))


def test_a_graph_whose_file_could_not_be_named_is_refused_before_the_work(tmp_path: Path, project: Path) -> None:
    source = load_source("nets:attention", inputs=X, dims=DIMS)
    source.graphs = (replace(source.graph, name="g" * 129),)
    with pytest.raises(UsageError, match="name of a graph: got .*, expected 1 to 128 characters"):
        export_source(source, tmp_path / "a.attn", ExportOptions(), Console(quiet=True))
