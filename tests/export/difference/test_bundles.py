"""Bundles of one model with something changed: what is told of it, and whether their answers agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export import diff
from attn_export.difference import BundleDifference
from attn_export.difference.changes import section
from attn_export.difference.written import Written, WrittenCase
from attn_runtime import open_session
from attn_runtime.bundle import Bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.errors import BundleError, DifferenceError, UsageError
from attn_runtime.random_inputs import draw_inputs
from support.bundles.compared_bundles import write_bundle
from support.models import tiny_generators
from support.models.tiny_generators import Tiny

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A bundle of the small model with something changed."""
    return lambda name="b", **changes: write_bundle(tmp_path / f"{name}.attn", **changes)


@pytest.fixture
def plain(make: Make) -> Path:
    return make("a")


def told(found: BundleDifference, key: str) -> dict[str, tuple[Any, Any]]:
    """What differs of the first graph, or of the whole."""
    document = found.to_json()
    places = [*(graph["sections"] for graph in document["graphs"]), document["sections"]]
    rows = next(place[key]["differ"] for place in places if key in place)
    return {row["what"]: (row["a"], row["b"]) for row in rows}


def test_a_bundle_beside_itself(plain: Path, make: Make) -> None:
    found = diff(plain, make())
    assert found.same and found.agree and str(found).endswith("\nno differences")
    found.require()
    assert found.graphs[0].answers.exact and len(found.graphs[0].answers.checks) == 2
    assert json.dumps(found.to_json(), allow_nan=False)


def test_other_weights(plain: Path, make: Make) -> None:
    found = diff(plain, make(gain=1.5))
    assert told(found, "weights") == {"down.weight": ("float[8, 3]", "float[8, 3]")}
    assert found.to_json()["graphs"][0]["sections"]["weights"]["differ"][0]["relative"] == pytest.approx(0.5)
    assert found.to_json()["graphs"][0]["sections"]["weights"]["same"] == 1
    assert not told(found, "operators") and not told(found, "model")
    assert not found.agree
    # Every logit is 1.5 times as large, so that the class stays.
    assert all(check.argmax_agreement == 1.0 for check in found.graphs[0].answers.checks)
    assert any(line.split()[-1] == "limit" and "100.0%" in line for line in found.graphs[0].answers.lines())
    with pytest.raises(
        DifferenceError, match=r'a\.attn, fp32 and b\.attn, fp32: their answers differ, output "y" at case "m'
    ) as caught:
        found.require()
    assert caught.value.exit_code == 15
    assert "5.0e-01 of max|A|" in str(found) and "they differ" in str(found)


def test_another_opset_and_a_pass_less(plain: Path, make: Make) -> None:
    found = diff(plain, make(opset=20, identity=True))
    assert told(found, "graph") == {"opset": (18, 20)}
    assert told(found, "operators") == {"Identity": (None, 1)}
    assert told(found, "modules") == {"(no module)": (1, 2)}
    assert not told(found, "weights") and found.agree and not found.same
    assert "+1 Identity" in str(found) and "answers to the same 2 cases, by ort: the same" in str(found)
    found.require()


def test_other_names_of_inputs_can_not_be_asked_the_same(plain: Path, make: Make) -> None:
    found = diff(plain, make(input="pixels", gain=2))
    kind = "float32[batch=1:2:4, 16]"
    assert told(found, "inputs_and_outputs") == {"input x": (kind, None), "input pixels": (None, kind)}
    assert set(told(found, "weights")) == {"down.weight"}  # the rest is compared all the same
    assert found.graphs[0].answers.why_not == "only A has input x; only B has input pixels"
    assert "answers: not compared, only A has input x" in str(found)
    with pytest.raises(DifferenceError, match="their answers can't be compared: only A has input x"):
        found.require()


