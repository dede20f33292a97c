"""A stack of pre-norm Transformer layers of any size, to measure large exports with: `large_stack:build`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 4096
HEADS = 32
#: Parameters of one layer at WIDTH, in gigabytes of fp32.
LAYER_GB = (12 * WIDTH * WIDTH + 13 * WIDTH) * 4 / 1e9


class Layer(nn.Module):
    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        B, T, C = x_BTC.shape
        q, k, v = (
            self.qkv(self.norm_1(x_BTC)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, C)
        x_BTC = x_BTC + self.out(attended)
        return x_BTC + self.down(F.gelu(self.up(self.norm_2(x_BTC))))


def build(gigabytes: float = 3.0) -> nn.Module:
    """As many layers as reach `gigabytes` of fp32 weights (0.8 GB a layer), with default initialisation."""
    count = max(1, -(-int(gigabytes * 1e6) // int(LAYER_GB * 1e6)))
    return nn.Sequential(*(Layer() for _ in range(count)))
