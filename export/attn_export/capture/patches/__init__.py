"""Small changes made around an export so that torch.export and torch.onnx accept a model and keep its numbers.

One file, one patch: `patches/NAME.py` holds `PATCH = Patch(...)` and is found by being there. `ORDER` says in which order
they are entered; a file that is not named in it joins last. A patch changes the module or PyTorch only while its
context is open and puts back what it found, also after an exception. docs/use/patches.md tells what each one is for.

The changes are to the whole process: nothing else should trace a model in another thread meanwhile.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from attn_runtime.errors import UsageError, did_you_mean

from ._patch import Applied, Patch, traced_inputs
from ._replace import one_search, replaced

__all__ = ["ORDER", "Applied", "Patch", "all_patches", "applied", "one_search", "replaced", "traced_inputs"]

#: The module's own state first, then what its forward calls. Of two patches that replace the same function the later
#: one sees a call first: attention-rank hands calls of rank 4 on to fully-masked-rows.
ORDER = (
    "frozen-parameters",
    "computed-weights",
    "moe-experts",
    "transformer-causal",
    "cond-aliases",
    "fully-masked-rows",
    "attention-rank",
    "recurrent",
    "flex-attention",
    "written-out",
)


def all_patches() -> list[Patch]:
    """Every patch of this folder, in the order in which they are entered."""
    files = [f.name for f in pkgutil.iter_modules(__path__) if not f.name.startswith("_")]
    patches: list[Patch] = [importlib.import_module(f"{__name__}.{file}").PATCH for file in files]
    return sorted(patches, key=lambda p: (ORDER.index(p.name) if p.name in ORDER else len(ORDER), p.name))


@contextmanager
def applied(
    module: torch.nn.Module, names: Collection[str] | None = None, skip: Collection[str] = ()
) -> Iterator[list[Applied]]:
    """Keep patches open around torch.export.export and torch.onnx.export of `module`, the module that is exported.

    names: the patches to use, all of them when None; skip: those to leave out. The list that is yielded is empty
    inside and holds, once the context is left (also by an exception), the patches that changed something.

    PyTorch's reference answers must come from outside this context. Raises UsageError for an unknown name.
    """
    known = {patch.name: patch for patch in all_patches()}
    for name in [*(names or ()), *skip]:
        if name not in known:
            raise UsageError(f'unknown patch "{name}"; {did_you_mean(name, known)}available: {", ".join(known)}')
    chosen = [p for n, p in known.items() if (names is None or n in names) and n not in skip]
    effective: list[Applied] = []
    with ExitStack() as stack:
        with one_search():
            effects = [(patch, stack.enter_context(patch.enter(module))) for patch in chosen]
        try:
            yield effective
        finally:
            for patch, effect in effects:
                did = effect()
                if did:
                    effective.append(Applied(patch.name, did, patch.routine))
