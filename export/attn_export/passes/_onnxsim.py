"""Tasks of a child process (see attn_runtime.child_process) for the pass `simplify`: onnxsim, which may crash or hang."""

from __future__ import annotations

import sys
from typing import Any


def simplify_here(source: str, target: str, optimize: bool, skip: list[str]) -> dict[str, Any]:
    """onnxsim from file to file; `optimize` adds its optimizer, less the fusions in `skip`, to its constant folding."""
    import onnx

    model, sound = _onnxsim().simplify(
        onnx.load(source), perform_optimization=optimize, skipped_optimizers=skip or None
    )
    onnx.save(model, target)
    return {"sound": bool(sound)}


def warm_up_here() -> dict[str, Any]:
    """Import what the stages of an export need, while the parent is busy tracing; their versions."""
    import onnx
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "onnxsim": _onnxsim().__version__, "onnx": onnx.__version__}


def _onnxsim() -> Any:
    """The module, without torch, which it would import where it is there: two seconds, and memory that it never uses."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        import onnxsim
    finally:
        if hidden:
            del sys.modules["torch"]
    return onnxsim
