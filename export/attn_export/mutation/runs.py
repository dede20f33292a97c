"""A graph that nobody has run yet, opened once in a child process and asked case by case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle import Arrays, Case, Graph, Precision, to_fp16, to_reference_dtype
from attn_runtime.child_process import ChildProcess
from attn_runtime.ort import cpu_options, make_session
from safetensors.numpy import load_file, save_file

from ..onnx_graph import EXTERNAL_FROM_BYTES, read_info
from ..precision.schemes import of_type

_TASKS = __name__


@dataclass(frozen=True)
class Form:
    """How the graphs of one precision are run: as `attn_runtime.verify` does on the CPU, or emulated where it can't.

    folder    where the external data lies
    fp16      whether a tensor inside is float16, and `half_io` whether those at the border are
    emulate   makes the fp32 graph that stands for a typed one; None where the graph itself is run
    """

    folder: Path
    large: bool = False
    fp16: bool = False
    half_io: bool = False
    emulate: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None


def form_of(precision: Precision) -> Form:
    scheme = of_type(precision.type)
    return Form(
        precision.file.parent,
        read_info(precision.file).weight_bytes >= EXTERNAL_FROM_BYTES,
        scheme is not None,
        precision.half_io,
        scheme.emulate if scheme is not None and not scheme.runs_on_cpu else None,
    )


class Runner:
    """Runs one graph at a time. `work` is a folder for what goes between the processes."""

    def __init__(self, child: ChildProcess, work: Path) -> None:
        self._child, self._work = child, work
        self._form = Form(work)

    def open(self, graph: Path, form: Form) -> None:
        """Load a graph. Raises TaskFailed where it is none, StageError where it crashes or takes too long."""
        if form.emulate is not None:
            emulated = self._work / "emulated.onnx"
            onnx.save(form.emulate(onnx.load(graph, load_external_data=False)), emulated)
            graph = emulated
        self._form = form
        self._child.run(
            f"{_TASKS}:open_here", "a changed graph", graph=str(graph), folder=str(form.folder.resolve()),
            large=form.large, fp16=form.fp16,
        )  # fmt: skip

    def answer(self, case: Case[Path], like: Arrays | None = None) -> Arrays:
        """Its outputs at a case whose inputs are in the reference's types; in the dtypes of `like` where that is given."""
        inputs, outputs = case.inputs, self._work / "answers.safetensors"
        if self._form.half_io:
            inputs = self._work / "half.safetensors"
            save_file(to_fp16(load_file(case.inputs)), inputs)
        self._child.run(
            f"{_TASKS}:answer_here", f"a changed graph at {case.name}", inputs=str(inputs), outputs=str(outputs)
        )
        got: Arrays = load_file(outputs)
        if self._form.half_io and like is not None and set(got) <= set(like):
            got = to_reference_dtype(got, like)
        return got


def stored_cases(graph: Graph, type: str) -> list[tuple[Case[Path], Arrays]]:
    """The golden cases that a precision of `type` is held to, with PyTorch's answers, those that cost least first."""
    pairs = [(ref, case.outputs) for ref, case in zip(graph.golden_for(type), graph.cases(type), strict=True)]
    return sorted(pairs, key=lambda pair: pair[0].inputs.stat().st_size)


# --- inside the child -----------------------------------------------------------------------------------------------

_session: Any = None


def open_here(graph: str, folder: str, large: bool, fp16: bool) -> dict[str, Any]:
    """A task of the child process: make the session that `answer_here` asks. Weights outside the file are in `folder`."""
    global _session
    _session = None  # what it held is free before the next one is made
    options = cpu_options(large=large, optimizations=not large, data_folder=Path(folder))
    _session = make_session(Path(graph).read_bytes(), options, fp16=fp16)
    return {}


def answer_here(inputs: str, outputs: str) -> dict[str, Any]:
    """A task of the child process: from file to file."""
    assert _session is not None, "no graph is open: the child was started anew"
    known = {one.name for one in _session.get_inputs()}
    answers = [one.name for one in _session.get_outputs()]
    feed = {name: value for name, value in load_file(inputs).items() if name in known}
    found = _session.run(answers, feed)
    save_file({name: np.asarray(value, order="C") for name, value in zip(answers, found, strict=True)}, outputs)
    return {}
