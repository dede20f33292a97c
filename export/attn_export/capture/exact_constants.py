"""The exporter's simplifications take a constant for another one only where it is that one, and lose none.

onnxscript (0.7.2) leaves `x + c` out where c is 0 within 1e-8, and `x * c` where c is 1 within 1e-5: an epsilon of 1e-8 that
keeps a sum of nothing from being divided by is gone without a word. It makes one Clip of a Min and a Max, whose constants it
names after the tensor that is clipped: of two pairs on one tensor the second takes over the names, and no graph is left that
loads (findings/onnxscript-fused-clips-lose-constants.sh; timm's gemma4_vit).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock


@contextmanager
def exact_constants() -> Iterator[None]:
    """Open while torch.onnx.export runs. Where onnxscript has no such comparison, and no such names, nothing changes."""
    with ExitStack() as stack:
        _compared(stack)
        _named(stack)
        yield


def _compared(stack: ExitStack) -> None:
    from onnxscript.rewriter import _matcher

    def same(one: float, other: float, **_tolerances: float) -> bool:
        return one == other

    if getattr(_matcher, "math", None) is math:
        exact = SimpleNamespace(**{**vars(math), "isclose": same})
        stack.enter_context(mock.patch.object(_matcher, "math", exact))


def _named(stack: ExitStack) -> None:
    try:
        from onnxscript.rewriter.rules.common import _min_max_to_clip
    except ImportError:
        return
    for fusion in vars(_min_max_to_clip).values():
        own = vars(fusion).get("compute_constants") if isinstance(fusion, type) else None
        if own is not None:
            stack.enter_context(mock.patch.object(fusion, "compute_constants", _by_both(own)))


def _by_both(own: Callable[..., Any]) -> Callable[..., Any]:
    """Names that hold what is made as well as what it is made of."""

    def compute_constants(self: Any, first: Any, second: Any, input_name: str = "") -> Any:
        return own(self, first, second, f"{input_name}_{second.outputs[0].name}")

    return compute_constants
