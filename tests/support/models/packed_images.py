"""A model whose inputs depend on one another: the patches of several images in one row, and how many each image has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn

#: What the model takes, in the words of the command line and as specs.
INPUTS = ("tokens:int64[batch,T]<50", "patches:float32[P,6]", "grid:int64[images,2]<4")
DIMS = ("batch=1:2:4", "T=2:5:9", "P=1:8:36", "images=1:2:4")
_IMAGES = Dim("images", 1, 2, 4)
SPECS = (
    TensorSpec("patches", "float32", (Dim("P", 1, 8, 36), Dim.fixed(6))),
    TensorSpec("grid", "int64", (_IMAGES, Dim.fixed(2)), low=0, high=4),
)


class PackedImages(nn.Module):
    """tokens int64 [batch, T], patches float32 [P, 6], grid int64 [images, 2] -> scores float32 [batch, T, 5].

    Raises ValueError, as such models do, unless P is the sum of rows times columns over `grid`.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed, self.patch, self.head = nn.Embedding(50, 8), nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, tokens: Tensor, patches: Tensor, grid: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            check_rows(patches, grid)
        size = grid.prod(-1).to(patches.dtype).mean()
        seen = self.patch(patches)
        scores = self.embed(tokens) @ seen.T  # [batch, T, P]
        answer: Tensor = self.head(scores.softmax(-1) @ seen + size)
        return answer


def check_rows(patches: Tensor, grid: Tensor) -> None:
    rows = int(grid.prod(-1).sum())
    if rows != len(patches):
        raise ValueError(f"patches has {len(patches)} rows, and grid says {rows}")


class Rows(nn.Module):
    """patches float32 [P, 6], grid int64 [images, 2] -> float32 [P], with the same condition."""

    def forward(self, patches: Tensor, grid: Tensor) -> Tensor:
        check_rows(patches, grid)
        return patches.sum(-1)


def draw(sizes: dict[str, int], seed: int) -> dict[str, Any]:
    """Inputs of either model. Images are of 1 to 9 patches, as near to P together as they come."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(1, 4, (sizes["images"], 2))
    each = max(1, sizes["P"] // sizes["images"])
    grid = np.clip(grid, 1, max(1, min(3, int(each**0.5 + 1))))
    inputs = {"patches": rng.standard_normal((int(grid.prod(-1).sum()), 6), dtype=np.float32), "grid": grid}
    if "batch" in sizes:
        inputs["tokens"] = torch.from_numpy(rng.integers(0, 50, (sizes["batch"], sizes["T"])))
    return inputs
