"""Cures: small changes made around an export so that torch.export and torch.onnx accept a model and keep its numbers.

One file, one cure: `cures/NAME.py` holds `CURE = Cure(...)` and is found by being there. `ORDER` says in which order
they are entered; a file that is not named in it joins last. A cure changes the module or PyTorch only while its
context is open and puts back what it found, also after an exception. docs/use/patches.md tells what each one is for.

The changes are to the whole process: nothing else should trace a model in another thread meanwhile.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from attn_runtime.errors import UsageError

from ._patch import Applied, Patch

__all__ = ["ORDER", "Applied", "Cure", "all_cures", "applied"]

#: The module's own state first, then what its forward calls. Of two cures that replace the same function the later
#: one sees a call first: attention-rank hands calls of rank 4 on to fully-masked-rows.
ORDER = (
    "frozen-parameters",
    "moe-experts",
    "transformer-causal",
    "cond-aliases",
    "fully-masked-rows",
    "attention-rank",
)


def all_cures() -> list[Patch]:
    """Every cure of this folder, in the order in which they are entered."""
    files = [f.name for f in pkgutil.iter_modules(__path__) if not f.name.startswith("_")]
    found: list[Patch] = [importlib.import_module(f"{__name__}.{file}").CURE for file in files]
    return sorted(found, key=lambda c: (ORDER.index(c.name) if c.name in ORDER else len(ORDER), c.name))


@contextmanager
def applied(
    module: torch.nn.Module, names: Collection[str] | None = None, skip: Collection[str] = ()
) -> Iterator[list[Applied]]:
    """Keep cures open around torch.export.export and torch.onnx.export of `module`, the module that is exported.

    names: the cures to use, all of them when None; skip: those to leave out. The list that is yielded is empty
    inside and holds, once the context is left (also by an exception), the cures that changed something.

    PyTorch's reference answers must come from outside this context. Raises UsageError for an unknown name.
    """
    known = {cure.name: cure for cure in all_cures()}
    for name in [*(names or ()), *skip]:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise UsageError(f'unknown cure "{name}"{hint} (available: {", ".join(known)})')
    chosen = [c for n, c in known.items() if (names is None or n in names) and n not in skip]
    told: list[Applied] = []
    with ExitStack() as stack:
        effects = [(cure, stack.enter_context(cure.enter(module))) for cure in chosen]
        try:
            yield told
        finally:
            for cure, effect in effects:
                did = effect()
                if did:
                    told.append(Applied(cure.name, did, cure.routine))
