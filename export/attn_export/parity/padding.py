"""Padding that a mask hides must change no answer. Which inputs are such masks, and what shows that a graph heeds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance, compare_all
from attn_runtime.errors import CaptureError
from attn_runtime.spec import TensorSpec, named_dims

from ..reference import Draw, independent, is_unusual

#: How many elements are added to a dim, where its range allows.
_MORE = 7


@dataclass(frozen=True)
class Padded:
    """The case number `base` with its dim `dim` made longer, by anything, which the boolean input `mask` calls padding.

    Padding is false, or true where PyTorch's answers show that the mask means it so. `error` is not 0 where they depend
    on what is padded either way: then it is no mask of padding, or does not work, and no graph can do better.
    """

    name: str
    mask: str
    dim: str
    base: int
    inputs: Arrays
    words: np.ndarray[Any, Any]
    axes: dict[str, tuple[int, ...]]
    error: float = 0.0

    def unpadded(self, outputs: Arrays) -> Arrays:
        """`outputs` of the case, or of the longer one, without what answers for padding: cut off, or set to 0."""
        size = self.words.shape[-1]
        left: Arrays = {}
        for name, value in outputs.items():
            for axis in self.axes[name]:
                value = value.take(np.arange(size), axis)
                shape = [1] * value.ndim
                shape[axis] = size
                if self.words.ndim == 2 and axis > 0 and len(value) == len(self.words):
                    shape[0] = len(value)
                if np.prod(shape) == self.words.size:
                    value = np.where(self.words.reshape(shape), value, np.zeros((), value.dtype))
            left[name] = value
        return left


def paddings(
    inputs: Sequence[TensorSpec],
    answers: Sequence[Case[Arrays]],
    tolerance: Tolerance,
    ask: Callable[[Arrays], Arrays],
    draw: Draw | None = None,
) -> Iterator[Padded]:
    """One for each boolean input [length] or [batch, length] whose length is a dynamic dim. `ask` is PyTorch, and `draw` the
    user's, where inputs depend on one another: what it can't make longer, or PyTorch does not take then, is left out."""
    for spec in inputs:
        dim = spec.dims[-1] if spec.dtype == "bool" and 1 <= len(spec.dims) <= 2 else None
        if dim is None or dim.name is None or not dim.dynamic or [d.name for d in spec.dims].count(dim.name) > 1:
            continue
        # The shortest case that holds more than one element and can grow.
        cases = [
            (a.sizes[dim.name], n)
            for n, a in enumerate(answers)
            if a.sizes[dim.name] < dim.max and not is_unusual(a.name)
        ]
        if not cases:
            continue
        base = min(cases, key=lambda case: (case[0] < 2, case))[1]
        answer = answers[base]
        axes = {
            name: tuple(
                axis
                for axis in range(value.ndim)
                if all(a.outputs[name].shape[axis] == a.sizes[dim.name] for a in answers)
            )
            for name, value in answer.outputs.items()
        }
        errors = []
        for padding in (False, True):
            fed = _longer(inputs, answer, dim.name, spec.name, padding, draw)
            if fed is None:
                continue
            found = Padded(
                re.sub(r"[^A-Za-z0-9._-]", "_", f"padded-{spec.name}")[:128],
                spec.name,
                dim.name,
                base,
                fed,
                answer.inputs[spec.name] ^ padding,
                axes,
            )
            try:
                asked = ask(fed)
            except CaptureError:
                if draw is None:
                    raise
                continue
            own = compare_all(found.unpadded(answer.outputs), found.unpadded(asked), tolerance)
            if all(d.passed for d in own):
                yield found
                break
            errors.append((max(d.max_error for d in own), found))
        else:
            if errors:
                error, found = errors[0]
                yield Padded(**{**vars(found), "error": error})


def _longer(
    inputs: Sequence[TensorSpec], answer: Case[Arrays], dim: str, mask: str, padding: bool, draw: Draw | None
) -> Arrays | None:
    """The answer's inputs in front, something drawn behind them along `dim`, and `padding` there in the mask.

    None where a `draw` of the user's came out at other sizes.
    """
    size = answer.sizes[dim]
    longer = {**answer.sizes, dim: min(size + _MORE, named_dims(inputs)[dim].max)}
    drawn = dict((draw or independent(inputs))(longer, size).inputs)
    for spec in inputs:
        own = answer.inputs[spec.name]
        if all(d.name != dim for d in spec.dims):
            drawn[spec.name] = own
            continue
        if drawn[spec.name].shape != spec.shape(longer):
            return None
        drawn[spec.name][tuple(slice(n) for n in own.shape)] = own
        if spec.name == mask:
            drawn[spec.name][..., size:] = padding
    return drawn
