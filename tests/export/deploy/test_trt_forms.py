"""Graphs that TensorRT misreads or dies of: to-trt builds another form, held against the record, and stores it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export import Console, ParityError, export, to_trt, verify
from attn_export.deploy import trt_engine
from attn_export.passes import early_split, tensorrt
from attn_export.precision import add_form
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import EngineError, FusionError, OutputError, UsageError
from attn_runtime.trt import ShapeTexts, library
from attn_runtime.trt.builder import Compiled, CompilerFailure, compile_engine
from support.tensorrt import misread_graphs as graphs

pytestmark = [
    pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx"))),
    pytest.mark.timeout(600),
]

ONE_TOKEN = {"min_shapes": ("x:1x1x32",), "opt_shapes": ("x:2x1x32",), "max_shapes": ("x:16x1x32",)}

NETS = '''
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """Rows summed by cell, which TensorRT does not read; attention over one token, simplified, which it dies of."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.qkv, self.head = nn.Linear(32, 96), nn.Linear(32, 4)

    def forward(self, x, cell):
        batch = x.shape[0]
        q, k, v = self.qkv(x).reshape(batch, 1, 3, 2, 16).permute(2, 0, 3, 1, 4).unbind(0)
        rows = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, 32)
        return self.head(torch.zeros(4, 32).index_add(0, cell, rows))


def net():
    return Net()
