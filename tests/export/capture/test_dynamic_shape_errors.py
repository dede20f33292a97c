"""The line of the model that fixed a dim or branched on data is named, in one line."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from attn_export.capture import dynamic_shape_errors
from attn_export.capture.equivalents import python_sizes
from attn_runtime.spec import Dim, TensorSpec
from torch import nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv

HERE = str(Path(__file__).relative_to(Path.cwd())) if Path(__file__).is_relative_to(Path.cwd()) else __file__
X = TensorSpec("x", "float32", (Dim("batch", 1, 8, 32), Dim("T", 2, 16, 64), Dim.fixed(3)))


def explained(module: nn.Module, shape: tuple[int, ...] = (8, 16, 3)) -> str:
    dims = {d.name: torch.export.Dim(str(d.name), min=d.min, max=d.max) for d in X.dims if d.dynamic}
    shapes = {"x": {axis: dims[d.name] for axis, d in enumerate(X.dims) if d.dynamic}}
    with dynamic_shape_errors.watch() as records, pytest.raises(Exception) as caught:
        torch.export.export(module.eval(), (torch.randn(shape),), dynamic_shapes=shapes, strict=False)
    text = dynamic_shape_errors.explain(caught.value, records, [X])
    assert "\n" not in text
    return text


def marked(module: nn.Module) -> str:
    """`test_dynamic_shape_errors.py:LINE: "code"` of the line in the module's class that ends in `# here`."""
    source, first = inspect.getsourcelines(type(module))
    offset = next(n for n, line in enumerate(source) if line.rstrip().endswith("# here"))
    return f'{HERE}:{first + offset}: "{source[offset].strip()}"'


class Compares(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] == 8:  # here
            return x * 2
        return x + 1


