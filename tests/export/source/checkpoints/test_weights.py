import pytest
import torch
from attn_export.source.checkpoints import refuse_nan, silent_gates
from attn_runtime.errors import CheckpointError
from torch import nn


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_nan_is_told_and_infinity_is_not() -> None:
    module = net()
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    refuse_nan(module, "net")
    with torch.no_grad():
        module[0].weight[1, 2] = torch.nan
    with pytest.raises(CheckpointError, match=r"has NaN in 1 tensor: 0\.weight \(1 of 12\)"):
        refuse_nan(module, "net")


def test_weights_in_eight_bits_are_looked_at_too() -> None:
    module = net()
    module[0].to(torch.float8_e4m3fn)
    refuse_nan(module, "net")
    module[0].bias.data = torch.tensor([1.0, torch.nan, 1.0]).to(torch.float8_e4m3fn)
    with pytest.raises(CheckpointError, match=r"0\.bias \(1 of 3\)"):
        refuse_nan(module, "net")


def test_a_gate_at_zero_is_told() -> None:
    module = net()
    module.register_parameter("gamma", nn.Parameter(torch.zeros(1)))
    assert silent_gates(module) == ["gamma"]
    nn.init.ones_(module.gamma)
    assert silent_gates(module) == []
