"""Nets that are exported rightly at most sizes, at usual values, or with usual masks, and need more to be told apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from attn_models.spec import GraphSpec, ModelSpec
from attn_runtime.spec import Dim, TensorSpec
from torch import nn


class Linear(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


class Square(Linear):
    """Another answer where both dims are equal: torch.export drops the guard of a condition on two dims."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * (2 if x.shape[0] == x.shape[1] else 1)


class Normed(nn.Module):
    """An epsilon that shows where inputs are tiny."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.norm = nn.LayerNorm(16, eps=1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class Masked(Linear):
    """Attention whose rows may be all masked."""

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, self.linear(x), attn_mask=keep[:, None, :])


class Mean(nn.Module):
    """A sum over 16384 elements near 6 overflows float16, one over 8192 does not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.linear(x) + 6)
        return hidden - hidden.sum(1, keepdim=True) / x.shape[1]


class ManyIds(nn.Module):
    """A table with far more rows than a few small cases read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rows = nn.Embedding(300, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.rows(ids).mean(1)


class Gated(nn.Module):
    """Layers that take no part: their gate is shut."""

    def __init__(self, ids: ManyIds) -> None:
        super().__init__()
        self.ids = ids
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.Tanh())
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found = self.ids(ids)
        return found + self.gate * self.inner(found)


def twins() -> ModelSpec:
    """Two graphs over one table, of which the second has a gate."""
    ids = TensorSpec("ids", "int64", (Dim("B", 1, 2, 4), Dim("T", 2, 4, 8)), low=0, high=300)
    found = TensorSpec("found", "float32", (ids.dims[0], Dim.fixed(8)))
    graphs = (
        GraphSpec("plain", (ids,), (found,), lambda module: module.ids),  # type: ignore[arg-type, return-value]
        GraphSpec("gated", (ids,), (found,)),
    )
    return ModelSpec("twins", "rows", "two graphs over one table", lambda: Gated(ManyIds()), graphs)


class Product(nn.Module):
    """Another answer at two combinations of sizes of thousands."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] * x.shape[1] == 391 else x


class Counts(Linear):
    """Numbers without axes."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.linear(x).sum(), (x > 0).sum()
