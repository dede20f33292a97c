"""Which of PyTorch's answers travel with the model, and at which size.

Every corner that was checked has a golden case. A corner too big to store is stored at a smaller shape of the same
kind, asked of PyTorch anew; the manifest has both shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from attn_runtime.bundle import Arrays, Case, GoldenRef
from attn_runtime.spec import Dim, TensorSpec, named_dims

from .answers import run_module
from .draw import Drawn, keeps_sizes
from .shape_cases import corner_cases, is_example
from .signature import Signature
from .value_cases import FP32_ONLY

#: A stored case, inputs and outputs together, stays under this many bytes where its ranges allow.
MOST_BYTES = 4 << 20


def choose(
    signature: Signature, answers: Sequence[Case[Arrays]], seed: int, max_bytes: int = MOST_BYTES
) -> list[GoldenRef[Arrays]]:
    """A golden case for every answer, in order; PyTorch is asked again for those that had to shrink.

    One of unusual values that is too big is left to the checks of the export.
    """
    dims = named_dims(signature.inputs)
    corners = {case.name for case in corner_cases(signature.inputs)}
    chosen: list[GoldenRef[Arrays]] = []
    exact = keeps_sizes(signature.draw)

    def bytes_at(sizes: Mapping[str, int]) -> int:
        inputs = sum(math.prod(s.shape(sizes)) * np.dtype(s.dtype).itemsize for s in signature.inputs)
        return inputs + _answer_bytes(answers, sizes)

    for number, answer in enumerate(answers):
        shrinks = answer.name in corners or is_example(answer.name)
        if not shrinks and case_bytes(answer) > max_bytes:
            continue  # of unusual values: a smaller one would be drawn as usual
        sizes, stored = dict(answer.sizes), answer
        while (not stored.outputs or case_bytes(stored) > max_bytes) and (fewer := smaller(sizes, dims)) is not None:
            if is_example(answer.name) and signature.dependent:
                break  # a part of inputs that depend on one another is no input; the user's own is stored whole
            sizes = fewer
            if exact and smaller(sizes, dims) is not None and bytes_at(sizes) > max_bytes:
                stored = replace(answer, outputs={})  # its shapes alone say that it is too large
                continue
            if is_example(answer.name):
                drawn = Drawn(_cut(signature.inputs, answer, sizes), sizes)
            else:
                drawn = signature.draw(sizes, seed + number)
            stored = replace(answer, sizes=drawn.sizes, inputs=drawn.inputs, outputs={})
            # The inputs fit, and the outputs are likely to: now PyTorch is asked, and they must.
            if case_bytes(stored) + _answer_bytes(answers, stored.sizes) <= max_bytes:
                stored = run_module(signature, stored, stored.inputs)
        if not stored.outputs:
            stored = run_module(signature, stored, stored.inputs)
        # The cases of unusual values are made of one draw, behind those of the corners.
        drawn_with = seed + (number if shrinks else len(corners))
        types = ("fp32",) if answer.name in FP32_ONLY else ()
        chosen.append(GoldenRef(**vars(stored), checked_sizes=answer.sizes, seed=drawn_with, types=types))
    return chosen


def _answer_bytes(answers: Sequence[Case[Arrays]], sizes: Mapping[str, int]) -> int:
    """What the outputs take at least at other sizes: an axis that has always been as long as a dim is taken for that dim."""
    total = 0
    for name, value in answers[0].outputs.items():
        size = value.itemsize
        for axis in range(value.ndim):
            seen = [(a.sizes, a.outputs[name].shape[axis]) for a in answers]
            dims = [n for n in sizes if all(own.get(n) == length for own, length in seen)]
            size *= sizes[dims[0]] if dims else min(length for _, length in seen)
        total += size
    return total


def case_bytes(answer: Case[Arrays]) -> int:
    """Of inputs and answers together."""
    return sum(v.nbytes for v in [*answer.inputs.values(), *answer.outputs.values()])


def smaller(sizes: Mapping[str, int], dims: Mapping[str, Dim]) -> dict[str, int] | None:
    """Halve the dim that is farthest above its minimum; None when all are there."""
    above = {n: s / max(1, dims[n].min) for n, s in sizes.items() if s > dims[n].min}
    if not above:
        return None
    farthest = max(above, key=lambda n: above[n])
    return {**sizes, farthest: max(dims[farthest].min, sizes[farthest] // 2)}


def _cut(inputs: Sequence[TensorSpec], answer: Case[Arrays], sizes: dict[str, int]) -> Arrays:
    """The first elements of the user's own example along every dim."""
    return {s.name: answer.inputs[s.name][tuple(slice(0, n) for n in s.shape(sizes))].copy() for s in inputs}
