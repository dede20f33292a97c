"""`torchvision:NAME`, NAME as torchvision.models.list_models() has it, with or without the name of its weights:
resnet50.IMAGENET1K_V1."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import CheckpointError, UsageError, did_you_mean
from attn_runtime.escape import printable
from attn_runtime.files import reason

from ...huggingface import LoadedModel
from ...quiet import captured_output
from ...torchvision_import import ready_torchvision
from . import loading
from .weights import torch_hub_file

_SIDE = 224


def load_torchvision(
    name: str, arguments: Mapping[str, Any] | None = None, *, download: bool = False, checkpoint: bool = False
) -> LoadedModel:
    """The model `name` of torchvision, made with `arguments` of its function (num_classes=...).

    Its weights are those of torch.hub's local cache, and with `download` those of the network; random ones otherwise, which
    is a note unless a `checkpoint` of the caller's follows. Raises UsageError for an unknown name, for a model whose answer
    is no tensor (detection) or whose input is no picture (video, optical flow), and where torchvision is not installed.
    """
    ref, models = f"torchvision:{name}", _models()
    import torchvision

    library = f"torchvision {torchvision.__version__}"
    base, _, chosen = name.partition(".")
    if base not in models.list_models():
        raise UsageError(
            f'{ref}: {library} has no model "{printable(base, 60)}"; {did_you_mean(base, models.list_models())}'
            "torchvision.models.list_models() has all"
        )
    known = models.get_model_weights(base)
    if chosen and chosen not in known.__members__:
        raise UsageError(f"{ref}: {base} has no weights of that name; it has: {', '.join(known.__members__)}")
    weights = known[chosen] if chosen else known.DEFAULT if len(known) else None
    own = dict(arguments or {})
    file = None if checkpoint or weights is None or own else torch_hub_file(weights.url, download)
    state = None if file is None else _state(ref, file)
    try:
        # Some are made otherwise for their weights (inception_v3 normalises its input by itself), whoever brings them.
        with captured_output(), _weights_are(models, state):
            if own or weights is None:
                extra = {"weights_backbone": None} if "weights_backbone" in _parameters(models, base) else {}
                model = models.get_model(base, weights=None, **extra, **own)
            else:
                model = models.get_model(base, weights=weights)
    except Exception as problem:
        if file is not None:
            raise _unloadable(ref, file, problem) from problem
        raise UsageError(
            f"{ref}: torchvision can't make it: {type(problem).__name__}: {printable(reason(problem), 160)}"
        ) from problem
    notes = []
    if file is None and not checkpoint:
        why = "are of other classes" if own else "are not in the local cache. --download fetches them"
        notes.append(f"random weights: those of {base} {why}, --checkpoint FILE loads your own")
    transform = weights.transforms() if weights is not None else None
    labels = weights.meta.get("categories", []) if weights is not None else []
    recipe, size, held = recipe_of(transform)
    if transform is not None and not held:
        notes.append(
            f"pictures are stretched to {size[1]} x {size[2]}, the one size of the graph; {library} keeps their shape"
        )
    return loading.loaded(
        ref,
        model,
        size,
        library=library,
        recipe=recipe,
        transform=transform if held else None,
        classes=own.get("num_classes", len(labels) or 1000),
        names=labels,
        weights=file,
        config=dict(arguments or {}) | ({"weights": weights.name} if file is not None and weights is not None else {}),
        notes=notes,
    )


def recipe_of(transform: Any) -> tuple[dict[str, Any] | None, tuple[int, int, int], bool]:
    """image.json of the preset that comes with weights, the size of the graph, and whether the preset makes that size.

    The presets for classification crop; the one for segmentation keeps a picture's shape, which a graph of one size can't.
    """
    edge = getattr(transform, "resize_size", None)
    side = getattr(transform, "crop_size", None) or edge or [_SIDE]
    height, width = (side[0], side[0]) if len(side) == 1 else tuple(side)
    if edge is None or len(edge) != 1 or not hasattr(transform, "mean"):
        return None, (3, height, width), True
    held = getattr(transform, "crop_size", None) is not None
    recipe: dict[str, Any] = {
        "input": loading.INPUT,
        "height": height,
        "width": width,
        "channels": 3,
        "resize": transform.interpolation.value,
        "scale": 1 / 255,
        "mean": list(map(float, transform.mean)),
        "std": list(map(float, transform.std)),
    }
    if held:
        recipe |= {"fit": "shortest_edge", "shortest_edge": edge[0], "place": "center_rounded"}
    return recipe, (3, height, width), held


def _models() -> Any:
    try:
        there = ready_torchvision()
    except Exception as problem:
        raise UsageError(
            f"torchvision can't be imported ({type(problem).__name__}: {printable(reason(problem), 120)}); install the one of "
            f"torch {torch.__version__}, from the index that torch came from"
        ) from problem
    if not there:
        raise UsageError("torchvision:NAME needs torchvision; pip install timm torchvision")
    import torchvision

    return torchvision.models


def _parameters(models: Any, base: str) -> Mapping[str, Any]:
    return inspect.signature(models.get_model_builder(base)).parameters


@contextmanager
def _weights_are(models: Any, state: Mapping[str, Any] | None) -> Iterator[None]:
    """While a model is made for weights, these are `state`, and None leaves it as it was initialised.

    torchvision's own function reaches the network, and unpickles whatever lies in the cache.
    """
    described = models._api.WeightsEnum
    fetch, load = described.get_state_dict, torch.nn.Module.load_state_dict
    described.get_state_dict = lambda self, *given, **named: state
    if state is None:
        torch.nn.Module.load_state_dict = lambda self, *given, **named: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        described.get_state_dict = fetch
        torch.nn.Module.load_state_dict = load  # type: ignore[method-assign]


def _state(ref: str, file: Path) -> Mapping[str, Any]:
    try:
        state: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:
        raise _unloadable(ref, file, problem) from problem
    return state


def _unloadable(ref: str, file: Path, problem: Exception) -> CheckpointError:
    return CheckpointError(
        f"{ref}: {printable(file.name)} of the local cache does not load: {printable(reason(problem), 200)}; delete it and take "
        "--download"
    )