def test_other_ranges_leave_cases_out(plain: Path, make: Make) -> None:
    found = diff(make("wide", most=8), plain)
    assert told(found, "inputs_and_outputs")["input x"] == ("float32[batch=1:2:8, 16]", "float32[batch=1:2:4, 16]")
    own = found.graphs[0].answers
    assert [check.case.name for check in own.checks] == ["min"] and set(own.left_out) == {"max"}
    assert "dim batch allows 1..4" in own.left_out["max"] and found.agree
    drawn = diff(plain, make("w", most=8), cases="5").graphs[0].answers
    assert len(drawn.checks) == 5 and drawn.exact
    wide = diff(make("w8", most=8), plain, cases="20").graphs[0].answers
    assert not wide.left_out and {check.case.sizes["batch"] for check in wide.checks} == {1, 2, 3, 4}


def test_two_precisions_of_one(make: Make) -> None:
    found = diff(make(int8=True), precision="fp32", against="int8")
    assert (found.a, found.b) == ("b.attn, fp32", "b.attn, int8")
    compared = told(found, "compared")
    assert compared["quantised"] == (None, "1 nodes, int8 weights, float activations")
    assert compared["in fp32 down"] == (None, "error alone: MatMul")
    assert told(found, "operators") == {"DequantizeLinear": (None, 1)}
    assert told(found, "weights")["up.int8"] == (None, "int8[16, 8]")
    assert not told(found, "precisions") and not told(found, "recorded")
    worst = found.graphs[0].answers.worst
    assert worst is not None and 1e-3 < worst.ratio < 1 and found.agree
    assert not diff(make("c", int8=True), against="int8", rtol=1e-6).agree


def test_cases_that_one_precision_is_not_held_to_are_left_out(make: Make) -> None:
    path = make(int8=True)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["graphs"]["model"]["golden"][1]["types"] = ["fp32"]
    manifest["graphs"]["model"]["precisions"]["int8"]["quantised"]["activations"] = "static"
    (path / "manifest.json").write_text(json.dumps(manifest))
    found = diff(path, against="int8").graphs[0].answers
    assert [check.case.name for check in found.checks] == ["min"] and not found.left_out


def test_what_makes_bundles_disagree_beside_answers(plain: Path) -> None:
    same = diff(plain, plain)
    lone = replace(same, sections=(section("graphs", {"model": "there", "step": "there"}, {"model": "there"}),))
    with pytest.raises(DifferenceError, match="they have not the same graphs"):
        lone.require()
    other = replace(same, written=Written((WrittenCase("greedy", 2, 1, 9, 4),)))
    with pytest.raises(DifferenceError, match='they write other tokens, case "greedy": 1 of 2 rows are the same'):
        other.require()


def test_recorded_errors_side_by_side(plain: Path, make: Make) -> None:
    found = diff(plain, make(fails=True, int8=True))
    assert told(found, "recorded") == {"capture (fp32)": ("0.1 at max", "2 at max"), "int8 (int8)": (None, "2 at max")}
    assert found.to_json()["graphs"][0]["recorded"][0] == {
        "precision": "fp32", "stage": "capture", "case": "max", "output": "y", "a": pytest.approx(0.1), "b": pytest.approx(2),
    }  # fmt: skip
    assert set(told(found, "sizes")) == {"precision int8", "whole bundle"} and "int8" in told(found, "precisions")


