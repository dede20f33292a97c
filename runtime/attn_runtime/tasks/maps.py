"""What a model looked at: its attention weights on one input, with the words, cells or seconds that its axes stand for.

A bundle exported with --with-attention has the weights as outputs; its asset attention_maps says which, and of what.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..bundle import Bundle
from ..errors import BundleError, InputError, UsageError
from ..files import write_whole
from ..preprocess import read_lines
from ..session import check_open
from .attention_run import Ran, run_graphs

Floats = NDArray[np.floating[Any]]

#: How far from 1 the weights of a query may sum: rounding to float16 takes up to half of it with 1000 keys.
SUM_TOLERANCE = 1e-2
#: Nobody's recording is longer: 30 years.
_MOST_SECONDS = 1e9


@dataclass(frozen=True)
class Axis:
    """What lies along one axis of a map.

    kind     "words" (`labels` has one for each entry), "grid" (rows x columns cells of the picture, row by row, after `skip`
             other entries), "frames" (of `seconds` each, from the start) or "index" (numbers)
    what     in words, for the axis of a picture
    """

    kind: str
    what: str
    labels: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    skip: int = 0
    seconds: float = 0.0

    def name(self, entry: int) -> str:
        """What an entry stands for."""
        if self.kind == "words":
            return self.labels[entry]
        if self.kind == "frames":
            return f"{entry * self.seconds:.2f} s"
        if self.kind == "grid" and entry >= self.skip:
            return "row {}, column {}".format(*divmod(entry - self.skip, self.columns))
        return "class token" if self.kind == "grid" else str(entry)

    def cell(self, row: int, column: int) -> int:
        """The entry of a cell of the grid. UsageError outside of it."""
        if self.kind != "grid":
            raise UsageError(f"a cell is asked for, and the {self.what} are no cells of a picture")
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise UsageError(f"cell {row},{column}: rows are 0..{self.rows - 1} and columns 0..{self.columns - 1}")
        return self.skip + row * self.columns + column


@dataclass(frozen=True)
class AttentionMap:
    """`weights` float [heads, queries, keys] of one attention: how much each query took from each key, 0..1."""

    graph: str
    output: str
    module: str
    weights: Floats
    query: Axis
    key: Axis


@dataclass(frozen=True)
class AttentionMaps:
    """The maps of one input, in the order of the model, and what belongs to a picture of them.

    title     the input and the answer, in words
    picture   uint8 [height, width, 3] as it is in the file, for a model of images
    samples   float32 [samples] at `rate` Hz, as the model took them, for a model of sound
    """

    maps: tuple[AttentionMap, ...]
    title: str
    choice: str
    notes: tuple[str, ...] = ()
    picture: NDArray[np.uint8] | None = None
    samples: NDArray[np.float32] | None = None
    rate: int = 0
    passed_over: tuple[str, ...] = ()

    def chosen(self, layer: str | None = None, head: str | None = None) -> tuple[AttentionMap, ...]:
        """The maps of some layers, and heads: "mean" of them (one map each), a number, or None for all.

        `layer` is a number, counted from 0 over the maps there are, or a regular expression that is found in "graph module".
        Raises UsageError for one that no map has.
        """
        maps = self._layers(layer)
        if head is None:
            return maps
        if head == "mean":
            return tuple(replace(m, weights=m.weights.mean(0, keepdims=True)) for m in maps)
        least = min(m.weights.shape[0] for m in maps)
        if not head.isdecimal() or int(head) >= least:
            raise UsageError(f"head {head}: expected mean, all or 0..{least - 1}")
        return tuple(replace(m, weights=m.weights[int(head), None]) for m in maps)

    def to_json(self, layer: str | None = None) -> dict[str, Any]:
        """What was found, in the layers that are `chosen`."""
        return summary(self, self.chosen(layer))

    def save(self, file: str | os.PathLike[str], layer: str | None = None) -> None:
        """Write the weights of the layers that are `chosen` to the .npz `file`; see `save`."""
        save(self.chosen(layer), file)

    def _layers(self, layer: str | None) -> tuple[AttentionMap, ...]:
        if layer is None:
            return self.maps
        known = ", ".join(f"{number} {m.graph} {m.module}" for number, m in enumerate(self.maps))
        if layer.isdecimal():
            if int(layer) >= len(self.maps):
                raise UsageError(f"layer {layer}: there are {known}")
            return (self.maps[int(layer)],)
        try:
            found = tuple(m for m in self.maps if re.search(layer, f"{m.graph} {m.module}"))
        except re.error as error:
            raise UsageError(f"layer {layer}: is no regular expression: {error}; there are {known}") from None
        if not found:
            raise UsageError(f"layer {layer}: no attention of that name; there are {known}")
        return found


def attention_maps(
    path: str | os.PathLike[str],
    given: str | Mapping[str, NDArray[Any]],
    device: str = "auto",
    backend: str | None = None,
    *,
    precision: str | None = None,
    max_length: int | None = None,
    stdin: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> AttentionMaps:
    """The attention of the bundle at `path` on `given`: an image, a recording, a text, an .npz of inputs, or arrays by the names
    of the inputs, of which row 0 is shown.

    A text that is translated or continued is generated first (`max_length` is the most tokens of the answer); then the graphs
    that read whole texts are run on all of it. With `stdin` a text that is "-" is the line on stdin, as in
    `attn-run attention`; another file than a text is read from there without it.
    Raises UsageError for a bundle without attention outputs, InputError for an input that it does not take, BundleError
    where an output is no attention, and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    if not isinstance(given, Mapping):
        arguments.expect(arguments.PATH, given=given)
    check_open(path, device, backend, precision=precision, cache=cache)
    arguments.expect(arguments.WHOLE | arguments.NONE, max_length=max_length)
    arguments.expect(arguments.FLAG, stdin=stdin)
    bundle = Bundle.open(path)
    told = bundle.asset("attention_maps")
    if told is None:
        raise UsageError(
            f"bundle {bundle.path.name}: has no attention outputs; export it with: attn-export to-onnx SOURCE --with-attention"
        )
    if stdin and given == "-" and bundle.asset("text") is not None:
        given = _line_of_stdin()
    where = {"device": device, "backend": backend, "precision": precision, "cache": cache}
    ran = run_graphs(bundle, given, {entry["graph"] for entry in told}, where, max_length)
    maps = tuple(_map(bundle, entry, ran) for entry in told if entry["graph"] in ran.outputs)
    if not maps:
        raise BundleError(
            f"bundle {bundle.path.name}: asset attention_maps: no graph that it names reads a whole input; re-export the bundle"
        )
    sources = ran.picture, ran.samples, ran.rate
    return AttentionMaps(maps, ran.title, ran.choice, ran.notes, *sources, ran.passed_over)


