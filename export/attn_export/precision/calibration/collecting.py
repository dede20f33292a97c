"""The child's side: a graph answers samples with its inner tensors, a few of them at a time, and a collector takes them in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ..layerwise import probe

#: How many tensors are asked for at once where nothing is known of their sizes.
FIRST_CHUNK = 4
#: Tensors that are held at one time, with what a collector keeps of them, in bytes.
BUDGET_BYTES = 256 << 20


class Collector(Protocol):
    def take(self, name: str, value: NDArray[np.floating]) -> int:
        """Take in one tensor of one sample; returns the bytes that are held for it."""

    def finish(self, names: Sequence[str]) -> None:
        """All samples were taken of these."""


def collect(
    graph: str, names: Sequence[str], samples: Sequence[str], together: int, large: bool, collector: Collector
) -> int:
    """Run the fp32 `graph` on every file of `samples`, and hand `collector` the tensors `names`, inputs of the graph included.

    `together` is how many of them are asked for at once, to begin with; returns how many it may be next time, for samples of
    the same size. Raises ValueError for a name that the graph has not, and for a tensor of integers.
    """
    model = onnx.load(graph, load_external_data=False)
    made = {name for node in model.graph.node for name in node.output} | {i.name for i in model.graph.input}
    if unknown := [name for name in names if name not in made]:
        raise ValueError(f"the graph has no tensor {', '.join(unknown)}")
    start, count, most = 0, together, 1
    while start < len(names):
        chunk = names[start : start + count]
        held = _chunk(model, graph, chunk, samples, large, collector)
        start += len(chunk)
        if held <= BUDGET_BYTES:
            most = max(most, len(chunk))
        count = max(1, min(8 * count, int(len(chunk) * BUDGET_BYTES / max(held, 1))))
    return most


def _chunk(
    model: onnx.ModelProto, graph: str, names: Sequence[str], samples: Sequence[str], large: bool, collector: Collector
) -> int:
    """The most bytes that were held at one time."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    given = {i.name for i in model.graph.input}
    inner = [name for name in names if name not in given]
    session = probe(probed, Path(graph).parent, inner, large)
    del probed
    fed = {i.name for i in session.get_inputs()}
    held = 0
    for sample in samples:
        inputs = load_file(sample)
        # An empty list would mean all outputs.
        answers = session.run(inner, {n: v for n, v in inputs.items() if n in fed}) if inner else []
        values = dict(zip(inner, answers, strict=True)) | {n: inputs[n] for n in names if n in given}
        del answers
        size = sum(value.nbytes for value in values.values())
        for name, value in values.items():
            size += collector.take(name, _floating(name, value))
        held = max(held, size)
    collector.finish(names)
    return held


def _floating(name: str, value: Any) -> NDArray[np.floating]:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError(f"tensor {name} is {getattr(value, 'dtype', type(value).__name__)}, expected floating point")
    return value
