"""At which sizes a draw of the user's comes out, which need not be those that it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from attn_runtime.bundle import Arrays, Case
from attn_runtime.errors import UsageError
from attn_runtime.spec import named_dims

from .draw import Drawn
from .shape_cases import odd_size, trace_sizes
from .signature import Signature


def trace_inputs(signature: Signature, seed: int) -> Drawn:
    """What to trace the module with: at sizes of `trace_sizes`, or as near to their rules as the draw comes.

    A draw of the user's chooses sizes itself: of several that it is asked for, those with the fewest that torch.export
    would bake in (0 and 1) or take for one another.
    """
    sizes = trace_sizes(signature.inputs)
    if not signature.dependent:
        return signature.draw(sizes, seed)
    dims = named_dims(signature.inputs)
    fixed = {d.opt for s in signature.inputs for d in s.dims if not d.dynamic}

    def faults(drawn: Drawn) -> int:
        own = [size for name, size in drawn.sizes.items() if dims[name].dynamic]
        alike = sum(a == b for a, b in combinations(own, 2))
        return 100 * sum(size < 2 for size in own) + 10 * alike + sum(size in fixed for size in own)

    best = signature.draw(sizes, seed)
    # The largest last: it costs the most memory.
    for other in ({n: odd_size(d) for n, d in dims.items()}, sizes, {n: d.max for n, d in dims.items()}):
        if not faults(best):
            break
        seed += 1
        best = min(best, signature.draw(other, seed), key=faults)
    return best


def check_varied(signature: Signature, answers: Sequence[Case[Arrays]]) -> list[str]:
    """In a line for each dim, at which sizes of its range a draw of the user's had it, where it missed an end.

    Raises UsageError for a dynamic dim that always came out the same: nothing would be proven of its range.
    """
    told: list[str] = []
    for name, dim in named_dims(signature.inputs).items() if signature.dependent else ():
        seen = sorted({answer.sizes[name] for answer in answers})
        if dim.dynamic and len(seen) == 1:
            raise UsageError(
                f"--inputs-from: dim {name} came out as {seen[0]} in every case, expected sizes of {dim.min}..{dim.max}; "
                f"let it follow the sizes that are asked for, or fix it with --dim {name}={seen[0]}"
            )
        if dim.min not in seen or dim.max not in seen:
            told.append(
                f"dim {name} ({dim.min}..{dim.max}) is checked at {', '.join(map(str, seen))}, by --inputs-from"
            )
    return told
