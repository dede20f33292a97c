"""A loaded model that does not generate, as the graphs that are exported of it: one, or one for each tower."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from attn_models.spec import GraphSpec
from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.spec import TensorSpec
from torch import nn

from .. import SavedModel, Weights
from .inputs import has_towers
from .one_graph import Task, Tower
from .outputs import output_specs, outputs_of, without_random
from .probe import Ask, Tensors, draw, fitted, heeds_mask, padding_token, resting_on, small

#: Name of a graph -> what a model gives its features by, what they are called in its answers, and which inputs are its.
TOWERS = {
    "text": ("get_text_features", "text_embeds", ("input_ids", "attention_mask")),
    "image": ("get_image_features", "image_embeds", ("pixel_values",)),
    "audio": ("get_audio_features", "audio_embeds", ("input_features", "input_values")),
}


def graphs_of(
    weights: Weights,
    saved: SavedModel,
    inputs: tuple[TensorSpec, ...],
    towers: Sequence[str] = (),
    front_end: nn.Module | None = None,
) -> tuple[GraphSpec, ...]:
    """What is exported of a model with these `inputs`: one graph, or one for each of `towers` ("text", "image").

    The model is asked at small sizes which of its ranges it takes, whether it heeds its mask and which outputs rest on
    weights that the folder has not; what comes of it is noted. `front_end` makes of a sound what the model takes.
    Raises UsageError for towers that it has not, CheckpointError where an output would be random.
    """
    model, name = weights.model, type(weights.model).__name__
    heard = inputs[-1].name if front_end is not None else ""
    fed = str(getattr(model, "main_input_name", "")) if front_end is not None else ""
    _no_cache(model)

    def task(specs: Sequence[TensorSpec], outputs: Sequence[str], fill: int | None = None) -> Task:
        names = [spec.name for spec in specs]
        return Task(model, names, outputs, fill=fill, front_end=front_end, heard=heard, fed=fed)

    def whole(given: Tensors) -> Tensors:
        """Every tensor among the answers."""
        asked = task(inputs, ()).arguments(list(given.values()))
        return {k: v for k, v in _answer(model, asked).items() if isinstance(v, torch.Tensor) and v.ndim}

    inputs = fitted(inputs, whole, saved)
    given = draw(inputs, small(inputs))
    outputs = outputs_of(name, whole(given))
    if not outputs:
        raise UsageError(
            f"{saved.ref}: {name} answers no tensor; wrap it in a module of your own: package.module:callable"
        )

    def wanted(fill: int | None = None) -> Ask:
        return partial(_run, task(inputs, outputs, fill))

    if weights.missing:
        resting = resting_on(model, weights.missing, inputs, wanted())
        outputs = without_random(outputs, resting, weights.missing, f"{saved.ref}: {name}", saved.notes)
    if towers:
        return _tower_graphs(model, saved, inputs, towers, whole)
    fill = _fill(model, saved, inputs, wanted)
    declared = output_specs(outputs)
    return (GraphSpec("model", inputs, declared, lambda _module: task(inputs, outputs, fill)),)


def _no_cache(model: Any) -> None:
    """A classifier made of a decoder answers keys and values besides, which nobody asks for."""
    parts = [getattr(model.config, name, None) for name in getattr(model.config, "sub_configs", {})]
    for config in (model.config, *parts):
        if getattr(config, "use_cache", None):
            config.use_cache = False


def _fill(model: Any, saved: SavedModel, inputs: tuple[TensorSpec, ...], wanted: Any) -> int | None:
    """The token that stands for padding inside the graph, for a model that finds the end of a text by it."""
    if not any(spec.name == "attention_mask" for spec in inputs) or heeds_mask(inputs, wanted()):
        return None
    token = padding_token(model)
    if token is not None and heeds_mask(inputs, wanted(token)):
        saved.notes.append(f"the model finds the end of a text by token {token}, which is put where the mask is false")
        return token
    saved.notes.append("its answers depend on padding, mask or not: give texts of one length in a batch")
    return None


def _tower_graphs(
    model: Any, saved: SavedModel, inputs: tuple[TensorSpec, ...], towers: Sequence[str], whole: Ask
) -> tuple[GraphSpec, ...]:
    has = [name for name, (method, _, _) in TOWERS.items() if has_towers(model) and hasattr(model, method)]
    if unknown := [name for name in towers if name not in has]:
        raise UsageError(
            f"--graphs {','.join(towers)}: {saved.ref} is a {type(model).__name__}; {did_you_mean(unknown[0], has)}"
            f"available: {', '.join(has) or 'none, it is one graph'}"
        )
    given = draw(inputs, small(inputs))
    answered = whole(given)
    graphs = []
    for name in dict.fromkeys(towers):
        method, output, takes = TOWERS[name]
        own = tuple(spec for spec in inputs if spec.name in takes)
        names = [spec.name for spec in own]
        plain = _run(Tower(model, method, names, output, normalize=False), {key: given[key] for key in names})
        features = plain[output]
        unit = features / features.norm(p=2, dim=-1, keepdim=True)
        scaled = next(
            (flag for flag, one in ((False, features), (True, unit)) if _close(one, answered.get(output))), None
        )
        if scaled is None:
            raise UsageError(
                f"--graphs {name}: {method} does not give the {output} of {saved.ref}; export it as one graph"
            )

        def view(
            module: nn.Module,
            fill: int | None = None,
            *,
            told: tuple[str, list[str], str] = (method, names, output),
            normalize: bool = scaled,
        ) -> Tower:
            return Tower(module, *told, normalize=normalize, fill=fill)

        fill = _fill(model, saved, own, lambda fill=None, view=view: partial(_run, view(model, fill)))
        graphs.append(GraphSpec(name, own, output_specs((output,)), partial(view, fill=fill)))
    return tuple(graphs)


def _close(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def _answer(model: nn.Module, arguments: dict[str, Any]) -> dict[str, Any]:
    fixed = {"return_dict": True} if "return_dict" in inspect.signature(model.forward).parameters else {}
    with torch.no_grad():
        return dict(model(**arguments, **fixed).items())


def _run(module: nn.Module, given: Tensors) -> Tensors:
    with torch.no_grad():
        found: Tensors = module(*given.values())
    return found
