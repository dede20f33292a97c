"""How far PyTorch's own answers in half precision are from those in full: what a graph's limit is to be seen beside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attn_export.reference import Signature, run_module
from attn_export.source import Source
from attn_runtime.bundle import Case
from attn_runtime.spec import named_dims


def half_distance(source: Source, seed: int = 0) -> float | None:
    """The largest over all outputs of all graphs, at the largest sizes, as a share of the largest answer; 1e9 where there is no
    number. None where the module's code does not take halves. The source's weights are halves from then on."""
    asked: list[tuple[Signature, Any]] = []
    for graph in source.graphs:
        signature = Signature(graph.module, graph.inputs, (), source.by_position, graph.watch, graph.draw)
        drawn = signature.draw({name: dim.max for name, dim in named_dims(graph.inputs).items()}, seed)
        asked.append((signature, run_module(signature, Case("max", drawn.sizes, {}, {}), drawn.inputs)))
    worst = 0.0
    for signature, full in asked:
        signature.module.half()
        try:
            found = run_module(signature, full, full.to_fp16().inputs).outputs
        except Exception:  # code that writes float32 into its middle
            return None
        for name, expected in full.outputs.items():
            if expected.dtype.kind == "f" and expected.size and (largest := float(np.abs(expected).max())) > 0:
                far = float(np.abs(found[name].astype(np.float64) - expected).max()) / largest
                worst = max(worst, far if math.isfinite(far) else 1e9)
    return worst
