"""Handwritten digits: the 1797 real 8x8 images that scikit-learn brings along, split once and for all.

The images go through `attn_runtime.preprocess.image.prepare`, the same function that prepares an image for a deployed
bundle, so the model is trained on exactly what it is later fed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_runtime.errors import UsageError
from attn_runtime.preprocess import prepare
from numpy.typing import NDArray

from ..recipe import Split

LABELS = tuple("0123456789")

#: How pixels become the model's input (assets/image.json): values 0..255 times scale, minus mean, over std.
#: mean and std are those of the digits, rounded, and the same for the three (equal) channels.
IMAGE: dict[str, Any] = {
    "input": "image",
    "height": 32,
    "width": 32,
    "channels": 3,
    "resize": "bilinear",
    "scale": 1 / 255,
    "mean": [0.305, 0.305, 0.305],
    "std": [0.376, 0.376, 0.376],
}

TEST_SIZE = 360
VALIDATION_SIZE = 144
_SPLIT_SEED = 0  # of the splits alone: it must stay the same for every training seed


def pixels() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images, [1797, 8, 8] grey levels 0..255, and the digit each one shows."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            "the handwritten digits come with scikit-learn, which is not installed; pip install scikit-learn espeakng-loader"
        ) from error
    data = load_digits()
    # The set counts 0..16 dark pixels per cell.
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target.astype(np.int64)


def split() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (train, test) into `pixels()`: disjoint, each digit in the same share on both sides."""
    from sklearn.model_selection import train_test_split

    _, targets = pixels()
    train, test = train_test_split(
        np.arange(len(targets)), test_size=TEST_SIZE, stratify=targets, random_state=_SPLIT_SEED
    )
    return np.sort(train), np.sort(test)


def validation_of(train: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (to train on, to validate on) out of those of `split`, each digit in the same share on both sides."""
    from sklearn.model_selection import train_test_split

    _, targets = pixels()
    kept, validation = train_test_split(
        train, test_size=VALIDATION_SIZE, stratify=targets[train], random_state=_SPLIT_SEED
    )
    return np.sort(kept), np.sort(validation)


def load() -> tuple[Split, Split, Split]:
    """(train, validation, test): image float32 [n, 3, 32, 32], targets int64 [n]."""
    images, targets = pixels()
    inputs = np.concatenate([prepare(image, IMAGE) for image in images])

    def part(index: NDArray[np.int64]) -> Split:
        return Split({IMAGE["input"]: torch.from_numpy(inputs[index])}, torch.from_numpy(targets[index]))

    train, test = split()
    kept, validation = validation_of(train)
    return part(kept), part(validation), part(test)


def save_test_images(folder: str | Path, count: int) -> list[Path]:
    """Write `count` digits of the test split as 8x8 grey PNG files and return their paths.

    A file is called INDEX-is-DIGIT.png. They are spread over the split, so that all digits turn up. The pixels are
    saved as they are: read back, they give the very tensors the model was tested on.
    """
    from PIL import Image

    _, test = split()
    if not 0 <= count <= len(test):
        raise UsageError(f"test images: got {count}, the test split has {len(test)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images, targets = pixels()
    paths = []
    for index in test[np.linspace(0, len(test) - 1, count).astype(int)]:
        path = folder / f"{index:04d}-is-{LABELS[targets[index]]}.png"
        Image.fromarray(images[index]).save(path)
        paths.append(path)
    return paths
