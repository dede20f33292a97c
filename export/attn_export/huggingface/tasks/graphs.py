"""A loaded model that does not generate, as the graphs that are exported of it: one, or one for each tower."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from attn_models.spec import GraphSpec
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec, named_dims
from torch import Tensor, nn

from .. import SavedModel, Weights, configs_of
from .inputs import has_towers
from .one_graph import Task, run
from .outputs import output_specs, outputs_of, without_random
from .probe import Ask, Tensors, answered_way, draw, heeds_mask, padding_token, resting_on, small
from .together import Fit, ways
from .towers import tower_graphs

#: Multiplications in each of two precisions: a second or two.
_LITTLE_WORK = 1 << 35


def graphs_of(
    weights: Weights,
    saved: SavedModel,
    inputs: tuple[TensorSpec, ...],
    towers: Sequence[str] = (),
    front_end: nn.Module | None = None,
) -> tuple[GraphSpec, ...]:
    """What is exported of a model with these `inputs`: one graph, or one for each of `towers` ("text", "image").

    The model is asked at small sizes which of its ranges it takes, whether it heeds its mask and which outputs rest on
    weights that the folder has not; what comes of it is noted. `front_end` makes of a sound, the last input, what the
    model takes as its `takes`.
    Raises UsageError for towers that it has not, CheckpointError where an output would be random.
    """
    model, name = weights.model, type(weights.model).__name__
    heard = inputs[-1].name if front_end is not None else ""
    fed = str(getattr(front_end, "takes", None) or getattr(model, "main_input_name", ""))
    _no_cache(model)

    def task(names: Sequence[str], outputs: Sequence[str], fill: int | None = None) -> Task:
        return Task(model, names, outputs, fill=fill, front_end=front_end, heard=heard, fed=fed)

    def whole(given: Tensors) -> Tensors:
        """Every tensor among the answers."""
        with torch.no_grad():
            answered = task(list(given), ()).answer(list(given.values()))
        return {k: v for k, v in answered.items() if isinstance(v, torch.Tensor) and v.ndim}

    way = answered_way(ways(model, inputs), whole, saved)
    inputs, fit = way.inputs, way.fit
    given = draw(inputs, small(inputs), fit)
    outputs = outputs_of(name, whole(given))
    if not outputs:
        raise UsageError(
            f"{saved.ref}: {name} answers no tensor; wrap it in a module of your own: package.module:callable"
        )

    def wanted(specs: tuple[TensorSpec, ...], fill: int | None = None) -> Ask:
        return partial(run, task([spec.name for spec in specs], outputs, fill))

    if weights.missing:
        resting = resting_on(model, weights.missing, inputs, wanted(inputs), fit)
        outputs = without_random(outputs, resting, weights.missing, f"{saved.ref}: {name}", saved.notes)
    inputs, fill = _padding(model, saved, inputs, wanted, fit)
    if towers:
        return tower_graphs(model, saved, inputs, fill, towers, whole)
    names = [spec.name for spec in inputs]
    return (GraphSpec("model", inputs, output_specs(outputs), lambda _module: task(names, outputs, fill), fit),)


def examples_of(graph: GraphSpec, parameters: int) -> list[list[Tensor]]:
    """Inputs of a model of so many `parameters` to measure its rounding by, all masks true: at the usual sizes, and at the
    largest ones where that is little work, since few rows of few numbers tell little."""
    largest = {name: dim.max for name, dim in named_dims(graph.inputs).items()}
    work = parameters * sum(math.prod(spec.shape(largest)) for spec in graph.inputs)
    sizes = [{}, largest] if work <= _LITTLE_WORK else [{}]
    return [list(draw(graph.inputs, one, graph.fit).values()) for one in sizes]


def _no_cache(model: Any) -> None:
    """A classifier made of a decoder answers keys and values besides, which nobody asks for."""
    for config in configs_of(model.config):
        if getattr(config, "use_cache", None):
            config.use_cache = False


def _padding(
    model: Any,
    saved: SavedModel,
    inputs: tuple[TensorSpec, ...],
    wanted: Callable[..., Ask],
    fit: Fit | None,
) -> tuple[tuple[TensorSpec, ...], int | None]:
    """The inputs, and the token that stands for padding inside the graph of a model that finds the end of a text by it.

    A model that compares texts with something, and reads the last place whatever lies there (SigLIP), was trained on texts
    of one length without a mask, and gets those.
    """
    if not any(spec.name == "attention_mask" for spec in inputs) or heeds_mask(inputs, wanted(inputs), fit):
        return inputs, None
    token = padding_token(model)
    if token is not None and heeds_mask(inputs, wanted(inputs, token), fit):
        saved.notes.append(f"the model finds the end of a text by token {token}, which is put where the mask is false")
        return inputs, token
    if not has_towers(model):
        saved.notes.append("its answers depend on padding, mask or not: give texts of one length in a batch")
        return inputs, None
    longest = next(dim.max for spec in inputs for dim in spec.dims if dim.name == "length")
    fixed = Dim("length", longest, longest, longest)
    saved.notes.append(
        f"its answers depend on padding, mask or not: a text is {longest} tokens, filled up with token {token}, and has no mask"
    )
    kept = [spec for spec in inputs if spec.name != "attention_mask"]
    return tuple(replace(s, dims=tuple(fixed if d.name == "length" else d for d in s.dims)) for s in kept), None