def _line_of_stdin() -> str:
    lines = read_lines("-", blank=False)
    if len(lines) > 1:
        raise InputError(f"stdin: holds {len(lines)} lines; expected one text, give one at a time")
    return lines[0]


def _map(bundle: Bundle, entry: Mapping[str, Any], ran: Ran) -> AttentionMap:
    where = f"bundle {bundle.path.name}: graph {entry['graph']}: output {entry['output']}"
    outputs = ran.outputs[entry["graph"]]
    if entry["output"] not in outputs:
        raise BundleError(
            f"{where}: the asset attention_maps names it, and the graph has no such output; re-export the bundle"
        )
    weights = outputs[entry["output"]]
    if weights.ndim != 4 or weights.dtype.kind != "f":
        raise BundleError(
            f"{where}: {weights.dtype.name} {list(weights.shape)}; expected attention weights, [batch, heads, queries, keys]"
        )
    first = weights[0].astype(np.float32)
    query = _axis(entry["query"], first.shape[1], "query", ran, where)
    key = _axis(entry["key"], first.shape[2], "key", ran, where)
    if query.kind == "words":
        first = first[:, : len(query.labels)]  # what is behind is padding
    if key.kind == "words":
        first = first[:, :, : len(key.labels)]
    off = float(np.abs(first.sum(-1) - 1).max(initial=0.0))
    if not off <= SUM_TOLERANCE:  # NaN is not either
        raise BundleError(
            f"{where}: the weights of a query sum to 1 ± {off:.3g} over the keys that are no padding, expected 1; "
            "it is no attention, or it looks at padding"
        )
    return AttentionMap(entry["graph"], entry["output"], entry["module"], first, query, key)


