"""One pass a file: a change to a graph whose answers stay, usable as --pass NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from ._base import Applied, Pass, PassResult, get, names, run_pass

__all__ = ["Applied", "Pass", "PassResult", "attention", "early_split", "get", "names", "run_pass", "tensorrt"]

__getattr__, __dir__ = lazy(__name__, __all__, {"_base": ["Applied", "Pass", "PassResult", "get", "names", "run_pass"]})
