"""A small Vision Transformer: an image is cut into patches, which attend to each other like the words of a sentence.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (2020), in the pre-norm form: 8x8 patches become tokens of `width`
numbers, a learned class token goes in front, and what it has gathered after the last block gives the logits.

Tensor names end in the axes they have:
    B  batch              C  channels           Y X  rows and columns of patches
    P  Y*X patches        T  1 + P tokens       S    the same T tokens, as keys and values
    D  width              H  heads              E    D/H, the size of a head
"""

from __future__ import annotations

from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Block
from ..recipe import Recipe
from ..spec import AttentionAxis, AttentionSpec, GraphSpec, ModelSpec

IMAGE_SIZE = 32  # pixels, both ways
CELLS = 8  # of the grid of patches, both ways: larger images have larger patches
SHIFT = 3  # pixels by which a training image moves at most; 4 are one cell of the digits


class VisionTransformer(nn.Module):
    """Image [B, in_channels, size, size] float32 -> logits [B, classes]."""

    def __init__(
        self,
        classes: int = 10,
        in_channels: int = 3,
        size: int = IMAGE_SIZE,
        width: int = 64,
        heads: int = 4,
        depth: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UsageError(f"width {width}: expected a multiple of heads, {heads}")
        if size < CELLS or size % CELLS:
            raise UsageError(f"size {size}: expected a multiple of {CELLS} pixels, the patches along each side")
        self.patches = nn.Conv2d(in_channels, width, size // CELLS, size // CELLS)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        # One for each token: without it the image would be a bag of patches.
        self.positions = nn.Parameter(torch.empty(1, 1 + CELLS * CELLS, width))
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        patches_BDYX = self.patches(image)
        patches_BPD = patches_BDYX.flatten(2).transpose(1, 2)  # row by row, as reading goes
        class_B1D = self.class_token.expand(patches_BPD.shape[0], -1, -1)
        x_BTD = torch.cat([class_B1D, patches_BPD], dim=1) + self.positions
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits: Tensor = self.head(self.norm(x_BTD[:, 0]))
        return logits


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image [B, C, H, W] moved by -SHIFT..SHIFT pixels both ways; what comes in repeats the border."""
    count, _, height, width = images.shape
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return images[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def assets() -> dict[str, Any]:
    from ..data import digits

    return {"labels.json": list(digits.LABELS), "image.json": digits.IMAGE}


def recipe() -> Recipe:
    """How the ViT is trained on the handwritten digits. It knows nothing of neighbouring pixels, so it is shown them moved."""
    from ..data import digits

    train, validation, test = digits.load()
    return Recipe(
        train,
        validation,
        test,
        loss=F.cross_entropy,
        labels=digits.LABELS,
        measure="images",
        augment=lambda inputs, generator: {"image": shifted(inputs["image"], generator)},
        epochs=30,
        batch_size=32,
        lr=2e-3,
        weight_decay=0.05,
        betas=(0.9, 0.98),
        clip=1.0,
    )


def image_build(classes: int, channels: int, size: int) -> dict[str, Any]:
    """Arguments of `VisionTransformer` for other images."""
    return {"classes": classes, "in_channels": channels, "size": size}


# Queries and keys are the class token, then the grid of patches.
PATCHES = AttentionAxis("grid", rows=CELLS, columns=CELLS, skip=1)

MODEL = ModelSpec(
    name="vit",
    task="image-classification",
    summary="Vision Transformer: patches of an image attend to each other",
    build=VisionTransformer,
    graphs=(
        GraphSpec(
            "model",
            inputs=(
                TensorSpec(
                    "image",
                    "float32",
                    (Dim("batch", 1, 8, 32), Dim.fixed(3), Dim.fixed(IMAGE_SIZE), Dim.fixed(IMAGE_SIZE)),
                    meaning="RGB image, normalised as assets/image.json says",
                ),
            ),
            outputs=(
                TensorSpec("logits", "float32", (Dim("batch", 1, 8, 32), Dim.fixed(10)), meaning="score of each label"),
            ),
        ),
    ),
    assets=assets,
    recipe=recipe,
    image_build=image_build,
    attention=(AttentionSpec(r"blocks\.\d+\.attention", query=PATCHES, key=PATCHES),),
)
