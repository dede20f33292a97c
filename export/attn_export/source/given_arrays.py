"""The inputs of one case that a person's function or file gives: trusted in nothing, and held against what is declared."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from attn_runtime.bundle import Arrays
from attn_runtime.errors import InputError, UsageError
from attn_runtime.spec import TensorSpec, check_shapes, odd_bool, signature


def given_inputs(where: str, given: Any, specs: Sequence[TensorSpec], option: str, remedy: str) -> Arrays:
    """A copy of every input of `specs`, in their order and in this machine's byte order.

    `given` should map names to numpy arrays or torch tensors. `where` opens messages, `option` is the one that led here, and
    `remedy` says what to mend. Raises UsageError for other names, dtypes, ranks or sizes than declared, for integers outside
    of their range, and for bools that are neither 0 nor 1.
    """
    # Duck typing, and not Mapping: an open .npz and what frameworks collect have names and items, and are no Mapping.
    if not (hasattr(given, "keys") and hasattr(given, "items")):
        names = ", ".join(spec.name for spec in specs)
        raise UsageError(f"{where}: got a {type(given).__name__}, expected a dict of the inputs {names}")
    arrays = {str(name): _array(where, str(name), value) for name, value in given.items()}
    try:
        check_shapes(specs, {name: signature(value) for name, value in arrays.items()}, option)
    except InputError as problem:
        raise UsageError(f"{where}: {problem}") from problem
    for spec in specs:
        _in_range(where, spec, arrays[spec.name], remedy)
    return {spec.name: arrays[spec.name] for spec in specs}


def _array(where: str, name: str, value: Any) -> np.ndarray[Any, Any]:
    """A copy, which nobody else holds, in this machine's byte order."""
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            raise UsageError(f'{where}: input "{name}": got bfloat16, which can\'t cross to numpy; return float32')
        value = value.detach().cpu().resolve_conj().resolve_neg().numpy()
    if not isinstance(value, (np.ndarray, np.generic)):
        kind = type(value).__name__
        raise UsageError(f'{where}: input "{name}": got a {kind}, expected a numpy array or a torch tensor')
    return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _in_range(where: str, spec: TensorSpec, value: np.ndarray[Any, Any], remedy: str) -> None:
    """That integers lie in the range that is declared of them, and bools are 0 or 1: the graph is told no other."""
    if (byte := odd_bool(value)) is not None:
        raise UsageError(f'{where}: input "{spec.name}" is bool and holds a byte {byte}, expected 0 and 1 alone')
    if value.dtype.kind not in "iu" or not value.size:
        return
    least, most = int(value.min()), int(value.max())
    low, high = -math.inf if spec.low is None else spec.low, math.inf if spec.high is None else spec.high
    if least < low or most >= high:
        raise UsageError(
            f'{where}: input "{spec.name}": got values {least}..{most}, expected {_bounds(spec)}; widen the range, or {remedy}'
        )


def _bounds(spec: TensorSpec) -> str:
    if spec.low is None or spec.high is None:
        return f"less than {spec.high}" if spec.low is None else f"{spec.low} and more"
    return f"{spec.low}..{spec.high - 1}"
