"""The patch around recurrent layers: which calls it reaches, what it tells, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from attn_export import export
from attn_export.capture.patches import applied
from attn_export.console import Console
from attn_export.source.resolve import load_source
from attn_runtime.errors import CaptureError
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.library import why_unavailable
from support.recurrent.nets import Layers, Packed
from support.recurrent.rows_and_steps import ROWS, STEPS, Graph, Inputs, numbers
from torch import nn

AXES = [{0: ROWS, 1: STEPS}]


def inputs(rows: int, steps: int) -> Inputs:
    return (numbers(rows, steps, 16),)


def test_without_it_the_number_of_steps_is_fixed() -> None:
    with pytest.raises(Exception, match="specialized it to be a constant"):
        Graph(Layers("LSTM", batch_first=True), inputs, AXES, skip=["recurrent"])


class Doubled(nn.LSTM):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x * 2)[0]


class Several(nn.Module):
    """A subclass, one step after another with the state handed on, a function, and a cell that stays written out."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled, self.gru = Doubled(16, 24, batch_first=True), nn.GRU(24, 24, batch_first=True)
        self.rnn, self.cell = nn.RNN(24, 24, batch_first=True), nn.GRUCell(24, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.doubled(x)
        step, state = y[:, :1], None
        for _ in range(2):
            step, state = self.gru(step, state)
        zeros = torch.zeros(1, x.shape[0], 24)
        z, _ = torch.rnn_tanh(y, zeros, self.rnn._flat_weights, True, 1, 0.0, False, False, True)
        return z + self.cell(step[:, 0], y[:, 0]).unsqueeze(1)


def test_calls_that_are_reached() -> None:
    graph = Graph(Several(), inputs, AXES)
    assert graph.wrong() == []
    assert graph.told["recurrent"] == "wrote 2 GRU nodes, 1 LSTM node, 1 RNN node: one a layer"


def test_an_exported_program_is_reached() -> None:
    net = Layers("RNN", num_layers=2).eval()
    program = torch.export.export(net, (numbers(15, 2, 16),))
    with torch.no_grad(), applied(module := program.module()) as told:
        again = torch.export.export(module, (numbers(15, 2, 16),), strict=False)
        torch.onnx.export(again, dynamo=True, verbose=False)
    assert "2 RNN nodes" in str(told[-1])


class InAnotherType(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.gru = dtype, nn.GRU(16, 24, batch_first=True, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x.to(self.dtype))[0].float()  # type: ignore[no-any-return]


def test_float64_is_computed_in_float32_and_told() -> None:
    graph = Graph(InAnotherType(torch.float64), inputs, AXES)
    assert graph.wrong([(3, 15)]) == []
    assert graph.told["recurrent"].endswith("GRU in float64 computed in float32")


def test_packed_with_dropout_while_training() -> None:
    net = Packed("GRU", num_layers=2, dropout=0.5).train()
    with applied(net), pytest.raises(CaptureError, match=r"call eval\(\)"):
        torch.export.export(net, (numbers(2, 5, 16), torch.tensor([3, 5])), strict=False)


def test_all_is_put_back() -> None:
    functions = [torch._VF.lstm, torch.gru, nn.LSTM.forward, nn.utils.rnn.pack_padded_sequence, torch.onnx.export]
    with applied(nn.LSTM(2, 2)):
        assert torch._VF.lstm is not functions[0]
    after = [torch._VF.lstm, torch.gru, nn.LSTM.forward, nn.utils.rnn.pack_padded_sequence, torch.onnx.export]
    assert after == functions


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("recurrent") / "reader.attn"
    dims = ["B=1:2:4", "T=1:16:60"]
    loaded = load_source("support.recurrent.nets:Reader", inputs=["x:float32[B,T,24]"], dims=dims)
    export(loaded, target, precision="fp16", console=Console(True))
    return target


def test_the_whole_way(bundle: Path) -> None:
    """Each stage is held against PyTorch; nothing in it makes the nodes something else."""
    for file in ("model.onnx", "model.fp16.onnx"):
        nodes = onnx.load(bundle / file).graph.node
        assert [n.op_type for n in nodes if n.op_type in ("LSTM", "GRU", "Loop", "Scan")] == ["GRU", "GRU", "LSTM"]


@pytest.mark.skipif(why_unavailable("rtx") is not None, reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_builds_it(bundle: Path, precision: str, tmp_path: Path) -> None:
    assert compile_engine(bundle, precision=precision, save_engine=tmp_path / "one.engine").path.is_file()
