"""Weights of two graphs: which are the same, and how far the others are apart. Those beside a graph are mapped from disk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..onnx_graph import load
from .changes import Change, Section

#: Elements that are compared at a time.
_PIECE = 1 << 20

Tensors = Mapping[str, ir.TensorProtocol]


def weights(a: Path, b: Path) -> Section:
    """Matched by name, and those of the rest that hold the same bytes by that; what differs most comes first.

    Raises BundleError for a file that is no ONNX model.
    """
    one, other = _tensors(a), _tensors(b)
    shared = [name for name in one if name in other]
    changes = [change for name in shared if (change := _compared(name, one[name], other[name])) is not None]
    changes.sort(key=lambda change: -(math.inf if change.relative is None else change.relative))
    lone = {n: t for n, t in one.items() if n not in other}, {n: t for n, t in other.items() if n not in one}
    renamed = _renamed(*lone)
    changes += [Change(name, _kind(t), None) for name, t in lone[0].items() if name not in renamed]
    changes += [Change(name, None, _kind(t)) for name, t in lone[1].items() if name not in renamed.values()]
    same = len(shared) + len(lone[0]) + len(lone[1]) - len(renamed) - len(changes)
    return Section("weights", tuple(changes), same, "weights")


def _tensors(path: Path) -> dict[str, ir.TensorProtocol]:
    graph = load(path).graph
    return {name: v.const_value for name, v in graph.initializers.items() if v.const_value is not None}


def _compared(name: str, a: ir.TensorProtocol, b: ir.TensorProtocol) -> Change | None:
    """What differs; None where the same type holds the same bits."""
    if tuple(a.shape) != tuple(b.shape):
        return Change(name, _kind(a), _kind(b), "another shape")
    one, other = _flat(a), _flat(b)
    if a.dtype == b.dtype and one.dtype == other.dtype and _same_bits(one, other):
        return None
    if one.dtype.kind in "OSU" or other.dtype.kind in "OSU":
        return Change(name, _kind(a), _kind(b), "other texts")
    error, largest = _error(one, other)
    relative = error / largest if largest else error
    return Change(name, _kind(a), _kind(b), f"{relative:.1e} of max|A|", relative)


def _same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return all(
        one[at : at + _PIECE].tobytes() == other[at : at + _PIECE].tobytes() for at in range(0, one.size, _PIECE)
    )


def _error(one: NDArray[Any], other: NDArray[Any]) -> tuple[float, float]:
    """max|other - one| and max|one|; infinite where only one side is NaN or infinite."""
    error = largest = 0.0
    for at in range(0, one.size, _PIECE):
        a, b = one[at : at + _PIECE].astype(np.float64), other[at : at + _PIECE].astype(np.float64)
        with np.errstate(invalid="ignore"):
            off = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(b - a))
        off[np.isnan(off)] = math.inf
        error = max(error, float(off.max(initial=0.0)))
        largest = max(largest, float(np.abs(a[np.isfinite(a)]).max(initial=0.0)))
    return error, largest


def _renamed(a: Tensors, b: Tensors) -> dict[str, str]:
    """Names of `a` -> names of `b` that hold the same, each once."""
    if not a or not b:
        return {}
    of_b: dict[tuple[str, bytes], list[str]] = {}
    for name, tensor in b.items():
        of_b.setdefault((_kind(tensor), _digest(tensor)), []).append(name)
    found = {}
    for name, tensor in a.items():
        if alike := of_b.get((_kind(tensor), _digest(tensor))):
            found[name] = alike.pop(0)
    return found


def _digest(tensor: ir.TensorProtocol) -> bytes:
    flat, digest = _flat(tensor), hashlib.sha256()
    for at in range(0, flat.size, _PIECE):
        digest.update(flat[at : at + _PIECE].tobytes())
    return digest.digest()


def _flat(tensor: ir.TensorProtocol) -> NDArray[Any]:
    flat = np.asarray(tensor.numpy()).reshape(-1)
    return flat.astype("S") if flat.dtype.kind == "O" else flat


def _kind(tensor: ir.TensorProtocol) -> str:
    return f"{tensor.dtype.name.lower()}[{', '.join(map(str, tensor.shape))}]"
