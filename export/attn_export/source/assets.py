"""Assets of your own in place of the model's: --assets FOLDER, such as what a training on other images has written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attn_runtime.bundle import ASSET_FORMS, check_asset
from attn_runtime.errors import BundleError, UsageError, did_you_mean
from attn_runtime.escape import printable
from attn_runtime.files import MAX_ASSET_BYTES, irregular, parse_json, read_limited
from attn_runtime.preprocess import refused_by_tokenizers
from attn_runtime.spec import TensorSpec

#: What a bundle may hold. The last two have no published form.
NAMES = tuple(f"{name}.json" for name in (*ASSET_FORMS, "tokenizer", "chat_template"))
#: What a training leaves beside them.
_OTHERS = {"metrics.json"}


def read_assets(folder: Path, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """{"labels.json": ..., "image.json": ...}: those files of `folder` that are assets by their name.

    Raises UsageError for a folder without any, for a JSON file of another name, since a misspelt one would be missed, for one
    that is not of its published form, and for an image or text asset that does not fit the graph's `inputs`.
    """
    found = {name: folder / name for name in NAMES if os.path.lexists(folder / name)}
    _refuse_others(folder)
    if not found:
        raise UsageError(f"--assets {folder}: none of {', '.join(NAMES)} is there")
    assets = {}
    for name, path in found.items():
        if problem := irregular(path):
            raise UsageError(f"--assets {path}: {problem}; give a JSON file")
        try:
            value = parse_json(read_limited(path, f"--assets {folder}", MAX_ASSET_BYTES), f"--assets {path}")
            check_asset(path.stem, value, f"--assets {folder}")
        except BundleError as error:
            told = (
                str(error)
                .removesuffix("; re-export the bundle")
                .replace("; re-export the bundle or restore the file", "")
            )
            raise UsageError(told) from error
        assets[name] = value
    if image := assets.get("image.json"):
        _image_fits(folder, image, inputs)
    if text := assets.get("text.json"):
        _text_fits(folder, text, inputs)
    if "tokenizer.json" in assets:
        _tokenizer_fits(folder, assets["tokenizer.json"], assets.get("text.json"), inputs)
    return assets


def _refuse_others(folder: Path) -> None:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return  # that nothing is there is told next
    stems = {Path(name).stem for name in NAMES}
    for name in names:
        if name in NAMES or name in _OTHERS or name.startswith("."):
            continue
        if name.endswith(".json") or Path(name).stem in stems:
            raise UsageError(
                f"--assets {folder}: {printable(name, 80)} is no asset; {did_you_mean(name, NAMES)}expected {', '.join(NAMES)}: "
                "rename it or move it away"
            )


def _text_fits(folder: Path, text: Mapping[str, Any], inputs: Sequence[TensorSpec]) -> None:
    specs = {spec.name: spec for spec in inputs}
    for key, dtype in (("input", "int64"), ("mask", "bool"), ("types", "int64")):
        name = text.get(key)
        spec = specs.get(str(name))
        if name is not None and (spec is None or spec.dtype != dtype or len(spec.dims) != 2):
            raise UsageError(
                f'--assets {folder}: text.json names "{printable(str(name), 80)}" as {key}, {dtype} [batch, length]; the graph '
                f"has {', '.join(map(str, inputs))}"
            )


def _tokenizer_fits(folder: Path, value: Any, text: Mapping[str, Any] | None, inputs: Sequence[TensorSpec]) -> None:
    """Read as a runtime would, where the library is there; its tokens are held against those that the graph takes."""
    where = f"--assets {folder}: tokenizer.json"
    if not isinstance(value, dict) or not isinstance(value.get("model"), dict):
        raise UsageError(
            f"{where} is no tokenizer: expected the JSON that the tokenizers library saves, with a model in it"
        )
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return
    with refused_by_tokenizers(where, UsageError, "save it again"):
        words = Tokenizer.from_str(json.dumps(value)).get_vocab(with_added_tokens=True)
    taken = next((spec for spec in inputs if text is not None and spec.name == text["input"]), None)
    if taken is not None and taken.high is not None and max(words.values(), default=0) >= taken.high:
        word, last = max(words.items(), key=lambda item: item[1])
        raise UsageError(
            f'{where} is of another size than the model: its last token is {last} "{printable(word, 40)}", and {taken.name} '
            f"takes 0 to {taken.high - 1}"
        )


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
