"""Which of PyTorch's answers travel with the model, and at which size.

Every corner that was checked has a golden case. A corner too big to store is stored at a smaller shape of the same
kind, asked of PyTorch anew; the manifest has both shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec, named_dims

from .answers import Answer, Arrays, run_module
from .shape_cases import Case
from .signature import Signature

#: A stored case, inputs and outputs together, stays under this many bytes where its ranges allow.
MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Golden:
    """What is stored (`answer`) for the corner that was checked at `checked`; `seed` drew its inputs."""

    answer: Answer
    checked: dict[str, int]
    seed: int


def choose(signature: Signature, answers: Sequence[Answer], seed: int, most: int = MOST_BYTES) -> list[Golden]:
    """A golden case for every answer, in order; PyTorch is asked again for those that had to shrink."""
    dims = named_dims(signature.inputs)
    chosen: list[Golden] = []
    for number, answer in enumerate(answers):
        sizes, stored = dict(answer.case.sizes), answer
        while _bytes(stored) > most and (smaller := _smaller(sizes, dims)) is not None:
            sizes = smaller
            if answer.case.name == "example":
                stored = Answer(Case("example", sizes), _cut(signature.inputs, answer, sizes), {})
            else:
                stored = Answer(Case(answer.case.name, sizes), draw_inputs(signature.inputs, sizes, seed + number), {})
            if _bytes(stored) <= most:  # the inputs fit; now the outputs must, too
                stored = run_module(signature, stored.case, stored.inputs)
        if not stored.outputs:
            stored = run_module(signature, stored.case, stored.inputs)
        chosen.append(Golden(stored, answer.case.sizes, seed + number))
    return chosen


def _bytes(answer: Answer) -> int:
    return sum(v.nbytes for v in [*answer.inputs.values(), *answer.outputs.values()])


def _smaller(sizes: dict[str, int], dims: dict[str, Dim]) -> dict[str, int] | None:
    """Halve the dim that is farthest above its minimum; None when all are there."""
    above = {n: s / dims[n].min for n, s in sizes.items() if s > dims[n].min}
    if not above:
        return None
    farthest = max(above, key=lambda n: above[n])
    return {**sizes, farthest: max(dims[farthest].min, sizes[farthest] // 2)}


def _cut(inputs: Sequence[TensorSpec], answer: Answer, sizes: dict[str, int]) -> Arrays:
    """The first elements of the user's own example along every dim."""
    return {s.name: answer.inputs[s.name][tuple(slice(0, n) for n in s.shape(sizes))].copy() for s in inputs}
