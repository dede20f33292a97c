"""Cases that could join a proof: small inputs of other seeds, and edges of what an input may be, as PyTorch answers them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from attn_runtime.bundle import Arrays, Case, GoldenRef
from attn_runtime.compare import Tolerance
from attn_runtime.spec import TensorSpec, named_dims

from ..reference import MOST_BYTES, Ask, Draw, case_bytes, settled, small_sizes
from .unseen_inputs import edges

#: Cases that are just drawn: half of them at the small sizes, the others anywhere below.
_DRAWN = 4


def candidates(
    inputs: Sequence[TensorSpec],
    draw: Draw,
    ask: Ask,
    tolerance: Tolerance,
    seed: int,
    *,
    dependent: bool = False,
    most_bytes: int = MOST_BYTES,
) -> list[GoldenRef[Arrays]]:
    """Cases with the answers of PyTorch, `ask`, each named after what it is; those that are drawn with `seed` and the ones
    behind it come first, edges of the first of them follow.

    Left out are cases that PyTorch fails at or that it has no finite and settled answer to, those that take more than
    `most_bytes` with their answers, and, where inputs are `dependent` on one another, all edges: a part of them changed by
    itself would be no input. Cases whose floats are scaled are for fp32 alone.
    """
    found: list[GoldenRef[Arrays]] = []
    usual: Case[Arrays] | None = None
    for number, sizes in enumerate(_sizes(inputs, seed)):
        drawn = draw(sizes, seed + number)
        case = Case(f"drawn {number + 1}", drawn.sizes, drawn.inputs, {})
        answer = settled(case, ask, tolerance)
        if isinstance(answer, str):
            continue
        usual = usual or answer
        found.append(_golden(answer, seed + number))
    if usual is not None and not dependent:
        first, base = found[0].seed, usual
        for edge in edges(inputs, base):
            answer = settled(edge, ask, tolerance, lambda: base)
            if not isinstance(answer, str):
                found.append(_golden(answer, first, () if _same_floats(answer, base) else ("fp32",)))
    return [case for case in found if case_bytes(case) <= most_bytes]


def _sizes(inputs: Sequence[TensorSpec], seed: int) -> Iterator[dict[str, int]]:
    rng, small, dims = random.Random(seed), small_sizes(inputs), named_dims(inputs)
    for number in range(_DRAWN):
        below = {name: rng.randint(min(dims[name].min, size), size) for name, size in small.items()}
        yield below if number >= _DRAWN // 2 else small


def _golden(answer: Case[Arrays], seed: int, types: tuple[str, ...] = ()) -> GoldenRef[Arrays]:
    return GoldenRef(
        answer.name, answer.sizes, answer.inputs, answer.outputs, checked_sizes=answer.sizes, seed=seed, types=types
    )


def _same_floats(case: Case[Arrays], other: Case[Arrays]) -> bool:
    return all(v is other.inputs[n] for n, v in case.inputs.items() if v.dtype.kind == "f")
