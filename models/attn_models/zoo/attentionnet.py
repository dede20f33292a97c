"""AttentionNet: a small residual image classifier with self-attention over the positions.

Tensor names end in the axes they have:
    B  batch              C  channels           H W  height and width of the feature map
    N  H*W query positions                      M    the same H*W positions, as keys and values
    K  C/8, the width of queries and keys       D    features at the head, C * 4 * 4

docs/decisions/0001-attentionnet.md says how this differs from the published code, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from ..recipe import Recipe
from ..spec import AttentionAxis, AttentionSpec, GraphSpec, ModelSpec

HEAD_SIZE = 4  # the head sees 4x4 positions, whatever the size of the image


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU: [B, in, H, W] -> [B, out, H/stride, W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            # No bias: the batch norm behind it subtracts it again.
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a projection shortcut: [B, in, H, W] -> [B, out, H/stride, W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = ConvBlock(in_channels, out_channels, stride)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        # The sum needs both sides to have the same channels and size; an identity shortcut has neither here.
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x_BCHW)) + self.shortcut(x_BCHW))


class SelfAttention(nn.Module):
    """Every position attends to every position: [B, C, H, W] -> the same shape.

    The scores are not scaled by 1/sqrt(K). `gamma` starts at 0, so an untrained layer is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        # No bias: it would add the same number to every score of a query, and softmax takes that out again. Its
        # gradient would be rounding noise, which Adam scales up to full steps.
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        query_BKN = self.query(x_BCHW).flatten(2)
        key_BKM = self.key(x_BCHW).flatten(2)
        value_BCM = self.value(x_BCHW).flatten(2)
        weight_BNM = F.softmax(query_BKN.transpose(1, 2) @ key_BKM, dim=-1)
        attended_BCN = value_BCM @ weight_BNM.transpose(1, 2)
        mixed_BCHW: Tensor = x_BCHW + self.gamma * attended_BCN.view_as(x_BCHW)
        return mixed_BCHW


class AttentionNet(nn.Module):
    """Image [B, in_channels, H, W] float32 -> logits [B, classes].

    Feature maps have `width`, 2 * `width` and 4 * `width` channels. H and W are free. Where the feature map behind both
    strides is a multiple of 4 (images of 32, 64 or 128 at the default strides), the pooling exports as one AveragePool;
    elsewhere its cells overlap and it exports as a gather.
    """

    def __init__(
        self, classes: int = 10, in_channels: int = 3, strides: Sequence[int] = (2, 2), width: int = 64
    ) -> None:
        super().__init__()
        if len(strides) != 2:
            raise UsageError(f"strides: got {len(strides)} values, expected 2, one for each residual block")
        self.stem = ConvBlock(in_channels, width)
        self.block1 = ResidualBlock(width, 2 * width, strides[0])
        self.block2 = ResidualBlock(2 * width, 4 * width, strides[1])
        self.attention = SelfAttention(4 * width)
        self.head = nn.Linear(4 * width * HEAD_SIZE * HEAD_SIZE, classes)

    def forward(self, image: Tensor) -> Tensor:
        x_BCHW = self.stem(image)
        x_BCHW = self.block2(self.block1(x_BCHW))
        x_BCHW = self.attention(x_BCHW)
        pooled_BD = F.adaptive_avg_pool2d(x_BCHW, HEAD_SIZE).flatten(1)
        logits: Tensor = self.head(pooled_BD)
        return logits


def wake(module: nn.Module) -> str:
    """Switch the attention of a fresh AttentionNet on."""
    assert isinstance(module, AttentionNet)
    with torch.no_grad():
        module.attention.gamma.fill_(1.0)
    return "gamma set to 1.0: it starts at 0, which switches attention off"


def assets() -> dict[str, Any]:
    from ..data import digits

    return {"labels.json": list(digits.LABELS), "image.json": digits.IMAGE}


def recipe() -> Recipe:
    """How AttentionNet is trained on the handwritten digits."""
    from ..data import digits

    train, validation, test = digits.load()
    return Recipe(train, validation, test, loss=F.cross_entropy, labels=digits.LABELS, measure="images")


def image_build(classes: int, channels: int, size: int) -> dict[str, Any]:
    """Arguments of `AttentionNet` for other images; their size is free."""
    return {"classes": classes, "in_channels": channels}


# Queries and keys are the cells of the feature map: images of 32 pixels, halved twice.
CELLS = AttentionAxis("grid", rows=8, columns=8)

MODEL = ModelSpec(
    name="attentionnet",
    task="image-classification",
    summary="residual image classifier with self-attention over the positions",
    build=AttentionNet,
    graphs=(
        GraphSpec(
            "model",
            inputs=(
                TensorSpec(
                    "image",
                    "float32",
                    (Dim("batch", 1, 8, 32), Dim.fixed(3), Dim.fixed(32), Dim.fixed(32)),
                    meaning="RGB image, normalised as assets/image.json says",
                ),
            ),
            outputs=(
                TensorSpec("logits", "float32", (Dim("batch", 1, 8, 32), Dim.fixed(10)), meaning="score of each label"),
            ),
        ),
    ),
    wake=wake,
    assets=assets,
    recipe=recipe,
    image_build=image_build,
    attention=(AttentionSpec("attention", query=CELLS, key=CELLS),),
)
