"""`timm:NAME`, NAME as timm.list_models(pretrained=True) has it, with or without the tag of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.escape import printable
from attn_runtime.files import reason

from ...huggingface import LoadedModel
from ...quiet import captured_output
from ...torchvision_import import ready_torchvision
from . import loading
from .weights import hub_file, torch_hub_file

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "hamming", "box")
_FILES = ("model.safetensors", "pytorch_model.bin")


def load_timm(
    name: str, arguments: Mapping[str, Any] | None = None, *, download: bool = False, checkpoint: bool = False
) -> LoadedModel:
    """The model `name` of timm, made with `arguments` of timm.create_model (img_size=..., num_classes=...).

    Its weights are those of the local cache (of Hugging Face, or of torch.hub), and with `download` those of the network;
    random ones otherwise, which is a note unless a `checkpoint` of the caller's follows. Raises UsageError for an unknown
    name, arguments that do not fit, and where timm is not installed.
    """
    ref, timm = f"timm:{name}", _timm()
    own = dict(arguments or {})
    base = name.partition(".")[0]
    if not timm.is_model(base):
        raise UsageError(
            f'{ref}: timm {timm.__version__} has no model "{printable(base, 60)}"; '
            f"{did_you_mean(base, timm.list_models())}timm.list_models() has all"
        )
    tagged = timm.list_pretrained(base + ".*") if "." in name else [name]
    if name not in tagged:
        raise UsageError(
            f"{ref}: timm {timm.__version__} has no weights of that name; it has: {', '.join(tagged) or 'none'}"
        )
    described = timm.get_pretrained_cfg(name)
    file = None if checkpoint or described is None else _weights(described, download)
    weights = {} if file is None else {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}}
    try:
        with captured_output():
            model = timm.create_model(name, **weights, **own)
    except Exception as problem:
        raise UsageError(
            f"{ref}: timm can't make it"
            + (f" with {', '.join(f'{k}={printable(str(v), 40)}' for k, v in own.items())}" if own else "")
            + f": {type(problem).__name__}: {printable(reason(problem), 160)}"
        ) from problem
    notes = []
    tag = model.pretrained_cfg.get("tag") or ""
    if file is None and not checkpoint:
        notes.append(
            f"random weights: those of {base}{'.' + tag if tag else ''} are not in the local cache. --download fetches them, "
            "--checkpoint FILE loads your own"
        )
    data = _data(timm, model, own)
    recipe, transform = recipe_of(data), None
    if recipe is None:
        told = (
            f"interpolation={data['interpolation']}, a mean of {len(data['mean'])} for {data['input_size'][0]} channels"
        )
        notes.append(
            f"no image.json: it can't say {printable(told)}; give arrays, or --assets FOLDER with one of your own"
        )
    else:
        transform = timm.data.create_transform(**data, is_training=False)
    return loading.loaded(
        ref,
        model,
        tuple(data["input_size"]),
        library=f"timm {timm.__version__}",
        recipe=recipe,
        transform=transform,
        classes=model.num_classes,
        names=_labels(timm, model),
        weights=file,
        config=own | ({"weights": tag} if file is not None else {}),
        notes=notes,
    )


def recipe_of(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """image.json of what timm.data.resolve_data_config tells; the arithmetic is timm/data/transforms_factory.py's.

    None for an interpolation that is drawn, or none of Pillow's, and for a mean of other channels.
    """
    channels, height, width = data["input_size"]
    if data["interpolation"] not in _FILTERS or channels not in (1, 3, 4) or len(data["mean"]) != channels:
        return None
    share = data["crop_pct"] or 0.875
    to = math.floor(height / share), math.floor(width / share)
    recipe: dict[str, Any] = {
        "input": loading.INPUT,
        "height": height,
        "width": width,
        "channels": channels,
        "resize": data["interpolation"],
        "scale": 1 / 255,
        "mean": list(map(float, data["mean"])),
        "std": list(map(float, data["std"])),
        "place": "center_rounded",
    }
    sides = {"fit_height": to[0], "fit_width": to[1]}
    if data["crop_mode"] == "squash":
        return recipe | sides
    if data["crop_mode"] == "border":
        return (
            recipe
            | {"fit": "inside", "rounding": "nearest", "fill": [float(round(255 * v)) for v in data["mean"]]}
            | sides
        )
    if to[0] == to[1]:
        return recipe | {"fit": "shortest_edge", "shortest_edge": to[0]}
    return recipe | {"fit": "cover", "rounding": "nearest"} | sides


def _data(timm: Any, model: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """timm's settings of the model's pictures, for the size and the channels that it was made for."""
    with captured_output():
        data: dict[str, Any] = timm.data.resolve_model_data_config(model)
    size = own.get("img_size", data["input_size"][1:])
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return data | {"input_size": (own.get("in_chans", data["input_size"][0]), height, width)}


def _timm() -> Any:
    try:
        ready_torchvision()
        with captured_output():
            import timm
            import timm.data
    except (ImportError, RuntimeError) as problem:  # of timm; of a torchvision that was built for another torch
        raise UsageError(
            f"timm:NAME needs timm, and it can't be imported ({printable(str(problem), 120)}); pip install timm torchvision"
        ) from problem
    return timm


def _weights(described: Any, download: bool) -> Path | None:
    """Where the weights lie that timm's description names, after they were fetched if so asked."""
    if repository := described.hf_hub_id:
        names = [described.hf_hub_filename] if described.hf_hub_filename else _FILES
        return hub_file(repository, names, download)
    if described.url:
        return torch_hub_file(described.url, download)
    return None


def _labels(timm: Any, model: Any) -> list[str]:
    """The classes' names where they are ImageNet's, as their number tells; timm says nothing more of its own."""
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None or model.num_classes != model.pretrained_cfg.get("num_classes"):
        return []
    info = timm.data.ImageNetInfo(subset)
    return [info.index_to_description(index) for index in range(info.num_classes())]
