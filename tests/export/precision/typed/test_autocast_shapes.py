"""AutoCast gives different dynamic sizes one name; what ONNX Runtime makes of that is no answer at all."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from attn_export import export
from attn_export.console import Console
from attn_export.precision.conversion import add_precision
from attn_export.precision.schemes import get
from attn_export.precision.typed.autocast import to_half
from attn_export.source.resolve import load_source
from attn_runtime.child_process import ChildProcess
from attn_runtime.tasks.verification import verify

DECODER = '''
import torch
from torch import nn


class Decoder(nn.Module):
    """Two key and value heads for four of queries, rotary positions: T appears in many products of sizes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 32)
        self.q, self.k, self.v = nn.Linear(32, 64), nn.Linear(32, 32), nn.Linear(32, 32)
        self.out = nn.Linear(64, 50)

    def forward(self, tokens):
        x = self.embed(tokens)
        batch, length, _ = x.shape
        angle = torch.arange(length).float()[:, None] / 10 ** (torch.arange(8).float()[None] / 2)
        cos, sin = angle.cos(), angle.sin()

        def heads(y, n):
            return y.view(batch, length, n, 16).transpose(1, 2)

        def turn(y):
            a, b = y[..., :8], y[..., 8:]
            return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

        q, k = turn(heads(self.q(x), 4)), turn(heads(self.k(x), 2)).repeat_interleave(2, 1)
        scores = q @ k.transpose(-1, -2) / 4 + torch.full((length, length), -3.4e38).triu(1)
        mixed = scores.softmax(-1) @ heads(self.v(x), 2).repeat_interleave(2, 1)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, 64))
'''


@pytest.fixture
def decoder(project: Path) -> Path:
    (project / "decoders.py").write_text(DECODER)
    source = load_source("decoders:Decoder", inputs=["tokens:int64[batch,T]<50"], dims=["batch=1:2:4", "T=1:8:16"])
    export(source, project / "d.attn")
    return project / "d.attn"


def test_a_graph_of_many_dynamic_sizes_runs_in_half_precision(decoder: Path) -> None:
    add_precision(decoder, "fp16", console=Console(True))
    assert verify(decoder, device="cpu", precision="fp16").passed


@pytest.mark.full
def test_a_tensors_shape_is_what_the_fp32_graph_says(decoder: Path, tmp_path: Path) -> None:
    with ChildProcess(120) as isolated:
        to_half(decoder / "model.onnx", tmp_path / "h.onnx", get("fp16"), isolated)
    before, after = onnx.load(decoder / "model.onnx").graph, onnx.load(tmp_path / "h.onnx").graph
    shapes = {v.name: v.type.tensor_type.shape for v in (*before.value_info, *before.output)}
    told = {v.name: v.type.tensor_type.shape for v in (*after.value_info, *after.output)}
    assert len(told) > 20
    assert all(shape == shapes[name.removesuffix("_pre_cast")] for name, shape in told.items())
