"""A net whose every output comes from an operator that is written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Resized(nn.Module):
    """x [B, T, 4]. Sizes beyond 2048 are where float16 can't count any more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = self.linear(x).transpose(1, 2)
        return (
            F.interpolate(rows, size=50, mode="nearest"),
            F.interpolate(rows, scale_factor=0.7, mode="nearest"),
            F.interpolate(rows, size=77, mode="linear"),
            torch.arange(0, 1, 1 / x.shape[1]) * rows[:1, :1, :1].sigmoid(),
            rows.logcumsumexp(2),
        )
