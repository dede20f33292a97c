"""`attn_export.export` from Python: what it takes, what it refuses before any work, and what it returns."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attn_export import BackendError, ExportOptions, OutputError, UsageError, export, load_source, verify
from attn_export.precision.schemes import get
from attn_runtime import Bundle, ParityError

X, DIMS = ["x:float32[batch,16]"], ["batch=1:2:4"]


def test_a_module_goes_in_and_a_bundle_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(16, 4), torch.nn.Dropout(0.5))
    module[0].eval()
    result = export(module, tmp_path / "net.attn", inputs=X, dims=DIMS)
    assert (result.path, result.files) == (tmp_path / "net.attn", (tmp_path / "net.attn/model.onnx",))
    assert result.worst_error < 2e-5 and result.precisions is None and result.notes == []
    told = result.to_json()
    assert (told["output"], told["name"]) == (str(result.path), "Sequential")
    assert list(told["precisions"]) == ["fp32"]
    assert Bundle.open(result.path).manifest["source"]["ref"] == "torch.nn.modules.container:Sequential"
    assert (module.training, module[0].training, module[1].training) == (True, False, True)
    assert capsys.readouterr() == ("", "")  # nobody gave it a console
    assert verify(result.path).to_json()["replay"]["passed"]
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="belong to a SOURCE"):
        verify(result.path, checkpoint=tmp_path / "weights.pt")


def test_what_is_loaded_already_takes_no_more_words(tmp_path: Path) -> None:
    loaded = load_source(torch.nn.Linear(16, 4), inputs=X, dims=DIMS)
    with pytest.raises(UsageError, match=r"^dims: Linear is loaded already; give it to load_source"):
        export(loaded, tmp_path / "a.onnx", dims=DIMS)
    with pytest.raises(UsageError, match=r"^options.config: Linear is loaded already"):
        export(loaded, tmp_path / "a.onnx", options=ExportOptions(config=["a=1"]))
    assert export(loaded, str(tmp_path / "a.onnx")).files == (tmp_path / "a.onnx",)


class Enough(Exception):
    pass


@pytest.mark.parametrize(
    ("source", "mapped"),
    [("nets:attention", True), (torch.nn.Linear(16, 4), False), ("support.models.small_generators:translator", False)],
)
def test_weights_are_mapped_of_a_module_that_nobody_else_holds(
    project: Path, monkeypatch: pytest.MonkeyPatch, source: str | torch.nn.Module, mapped: bool
) -> None:
    """And not where the file of the capture is deleted later, as that of one graph of several."""
    asked: list[bool] = []

    def captured(*_: object, map_weights: bool, **__: object) -> None:
        asked.append(map_weights)
        raise Enough

    monkeypatch.setattr("attn_export.pipeline.graph_export.capture", captured)
    given = () if source == "support.models.small_generators:translator" else ["x:float32[batch,5,16]"]
    with pytest.raises(Enough):
        export(source, project / "a.attn", inputs=given, dims=["batch=1:2:4"], options=ExportOptions(sweep=0))
    with pytest.raises(Enough):
        loaded = load_source(source, inputs=given, dims=["batch=1:2:4"])
        export(loaded, project / "a.attn", options=ExportOptions(sweep=0))
    assert asked == [mapped, False]


class Untouched(torch.nn.Module):
    """Whoever looks at it has gone too far."""

    def parameters(self, recurse: bool = True) -> object:  # type: ignore[override]
        raise AssertionError

    forward = state_dict = parameters


@pytest.mark.parametrize(
    ("target", "chosen", "options", "error", "says"),
    [
        ("a.zip", {}, {}, OutputError, "NAME.attn"),
        ("no/a.attn", {}, {}, OutputError, "does not exist"),
        ("a.onnx", {"precision": "fp16"}, {}, UsageError, "--fp16 adds to a bundle"),
        ("a.attn", {}, {"half_io": True}, UsageError, "--half-io: to which precision"),
        ("a.attn", {"precision": "bf16"}, {"half_io": True}, UsageError, "numpy has no bfloat16"),
        ("a.attn", {"precision": "fp61"}, {}, UsageError, "did you mean fp16[?]"),
        ("a.attn", {}, {"exporter": "dynmo"}, UsageError, "did you mean dynamo?"),
        ("a.attn", {}, {"opset": 3}, UsageError, "opset"),
        ("a.attn", {}, {"skip": ["attention"]}, UsageError, "it would not run anyway"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_model_is_looked_at(
    tmp_path: Path, target: str, chosen: dict[str, str], options: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        export(Untouched(), tmp_path / target, inputs=X, dims=DIMS, options=ExportOptions(**options), **chosen)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_precision_that_can_not_be_made_is_told_before_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise BackendError("AutoCast is not installed")

    monkeypatch.setattr("attn_export.precision.schemes.fp16.SCHEME", replace(get("fp16"), require=missing))
    with pytest.raises(BackendError, match="AutoCast"):
        export(Untouched(), tmp_path / "a.attn", inputs=X, dims=DIMS, precision="fp16")


def test_the_target_is_refused_before_torch_is_imported() -> None:
    code = (
        "import sys, attn_export\n"
        "try: attn_export.export('attentionnet', 'a.zip', options=attn_export.ExportOptions(seed=1))\n"
        "except attn_export.OutputError: print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_modes_are_put_back_where_an_export_fails(tmp_path: Path) -> None:
    module = torch.nn.Linear(16, 4)
    with pytest.raises(ParityError):
        export(module, tmp_path / "a.attn", inputs=X, dims=DIMS, options=ExportOptions(atol=0.0, rtol=0.0))
    assert module.training


def test_attention_and_a_precision_go_in_with_the_same_call(project: Path) -> None:
    result = export(
        "nets:attention", "a.attn", inputs=["x:float32[batch,T,16]"], dims=["batch=1:2:4", "T=1:8:16"], precision="fp16",
        with_attention=".*", options=ExportOptions(config=["gamma=0.5"], skip=["attention"]),
    )  # fmt: skip
    assert [file.name for file in result.files] == ["model.onnx", "model.fp16.onnx"]
    assert [one["precision"] for one in result.to_json()["precisions"]] == ["fp16"]
    graph = Bundle.open("a.attn").graph()
    assert list(graph.precisions) == ["fp32", "fp16"] and len(graph.outputs) == 2