def generator(path: Path, seed: int = 0) -> Path:
    """A tiny generator with a golden case for each graph, and what it writes to two prompts."""
    tiny = Tiny(encoder=False, layers=1, seed=seed)
    case = tiny_generators.case_of(tiny, tiny_generators.drawn_prompts(tiny, [3, 5]), 8)
    bare = Bundle.open(tiny_generators.write_bundle(path.with_name(f"bare-{path.name}"), tiny, [case]))
    with BundleWriter(path) as writer:
        for file in bare.manifest["files"]:
            writer.path(file).write_bytes(bare.file(file).read_bytes())
        for name, graph in bare.graphs.items():
            with open_session(bare, "cpu", graph=name) as session:
                bounded = [replace(spec, high=2 if "position" in spec.name else 13) for spec in graph.inputs]
                inputs = draw_inputs(
                    [b if b.dtype == "int64" else s for b, s in zip(bounded, graph.inputs, strict=True)], {}, 0
                )
                outputs = session.run(inputs)
            sizes = {dim.name: dim.opt for spec in graph.inputs for dim in spec.dims if dim.name}
            files = {side: f"golden/{name}.{side}.safetensors" for side in ("inputs", "outputs")}
            writer.add_tensors(files["inputs"], inputs)
            writer.add_tensors(files["outputs"], outputs)
            golden = {"case": "opt", "sizes": sizes, "checked_sizes": sizes, "seed": 0, **files}
            bare.manifest["graphs"][name]["golden"] = [golden]
        writer.commit({key: value for key, value in bare.manifest.items() if key not in ("schema_version", "files")})
    return path


def test_generators(tmp_path: Path) -> None:
    one = generator(tmp_path / "a.attn")
    found = diff(one, one)
    assert found.same and [graph.name for graph in found.graphs] == ["first", "step"]
    assert [(case.rows, case.same, case.parts) for case in found.written.cases] == [(2, 2, None)]
    other = diff(one, generator(tmp_path / "b.attn", seed=1))
    assert not other.agree and not other.written.agree and "is the first that differs" in str(other)
    assert all(not graph.answers.agree for graph in other.graphs)
    half = diff(one, against="fp16", graph="step")
    assert half.agree and not half.written.cases and half.graphs[0].precisions == ("fp32", "fp16")


def test_other_graphs(tmp_path: Path, plain: Path) -> None:
    found = diff(plain, generator(tmp_path / "g.attn"))
    assert told(found, "graphs") == {"model": ("there", None), "first": (None, "there"), "step": (None, "there")}
    assert found.graphs == () and found.written.why_not == "only B is a generator's"
    with pytest.raises(DifferenceError, match="only B is a generator's"):
        found.require()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "diff compares two: name another bundle, or another precision of this one with --against"),
        ({"against": "int9"}, r"--against int9: did you mean int8\? available: fp32, int8 \(bundle b.attn\)"),
        ({"precision": "fp16", "against": "int8"}, "--precision fp16: "),
        ({"against": "int8", "cases": "all"}, "--cases all: expected golden, or how many to draw"),
        ({"against": "int8", "cases": "0"}, "--cases 0: expected golden"),
        ({"against": "int8", "rtol": 2.0}, "--rtol 2: expected a limit from 0 to under 1"),
        ({"against": "int8", "plot": "x.doc"}, "got suffix doc"),
    ],
)
def test_a_users_mistake(make: Make, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        diff(make(int8=True), **options)


def test_what_is_no_bundle(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.onnx is a plain ONNX file; diff compares bundles"):
        diff(plain, plain / "model.onnx")
    with pytest.raises(BundleError, match="does not exist"):
        diff(plain, tmp_path / "none.attn")
    with pytest.raises(BundleError, match="has no graph"):
        diff(plain, plain, graph="step")


def test_inputs_that_depend_on_one_another_are_not_drawn(plain: Path) -> None:
    manifest = json.loads((plain / "manifest.json").read_text())
    manifest["source"]["inputs_from"] = "small:draw"
    (plain / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="depend on one another, and can't be drawn one by one; take --cases golden"):
        diff(plain, plain, cases="3")
    assert np.isfinite([check.ratio for check in diff(plain, plain).graphs[0].answers.checks]).all()


def test_many_checks_are_told_by_output(plain: Path, make: Make) -> None:
    found = diff(plain, make(gain=1.5), cases="20").graphs[0].answers
    lines = list(found.lines())
    assert len(found.checks) == 20 and [line.split()[1] for line in lines[1:3]] == ["output", "y"]
    assert lines[3].split()[:3] == ["case", "output", "index"], (
        "the worst case of the one output, and its worst elements"
    )
