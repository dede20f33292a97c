"""ONNX Runtime with its TensorRT provider first. It builds engines for minutes at the first run, so it is asked for
by name only."""

from __future__ import annotations

from ..ort_providers import TENSORRT
from . import Engine, GraphFile, OpenOptions, ort

ABOUT = "ONNX Runtime on an NVIDIA GPU through its TensorRT provider"
AUTOMATIC = False


def why_unavailable() -> str | None:
    return ort.why_unavailable()


def why_not(device: str) -> str | None:
    return ort.why_not_tensorrt(device)


def open(graph: GraphFile, device: str, options: OpenOptions) -> Engine:
    return ort.open(graph, device, options, first_provider=TENSORRT)
