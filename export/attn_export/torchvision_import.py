"""torchvision's Python parts beside a torch that its compiled library was not built for, such as PyPI's beside the CPU build.

torchvision 0.28 without its library fails at import: it registers what two of its operators return, and nobody has declared them
("operator torchvision::nms does not exist"). transformers' processors and timm want the Python parts alone. Declared, not
implemented, those two are in nobody's way: a model that calls one fails where it does.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from .quiet import captured_output

_DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES: list[Any] = []  # what a torch.library.Library declares is gone when it is


def ready_torchvision() -> bool:
    """Import torchvision where it is installed, and tell whether it is there.

    Whatever may import it by itself (transformers, timm) is imported behind this. Raises what torchvision raises for any other
    reason.
    """
    if "torchvision" in sys.modules:
        return True
    if importlib.util.find_spec("torchvision") is None:
        return False
    with captured_output():
        try:
            import torchvision
        except RuntimeError as problem:
            if "operator torchvision::" not in str(problem) or _LIBRARIES:
                raise
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]  # half of it
            _declare()
            import torchvision  # noqa: F401
    return True


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _DECLARED:
        library.define(schema)
    _LIBRARIES.append(library)
