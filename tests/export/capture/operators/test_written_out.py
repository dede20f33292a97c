"""The pass over a captured program: which calls it reaches, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import attn_export.capture.operators
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from attn_export import export
from attn_export.capture.operators import write_out
from attn_export.capture.operators.written_out import forms
from attn_export.console import Console
from attn_export.source.resolve import load_source
from attn_runtime.compare import Tolerance
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.library import why_unavailable
from support.checks.every_size import Graph, Module, floats
from support.models.resized import Resized
from torch import nn


def captured(function: object) -> torch.export.ExportedProgram:
    dims = ({2: torch.export.Dim("size", min=6, max=60)},)
    return torch.export.export(Module(function), (floats(2, 3, 20),), dynamic_shapes=dims, strict=False)  # type: ignore[arg-type]


def test_a_program_without_such_operators_is_itself() -> None:
    program = captured(lambda x: x.softmax(-1) + torch.arange(x.shape[-1]))
    again, written = write_out(program)
    assert again is program
    assert not written


def test_every_file_with_a_form_is_found() -> None:
    folder = Path(attn_export.capture.operators.__file__).parent
    files = {f.stem for f in folder.rglob("*.py") if "\nFORM = " in f.read_text()}
    assert {f.write.__module__.rpartition(".")[2] for f in forms().values()} == files
    assert all(hasattr(torch.ops.aten, name) for name in forms())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With fp16 beside fp32, as attn-export makes it."""
    target = tmp_path_factory.mktemp("resized") / "resized.attn"
    loaded = load_source("support.models.resized:Resized", inputs=["x:float32[B,T,4]"], dims=["B=1", "T=8:16:2500"])
    export(loaded, target, precision="fp16", console=Console(True))
    return target


@pytest.mark.parametrize("graph, close", [("model.onnx", 2e-5), ("model.fp16.onnx", 2e-3)])
def test_no_index_is_counted_in_float16(bundle: Path, graph: str, close: float) -> None:
    session = onnxruntime.InferenceSession(bundle / graph, providers=["CPUExecutionProvider"])
    net = Resized().eval()
    for size in (8, 90, 2047, 2049, 2499):
        x = floats(1, size, 4)
        with torch.no_grad():
            expected = net(x)
        for n, (want, got) in enumerate(zip(expected, session.run(None, {"x": x.numpy()}), strict=True)):
            torch.testing.assert_close(
                torch.from_numpy(got), want, rtol=close, atol=close * want.abs().max(), msg=f"{n}"
            )


@pytest.mark.skipif(why_unavailable("rtx") is not None, reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_builds_what_is_written(bundle: Path, precision: str, tmp_path: Path) -> None:
    assert compile_engine(bundle, precision=precision, save_engine=tmp_path / "one.engine").path.is_file()


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def nearest(x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(x, size=50, mode="nearest").clone()

        def linear(x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(x, size=50, mode="linear").clone()

        return torch.cond(x.mean() > 0, nearest, linear, (x,))


def test_branches_are_reached() -> None:
    graph = Graph(Branches(), 6, 120)
    assert "1 upsample_linear1d, 1 upsample_nearest1d" in graph.told["written-out"]
    assert graph.wrong(None, Tolerance()) == []


def test_an_exported_program_is_reached() -> None:
    """What a .pt2 file holds is captured again: its graph names operators, also those that work in place."""

    def function(x: torch.Tensor) -> torch.Tensor:
        resized = F.interpolate(x, scale_factor=0.7, mode="nearest")
        return torch.zeros(2, 3, 8).scatter_reduce_(2, (resized * 7).abs().long() % 5, resized, "mean")

    graph = Graph(captured(function).module(), 6, 60)
    assert "1 scatter_reduce_, 1 upsample_nearest1d" in graph.told["written-out"]
    assert graph.wrong(None, Tolerance()) == []


def test_two_axes_of_one_length_stay_comparable() -> None:
    """Sizes that are computed by one function of one size are one size to whoever compares them."""

    def function(x: torch.Tensor) -> torch.Tensor:
        nearest = F.interpolate(x, scale_factor=0.7, mode="nearest")
        again = F.interpolate(x, scale_factor=0.7, mode="linear", recompute_scale_factor=True)
        return nearest + again

    assert Graph(function, 6, 200).wrong([6, 50, 90, 170, 180, 200], Tolerance()) == []
