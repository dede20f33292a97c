"""The door of a room: a package whose public names come out of its modules when they are first asked for (PEP 562).

So `--help` answers without numpy, and importing one thing of a room loads no more than that thing needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(
    package: str, public: Sequence[str], homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for the package: `homes` says which of its modules holds which names, or "name as public".

    A name is looked up anew each time, so that what replaces it in its module is what everybody gets.
    """
    pairs = [(module, *name.partition(" as ")[::2]) for module, names in homes.items() for name in names]
    origin = {shown or name: (module, name) for module, name, shown in pairs}

    def getattribute(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, own_name = origin[name]
        return getattr(import_module(f"{package}.{module}"), own_name)

    return getattribute, lambda: sorted(public)