class Views(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        return y.view(8, -1)  # here


class Asserts(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[0] == 8  # here
        return x * 2


class Inner(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x[:, 0]
        for step in range(x.shape[1]):  # here
            y = y * 0.5 + x[:, step]
        return y


class Loops(nn.Module):
    """The line is two modules deep, and torch's own frames lie between."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Inner())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class LearnedPositions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.positions  # here


@pytest.mark.parametrize("module", [Compares(), Views(), Asserts()])
def test_a_fixed_batch(module: nn.Module) -> None:
    assert explained(module) == (
        f"dim batch was asked to be 1..32 but torch.export fixes it to 8 at {marked(module)}; "
        "fix it with --dim batch=8, or change that line"
    )


@pytest.mark.parametrize(
    ("module", "at", "change"),
    [
        (Loops(), Inner(), "take the whole axis at once there: a loop has as many turns as the example"),
        (LearnedPositions(), LearnedPositions(), "change that line"),
    ],
)
def test_a_fixed_length(module: nn.Module, at: nn.Module, change: str) -> None:
    assert explained(module) == (
        f"dim T was asked to be 2..64 but torch.export fixes it to 16 at {marked(at)}; fix it with --dim T=16, or {change}"
    )


def test_an_earlier_harmless_comparison_is_not_blamed() -> None:
    class Late(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] == 20:
                x = x * 2
            return x.view(8, -1)  # here

    assert explained(Late()) == (
        f"dim batch was asked to be 1..32 but torch.export fixes it to 8 at {marked(Late())}; "
        "fix it with --dim batch=8, or change that line"
    )


def test_two_fixed_dims_are_told_apart_though_they_have_one_size() -> None:
    class Both(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] == 8:  # here
                x = x * 2
            return x.view(8, -1, 3)

    text = explained(Both(), (8, 8, 3))
    line_of_t = marked(Both())
    assert f"dim T was asked to be 2..64 but torch.export fixes it to 8 at {line_of_t}" in text
    assert "dim batch was asked to be 1..32 but torch.export fixes it to 8 at" in text
    assert '"return x.view(8, -1, 3)"' in text


def test_a_narrowed_range() -> None:
    class Grows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] > 4:  # here
                return x * 2
            return x

    assert explained(Grows()) == (
        f"dim batch was asked to be 1..32 but torch.export captures 5..32 alone at {marked(Grows())}; "
        "ask for --dim batch=5:8:32, or change that line"
    )


def test_a_range_cut_at_the_top() -> None:
    class Limited(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] > 20:  # here
                raise ValueError("too long")
            return x * 2

    assert explained(Limited()) == (
        f"dim T was asked to be 2..64 but torch.export captures 2..20 alone at {marked(Limited())}; "
        "ask for --dim T=2:16:20, or change that line"
    )


def test_dims_that_must_be_equal() -> None:
    class Symmetric(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.transpose(0, 1)  # here

    text = explained(Symmetric(), (8, 8, 3))
    assert text.startswith("dims ")
    assert {"batch", "T"} <= set(text.replace(",", "").split())
    assert text.endswith(f"but torch.export needs them equal at {marked(Symmetric())}; give them one name in --input")


def test_a_length_that_must_divide() -> None:
    class Windows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(x.shape[0], -1, 4, 3)  # here

    text = explained(Windows())
    assert text.startswith("dim T was asked to be 2..64 but torch.export ")
    assert marked(Windows()) in text


class BranchesOnData(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:  # here
            return x * 2
        return x + 1


class BranchesOnItem(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.max().item() > 3 else x  # here


@pytest.mark.parametrize("module", [BranchesOnData(), BranchesOnItem()])
def test_a_branch_on_data(module: nn.Module) -> None:
    assert explained(module).startswith(f"the model branches on data at {marked(module)}; ")


def test_a_number_made_of_data() -> None:
    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            length = int(x.abs().sum().item())  # here
            return x[:length]

    assert explained(Counts()).startswith(f"the model makes a Python number of data at {marked(Counts())}; ")


def test_the_longest_of_some_lengths() -> None:
    class Masks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, : int(x.abs().long().max())]  # here

    assert explained(Masks()).endswith("; take the padded length there, as x.shape[1], or make it a fixed argument")


def test_an_error_of_the_model_itself() -> None:
    class Wrong(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise LookupError("no such head")  # here

    assert explained(Wrong()) == (
        f"torch.export can't capture the model at {marked(Wrong())}; PyTorch says LookupError: no such head"
    )


def test_a_dynamic_model_is_blamed_for_nothing_and_pytorch_is_restored() -> None:
    before = dict(vars(ShapeEnv))
    batch = torch.export.Dim("batch", min=1, max=32)
    with dynamic_shape_errors.watch() as records:
        assert dict(vars(ShapeEnv)) != before
        torch.export.export(nn.Linear(3, 3), (torch.randn(8, 3),), dynamic_shapes=({0: batch},), strict=False)
    assert [r for r in records if r.excludes("batch", 1) or r.excludes("batch", 32)] == []
    assert dict(vars(ShapeEnv)) == before


def test_a_pytorch_that_can_not_be_listened_to_still_names_the_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_watch = dynamic_shape_errors.watch.__enter__

    def deaf(self: dynamic_shape_errors.watch) -> list[dynamic_shape_errors.Record]:
        records = plain_watch(self)
        self.__exit__(None, None, None)
        return records

    monkeypatch.setattr(dynamic_shape_errors.watch, "__enter__", deaf)
    assert explained(Views()) == (
        "dim batch was asked to be 1..32 but torch.export fixes it to 8; fix it with --dim batch=8, or change the model"
    )


class Number(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.shape[1])  # here


def test_a_number_of_a_size_is_told_what_to_write() -> None:
    assert explained(Number()).endswith("--dim T=16, or write torch.sym_float(...) for float(...) there")


class Logarithm(nn.Module):
    """As Informer chooses its number of queries."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.topk(min(int(2 * math.ceil(math.log(x.shape[1]))), x.shape[1]), 1)[0]  # here


class NumpyLogarithm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.topk(int(np.ceil(np.log(x.shape[1])).item()), 1)[0]  # here


def test_a_number_made_of_a_size_is_no_data() -> None:
    module = Logarithm()
    with python_sizes(module, lambda name: None):
        text = explained(module)
    assert text.startswith(f"the model makes a Python number of a function of a size at {marked(module)}, ")
    assert "--dim NAME=SIZE" in text


def test_numpy_takes_no_size_that_varies() -> None:
    text = explained(NumpyLogarithm())
    assert text.startswith(f"NumPy takes no size that varies at {marked(NumpyLogarithm())}; ")
    assert "--dim NAME=SIZE" in text
