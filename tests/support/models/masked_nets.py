"""Modules that write fill values over their answers, each in one of the ways that models do it."""

from __future__ import annotations

import torch
from torch import nn

LEAST = torch.finfo(torch.float32).min


class _Masked(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lin = nn.Linear(16, 16)
        self.register_buffer("ban", torch.arange(16) < 2)

    def forward(self, x):
        return self.mask(self.lin(x))


class Banned(_Masked):
    def mask(self, y):
        return y.masked_fill(self.ban, -1e9)


class One(_Masked):
    def mask(self, y):
        return y.masked_fill(torch.arange(16) == 5, LEAST)


class Added(_Masked):
    def mask(self, y):
        return y + self.ban.float() * -1e4


class Most(_Masked):
    def mask(self, y):
        return y.masked_fill(torch.arange(16) > 1, -65504.0)


class Several(_Masked):
    def mask(self, y):
        y = y.masked_fill(y > 1, 1e30)
        return torch.where(self.ban, torch.full_like(y, -1e9), torch.where(y < -1, torch.full_like(y, -1e4), y))


class Causal(_Masked):
    """Scores under a causal mask, as an output."""

    def mask(self, y):
        scores = y @ y.transpose(1, 2) / 4
        size = y.shape[1]
        return scores + torch.triu(torch.full((size, size), LEAST), 1)


class Noisy(_Masked):
    """Dropout that is left on, beside banned classes."""

    def mask(self, y):
        return nn.functional.dropout(y, 0.5).masked_fill(self.ban, -1e9)


class Plain(_Masked):
    """Without any, but with a large answer."""

    def mask(self, y):
        return torch.cat([y, 500 + 100 * y[..., :1]], -1)
