"""An output that holds fill values is proven as any other: what is wrong beside them, and what becomes of them, is seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export import ExportOptions, convert, export
from attn_export.console import Console
from attn_export.parity.against_module import verify_against
from attn_export.precision.conversion import convert_file
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import CaptureError, ParityError
from attn_runtime.tasks.verification import verify
from onnx import numpy_helper
from support.graphs.make_hostile_bundles import rehash

X, DIMS = ["x:float32[B,T,16]"], ["B=1:2:4", "T=1:8:16"]
Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Bundles of the nets in tests/support/models/masked_nets.py, each exported once; never change one, copy it."""
    folder = tmp_path_factory.mktemp("masked")

    def make(name: str) -> Path:
        target = folder / f"{name}.attn"
        if not target.exists():
            run(name, target)
        return target

    yield make


def run(name: str, target: Path, **console: Any) -> None:
    source = load_source(f"support.models.masked_nets:{name}", inputs=X, dims=DIMS)
    export(source, target, options=ExportOptions(skip=("simplify",)), console=Console(**console) if console else None)


def changed(bundle: Path, to: Path, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Path:
    """A copy whose constants and weights went through `change`, with hashes that fit."""
    shutil.copytree(bundle, to)
    model = onnx.load(to / "model.onnx")
    tensors = [*model.graph.initializer]
    tensors += [a.t for n in model.graph.node for a in n.attribute if n.op_type == "Constant" and a.name == "value"]
    for tensor in tensors:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
    (to / "model.onnx").write_bytes(model.SerializeToString())
    rehash(to)
    return to


KINDS = {
    "Banned": [-1e9],
    "One": [-3.4028235e38],
    "Added": [-1e4],
    "Most": [-65504],
    "Several": [-1e9, -1e4, 1e30],
    "Causal": [-3.4028235e38],
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_wrong_beside_fills_is_seen(name: str, made: Made, tmp_path: Path) -> None:
    bundle = made(name)
    graph = Bundle.open(bundle).graph()
    (ranges,) = graph.precisions["fp32"].tolerance.fills.values()
    assert [low / 2 + high / 2 for low, high in ranges] == pytest.approx(KINDS[name], rel=1e-3)
    checks = Bundle.open(bundle).manifest["graphs"]["model"]["stages"][-1]["checks"]
    assert any(c.get("max_fill", 0) >= abs(KINDS[name][-1]) * 0.99 for c in checks)
    # At 100 times the usual inputs, and scores at 10000 times, what is usual is large too.
    assert all(c["max_reference"] < 20 and c["limit"] < 1e-3 for c in checks if c["case"] != "large")
    report = verify(bundle, device="cpu")
    assert report.to_json()["tolerances"]["model"]["fills"]["output"] == [list(ends) for ends in ranges]
    # Every weight doubled and negated; scores of two such factors are four times as large.
    with pytest.raises(ParityError, match="golden cases do not match"):
        verify(
            changed(bundle, tmp_path / "w.attn", lambda w: w * np.float32(-2) if w.ndim and w.size > 1 else w),
            device="cpu",
        )


@pytest.mark.parametrize("name", ["Banned", "Added"])
def test_a_fill_that_is_lost_is_seen(name: str, made: Made, tmp_path: Path) -> None:
    lost = changed(made(name), tmp_path / "f.attn", lambda w: np.where(np.abs(w) > 1e3, np.float32(0), w))
    report = verify(lost, device="cpu", check=False)
    assert not any(case.passed for case in report.cases)
    told = report.to_json()["cases"][0]["outputs"][0]
    assert "fill values differ" in told["problem"] and told["max_fill"] > 9e3 and told["max_error"] < 1e-5


def test_a_bundle_without_the_key_is_held_to_the_rule_that_it_was_made_by(made: Made, tmp_path: Path) -> None:
    old = changed(made("Banned"), tmp_path / "old.attn", lambda w: w * np.float32(-2) if w.size > 1 else w)
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["graphs"]["model"]["precisions"]["fp32"]["tolerance"]["fills"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    report = verify(old, device="cpu")
    assert report.passed and all(d.limit > 1e4 for case in report.cases for d in case.differences)


def test_honest_answers_have_no_key(made: Made) -> None:
    manifest = Bundle.open(made("Plain")).manifest["graphs"]["model"]
    assert manifest["precisions"]["fp32"]["tolerance"].keys() == {"atol", "rtol"}
    assert not any("max_fill" in check for check in manifest["stages"][-1]["checks"])


def test_a_module_that_answers_differently_each_time_is_refused_beside_fills(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="answers differently when asked twice"):
        run("Noisy", tmp_path / "n.attn")


def test_a_plain_file_carries_them_and_one_of_other_makers_has_them_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.onnx"
    run("Banned", path, quiet=False)
    assert 'output "output" holds fill values (-1e+09)' in capsys.readouterr().err
    model = onnx.load(path)
    stored = {p.key: p.value for p in model.metadata_props}
    assert json.loads(stored["attn_export.checked"])["tolerance"]["fills"].keys() == {"output"}
    source = "support.models.masked_nets:Banned"
    assert all(c.difference.limit < 1e-3 for c in verify_against(path, source))
    checked = json.loads(stored["attn_export.checked"])
    hostile = {**checked, "tolerance": {**checked["tolerance"], "fills": {"output": [[1, -1]]}}}
    for said in (None, json.dumps(hostile)):  # says nothing, or nothing that makes sense
        onnx.helper.set_model_props(
            model,
            {k: v for k, v in stored.items() if k != "attn_export.checked"}
            | ({"attn_export.checked": said} if said else {}),
        )
        onnx.save(model, path)
        assert all(c.difference.limit < 1e-3 for c in verify_against(path, source))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(-2), tensor.name))
    onnx.save(model, path)
    with pytest.raises(ParityError):
        verify_against(path, source)


@pytest.mark.parametrize("half_io", [pytest.param(False, marks=pytest.mark.full), True])
def test_half_precision_is_held_to_what_is_left(half_io: bool, made: Made, tmp_path: Path) -> None:
    bundle = shutil.copytree(made("Banned"), tmp_path / "b.attn")
    convert(bundle, "fp16", half_io=half_io)
    entry = Bundle.open(bundle).graph().precisions["fp16"]
    assert entry.tolerance.fills == Bundle.open(bundle).graph().precisions["fp32"].tolerance.fills
    report = verify(bundle, device="cpu", precision="fp16")
    assert all(d.limit < 0.1 for case in report.cases for d in case.differences)
    assert all(
        c.difference.passed for c in verify_against(bundle, "support.models.masked_nets:Banned", precision="fp16")
    )


def test_a_plain_file_is_converted_by_the_answers_of_its_fp32_graph(tmp_path: Path) -> None:
    run("Banned", tmp_path / "b.onnx")
    typed = convert_file(tmp_path / "b.onnx", tmp_path / "b.fp16.onnx", "fp16", console=Console(True))
    assert typed.tolerance.fills.keys() == {"output"} and all(c.difference.limit < 0.1 for c in typed.checks)
