"""The ways in which a graph is changed on purpose: one kind of thing a file, each with `changes(node)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from ._all import changes
    from ._edit import Change, Unchanged

__all__ = ["Change", "Unchanged", "changes"]

__getattr__, __dir__ = lazy(__name__, __all__, {"_all": ["changes"], "_edit": ["Change", "Unchanged"]})
