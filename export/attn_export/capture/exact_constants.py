"""The exporter's simplifications take a constant for another one only where it is that one.

onnxscript (0.7.2) leaves `x + c` out where c is 0 within 1e-8, and `x * c` where c is 1 within 1e-5: an epsilon of 1e-8 that
keeps a sum of nothing from being divided by is gone without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock


@contextmanager
def exact_constants() -> Iterator[None]:
    """Open while torch.onnx.export runs. Where onnxscript has no such comparison nothing changes."""
    from onnxscript.rewriter import _matcher

    if getattr(_matcher, "math", None) is not math:
        yield
        return

    def same(one: float, other: float, **_tolerances: float) -> bool:
        return one == other

    with mock.patch.object(_matcher, "math", SimpleNamespace(**{**vars(math), "isclose": same})):
        yield
