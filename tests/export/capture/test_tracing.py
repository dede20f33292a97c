"""Modules that torch.export's own rules about sizes refuse are captured, and are right at every size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from attn_export.capture import capture
from attn_export.capture.exporter import Captured
from attn_export.reference import Signature
from attn_runtime.errors import CaptureError
from attn_runtime.spec import Dim, TensorSpec
from support.models import rare_nets
from support.models.rare_nets import Sized
from torch import nn

X = TensorSpec("x", "float32", (Dim("B", 1, 2, 3), Dim("T", 3, 16, 50), Dim.fixed(16)))
PICTURE = TensorSpec("x", "float32", (Dim("B", 1, 1, 2), Dim("H", 5, 14, 30), Dim("W", 5, 20, 30), Dim.fixed(16)))

#: Refused and taken for the reasons of others in `rare_nets.TAKEN`.
MUCH_ALIKE = (rare_nets.gathered_buckets, rare_nets.spread, rare_nets.pieces, rare_nets.shift_by_selection)


def captured(module: nn.Module, folder: Path, spec: TensorSpec = X, exporter: str = "dynamo") -> Captured:
    signature = Signature(module.eval(), [spec])
    example = {"x": torch.randn([2, 15, 21, 16] if spec is PICTURE else [2, 15, 16]).numpy()}
    signature({"x": torch.from_numpy(example["x"])})
    return capture(signature, example, folder / "model.onnx", opset=20, exporter=exporter)


def wrong(module: nn.Module, path: Path, shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The shapes at which the graph is not PyTorch's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = []
    for shape in shapes:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
        expected, (got, *_) = module(x).numpy(), session.run(None, {"x": x.numpy()})
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=1e-4, atol=1e-5):
            found.append(shape)
    return found


@pytest.mark.parametrize(
    "function",
    [pytest.param(f, marks=[pytest.mark.full] if f in MUCH_ALIKE else [], id=f.__name__) for f in rare_nets.TAKEN],
)
def test_what_the_rules_refuse_is_taken(function: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path) -> None:
    module = Sized(function)
    done = captured(module, tmp_path)
    assert done.deferred
    assert "deferred-guards" in {patch.name for patch in done.patches}
    assert wrong(module, done.path, [(b, t, 16) for b in (1, 3) for t in (3, 4, 5, 8, 15, 16, 20, 33, 50)]) == []


@pytest.mark.full  # padded windows again; PyTorch takes half a minute to reason about two dims
def test_windows_over_two_dims(tmp_path: Path) -> None:
    module = Sized(rare_nets.windows_of_picture)
    done = captured(module, tmp_path, PICTURE)
    assert done.deferred
    assert wrong(module, done.path, [(1, 5, 5, 16), (2, 12, 27, 16), (1, 30, 30, 16), (2, 16, 20, 16)]) == []


class Asks(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = x.shape[1]
        if self.what == "parity" and t % 2:
            return x * 2
        if self.what == "range" and t > 20:
            return x * 2
        if self.what == "number":
            return x[:, : int(t * 0.7)] * 2
        if self.what == "loop":
            return torch.stack([x[:, step] * step for step in range(t)], 1)
        if self.what == "data" and x.sum() > 0:
            return x * 2
        return x


@pytest.mark.parametrize(
    ("what", "guard", "sizes"),
    [
        ("parity", "(T % 2) != 0", {4, 28, 50}),
        ("range", "T <= 20", {21, 50, 36}),
        ("number", "math.trunc(0.7*float(T)) == 10", {3, 50, 27}),
    ],
)
def test_a_branch_that_was_not_taken_is_handed_on(tmp_path: Path, what: str, guard: str, sizes: set[int]) -> None:
    """With its line, and sizes that take it: PyTorch is asked for those."""
    (branch,) = captured(Asks(what), tmp_path).branches
    assert branch.guard == guard
    assert "test_tracing.py:" in branch.place
    assert {size["T"] for size in branch.sizes} == sizes


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("loop", 'dim T was asked to be 3..50 but torch.export fixes it to 15 at .*: "return torch.stack.*--dim T=15'),
        ("data", 'the model branches on data at .*: "if self.what == "data"'),
    ],
)
def test_what_has_no_graph_is_refused(tmp_path: Path, what: str, says: str) -> None:
    with pytest.raises(CaptureError, match=says) as refused:
        captured(Asks(what), tmp_path)
    assert "the model does not take" not in str(refused.value)


def test_what_the_rules_take_is_taken_by_them(tmp_path: Path) -> None:
    done = captured(Sized(lambda x: x.cumsum(1)), tmp_path)
    assert not done.deferred
    assert done.branches == []


def test_two_inputs_of_one_dim(tmp_path: Path) -> None:
    """A dim has a symbol for each of its axes in the second trace: no guard may tell them apart."""

    class Two(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return rare_nets.relative_shift(x) * mask[..., None]

    mask = TensorSpec("mask", "float32", X.dims[:2])
    signature = Signature(Two(), [X, mask])
    example = {"x": torch.randn(2, 15, 16).numpy(), "mask": torch.ones(2, 15).numpy()}
    signature({name: torch.from_numpy(value) for name, value in example.items()})
    done = capture(signature, example, tmp_path / "model.onnx", opset=20)
    assert done.deferred
    assert {branch.guard for branch in done.branches} <= {"B != 1"}


def test_torchscript_leaves_the_terminal_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It writes its graph there where an operator has no translation, past Python's stdout."""
    with pytest.raises(CaptureError, match="cummax"):
        captured(Sized(lambda x: x.cummax(1)[0]), tmp_path, exporter="torchscript")
    assert capfd.readouterr() == ("", "")
