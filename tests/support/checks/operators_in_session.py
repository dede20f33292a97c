"""What ONNX Runtime makes of a graph on the CPU, in a session as this project opens it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
from attn_runtime.ort import cpu_options, make_session


def operators_in_session(path: Path) -> Counter[str]:
    """How many nodes of each operator the session computes."""
    target = path.with_suffix(".optimised.onnx")
    options = cpu_options(threads=1)
    options.optimized_model_filepath = str(target)
    make_session(path, options)
    return Counter(node.op_type for node in onnx.load(target, load_external_data=False).graph.node)
