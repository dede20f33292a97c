"""The models of gpu_bench.py: bundles that are made in processes of their own, and the module that they are held against.

Making one takes a minute or two of a processor and no GPU, so several are made at a time, while the tests of tests/gpu run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exported import export_command

Arrays = Mapping[str, np.ndarray[Any, Any]]
#: Models of a size that people deploy, with drawn weights: a text and a picture classifier, and a language model's step.
SIZES = ("bert", "vit-b16", "lm-100m")
#: transformers is imported, and torch computes, in one thread at a time.
_SAVING = threading.Lock()
_SAVED = {"bert": "bert", "vit-b16": "vit", "lm-100m": "lm"}


@dataclass(frozen=True)
class Job:
    """One graph of a model in one precision ("fp32", "fp16", "int8") at one size. `inputs` are float32 on the host.

    outputs  names, in the order in which the module answers
    problem  None, or why there is no such model
    """

    model: str
    module: torch.nn.Module
    bundle: Path
    graph: str
    precision: str
    sizes: Mapping[str, int]
    inputs: Arrays
    outputs: Sequence[str]
    problem: str | None = None


@dataclass(frozen=True)
class Made:
    """What a model became in its folder: `problems` of the precisions that could not be made, "fp32" of the whole model."""

    bundle: Path
    source: str
    dims: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


class Preparing:
    """Bundles on their way. `wait` for those that are ready by a time; the others are given up, and their processes ended."""

    def __init__(self, models: Sequence[str], precisions: Sequence[str], folder: Path, at_once: int) -> None:
        self._running: list[subprocess.Popen[str]] = []
        self._stopped = False
        self._pool = ThreadPoolExecutor(at_once)
        self._found = {name: self._pool.submit(self._make, name, precisions, folder) for name in models}

    def wait(self, until: float) -> dict[str, Made | None]:
        """By model, None for one that is not ready at `until` (of time.monotonic). Raises what making one raised."""
        while time.monotonic() < until and not all(made.done() for made in self._found.values()):
            time.sleep(0.2)
        self.stop()
        return {
            name: made.result() if made.done() and not made.cancelled() else None for name, made in self._found.items()
        }

    def stop(self) -> None:
        self._stopped = True
        for made in self._found.values():
            made.cancel()
        for process in self._running:
            process.kill()
        self._pool.shutdown(wait=True)

    def _make(self, name: str, precisions: Sequence[str], folder: Path) -> Made | None:
        made = make(name, precisions, folder, self._run)
        return None if self._stopped else made  # what was killed has failed for no reason of its own

    def _run(self, command: Sequence[str]) -> str | None:
        """None, or the last line of what the command said before it failed."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._running.append(process)
        if self._stopped:
            process.kill()
        told = process.communicate()[1].strip().splitlines()
        return None if process.returncode == 0 else (told or [f"exit code {process.returncode}"])[-1]


def make(name: str, precisions: Sequence[str], folder: Path, run: Callable[[Sequence[str]], str | None]) -> Made:
    """The bundle of one model, in each precision that it can be made in. What lies in `folder` already is taken."""
    source, dims = name, ()
    if name in SIZES:
        from precision.models import model_of, saved

        model = model_of(_SAVED[name], "full")
        with _SAVING:
            source, dims = str(saved(model, folder)), model.dims
    bundle = folder / f"{name}.attn"
    problems: dict[str, str] = {}
    if not bundle.exists() and (problem := run(export_command(source, bundle, dims, "--sweep", "0"))):
        return Made(bundle, source, dims, {"fp32": problem})
    for precision in precisions:
        if precision in json.loads((bundle / "manifest.json").read_text())["graphs"][_graph(bundle)]["precisions"]:
            continue
        convert = [sys.executable, "-m", "attn_export", "convert", str(bundle), "--precision", precision, "--quiet"]
        if problem := run(convert):
            problems[precision] = f"there is no {precision} of it: {problem}"
    return Made(bundle, source, dims, problems)


def _graph(bundle: Path) -> str:
    """The graph that is timed: of a generator the step, which runs once a token."""
    from attn_runtime.bundle import Bundle

    opened = Bundle.open(bundle, check_hashes=False)
    asset = opened.asset("generation")
    return next(iter(opened.graphs)) if asset is None else str(asset["step"])


def jobs(name: str, made: Made, precisions: Sequence[str], batches: Sequence[int]) -> list[tuple[Job, int, Arrays]]:
    """(job, batch, what PyTorch answers in float32 on the CPU) for each precision and batch."""
    from attn_export.source.resolve import load_source
    from attn_runtime.bundle import Bundle
    from attn_runtime.random_inputs import draw_inputs
    from attn_runtime.spec import named_dims

    wanted = _graph(made.bundle)
    source = load_source(made.source, dims=made.dims)
    (part,) = (part for part in source.graphs if part.name == wanted)
    graph = Bundle.open(made.bundle, check_hashes=False).graph(wanted)
    dims = named_dims(graph.inputs)
    batch_dim = graph.inputs[0].dims[0].name
    names = [spec.name for spec in graph.outputs]
    found = []
    for batch in batches:
        sizes = {dim: given.opt for dim, given in dims.items()} | ({batch_dim: batch} if batch_dim else {})
        inputs = draw_inputs(graph.inputs, sizes, seed=7)
        with torch.inference_mode():
            leaves = torch.utils._pytree.tree_leaves(
                part.module.eval()(*(torch.from_numpy(v) for v in inputs.values()))
            )
        expected = {n: np.asarray(v.numpy()) for n, v in zip(names, leaves, strict=True)}
        for precision in precisions:
            problem = made.problems.get(precision)
            job = Job(name, part.module, made.bundle, wanted, precision, sizes, inputs, names, problem)
            found.append((job, batch, expected))
    return sorted(found, key=lambda each: precisions.index(each[0].precision))
