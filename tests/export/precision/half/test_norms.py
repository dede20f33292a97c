"""Means of squares, their roots and what is divided by them stay in fp32; weights and what only looks alike do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from attn_export import convert, export
from attn_export.precision.half.norms import statistics
from attn_export.precision.schemes import get
from attn_export.precision.typed.emulation import emulate
from torch import nn

CONSTANTS = """axis = Constant<value = int64[1] {-1}>()  two = Constant<value = float {2.0}>()
    eps = Constant<value = float {1e-6}>()  root = Constant<value = float {-0.5}>()"""


def kept(text: str) -> set[str]:
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 22]> g (float[b, 8] x, float[8] w) => (float[b, 8] y) {{ {CONSTANTS} {text} }}'
    )
    for node in model.graph.node:
        node.name = node.output[0]
    return statistics(model)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (  # Llama
            "p = Pow(x, two)  m = ReduceMean(p, axis)  a = Add(m, eps)  s = Sqrt(a)  r = Reciprocal(s)"
            " n = Mul(x, r)  y = Mul(w, n)",
            "p m a s r n",
        ),
        ("p = Mul(x, x)  m = ReduceMean(p, axis)  a = Add(eps, m)  s = Sqrt(a)  n = Div(x, s)  y = Mul(n, w)", "p m a s n"),
        # A length, as queries and keys are normalized by.
        ("p = Mul(x, x)  m = ReduceSum(p, axis)  s = Sqrt(m)  c = Max(s, eps)  y = Div(x, c)", "p m s c y"),
        ("p = Pow(x, two)  m = ReduceMean(p, axis)  r = Pow(m, root)  y = Mul(x, r)", "p m r y"),
        (  # LayerNorm; what is divided was subtracted a second time
            "u = ReduceMean(x, axis)  d = Sub(x, u)  p = Pow(d, two)  m = ReduceMean(p, axis)  a = Add(m, eps)  s = Sqrt(a)"
            " e = Sub(x, u)  n = Div(e, s)  y = Mul(w, n)",
            "u d p m a s e n",
        ),
        # A mean of squares that divides something else, one that nothing is divided by, and a mean of what is no square.
        ("p = Pow(x, two)  m = ReduceMean(p, axis)  s = Sqrt(m)  y = Div(w, s)", ""),
        ("p = Pow(x, two)  m = ReduceMean(p, axis)  s = Sqrt(m)  y = Sub(x, s)", ""),
        ("p = Exp(x)  m = ReduceMean(p, axis)  y = Div(x, m)", ""),
        ("p = Mul(x, w)  m = ReduceMean(p, axis)  y = Div(x, m)", ""),
    ],
)  # fmt: skip
def test_norms_are_found_by_what_is_divided(text: str, names: str) -> None:
    assert kept(text) == set(names.split())


class Norms(nn.Module):
    """RMSNorm as Llama has it, then a LayerNorm of channels, written out as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.weight, self.mix = nn.Linear(16, 16), nn.Parameter(torch.rand(16) + 0.5), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
        x = self.mix(x)
        centre = x.mean(1, keepdim=True)
        return (x - centre) / torch.sqrt((x - centre).pow(2).mean(1, keepdim=True) + 1e-6)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_inputs_larger_than_the_golden_ones_do_not_overflow(tmp_path: Path, precision: str) -> None:
    """A square is beyond float16 at 256, which no golden case need show."""
    torch.manual_seed(0)
    module, target = Norms().eval(), tmp_path / "n.attn"
    export(module, target, inputs=["x:float32[batch,T,16]"], dims=["batch=1:1:2", "T=4:4:8"])
    (typed,) = convert(target, precision)
    operators = {node["operator"] for node in typed.fp32_nodes}
    assert operators == {
        "Pow",
        "ReduceMean",
        "Add",
        "Sqrt",
        "Sub",
        "Div",
    }  # the pass rms_norm wrote Reciprocal and Mul as Div
    assert [line for line in typed.fp32_lines if "statistics of norms" in line] == typed.fp32_lines
    scheme = get(precision)
    x = torch.randn(1, 8, 16) * 2000
    with torch.no_grad():
        expected = module(x).numpy()
    for between in (True, False):
        session = onnxruntime.InferenceSession(emulate(onnx.load(typed.path), between).SerializeToString())
        (found,) = session.run(None, {"x": x.numpy()})
        assert np.abs(found - expected).max() < scheme.default_rtol * np.abs(expected).max()


def test_a_layer_normalization_of_one_node_is_judged_as_it_is_computed() -> None:
    """Its statistics are in float32 by itself (stash_type 1): what leaves it is rounded, and nothing inside."""
    typed = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 22]> g (float16[b, 8] x, float16[8] w) => (float16[b, 8] y)
        { y = LayerNormalization<axis = -1, epsilon = 1e-6>(x, w) }"""
    )
    x = (np.random.default_rng(0).standard_normal((3, 8)) * 3000).astype(np.float16).astype(np.float32)
    weight = np.linspace(0.5, 1.5, 8).astype(np.float16).astype(np.float32)
    session = onnxruntime.InferenceSession(emulate(typed).SerializeToString())
    (found,) = session.run(None, {"x": x, "w": weight})
    centred = x - x.mean(-1, keepdims=True, dtype=np.float64)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight
    rounding = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float64)
    assert (np.abs(found - expected) <= 0.51 * rounding).all()
    assert (found == found.astype(np.float16)).all()
