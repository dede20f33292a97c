"""The shapes at which a graph is held against PyTorch: every corner of the declared ranges, and one odd size inside."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attn_runtime.bundle import Arrays, Case
from attn_runtime.spec import Dim, TensorSpec, named_dims


def corner_cases(inputs: Sequence[TensorSpec]) -> list[Case[Arrays]]:
    """min, opt, max, odd, and for several dynamic dims each one low while the rest are high and the reverse.

    Inputs and answers are still empty. Shapes that occur twice (a fixed model has one only) are listed once, under the
    first name.
    """
    dims = named_dims(inputs)
    dynamic = [d for d in dims.values() if d.dynamic]
    wanted: list[tuple[str, dict[str, int]]] = [
        ("min", {n: d.min for n, d in dims.items()}),
        ("opt", {n: d.opt for n, d in dims.items()}),
        ("max", {n: d.max for n, d in dims.items()}),
        ("odd", {n: odd_size(d) for n, d in dims.items()}),
    ]
    if len(dynamic) > 1:
        for chosen in dynamic:
            assert chosen.name is not None
            wanted.append((f"{chosen.name}-min", {n: d.min if n == chosen.name else d.max for n, d in dims.items()}))
            wanted.append((f"{chosen.name}-max", {n: d.max if n == chosen.name else d.min for n, d in dims.items()}))
    cases: list[Case[Arrays]] = []
    for name, sizes in wanted:
        if not any(c.sizes == sizes for c in cases):
            cases.append(Case(name, sizes, {}, {}))
    return cases


def example_name(number: int) -> str:
    """The name of the case that is the user's example `number`, from 1."""
    return "example" if number == 1 else f"example-{number}"


def is_example(name: str) -> bool:
    return re.fullmatch(r"example(-\d+)?", name) is not None


def odd_size(dim: Dim) -> int:
    """An odd size strictly between the ends and not opt, where there is one: kernels that need a multiple show there."""
    middle = (dim.min + dim.max) // 2 | 1
    candidates = sorted(
        (n for n in range(max(dim.min + 1, middle - 64), min(dim.max, middle + 65)) if n != dim.opt),
        key=lambda n: (n % 2 == 0, abs(n - middle), n),
    )
    return candidates[0] if candidates else dim.opt


def trace_sizes(inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Sizes to trace the module at: opt where it will do, but never 0 or 1, no end of a range, and no two dynamic dims alike.

    torch.export bakes in sizes 0 and 1, and a model can tell two equal sizes apart only by luck. A comparison with the end
    of a range (a table of 64 positions, cut to the length) goes at that end as it goes nowhere else.
    """
    taken = {d.opt for s in inputs for d in s.dims if not d.dynamic}
    sizes: dict[str, int] = {}
    for name, dim in named_dims(inputs).items():
        if not dim.dynamic:
            sizes[name] = dim.opt
            continue
        span = range(max(dim.min, 2), min(dim.max, dim.opt + 64) + 1)
        ordered = sorted(span, key=lambda n: (n in taken, n in (dim.min, dim.max), abs(n - dim.opt), n))
        sizes[name] = ordered[0] if ordered else dim.opt
        taken.add(sizes[name])
    return sizes
