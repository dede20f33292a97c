"""Operators written out in others before the exporter translates them, where its own translation is wrong somewhere.

One file, one kind of operator: `operators/NAME.py` holds `FORM = Form(...)` and is found by being there. A form looks at
each call that a captured program makes of its operators and either leaves it or puts a function of PyTorch in its
place, which is traced. What stays with the exporter is what it gets right at every size of the declared ranges.
docs/use/patches.md has the table of what was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .written_out import write_out

__all__ = ["write_out"]

__getattr__, __dir__ = lazy(__name__, __all__, {"written_out": ["write_out"]})
