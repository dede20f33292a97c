"""Who can run a model on a GPU here, each with the reason where it can't."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_runtime import backends
from attn_runtime.backends import trt
from attn_runtime.device.gpus import find_gpus
from attn_runtime.errors import UsageError
from attn_runtime.session import open_session
from attn_runtime.trt import library as flavour
from attn_runtime.trt import library_choice
from attn_runtime.trt.builder.compile import compile_engine

from .models import Arrays, Job


@dataclass(frozen=True)
class Opened:
    """Ready to run. `call` returns when the answers are complete, or has put all work on the default stream."""

    call: Callable[[], object]
    answers: Callable[[], Arrays]
    note: str = ""
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Runner:
    """`why_not` is None when it can run here at all; a job may still fail, which is a row with the reason."""

    name: str
    why_not: str | None
    open: Callable[[Job], Opened]


def runners() -> list[Runner]:
    """In the order of the table."""
    found = [Runner("PyTorch eager", _why_not_torch(), _eager), Runner("torch.compile", _why_not_torch(), _compiled)]
    for name in ("ort", "ort_tensorrt", "ort_rtx"):
        found.append(Runner(f"attn_runtime {name}", _why_not_backend(name), partial(_session, name)))
    for name in sorted(flavour.names(), reverse=True):
        found.append(Runner(f"attn_runtime trt ({name})", _why_not_trt(name), partial(_engine, name)))
    return found


def _why_not_torch() -> str | None:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return None if torch.cuda.is_available() else "torch finds no GPU"


def _why_not_backend(name: str) -> str | None:
    if name not in backends.names():
        return "this attn-runtime has no such backend"
    module = backends.get(name)
    return find_gpus().problem or module.why_unavailable() or module.why_not("cuda")


def _why_not_trt(name: str) -> str | None:
    reason = find_gpus().problem or trt.why_unavailable() or trt.why_not("cuda")
    return reason or library_choice.why_not(name) or library_choice.why_no_run(name)


def _eager(job: Job) -> Opened:
    return _torch(job, compiled=False)


def _compiled(job: Job) -> Opened:
    return _torch(job, compiled=True)


def _torch(job: Job, compiled: bool) -> Opened:
    """Weights and inputs on the GPU before the clock starts; fp16 by .half(). float32 is float32: no TF32."""
    if job.precision not in ("fp32", "fp16"):
        raise UsageError(f"PyTorch has no {job.precision} of this module")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    module: Any = copy.deepcopy(job.module).eval().cuda()
    inputs = [torch.from_numpy(value).cuda() for value in job.inputs.values()]
    if job.precision == "fp16":
        module = module.half()
        inputs = [value.half() if value.is_floating_point() else value for value in inputs]
    if compiled:
        # Its fastest at small sizes: with CUDA graphs. And whole: what falls back to eager in between is another number.
        module = torch.compile(module, mode="reduce-overhead", fullgraph=True)

    def call() -> Any:
        with torch.inference_mode():
            return module(*inputs)

    def answers() -> Arrays:
        leaves = torch.utils._pytree.tree_leaves(call())
        return {n: v.float().cpu().numpy() for n, v in zip(job.outputs, leaves, strict=True)}

    return Opened(call, answers, "reduce-overhead" if compiled else "")


def _session(backend: str, job: Job) -> Opened:
    return _bound(job.bundle, backend, job)


def _engine(name: str, job: Job) -> Opened:
    """The engine is built in a copy of the bundle: a session takes the engine that fits, whichever flavour it is of."""
    own = job.bundle.parent / f"{name}-{job.precision}" / job.bundle.name
    if not own.exists():
        shutil.copytree(job.bundle, own)
        compile_engine(own, precision=job.precision, flavour=name, graph=job.graph)
    return _bound(own, "trt", job)


def _bound(bundle: Path, backend: str, job: Job, device: str = "cuda") -> Opened:
    """A bound call with CUDA graphs, on buffers on the GPU where the backend has such."""
    session = open_session(bundle, device, backend, graph=job.graph, precision=job.precision, cuda_graph=True)
    try:
        call = session.bind(job.sizes, on_device=True)
        note = "buffers on the GPU"
    except UsageError:
        call = session.bind(job.sizes)
        note = "copies from and to the host included"
    for name, value in job.inputs.items():
        _fill(call.inputs[name], value)

    def answers() -> Arrays:
        return {n: v.numpy() if hasattr(v, "numpy") else v.copy() for n, v in call().items()}

    return Opened(call, answers, note, session.close)


def _fill(buffer: Any, value: np.ndarray[Any, Any]) -> None:
    if isinstance(buffer, np.ndarray):
        buffer[...] = value
    else:
        buffer.write(np.ascontiguousarray(value, buffer.dtype))
