"""Training on a folder of images, a subfolder for each class.

    FOLDER/train/CLASS/*  FOLDER/test/CLASS/*  [FOLDER/validation/CLASS/*]      split by whoever made the folder, or
    FOLDER/CLASS/*                                                              split here: always in the same way

All images go through `attn_runtime.preprocess.image.prepare`, as they do in front of the deployed model. They are kept in memory.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_runtime.errors import InputError, UsageError
from attn_runtime.escape import shell_words
from attn_runtime.files import is_folder
from attn_runtime.preprocess import load_image
from numpy.typing import NDArray
from torch.nn import functional as F

from ..recipe import Recipe, Split
from ..spec import ModelSpec

TRAIN, VALIDATION, TEST = "train", "validation", "test"
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
_SPLIT_SEED = 0

Files = dict[str, list[Path]]  # label -> images


def recipe(spec: ModelSpec, folder: Path, size: int | None = None, channels: int | None = None) -> Recipe:
    """How to train `spec` on the images of `folder`, resized to `size` x `size`.

    `size` is by default what the model takes, `channels` (1 or 3) what the images have: 3 if any of them has a colour.
    The labels are the sorted names of the class folders; mean and deviation are those of the training part. Raises
    UsageError for a model that takes no images, and for a folder that is no such set; InputError for a file that is
    no image.
    """
    if spec.image_build is None:
        raise UsageError(f'model "{spec.name}" can\'t be trained on a folder of images')
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels {channels}: expected 1 (grey) or 3 (RGB)")
    input_name, size = _input_of(spec, size)
    parts = _split(folder)
    labels = tuple(parts[TRAIN])
    _fits_memory(sum(len(files) for part in parts.values() for files in part.values()), size)
    loaded = {name: _load(files, folder, size, channels) for name, files in parts.items()}
    if channels is None:
        channels = 3 if any(_coloured(pixels) for pixels, _ in loaded.values()) else 1
    loaded = {name: (pixels[:, :channels], targets) for name, (pixels, targets) in loaded.items()}
    mean, std = _mean_and_std(loaded[TRAIN][0])
    image = {**_asset(input_name, size, channels), "mean": mean, "std": std}

    def split(name: str) -> Split:
        pixels, targets = loaded[name]
        # In float32 and in this order, as `prepare` does it: the same bits.
        shape = (1, channels, 1, 1)
        values = (pixels - np.asarray(mean, np.float32).reshape(shape)) / np.asarray(std, np.float32).reshape(shape)
        return Split({input_name: torch.from_numpy(values)}, torch.from_numpy(targets))

    return Recipe(
        split(TRAIN),
        split(VALIDATION),
        split(TEST),
        loss=F.cross_entropy,
        labels=labels,
        measure="images",
        build=spec.image_build(len(labels), channels, size),
        assets={"labels.json": list(labels), "image.json": image},
    )


def export_command(spec: ModelSpec, out: Path) -> str:
    """How to export what a training on a folder has written to `out`."""
    labels = json.loads((out / "labels.json").read_text(encoding="utf-8"))
    image = json.loads((out / "image.json").read_text(encoding="utf-8"))
    channels, height, width = image["channels"], image["height"], image["width"]
    assert spec.image_build is not None
    build = spec.image_build(len(labels), channels, height)
    options = [("--config", f"{key}={value!r}") for key, value in build.items()]
    options.append(("--input", f"{image['input']}:float32[batch,{channels},{height},{width}]"))
    options.append(("--dim", "batch=1:8:32"))
    options.append(("--checkpoint", str(out / "model.safetensors")))
    options.append(("--assets", str(out)))
    options.append(("-o", f"{out.name}.attn"))
    return shell_words("attn-export", "to-onnx", spec.name, *itertools.chain(*options))


def _input_of(spec: ModelSpec, size: int | None) -> tuple[str, int]:
    """Name of the image input, and the side that its images have."""
    image = spec.graph.inputs[0]
    return image.name, size or image.dims[-1].opt


def _asset(input_name: str, size: int, channels: int) -> dict[str, Any]:
    """The image asset but for mean and std."""
    return {
        "input": input_name,
        "height": size,
        "width": size,
        "channels": channels,
        "resize": "bilinear",
        "scale": 1 / 255,
    }


def _load(files: Files, folder: Path, size: int, channels: int | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values 0..1 [n, channels or 3, size, size] in the order of labels and file names, and the numbers of the labels."""
    channels = channels or 3
    raw = {**_asset("", size, channels), "mean": [0.0] * channels, "std": [1.0] * channels}
    values = np.empty((sum(map(len, files.values())), channels, size, size), np.float32)
    targets = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
    for row, path in enumerate(path for paths in files.values() for path in paths):
        try:
            values[row] = load_image(path, raw)[0]
        except InputError as error:
            raise InputError(f"--data {folder}: in {path.parent.relative_to(folder)}: {error}") from error
    return values, targets


