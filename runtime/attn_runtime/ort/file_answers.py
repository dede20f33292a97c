"""What ONNX Runtime answers on the CPU, from file to file, in a child process: a graph that nobody has run yet may crash it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..child_process import ChildProcess
from .session_options import cpu_options, make_session


def answer_files(
    child: ChildProcess,
    stage: str,
    graph: Path,
    cases: Sequence[tuple[Path, Path]],
    *,
    large: bool = False,
    fp16: bool = False,
) -> None:
    """Have `child` run `answers_here`: `cases` are (inputs.safetensors, outputs.safetensors), of which the second is written.

    `stage` names it in messages. Raises what `ChildProcess.run` raises; TaskFailed where ONNX Runtime can't run the graph.
    """
    pairs = [[str(inputs), str(outputs)] for inputs, outputs in cases]
    child.run(
        "attn_runtime.ort.file_answers:answers_here", stage, graph=str(graph), cases=pairs, large=large, fp16=fp16
    )


def answers_here(graph: str, cases: list[list[str]], large: bool, fp16: bool = False) -> dict[str, Any]:
    """The task of the child process: run `graph` on every (inputs.safetensors, outputs.safetensors) pair.

    `large` keeps the weights memory-mapped; `fp16`: a tensor inside is float16.
    """
    from safetensors.numpy import load_file, save_file

    # Without optimizations where it is large: the exporter has folded constants already.
    options = cpu_options(large=large, optimizations=not large, share_cores=True)  # others are at work beside an export
    session = make_session(Path(graph), options, fp16=fp16)
    names = [output.name for output in session.get_outputs()]
    known = {one.name for one in session.get_inputs()}
    for inputs, outputs in cases:
        feed = {name: value for name, value in load_file(inputs).items() if name in known}
        try:
            answers = session.run(names, feed)
        except Exception as problem:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feed.items())
            raise RuntimeError(f"at {shapes}: {problem}") from problem
        save_file({name: np.asarray(v, order="C") for name, v in zip(names, answers, strict=True)}, outputs)
    return {}
