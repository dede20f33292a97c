"""One line on what can't be translated: operator, module, line, and only ways out that there are."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attn_export.capture.patches import applied
from attn_export.capture.unsupported_ops import explain
from attn_export.quiet import captured_output
from attn_runtime.errors import CaptureError
from torch import nn


class Median(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return x.median(1).values  # no exporter has it


class Inverse(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return torch.erfinv(x.tanh())  # its decomposition is named otherwise


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(8, 8, proj_size=4, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        return self.cell(x)[0]  # TorchScript's exporter has no projections


def within(module: nn.Module) -> nn.Module:
    return nn.Sequential(nn.ReLU(), module)


def by_dynamo(module: nn.Module) -> str:
    program = torch.export.export(module, (torch.ones(2, 4, 8),), strict=False)
    with pytest.raises(Exception) as told:
        torch.onnx.export(program, dynamo=True, verbose=False)
    return explain(told.value, program)


def by_patched_torchscript(module: nn.Module) -> str:
    """Patches stand between the module and PyTorch: they are no line of the model's."""
    with applied(module):
        return by_torchscript(module)


def by_torchscript(module: nn.Module) -> str:
    with pytest.raises(Exception) as told, torch.no_grad():
        torch.onnx.export(module, (torch.ones(2, 4, 8),), io.BytesIO(), dynamo=False, opset_version=20)
    return explain(told.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("export", "module", "line", "reason", "way_out"),
    [
        (by_dynamo, Median(), "median(1)", "in 1 (Median): ONNX has no translation for aten.median.", ""),
        (by_dynamo, Inverse(), "erfinv(x", "in 1 (Inverse): ONNX has no translation for prims.erf_inv.", ""),
        (by_torchscript, Median(), "median(1)", "in 1 (Median): the TorchScript exporter has no translation for "
         "aten.median.", ""),
        (by_torchscript, Projected(), "cell(x)", "in cell (LSTM): Unsupported: ONNX export of operator LSTM, LSTMs with "
         "projections (aten.lstm).", ", or leave --exporter torchscript out"),
        (by_patched_torchscript, Projected(), "cell(x)", "in cell (LSTM): Unsupported: ONNX export of operator LSTM, LSTMs "
         "with projections (aten.lstm).", ", or leave --exporter torchscript out"),
    ],
)  # fmt: skip
def test_operator_module_and_line(
    export: Callable[[nn.Module], str], module: nn.Module, line: str, reason: str, way_out: str
) -> None:
    source = enumerate(open(__file__).read().splitlines(), 1)  # noqa: SIM115, PTH123
    number = next(n for n, text in source if line in text and text.lstrip().startswith("return"))
    with captured_output():
        text = export(within(module))
    assert text == (
        f"PyTorch could not translate the module at test_unsupported_ops.py:{number} {reason} "
        f"Replace that operation{way_out}; --verbose has the exporter's own report."
    )


def test_an_operator_that_torchscript_has() -> None:
    text = explain(
        RuntimeError("No ONNX function found for <OpOverload(op='aten.sort', overload='default')>"), program()
    )
    assert "or try --exporter torchscript" in text
    assert "torchscript" not in explain(RuntimeError("something else"), program())


def program() -> torch.export.ExportedProgram:
    return torch.export.export(nn.ReLU(), (torch.ones(2),), strict=False)


def test_a_refusal_of_our_own_is_passed_on() -> None:
    problem = RuntimeError("outer")
    problem.__cause__ = CaptureError("flex_attention: leave it out")
    assert explain(problem) == "flex_attention: leave it out"


def test_torchscripts_graphs_stay_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_output() as said:
        by_torchscript(Median())
    out, err = capfd.readouterr()
    assert "aten::median" not in out + err
    assert "Torch IR graph at exception" in said.getvalue()
