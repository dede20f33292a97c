"""The graph `extend` of a generator, declared by what its `step` is declared to be: several tokens a row in place of one.

A runtime that guesses what comes next has the guesses checked by one call of it, where `step` would take one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from numpy.typing import NDArray

from .spec import Extension, GraphSpec, ModelSpec

#: Most tokens of a row that one call reads: no fewer entries than this has a cache whose graph allows as many.
MOST_TOKENS = 16
#: What the graph is called in a bundle, and the name of its dim.
NAME, COUNT = "extend", "count"


def extend_graph(step: GraphSpec, extension: Extension) -> GraphSpec:
    """The declaration of `extend` beside `step`."""
    scores, *new = step.outputs
    count = extend_inputs(step.inputs)[0].dims[1]
    several = replace(scores, dims=(scores.dims[0], count, *scores.dims[1:]), meaning="score of each token after each")
    entries = (replace(spec, dims=(*spec.dims[:2], count, *spec.dims[3:])) for spec in new)
    return GraphSpec(NAME, extend_inputs(step.inputs), (several, *entries), extension.view, extension.fit)


def extend_inputs(step: Sequence[TensorSpec], count: Dim | None = None) -> tuple[TensorSpec, ...]:
    """The inputs of `extend`, of those of `step`: token is [batch, count], and position is that of the first of them.

    A cache has as many entries as there are tokens at least, and the last of them stands at a place that the model has.
    """
    given = {spec.name: spec for spec in step}
    position, cache = given["position"], given["past_mask"].dims[1]
    places = position.high or cache.max
    if count is None:
        most = min(MOST_TOKENS, cache.max, places)
        count = Dim(COUNT, 1, min(4, most), most)
    least = min(max(cache.min, count.max), cache.max)
    entries = Dim(cache.name, least, max(least, cache.opt), cache.max)
    token = given["token"]
    given["token"] = replace(token, dims=(token.dims[0], count), meaning="the newest tokens, one behind the other")
    first = max(1, places - count.max + 1)
    given["position"] = replace(position, high=first, meaning="the place of the first of them in its row")
    for name, spec in given.items():
        given[name] = replace(spec, dims=tuple(entries if dim.name == cache.name else dim for dim in spec.dims))
    return tuple(given.values())


def before_the_end(of_step: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]) -> Any:
    """`of_step`, which fits the drawn inputs of a step, with every one of the tokens at a place of the cache."""

    def fit(drawn: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        fitted = dict(of_step(drawn))
        room = fitted["past_mask"].shape[1] - fitted["token"].shape[1] + 1
        position = fitted["position"] % room
        places = np.arange(fitted["past_mask"].shape[1])
        return {**fitted, "position": position, "past_mask": fitted["past_mask"] & (places < position)}

    return fit


def with_extend(model: ModelSpec) -> ModelSpec:
    """`model` with the graph `extend` beside the others. Raises UsageError for one that has none."""
    generation = model.generation
    if generation is None or generation.extend is None:
        why = "it does not write token by token" if generation is None else "its GenerationSpec has no `extend`"
        raise UsageError(f'{model.name} can\'t have a graph "{NAME}": {why}; leave --with-extend out')
    step = next(graph for graph in model.graphs if graph.name == generation.asset["step"])
    graphs = (*model.graphs, extend_graph(step, generation.extend))
    return replace(model, graphs=graphs, generation=replace(generation, asset={**generation.asset, "extend": NAME}))
