"""Nets that are exported rightly at most sizes, at usual values, or with usual masks, and need more to be told apart."""

from __future__ import annotations

from collections.abc import Callable

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


# Modules whose sizes torch.export's own rules refuse, though PyTorch runs them at every size.


class Sized(nn.Module):
    """A function of x [B, T, 16], or of x [B, H, W, 16]."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def relative_shift(x: torch.Tensor) -> torch.Tensor:
    """Transformer-XL's and Conformer's, by padding and a view."""
    b, t, c = x.shape
    positions = torch.arange(t - 1, -t, -1).float()
    scores = x @ torch.sin(positions[:, None] * torch.arange(1, c + 1) / c).T
    shifted = F.pad(scores, (1, 0)).view(b, 2 * t, t)[:, 1:].reshape(b, t, 2 * t - 1)[..., :t]
    return shifted.softmax(-1) @ x


def shift_by_selection(x: torch.Tensor) -> torch.Tensor:
    """XLNet's, which reshapes, leaves a row out, and selects columns."""
    b, t, c = x.shape
    scores = x @ torch.sin(torch.arange(t, -t, -1.0)[:, None] * torch.arange(1, c + 1) / c).T
    shifted = scores.reshape(b, scores.shape[2], t)[:, 1:].reshape(b, t, scores.shape[2] - 1)
    return torch.index_select(shifted, 2, torch.arange(t)).softmax(-1) @ x


def gathered_buckets(x: torch.Tensor) -> torch.Tensor:
    """ProphetNet's: buckets of distances, repeated, viewed and gathered."""
    b, t, _ = x.shape
    buckets = (torch.arange(t)[None] - torch.arange(t)[:, None]).abs().clamp(max=3)
    buckets = buckets[None].repeat(b, 1, 1).view(-1, buckets.size(-1))
    return torch.gather(x.reshape(b * t, -1), 1, buckets).view(b, t, -1).softmax(-1) @ x


def padded_windows(x: torch.Tensor) -> torch.Tensor:
    """Windows of four along T, padded to a multiple, shifted by two."""
    b, t, c = x.shape
    y = torch.roll(F.pad(x, (0, 0, 0, (4 - t % 4) % 4)), -2, 1)
    y = y.view(b, -1, 4, c).reshape(-1, 4, c)
    y = (y @ y.transpose(1, 2)).softmax(-1) @ y
    return torch.roll(y.view(b, -1, c), 2, 1)[:, :t].contiguous()


def padded_where_needed(x: torch.Tensor) -> torch.Tensor:
    if missing := (8 - x.shape[1] % 8) % 8:
        x = F.pad(x, (0, 0, 0, missing))
    return x.view(x.shape[0], -1, 8, 16).mean(2)


def padded_unless_it_fits(x: torch.Tensor) -> torch.Tensor:
    """The line that pads is wrong where nothing is missing, and is not run there: two computations."""
    if x.shape[1] % 8:
        x = F.pad(x, (0, 0, 0, 8 - x.shape[1] % 8))
    return x.view(x.shape[0], -1, 8, 16).mean(2)


def chunks_rounded_up(x: torch.Tensor) -> torch.Tensor:
    """Four chunks of T / 4 rounded up, as -(-T // 4)."""
    b, t, c = x.shape
    n = -(-t // 4)
    y = F.pad(x, (0, 0, 0, n * 4 - t)).view(b, 4, n, c)
    return ((y @ y.transpose(-1, -2)).softmax(-1) @ y).reshape(b, n * 4, c)[:, :t]


def windows_of_picture(x: torch.Tensor) -> torch.Tensor:
    """Swin's, of x [B, H, W, 16]: padded to windows of 4 x 4, with a mask that is made of the padded picture."""
    b, h, w, c = x.shape
    y = F.pad(x, (0, 0, 0, (4 - w % 4) % 4, 0, (4 - h % 4) % 4))
    high, wide = y.shape[1:3]
    regions = torch.zeros(1, high, wide, 1)
    regions[:, -4:-2] = 1
    regions[:, -2:] = 2

    def windows(picture: torch.Tensor) -> torch.Tensor:
        parts = picture.view(picture.shape[0], high // 4, 4, wide // 4, 4, -1)
        return parts.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, picture.shape[-1])

    parts, region = windows(y), windows(regions).squeeze(-1)
    mask = (region[:, None] != region[:, :, None]) * -100.0
    scores = parts @ parts.transpose(1, 2)
    scores = (scores.view(b, -1, 16, 16) + mask[None]).view(-1, 16, 16)
    merged = (scores.softmax(-1) @ parts).view(-1, high // 4, wide // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5)
    return merged.reshape(-1, high, wide, c)[:, :h, :w]


def two_ways_alike(x: torch.Tensor) -> torch.Tensor:
    """Another line for one size, which answers the same."""
    return x + x if x.shape[1] == 20 else x * 2


def halves(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, 1)
    return torch.cat([second, first], 1)


def pieces(x: torch.Tensor) -> torch.Tensor:
    """Of an odd T there are three pieces."""
    return torch.split(x, x.shape[1] // 2, 1)[0] * 2


def spread(x: torch.Tensor) -> torch.Tensor:
    return x * torch.linspace(-1, 2, steps=x.shape[1])[:, None]


def pooled(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool1d(x.transpose(1, 2), 3, 2, 1) + nn.MaxPool1d(3, 2, padding=1)(x.transpose(1, 2))


#: What is captured, and is right at every size.
TAKEN = (
    relative_shift,
    shift_by_selection,
    gathered_buckets,
    padded_windows,
    padded_where_needed,
    chunks_rounded_up,
    two_ways_alike,
    halves,
    pieces,
    spread,
    pooled,
)
