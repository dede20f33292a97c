"""The graph `extend` of a generator, declared by what its `step` is declared to be: several tokens a row in place of one.

A runtime that guesses what comes next has the guesses checked by one call of it, where `step` would take one for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec

from .spec import Extension, GraphSpec, ModelSpec

#: Most tokens of a row that one call reads: no fewer entries than this has a cache whose graph allows as many.
MOST_TOKENS = 16
#: What the graph is called in a bundle, and the name of its dim.
NAME, COUNT = "extend", "count"


def extend_graph(step: GraphSpec, extension: Extension) -> GraphSpec:
    """The declaration of `extend` beside `step`."""
    scores, *new = step.outputs
    inputs = extend_inputs(step.inputs)
    count = next(spec for spec in inputs if spec.name == "token").dims[1]
    several = replace(scores, dims=(scores.dims[0], count, *scores.dims[1:]), meaning="score of each token after each")
    entries = (replace(spec, dims=(*spec.dims[:2], count, *spec.dims[3:])) for spec in new)
    return GraphSpec(NAME, inputs, (several, *entries), extension.view, extension.fit)


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


def with_extend(model: ModelSpec) -> ModelSpec:
    """`model` with the graph `extend` beside the others. Raises UsageError for one that has none."""
    generation = model.generation
    if generation is None or generation.extend is None:
        why = "it does not write token by token" if generation is None else "its GenerationSpec has no `extend`"
        raise UsageError(f'{model.name} can\'t have a graph "{NAME}": {why}; leave --with-extend out')
    step = next(graph for graph in model.graphs if graph.name == generation.asset["step"])
    graphs = (*model.graphs, extend_graph(step, generation.extend))
    return replace(model, graphs=graphs, generation=replace(generation, asset={**generation.asset, "extend": NAME}))
