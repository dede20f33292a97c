"""torch.arange with a fraction among start, end and step: as long as in PyTorch, at every size.

PyTorch takes the length in double precision; ONNX Range takes it, and its ends, in float32: arange(0, T * 0.1, 0.1) has
another length at 85 of 195 sizes. Where start and step are the same at all sizes, the values are a constant that is cut.
A whole start and an end such as 9.0 are floats in PyTorch, and whole numbers in the exporter.
"""

from __future__ import annotations

from typing import Any

import torch

from .building_blocks import (
    MOST_CONSTANTS,
    Call,
    CanNotWrite,
    Form,
    Size,
    arguments,
    bounds,
    constant,
    function_of,
    start_of,
    value,
)
from .scalars import together

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64)


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    ends = start, _, step = [given.get("start", 0), given["end"], given.get("step", 1)]
    if all(_is_whole(value(number)) for number in ends):
        # The exporter takes the type of arange(1, 9.0) from its start, and PyTorch from all of them.
        mixed = given["dtype"] is None and len({isinstance(value(number), float) for number in ends[:2]}) == 2
        return Call(torch.arange, tuple(ends), {"dtype": torch.get_default_dtype()}) if mixed else None
    dtype = given["dtype"] or torch.get_default_dtype()
    if dtype not in _DTYPES:
        raise CanNotWrite(f"it is an arange of {dtype}")
    found = together(ends)
    if found.root is None and dtype is torch.float64:
        return None
    if found.root is None:
        return Call(_constant_arange, (torch.arange(*found.at(0), dtype=dtype).tolist(), dtype), {})
    first, last = bounds(found.root.meta["val"])
    if last - first >= MOST_CONSTANTS:
        raise CanNotWrite(f"the size it is computed from ranges over more than {MOST_CONSTANTS} values")
    # Here and not while tracing, where a tensor has no values.
    lengths = [torch.arange(*found.at(size), dtype=dtype, device="meta").shape[0] for size in range(first, last + 1)]
    longest = torch.arange(*found.at(first + lengths.index(max(lengths))), dtype=dtype)
    # Constants of the graph are float32 or int64.
    varies = dtype is torch.float64 or any(isinstance(n, torch.fx.Node) for n in (start, step))
    values = None if varies else longest.tolist()
    if values is None and not dtype.is_floating_point:
        raise CanNotWrite("it counts in integers, from a start or by a step that is a fraction of a size")

    def arange_by_size(size: Size, start: Any, step: Any) -> torch.Tensor:
        after = function_of(size, lambda n: lengths[n - first])
        if values is not None:
            return start_of(constant(values), after).to(dtype)
        index = start_of(constant(range(max(lengths))), after)
        numbers: torch.Tensor = index.to(torch.float64 if dtype is torch.float64 else torch.float32) * step + start
        return numbers.to(dtype)

    return Call(arange_by_size, (found.root, start, step), {})


def _constant_arange(values: list[Any], dtype: torch.dtype) -> torch.Tensor:
    return constant(values).to(dtype) if values else torch.zeros(0, dtype=dtype)


def _is_whole(number: Any) -> bool:
    return isinstance(number, (int, torch.SymInt)) or (isinstance(number, float) and number.is_integer())


FORM = Form(frozenset({"arange"}), _write)