def _axis(told: Mapping[str, Any], size: int, side: str, ran: Ran, where: str) -> Axis:
    kind = told["kind"]
    if kind == "grid":
        axis = Axis("grid", "cells", rows=told.get("rows", 0), columns=told.get("columns", 0), skip=told.get("skip", 0))
        if axis.skip + axis.rows * axis.columns != size:
            raise BundleError(
                f"{where}: {size} {side} entries, and a grid of {axis.rows} x {axis.columns} after {axis.skip}; "
                "re-export the bundle"
            )
        return axis
    if kind == "frames" and told.get("seconds"):
        if not told["seconds"] * size <= _MOST_SECONDS:
            raise BundleError(
                f"{where}: {size} {side} entries of {told['seconds']:g} seconds each; re-export the bundle"
            )
        return Axis("frames", "seconds", seconds=told["seconds"])
    written = kind == "generated" and side == "query" and ran.written is not None
    words = ran.read.get(told.get("of", "")) if kind == "tokens" else ran.answer if kind == "generated" else None
    words = ran.written if written else words
    if words is None:
        return Axis("index", "number")
    words = ["class token"] * told.get("skip", 0) + words
    if len(words) > size:
        raise BundleError(f"{where}: {size} {side} entries for {len(words)} words; re-export the bundle")
    what = (
        "word that is written"
        if written
        else "word of the answer"
        if kind == "generated"
        else "word"
        if len(ran.read) == 1
        else f"word of {told['of']}"
    )
    return Axis("words", what, tuple(words))


def save(maps: Sequence[AttentionMap], file: str | os.PathLike[str]) -> None:
    """Write the weights to the .npz `file` as GRAPH.OUTPUT, float32 [heads, queries, keys]. Raises OutputError."""
    write_whole(Path(file), lambda path: np.savez(path, **{f"{m.graph}.{m.output}": m.weights for m in maps}))  # type: ignore[arg-type]


def summary(found: AttentionMaps, maps: Sequence[AttentionMap]) -> dict[str, Any]:
    """What was found, for JSON: of each map its sizes, and where the mean of its heads has the most weight."""
    rows = []
    for m in maps:
        mean = m.weights.mean(0)
        query, key = (int(i) for i in np.unravel_index(int(mean.argmax()), mean.shape))
        rows.append(
            {
                "layer": next(
                    number
                    for number, other in enumerate(found.maps)
                    if other.output == m.output and other.graph == m.graph
                ),
                "graph": m.graph,
                "module": m.module,
                "output": m.output,
                "heads": m.weights.shape[0],
                "queries": m.weights.shape[1],
                "keys": m.weights.shape[2],
                "query": {"kind": m.query.kind, "what": m.query.what},
                "key": {"kind": m.key.kind, "what": m.key.what},
                "most": {
                    "weight": float(mean[query, key]),
                    "query": query,
                    "key": key,
                    "told": f"{m.query.name(query)} -> {m.key.name(key)}",
                },
            }
        )
    return {
        "title": found.title,
        "choice": found.choice,
        "passed_over": list(found.passed_over),
        "notes": list(found.notes),
        "maps": rows,
    }
