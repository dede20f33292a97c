"""A module's large weights, mapped from the file that its graph was written to.

What PyTorch holds and what lies in that file are the same numbers. Mapped from there, they share memory with ONNX Runtime, which
maps the file too, and the system may drop them where it is short of it. The mapping is private: who writes to such a weight gets
a copy of that page, and the file stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from ..onnx_graph import load

#: Smaller weights stay as they are: together they are little.
_LEAST_BYTES = 1 << 20
_ITEM = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class Written:
    """A parameter or buffer that is written, whole, as the weight `name` of a graph: read from there with `strides`, in elements,
    it is the same."""

    tensor: torch.Tensor
    name: str
    strides: tuple[int, ...]


def written_weights(module: nn.Module, graph: ir.Graph) -> list[Written]:
    """The large float32 parameters and buffers of `module` whose own memory is that of a weight of `graph`, as it is or with
    its axes in another order: the exporter folds the transposes of linear layers into views."""
    held: dict[int, list[torch.Tensor]] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.dtype == torch.float32
        if plain and tensor.numel() * _ITEM >= _LEAST_BYTES:
            held.setdefault(tensor.data_ptr(), []).append(tensor)
    found: dict[int, Written] = {}
    for name, value in graph.initializers.items():
        # Others than ir.Tensor have no memory yet.
        if not isinstance(value.const_value, ir.Tensor) or value.const_value.dtype != ir.DataType.FLOAT:
            continue
        array = value.const_value.numpy()
        for tensor in held.get(array.ctypes.data, ()):
            strides = _strides(tensor, array)
            # Rather as it was: a module may look at its weights with `view`.
            if strides is not None and (id(tensor) not in found or strides == tensor.stride()):
                found[id(tensor)] = Written(tensor, name, strides)
    return list(found.values())


def _strides(tensor: torch.Tensor, array: NDArray[np.float32]) -> tuple[int, ...] | None:
    """With which `array`, once it is written in its own order, reads as `tensor`, whose memory it shares; None where it can't."""
    if array.size != tensor.numel():
        return None
    if array.flags.c_contiguous and tensor.is_contiguous():
        return tensor.stride()
    if array.ndim != tensor.ndim:
        return None
    written = torch.empty(array.shape, device="meta").stride()
    here = [stride // _ITEM for stride in array.strides]
    axes = dict(zip(zip(array.shape, here, strict=True), written, strict=True))
    found = [axes.get(axis) for axis in zip(tensor.shape, tensor.stride(), strict=True)]
    return None if None in found else tuple(stride for stride in found if stride is not None)


def map_written(weights: Sequence[Written], graph: Path) -> bool:
    """Let each of `weights` be what the file `graph` has it as in its data file; whether any is."""
    if os.name != "posix":  # where a file that is mapped can't be moved
        return False
    stored, files = load(graph).graph.initializers, dict[Path, torch.Tensor]()
    for one in weights:
        place = stored[one.name].const_value if one.name in stored else None
        if not isinstance(place, ir.ExternalTensor) or place.offset is None or place.offset % _ITEM:
            continue
        path = Path(place.path)
        if path not in files:
            files[path] = torch.from_file(
                str(path), shared=False, size=path.stat().st_size // _ITEM, dtype=torch.float32
            )
        one.tensor.data = files[path].as_strided(one.tensor.shape, one.strides, place.offset // _ITEM)
    return bool(files)
