"""Positions times frequencies stay in fp32 up to their sine; what a network computes before one does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from attn_export import convert, export
from attn_export.precision.half.angles import of_positions
from attn_runtime import open_session
from torch import nn


def kept(text: str, **initializers: np.ndarray) -> set[str]:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 22]> {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in initializers.items())
    for node in model.graph.node:
        node.name = f"n_{node.output[0]}"
    return of_positions(model)


FREQUENCIES = np.ones((1, 4, 1), np.float32)


@pytest.mark.parametrize("product", ["MatMul(w, row)", "Mul(row, w)"])
def test_rotary_places(product: str) -> None:
    found = kept(
        f"""g (int64[b, t] p, float[b, t, 8] x) => (float[b, 8, t] y, float[b, 8, t] z, float[b, t, 8] u) {{
        axes = Constant<value = int64[1] {{1}}>()  f = Cast<to = 1>(p)  row = Unsqueeze(f, axes)
        half = {product}  whole = Concat<axis = 1>(half, half)
        c = Cos(whole)  two = Constant<value = float {{2.0}}>()  y = Mul(c, two)  s = Sin(half)  z = Exp(s)  u = Sin(x) }}""",
        w=FREQUENCIES,
    )
    assert found == {"n_f", "n_row", "n_half", "n_whole", "n_c", "n_s"}


def test_a_layer_before_a_sine_is_no_angle() -> None:
    """SIREN; and what is counted but never turned."""
    found = kept(
        """g (int64[b, 4] p, float[4, 4] w) => (float[b, 4] y, float[b, 4] z) {
        f = Cast<to = 1>(p)  h = MatMul(f, m)  y = Sin(h)  g = Mul(f, f)  z = Exp(g) }""",
        m=np.ones((4, 4), np.float32),
    )
    assert found == set()


class Rotary(nn.Module):
    """transformers' own order: angles in float32, and their sines beside the activations."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequency", 10000.0 ** -torch.linspace(0, 1, 8))
        self.mix = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        position = torch.arange(x.shape[1])
        angle = position[None, :, None].float() * self.frequency[None, None, :]
        first, second = self.mix(x).chunk(2, -1)
        return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def test_a_late_place_is_as_good_as_an_early_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Rotary().eval()
    target = tmp_path / "r.attn"
    export(module, target, inputs=["x:float32[batch,T,16]"], dims=["batch=1:1:2", "T=1:64:4096"])
    (typed,) = convert(target, "fp16")
    reasons = {node["operator"]: node["reason"] for node in typed.fp32_nodes}
    assert set(reasons) == {"Sin", "Cos", "Mul"}, "and no others of the module"
    assert all("angle of a position" in reason for reason in reasons.values())
    assert sum(node["operator"] == "Mul" for node in typed.fp32_nodes) == 1
    x = torch.randn(1, 4096, 16)
    with torch.no_grad():
        expected = module(x).numpy()
    with open_session(target, device="cpu", precision="fp16") as session:
        (found,) = session.run({"x": x.numpy()}).values()
    assert np.abs(found[:, -64:] - expected[:, -64:]).max() < 5e-3 * np.abs(expected).max()