def _coloured(values: NDArray[np.float32]) -> bool:
    return bool((values[:, 0] != values[:, 1]).any() or (values[:, 0] != values[:, 2]).any())


def _mean_and_std(values: NDArray[np.float32]) -> tuple[list[float], list[float]]:
    """Of each channel, rounded to what is worth printing; the deviation of images without any contrast counts as 1."""
    mean = [round(float(channel.mean(dtype=np.float64)), 6) for channel in values.swapaxes(0, 1)]
    std = [round(float(channel.std(dtype=np.float64)), 6) or 1.0 for channel in values.swapaxes(0, 1)]
    return mean, std


def _split(folder: Path) -> dict[str, Files]:
    """The files of each part, with the same labels in all of them."""
    if not is_folder(folder):
        raise UsageError(f"--data {folder}: there is no such folder")
    given = [part for part in (TRAIN, VALIDATION, TEST) if (folder / part).is_dir()]
    if not given:
        train, test = _divide(_classes(folder, least=3), TEST_SHARE)
        train, validation = _divide(train, VALIDATION_SHARE / (1 - TEST_SHARE))
        return {TRAIN: train, VALIDATION: validation, TEST: test}
    if missing := {TRAIN, TEST} - set(given):
        raise UsageError(
            f"--data {folder}: has {', '.join(given)} but no {missing.pop()}; expected both, or class folders"
        )
    parts = {
        part: _classes(folder / part, least=2 if given == [TRAIN, TEST] and part == TRAIN else 1) for part in given
    }
    for part, files in parts.items():
        if other := sorted(set(files) ^ set(parts[TRAIN])):
            raise UsageError(
                f"--data {folder}: {part} has the classes {', '.join(files)}, train has {', '.join(parts[TRAIN])}; "
                f"different: {', '.join(other)}"
            )
    if VALIDATION not in parts:
        parts[TRAIN], parts[VALIDATION] = _divide(parts[TRAIN], VALIDATION_SHARE)
    return parts


def _classes(folder: Path, least: int) -> Files:
    """The images of each class, both sorted by name. Names that start with a dot are left out."""
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    classes = [path for path in inside if path.is_dir()]
    if stray := [path.name for path in inside if not path.is_dir()]:
        raise UsageError(f"--data {folder}: {stray[0]} is no folder; expected only folders, one for each class")
    if len(classes) < 2:
        found = f"one class, {classes[0].name}" if classes else "no class folder"
        raise UsageError(f"--data {folder}: {found}; expected two or more folders of images, one for each class")
    files = {path.name: sorted(p for p in path.iterdir() if not p.name.startswith(".")) for path in classes}
    for label, paths in files.items():
        if len(paths) < least:
            raise UsageError(f"--data {folder}: class {label} has {len(paths)} images, expected {least} or more")
    return files


def _divide(files: Files, share: float) -> tuple[Files, Files]:
    """(rest, part): `share` of each class, at least one image, drawn with a fixed seed from the sorted names."""
    rest, part = {}, {}
    for label, paths in files.items():
        drawn = np.random.Generator(np.random.PCG64(_SPLIT_SEED)).permutation(len(paths))
        count = min(max(1, round(share * len(paths))), len(paths) - 1)
        chosen = set(drawn[:count].tolist())
        part[label] = [path for number, path in enumerate(paths) if number in chosen]
        rest[label] = [path for number, path in enumerate(paths) if number not in chosen]
    return rest, part


def _fits_memory(images: int, size: int) -> None:
    needed = images * 3 * size * size * 4 * 2  # values, and once more while they are normalised
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise UsageError(
            f"--data: {images} images of {size} x {size} take {needed / 2**30:.1f} GiB, this machine has "
            f"{there / 2**30:.1f} GiB; choose a smaller --size"
        )
