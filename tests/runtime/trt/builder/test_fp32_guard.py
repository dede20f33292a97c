"""What the graph has in float32 is computed in float32: real builds by TensorRT-RTX, which would narrow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.errors import PrecisionError
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from attn_runtime.trt.precision_audit import audit
from attn_runtime.trt.profiles import Shape
from support.tensorrt import trt_graphs as graphs

pytestmark = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))


def built(file: Path, shapes: dict[str, Shape], kept: tuple[str, ...] = ()) -> network.Built:
    profile = {name: ((1, *rest), (2, *rest), (4, *rest)) for name, rest in shapes.items()}
    made = network.build(library.load("rtx"), file, [profile], network.BuildOptions(kept=kept))
    assert made.plan is not None, made.errors
    return made


@pytest.mark.parametrize("size", [1e6, 1e-9])
@pytest.mark.parametrize(
    ("operator", "shape"), [("MatMul", (64,)), ("Conv", (8, 16, 16)), ("ConvTranspose", (8, 16, 16))]
)
def test_weights_that_half_precision_can_not_hold_stay_as_they_are(
    operator: str, shape: Shape, size: float, tmp_path: Path
) -> None:
    made = built(graphs.sandwiched(tmp_path / "m.onnx", operator, size), {"x": shape})
    found = audit(made.layers, made.products, "fp16", ["wide"])
    found.require()
    assert [layer.dtype for layer in found.kept] == ["float32"] and found.counts == {"float32": 1}
    wide = next(layer for layer in made.layers if "wide" in layer.nodes)
    assert [t.dtype for t in wide.constants if np.prod(t.dims) > 1] == ["float32"]


def test_a_product_of_activations_is_held_where_it_is_kept_on_purpose(tmp_path: Path) -> None:
    file = graphs.sandwiched_scores(tmp_path / "m.onnx")
    shapes: dict[str, Shape] = {"q": (64, 64), "k": (64, 64)}
    held = built(file, shapes, kept=("scores",))
    found = audit(held.layers, held.products, "fp16", ["scores"])
    found.require()
    assert [layer.dtype for layer in found.kept] == ["float32"]
    # Not kept: what it multiplies has been rounded already, and the kernel adds up in float32.
    free = built(file, shapes)
    audit(free.layers, free.products, "fp16").require()


def test_a_library_that_narrows_it_all_the_same_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(network, "hold_float32", leave)
    made = built(graphs.sandwiched(tmp_path / "m.onnx"), {"x": (64,)})
    with pytest.raises(PrecisionError, match="kept in float32 on purpose run in float16") as caught:
        audit(made.layers, made.products, "fp16", ["wide"]).require()
    assert "wide" in caught.value.details


def test_an_fp32_graph_is_left_alone(tmp_path: Path) -> None:
    made = built(graphs.matmul(tmp_path / "m.onnx"), {"x": (64,)}, kept=("product",))
    assert not any("Max" in layer.name for layer in made.layers)
