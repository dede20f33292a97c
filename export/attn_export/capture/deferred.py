"""A capture whose guards were put off to the checks: what is told of it, and what a failed check of it means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attn_runtime.errors import AttnError, CaptureError, ParityError
from attn_runtime.spec import Dim, TensorSpec, named_dims

from .dropped_guards import Branch, dropped_guards
from .patches import Applied
from .tracing import Traced

#: More guards than these are counted, not told.
_TOLD = 3


def branches_of(traced: Traced, inputs: Sequence[TensorSpec]) -> list[Branch]:
    """The guards that sizes in the declared ranges break: over two dims or more, and all where rules were put off."""
    return dropped_guards(traced.inputs, inputs, traced.records, 1 if traced.refused else 2)


def told(traced: Traced, branches: Sequence[Branch]) -> Applied:
    """The entry in the manifest: that guards were put off, which, and why."""
    refused = traced.refused.rpartition("; ")[0] if traced.refused.startswith("dim") else traced.refused
    text = f"traced by the example's branches, since torch.export's own rules refuse the module ({refused}); " + (
        f"sizes that take another branch are checked too ({shown(branches)})" if branches else "every size takes them"
    )
    return Applied("deferred-guards", text + (f"; wrote out {traced.wrote}" if traced.wrote else ""))


def shown(branches: Sequence[Branch]) -> str:
    """The guards, the shortest first, and how many more there are."""
    guards = sorted((b.guard for b in branches), key=len)
    more = f" and {len(guards) - _TOLD} more" if len(guards) > _TOLD else ""
    return ", ".join(guards[:_TOLD]) + more


def explained(problem: ParityError, branches: Sequence[Branch], inputs: Sequence[TensorSpec]) -> AttnError:
    """What it means that a captured graph is not PyTorch's: a CaptureError that names the line where the module takes
    another branch at every size that failed, else `problem` itself.

    Only guards on one dim are blamed: a ParityError about several has always been one, and its note names the guard.
    """
    wrong = problem.sizes
    able = [b for b in branches if len(b.dims) == 1 and not any(b.holds(sizes) for sizes in wrong)]
    if not able:
        return problem
    if not wrong:  # it did not run at all, and nobody says at which sizes
        places = dict.fromkeys(b.place.removeprefix(" at ") for b in able if b.place)
        return ParityError(
            f"{problem} It was captured by the example's branches, and not every size takes them ({shown(able)}): look at "
            f"{'; '.join(places) or 'what depends on these dims'}",
            problem.details,
        )
    # Of two that are broken at all of them, the one that is broken nowhere else says more.
    branch = min(able, key=lambda b: (_extent(b, inputs), not b.place))
    name = branch.dims[0]
    dim = named_dims(inputs)[name]
    return CaptureError(
        f"dim {name} was asked to be {dim.min}..{dim.max} but a graph has one branch for all sizes: it was captured where "
        f"{branch.guard}, and elsewhere it is not PyTorch's{branch.place} ({problem}); {_way_out(branch, dim)}"
    )


def _sizes(branch: Branch, dim: Dim) -> list[int]:
    """The sizes of the dim where the guard holds."""
    return [n for n in range(dim.min, dim.max + 1) if branch.holds({branch.dims[0]: n})]


def _extent(branch: Branch, inputs: Sequence[TensorSpec]) -> int:
    """At how many sizes of its dim a guard does not hold."""
    dim = named_dims(inputs)[branch.dims[0]]
    return dim.max - dim.min + 1 - len(_sizes(branch, dim))


def _way_out(branch: Branch, dim: Dim) -> str:
    fitting = _sizes(branch, dim)
    change = "change that line" if branch.place else "change the model"
    longest = max(_runs(fitting), key=lambda run: (dim.opt in run, len(run)), default=[])
    if re.fullmatch(r".* == \d+", branch.guard):
        return (
            f"where that line makes a Python number of a size (int, round), write math.trunc or math.floor, or whole "
            f"numbers ({dim.name} * 7 // 10); else fix it with --dim {dim.name}=SIZE"
        )
    if len(longest) < 2:
        return f"fix it with --dim {dim.name}=SIZE, or {change} so that it computes the same for every size"
    low, high = longest[0], longest[-1]
    return f"ask for --dim {dim.name}={low}:{min(max(dim.opt, low), high)}:{high}, or {change}"


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Consecutive numbers together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def sizes_to_ask(branches: Sequence[Branch]) -> list[Mapping[str, int]]:
    """One size of each guard first, then the others; none twice."""
    longest = max((len(b.sizes) for b in branches), default=0)
    ordered = [b.sizes[n] for n in range(longest) for b in branches if n < len(b.sizes)]
    return [sizes for at, sizes in enumerate(ordered) if sizes not in ordered[:at]]
