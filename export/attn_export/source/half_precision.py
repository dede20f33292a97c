"""A module that computes in half precision, said to be so where its export fails.

It is no fault by itself: a table kept in float16 and read as float32 exports rightly. But answers in half precision are
rounded by each library in its own way, further than the limits of float32 allow, and some libraries lack the operators;
what fails then names a node, and not the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from attn_runtime.errors import BackendError, CaptureError, ParityError, PassError, StageError
from torch import nn

from .types import Source


@contextmanager
def half_precision_named(source: Source) -> Iterator[None]:
    """What is raised inside says too that `source` has weights in half precision, or asks for autocast while it runs.

    The class of the error stays, and its details.
    """
    entered: dict[torch.dtype, None] = {}
    try:
        with _autocast_noted(entered):
            yield
    except (CaptureError, ParityError, StageError, PassError, BackendError) as problem:
        if text := _explanation(source, list(entered), str(problem)):
            raise type(problem)(text, problem.details) from problem
        raise


def half_weights(module: nn.Module) -> tuple[list[str], int]:
    """The names of the parameters and buffers of fewer than 32 bits, and how many there are of floating point at all."""
    floats = [(n, t) for n, t in (*module.named_parameters(), *module.named_buffers()) if t.dtype.is_floating_point]
    return [name for name, tensor in floats if tensor.dtype.itemsize < 4], len(floats)


def _explanation(source: Source, autocasts: list[torch.dtype], problem: str) -> str | None:
    half, count = half_weights(source.module)
    ref = source.provenance["ref"]
    tensors = dict[str, torch.Tensor]([*source.module.named_parameters(), *source.module.named_buffers()])
    kinds = " and ".join(dict.fromkeys(_named(tensors[name].dtype) for name in half))
    if any(tensors[name].dtype.itemsize < 2 for name in half):
        return f"{problem} {ref} has quantised weights ({kinds}: {half[0]}); export what it was quantised from."
    if half and len(half) == count:
        return (
            f"{ref} is in half precision: its parameters are {kinds}. Export it in float32 (return module.float() "
            f"where it is built), then --fp16 or --precision bf16. As it is: {problem}"
        )
    if half:
        return (
            f"{problem} {len(half)} of its {count} parameters and buffers are {kinds} ({half[0]} is the first), and a graph "
            "is held to the limits of float32: export it in float32 throughout (module.float(), no .half() in its code), then "
            "--fp16."
        )
    if autocasts:
        kinds = " and ".join(map(_named, autocasts))
        return (
            f"{problem} Its forward asks for torch.autocast in {kinds}, and a graph is held to the limits of float32: "
            "leave autocast out of it (autocast(enabled=False)), then --fp16 or --precision bf16."
        )
    return None


@contextmanager
def _autocast_noted(entered: dict[torch.dtype, None]) -> Iterator[None]:
    original = torch.autocast.__enter__

    def enter(self: Any) -> Any:
        if self._enabled and self.fast_dtype.itemsize < 4:
            entered[self.fast_dtype] = None
        return original(self)

    torch.autocast.__enter__ = enter  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autocast.__enter__ = original  # type: ignore[method-assign]


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