'''


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("forms")
    (folder / "form_nets.py").write_text(NETS)
    sys.path.insert(0, str(folder))
    source = load_source("form_nets:net", inputs=["x:float32[B,1,32]", "cell:int64[B]<4"], dims=["B=1:4:16"])
    export(source, folder / "net.attn", console=Console(True))
    yield folder / "net.attn"
    sys.path.remove(str(folder))


def test_a_bundle(bundle: Path) -> None:
    """The tests below go on from here."""
    with pytest.raises(EngineError, match=r"ScatterND.*form_nets.py:\d+.*attn-export to-trt writes it otherwise"):
        compile_engine(bundle, flavour="rtx")
    assert list(Bundle.open(bundle).graph().precisions) == ["fp32"]
    report = to_trt(bundle, "fp32", flavour="rtx")
    report.require()
    engine = report.builds[0].done
    assert engine is not None and engine.path == bundle / "engines" / "model.fp32-trt.rtx.engine"
    assert engine.path.exists() and engine.key.precision == "fp32-trt"

    opened = Bundle.open(bundle)
    entry = opened.graph().precisions["fp32-trt"]
    assert (entry.target, entry.type, entry.file.name) == ("tensorrt", "fp32", "model.fp32-trt.onnx")
    stages = [s["name"] for s in opened.manifest["graphs"]["model"]["stages"] if s["precision"] == "fp32-trt"]
    assert stages == ["tensorrt", "early_split"]
    assert "ScatterND" not in {node.op_type for node in onnx.load(entry.file).graph.node}
    verify(bundle, backend="ort", precision="fp32-trt")

    # What is there is built as it is, also where there is no onnx.
    manifest = (bundle / "manifest.json").read_bytes()
    assert compile_engine(bundle, flavour="rtx").key.precision == "fp32-trt"
    to_trt(bundle, "fp32", flavour="rtx").require()
    assert (bundle / "manifest.json").read_bytes() == manifest


def test_a_form_that_does_not_hold_is_not_stored(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(model: object) -> tensorrt.Rewritten:
        for weight in model.graph.initializers.values():  # type: ignore[attr-defined]
            if weight.name == "head.bias":
                weight.const_value = onnx_ir.tensor(weight.const_value.numpy() + 1, name=weight.name)
        return tensorrt.Rewritten(("head",), ())

    import onnx_ir

    monkeypatch.setattr(tensorrt, "rewrite", spoilt)
    manifest = (bundle / "manifest.json").read_bytes()
    with pytest.raises(ParityError, match="fp32-trt"):
        add_form(bundle, "model", "fp32", tensorrt.PASS, Console(True))
    assert (bundle / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize("precision", [None, pytest.param("fp16", marks=pytest.mark.full)])
def test_a_plain_file_with_one_group(precision: str | None, tmp_path: Path) -> None:
    file = graphs.one_group(tmp_path / "m.onnx")
    shapes = {"min_shapes": ("x:1x6x4x5",), "opt_shapes": ("x:2x6x8x5",), "max_shapes": ("x:2x6x16x5",)}
    to_trt(file, precision, flavour="rtx", **shapes).require()  # type: ignore[arg-type]
    made = tmp_path / ("m.fp16.onnx" if precision else "m.trt.onnx")
    assert not tensorrt.misread(made) and tensorrt.misread(file)
    assert len(list(tmp_path.glob(f"{made.stem}*.engine"))) == 1


def test_a_plain_file_that_the_compiler_dies_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = graphs.one_token(tmp_path / "m.onnx")
    with monkeypatch.context() as changed:
        changed.setattr(early_split, "rewrite", lambda model: ())
        with pytest.raises(CompilerFailure, match="kqv_gemm_split"):
            to_trt(file, flavour="rtx", **ONE_TOKEN)  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    to_trt(file, flavour="rtx", **ONE_TOKEN).require()  # type: ignore[arg-type]
    assert sorted(p.suffix for p in tmp_path.glob("m.trt*")) == [".engine", ".json", ".onnx"]


def test_the_range_of_an_integer_input_is_told(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[8, 4] x, int64[5, 1] i, float[5, 4] u) => (float[8, 4] y) {
        y = ScatterND <reduction = "add"> (x, i, u) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    with pytest.raises(
        UsageError, match=r"input \"i\".* needs a range to draw from, as in --input 'i:int64\[5,1\]<1000'"
    ):
        to_trt(tmp_path / "m.onnx", flavour="rtx").require()
    with pytest.raises(UsageError, match="--input j: the file has no such input; it has x, i, u"):
        to_trt(tmp_path / "m.onnx", flavour="rtx", inputs=["j:int64[5,1]<8"]).require()
    to_trt(tmp_path / "m.onnx", flavour="rtx", inputs=["i:int64[5,1]<8"]).require()
    assert (tmp_path / "m.trt.onnx").exists()


def test_attention_that_is_not_fused_is_told_in_place_of_the_compilers_death(tmp_path: Path) -> None:
    file = graphs.one_token(tmp_path / "m.onnx")

    def not_fused(*_: object, **__: object) -> Compiled:
        raise FusionError("it computes in float32")

    shapes = ShapeTexts(*ONE_TOKEN.values())
    with pytest.raises(FusionError, match="it computes in float32"):
        trt_engine._build_otherwise(file, None, shapes, None, None, not_fused, Console(True))
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_file_of_the_users_is_left_where_another_form_would_go(tmp_path: Path) -> None:
    file, other = graphs.one_token(tmp_path / "m.onnx"), graphs.one_group(tmp_path / "m.trt.onnx")
    before = other.read_bytes()
    with pytest.raises(OutputError, match=r"m\.trt\.onnx is there and was not made by a conversion"):
        to_trt(file, flavour="rtx", **ONE_TOKEN).require()  # type: ignore[arg-type]
    assert other.read_bytes() == before


def test_a_graph_that_is_misread_and_dies_gets_both_forms(tmp_path: Path) -> None:
    model = onnx.load(graphs.one_token(tmp_path / "m.onnx"))
    model.graph.node[-1].output[0] = "answer"
    ones = onnx.numpy_helper.from_array
    model.graph.initializer.append(ones(np.ones(1, np.float32), "scale_of_token"))
    model.graph.initializer.append(ones(np.zeros(1, np.float32), "bias_of_token"))
    norm = ["answer", "scale_of_token", "bias_of_token"]
    model.graph.node.append(onnx.helper.make_node("GroupNormalization", norm, ["y"], name="norm", num_groups=1))
    onnx.save(model, tmp_path / "m.onnx")
    to_trt(tmp_path / "m.onnx", flavour="rtx", **ONE_TOKEN).require()  # type: ignore[arg-type]
    made = onnx.load(tmp_path / "m.trt.onnx").graph
    assert "GroupNormalization" not in {node.op_type for node in made.node}
    assert [p.name for p in tmp_path.glob("*.engine")] == ["m.trt.fp32.rtx.engine"]
