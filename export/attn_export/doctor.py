"""What this machine can export: the runtime's diagnosis with the exporter's own packages, and what they lack."""

from __future__ import annotations

from dataclasses import replace

from attn_runtime.doctor import Diagnosis
from attn_runtime.doctor import diagnose as diagnose_runtime

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxsim", "nvidia-modelopt", "scikit-learn")

# package -> what it is for, and what brings it
_OPTIONAL = {
    "nvidia-modelopt": "for graphs in half precision (--fp16, --bf16): pip install nvidia-modelopt onnx-graphsurgeon "
    "onnxconverter-common onnxslim polygraphy lief ml_dtypes",
    "scikit-learn": "to train the built-in models: pip install scikit-learn espeakng-loader",
}


def diagnose() -> Diagnosis:
    """Look at this machine. Raises nothing, and imports no torch."""
    diagnosis = diagnose_runtime(_PACKAGES)
    lines = tuple(line for name, line in _OPTIONAL.items() if diagnosis.packages[name] is None)
    return replace(diagnosis, advice=(*diagnosis.advice, *lines))
