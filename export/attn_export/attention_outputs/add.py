"""--with-attention: attention weights as further outputs of a graph, beside the answers, which stay the same.

Fused attention never has its weights in memory, so the chosen calls are computed step by step, for PyTorch's own answers
and for the graph alike (`recorder`). Which softmax is attention is found out by running the module once: one whose
result is multiplied with values that depend on the input (`softmax_trace`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attn_models.spec import AttentionAxis, AttentionSpec
from attn_runtime.bundle import Case
from attn_runtime.errors import UsageError
from torch import nn

from ..reference import Signature, preserved, run_module, trace_inputs
from ..source import Source, SourceGraph
from .recorder import STEM, Attention, AttentionRecorder, find

#: What --with-attention means without a pattern.
EVERY = ".*"
ASSET = "attention_maps.json"


@dataclass(frozen=True)
class Added:
    """What was added, in a line, and notes for the user."""

    line: str
    notes: tuple[str, ...]


def add_attention(source: Source, pattern: str = EVERY, seed: int = 0) -> tuple[Source, Added]:
    """`source` with the weights of the attention that `pattern` chooses as further outputs of its graphs.

    The asset attention_maps.json says which outputs they are and what lies along their axes, as far as the model's
    `attention` tells. A generator's `step` and `extend` stay as they are: they run for each token, and `first` shows them all.
    Raises UsageError where there is no attention, or none that matches, and for a .pt2 program.
    """
    if source.by_position:
        raise UsageError(
            f"--with-attention: {source.name} is a saved program, whose modules are gone; export the module that it came from"
        )
    asset = source.generation.asset if source.generation else {}
    step = asset.get("step")
    found = {g.name: find_in(source, g, seed) for g in source.graphs if g.name not in (step, asset.get("extend"))}
    chosen = choose({name: [a for a, _ in pairs] for name, pairs in found.items()}, pattern, source.name)
    maps, notes, graphs = list[dict[str, Any]](), list[str](), list[SourceGraph]()
    for graph in source.graphs:
        mine = [a for a in chosen if any(a is other for other, _ in found.get(graph.name, ()))]
        paths = {id(a): inner for a, inner in found.get(graph.name, ())}
        for attention in mine:
            query, key, note = axes(attention, paths[id(attention)], source.attention)
            entry = {"graph": graph.name, "output": attention.output, "module": attention.call.module}
            maps.append(entry | {"query": axis_json(query), "key": axis_json(key)})
            notes += [note] if note else []
        graphs.append(replace(graph, watch=AttentionRecorder(graph.module, mine, _names(source))) if mine else graph)
    if step is not None:
        notes.append(
            f"graph {step} has no attention outputs: it runs for every token, and another graph shows them all"
        )
    every = sum(map(len, found.values()))
    line = f"the weights of {len(maps)} of {every} attention calls become outputs"
    watched = replace(source, graphs=tuple(graphs), assets={**source.assets, ASSET: maps})
    return watched, Added(line, tuple(dict.fromkeys(notes)))


def find_in(source: Source, graph: SourceGraph, seed: int) -> list[tuple[Attention, str]]:
    """The attention of one graph, each with its module's path inside the graph's module."""
    names = [o.name for o in graph.outputs]
    signature = Signature(graph.module, graph.inputs, names, source.by_position, draw=graph.draw)
    inputs, sizes = trace_inputs(signature, seed)
    leading = {value.shape[0] for value in inputs.values() if value.ndim}
    with preserved(graph.module):  # what these calls set must not be there before the first case of the reference
        run_module(signature, Case("trace", sizes, {}, {}), inputs)  # names the outputs
        found = find(
            graph.module,
            lambda: run_module(signature, Case("trace", sizes, {}, {}), inputs),
            leading.pop() if len(leading) == 1 else None,
            _names(source),
            [*signature.output_names, *inputs],
        )
    whole, inner = _names(source), {m: path for path, m in graph.module.named_modules()}
    back = {whole.get(m, path): path for m, path in inner.items()}
    return [(attention, back.get(attention.call.module, "")) for attention in found]


def signature_for(source: Source, graph: SourceGraph, outputs: Sequence[str]) -> Signature:
    """The signature whose outputs these are: what of them the module does not return itself are attention weights."""
    weights: list[Attention] = []
    if any(name.startswith(STEM) for name in outputs):
        weights = [attention for attention, _ in find_in(source, graph, seed=0) if attention.output in outputs]
    own = [name for name in outputs if name not in {a.output for a in weights}]
    watch = AttentionRecorder(graph.module, weights, _names(source)) if weights else None
    return Signature(graph.module, graph.inputs, own, source.by_position, watch, graph.draw)


def _names(source: Source) -> dict[nn.Module, str]:
    """Paths in the whole model: a graph's own module may wrap it, and several graphs share its modules."""
    return {m: path for path, m in source.module.named_modules()}


def choose(found: Mapping[str, Sequence[Attention]], pattern: str, name: str) -> list[Attention]:
    """Those whose module's path matches: a regular expression that is found in it, or a glob of the whole path.

    `found` is by graph. Raises UsageError, with the paths there are, when none matches.
    """
    every = [attention for mine in found.values() for attention in mine]
    if not every:
        raise UsageError(
            f"--with-attention: {name} has no attention that can be seen: no scaled_dot_product_attention, and no softmax "
            "whose result is multiplied (matmul, @, bmm, einsum) with values that depend on the input"
        )
    try:
        matches = re.compile(pattern).search
    except re.error:  # such as *.attention
        matches = re.compile(fnmatch.translate(pattern)).match
    chosen = [a for a in every if matches(a.call.module)]
    if not chosen:
        paths = ", ".join(dict.fromkeys(a.call.module or "(the model itself)" for a in every))
        raise UsageError(f"--with-attention {pattern}: no module of {name} with attention matches; there are: {paths}")
    return chosen


def axes(attention: Attention, inner: str, specs: Sequence[AttentionSpec]) -> tuple[AttentionAxis, AttentionAxis, str]:
    """What lies along queries and keys, by the model's own word, and a note where that can't be so.

    A spec's pattern is looked for in the module's path, both the one in the whole model and the one inside the graph.
    """
    numbers = AttentionAxis("index")
    told = next((s for s in specs if any(re.search(s.module, p) for p in (attention.call.module, inner))), None)
    if told is None:
        return numbers, numbers, ""
    for axis, size, side in zip((told.query, told.key), attention.sizes, ("queries", "keys"), strict=True):
        cells = axis.skip + axis.rows * axis.columns
        if axis.kind == "grid" and cells != size:
            note = (
                f"{attention.call.module}: {size} {side} are no grid of {axis.rows} x {axis.columns} after {axis.skip}"
            )
            return numbers, numbers, f"{note}; they are told of as numbers"
    return told.query, told.key, ""


def axis_json(axis: AttentionAxis) -> dict[str, Any]:
    """As $defs/attention_axis has it: what does not apply is left out."""
    told = {"of": axis.of, "rows": axis.rows, "columns": axis.columns, "skip": axis.skip, "seconds": axis.seconds}
    return {"kind": axis.kind} | {key: value for key, value in told.items() if value}
