"""The child process: runs what can crash or hang (ONNX Runtime on a fresh graph, onnxsim) at arm's length.

One JSON request a line on stdin, one JSON reply a line on stdout. Knows nothing of torch. Started by attn_runtime.child_process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any


def answers(graph: str, cases: list[list[str]], large: bool, without: Sequence[str] = ()) -> dict[str, Any]:
    """Run `graph` on every (inputs.safetensors, outputs.safetensors) pair with ONNX Runtime on the CPU.

    `large` keeps the weights memory-mapped: prepacking would copy them. `without` names optimizers to leave out.
    """
    import numpy as np
    import onnxruntime
    from safetensors.numpy import load_file, save_file

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if large:
        options.add_session_config_entry("session.disable_prepacking", "1")
        # Constant folding would copy what it folds; the exporter has folded already.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )
    names = [o.name for o in session.get_outputs()]
    wanted = {i.name for i in session.get_inputs()}
    for inputs, outputs in cases:
        fed = {n: v for n, v in load_file(inputs).items() if n in wanted}
        try:
            found = session.run(names, fed)
        except Exception as problem:
            shapes = ", ".join(f"{n} {list(v.shape)}" for n, v in fed.items())
            raise RuntimeError(f"at {shapes}: {problem}") from problem
        save_file({n: np.ascontiguousarray(v) for n, v in zip(names, found, strict=True)}, outputs)
    return {}


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


def simplify(source: str, target: str, optimize: bool, skip: list[str]) -> dict[str, Any]:
    """onnxsim from file to file; `optimize` adds its optimizer, less the fusions in `skip`, to its constant folding."""
    import onnx

    model, sound = _onnxsim().simplify(
        onnx.load(source), perform_optimization=optimize, skipped_optimizers=skip or None
    )
    onnx.save(model, target)
    return {"sound": bool(sound)}


def warm() -> dict[str, Any]:
    """Import what the next requests need, while the parent is busy tracing."""
    import onnx
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "onnxsim": _onnxsim().__version__, "onnx": onnx.__version__}


def generate(bundle: str, precision: str | None) -> dict[str, Any]:
    """What the bundle writes of its generated cases, on the CPU: one entry per batch and per row."""
    from attn_runtime.bundle.reader import Bundle
    from attn_runtime.generate.verify import replay

    opened = Bundle.open(bundle, check_hashes=False)
    return {"results": [r.to_json() for r in replay(opened, "cpu", "ort", precision=precision)]}


def autocast(**arguments: Any) -> dict[str, Any]:
    from .precision.modelopt_autocast import convert_here

    return convert_here(**arguments)


def intermediates(**arguments: Any) -> dict[str, Any]:
    from .precision.activations import compare_here

    return compare_here(**arguments)


def blame(**arguments: Any) -> dict[str, Any]:
    from .precision.sensitivity import measure_here

    return measure_here(**arguments)


def warm_autocast() -> dict[str, Any]:
    """Import AutoCast, which takes seconds, while the parent reads and measures."""
    from importlib.metadata import version

    import modelopt.onnx.autocast  # noqa: F401

    return {"nvidia-modelopt": version("nvidia-modelopt")}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (answers, simplify, warm, generate, autocast, intermediates, blame, warm_autocast)
}


def main() -> None:
    # The protocol keeps the real stdout; whatever libraries print there goes to stderr.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply: dict[str, Any] = {"ok": TASKS[request["task"]](**request["arguments"])}
        except MemoryError:
            reply = {"error": "out of memory"}
        except Exception as problem:
            reply = {"error": " ".join(f"{type(problem).__name__}: {problem}".split())[:2000]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
