"""Assets of your own in place of the model's: --assets FOLDER, such as what a training on other images has written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attn_runtime.bundle import ASSET_FORMS, check_asset
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.files import irregular, reason
from attn_runtime.spec import TensorSpec


def read_assets(folder: Path, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """{"labels.json": ..., "image.json": ...}: those files of `folder` that are assets by their name.

    Raises UsageError for a folder without any, for one that is not of its published form, and for an image asset that
    makes other images than the graph's `inputs` take.
    """
    found = {name: folder / f"{name}.json" for name in ASSET_FORMS if os.path.lexists(folder / f"{name}.json")}
    if not found:
        raise UsageError(f"--assets {folder}: none of {', '.join(f'{name}.json' for name in ASSET_FORMS)} is there")
    assets = {}
    for name, path in found.items():
        if problem := irregular(path):
            raise UsageError(f"--assets {path}: {problem}; give a JSON file")
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            check_asset(name, value, f"--assets {folder}")
        except (OSError, ValueError) as error:
            raise UsageError(f"--assets {path}: can't be read as JSON ({reason(error)})") from error
        except BundleError as error:
            raise UsageError(str(error).replace("; re-export the bundle", "")) from error
        assets[path.name] = value
    if image := assets.get("image.json"):
        _image_fits(folder, image, inputs)
    return assets


def _image_fits(folder: Path, image: dict[str, Any], inputs: Sequence[TensorSpec]) -> None:
    made = [image["channels"], image["height"], image["width"]]
    for spec in inputs:
        if spec.name == image["input"] and len(spec.dims) == 4:
            if not all(dim.min <= size <= dim.max for dim, size in zip(spec.dims[1:], made, strict=True)):
                raise UsageError(
                    f"--assets {folder}: image.json makes images of {made}, the graph takes {spec}; add "
                    f"--input '{spec.name}:{spec.dtype}[batch,{','.join(map(str, made))}]' --dim batch=1:8:32"
                )
            return
    raise UsageError(
        f'--assets {folder}: image.json is for input "{image["input"]}" [batch, channels, height, width]; '
        f"the graph has {', '.join(map(str, inputs))}"
    )
