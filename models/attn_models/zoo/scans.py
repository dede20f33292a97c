"""AttentionNet on scans: one grey channel, two classes (none, lesion), 64 x 64 pixels.

The architecture is that of attentionnet.py. The first residual block strides by 4, so that the attention compares 8 x 8
cells of 8 x 8 pixels each; what it has to find is a large spot without a partner on the other side of the body
(`data/scans.py`). One scan in five has a lesion, so the loss is weighted: otherwise "none" is right four times in five.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attn_runtime.spec import Dim, TensorSpec
from torch.nn import functional as F

from ..data import LABELS, SIZE, draw
from ..recipe import BALANCED, Inputs, Recipe, Split
from ..spec import AttentionAxis, AttentionSpec, GraphSpec, ModelSpec
from .attentionnet import AttentionNet, wake

#: mean and std are those of the drawn scans, rounded.
IMAGE: dict[str, Any] = {
    "input": "image",
    "height": SIZE,
    "width": SIZE,
    "channels": 1,
    "resize": "bilinear",
    "scale": 1 / 255,
    "mean": [0.293],
    "std": [0.217],
}

TRAIN_SIZE, VALIDATION_SIZE, TEST_SIZE = 7000, 500, 1000
_DATA_SEED = 1  # of the scans alone: they stay the same for every training seed


def build(classes: int = 2, in_channels: int = 1, strides: Sequence[int] = (4, 2), width: int = 32) -> AttentionNet:
    """Half as wide as AttentionNet is by default: a quarter of the work, for images of four times the pixels."""
    return AttentionNet(classes, in_channels, strides, width)


def assets() -> dict[str, Any]:
    return {"labels.json": list(LABELS), "image.json": IMAGE}


def mirrored(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Half of the scans left to right, half of them upside down: pairs stay pairs."""
    image_BCHW = inputs["image"]
    for axis in (2, 3):
        turned_B = torch.rand(len(image_BCHW), generator=generator) < 0.5
        image_BCHW = torch.where(turned_B[:, None, None, None], image_BCHW.flip(axis), image_BCHW)
    return {"image": image_BCHW}


def recipe() -> Recipe:
    from attn_runtime.preprocess import prepare

    images, targets = draw(TRAIN_SIZE + VALIDATION_SIZE + TEST_SIZE, _DATA_SEED)
    image_BCHW = torch.cat([torch.from_numpy(prepare(image, IMAGE)) for image in images])
    data = Split({"image": image_BCHW}, torch.from_numpy(targets))
    return Recipe(
        data[:TRAIN_SIZE],
        data[TRAIN_SIZE : TRAIN_SIZE + VALIDATION_SIZE],
        data[TRAIN_SIZE + VALIDATION_SIZE :],
        loss=F.cross_entropy,
        labels=LABELS,
        augment=mirrored,
        measure="scans",
        class_weights=BALANCED,
        positive="lesion",
        epochs=10,
        batch_size=32,
    )


def image_build(classes: int, channels: int, size: int) -> dict[str, Any]:
    """Arguments of `build` for other images; their size is free."""
    return {"classes": classes, "in_channels": channels}


# Queries and keys are the cells of the feature map: images of 64 pixels, divided by 4 and by 2.
CELLS = AttentionAxis("grid", rows=8, columns=8)

MODEL = ModelSpec(
    name="scans",
    task="image-classification",
    summary="AttentionNet that finds lesions on drawn scans, a rare class",
    build=build,
    graphs=(
        GraphSpec(
            "model",
            inputs=(
                TensorSpec(
                    "image",
                    "float32",
                    (Dim("batch", 1, 8, 32), Dim.fixed(1), Dim.fixed(SIZE), Dim.fixed(SIZE)),
                    meaning="grey image, normalised as assets/image.json says",
                ),
            ),
            outputs=(
                TensorSpec("logits", "float32", (Dim("batch", 1, 8, 32), Dim.fixed(2)), meaning="score of each label"),
            ),
        ),
    ),
    wake=wake,
    assets=assets,
    recipe=recipe,
    image_build=image_build,
    attention=(AttentionSpec("attention", query=CELLS, key=CELLS),),
)
