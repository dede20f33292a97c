"""Tasks of a child process (see child_process.py): what ONNX Runtime answers on the CPU, from file to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .session_options import cpu_options, make_session


def answers_here(graph: str, cases: list[list[str]], large: bool, fp16: bool = False) -> dict[str, Any]:
    """Run `graph` on every (inputs.safetensors, outputs.safetensors) pair.

    `large` keeps the weights memory-mapped; `fp16`: a tensor inside is float16.
    """
    from safetensors.numpy import load_file, save_file

    # Without optimizations where it is large: the exporter has folded constants already.
    session = make_session(Path(graph), cpu_options(large=large, optimizations=not large), fp16=fp16)
    names = [output.name for output in session.get_outputs()]
    known = {one.name for one in session.get_inputs()}
    for inputs, outputs in cases:
        feed = {name: value for name, value in load_file(inputs).items() if name in known}
        try:
            answers = session.run(names, feed)
        except Exception as problem:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feed.items())
            raise RuntimeError(f"at {shapes}: {problem}") from problem
        save_file({name: np.ascontiguousarray(v) for name, v in zip(names, answers, strict=True)}, outputs)
    return {}
