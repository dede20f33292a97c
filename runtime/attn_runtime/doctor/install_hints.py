"""The lines that make more of a machine usable: what is missing, and the command that brings it, for this very machine.

A pure function of what was found, so that the lines for a Jetson are tested where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..device import Jetpack
from ..trt import version_tuple

#: GPUs that TensorRT-RTX compiles for: these, and everything from 12.0 on. No server card after 8.0, no Jetson.
_RTX_CAPABILITIES, _RTX_FROM = ("7.5", "8.0", "8.6", "8.9"), (12, 0)

# The packages of TensorRT, TensorRT-RTX and ONNX Runtime are built for CUDA 13; this one is the last for CUDA 12.
_CUDA, _ORT_FOR_CUDA_12 = (13, 0), "'onnxruntime-gpu[cuda,cudnn]<1.27'"

# Wheels for Jetson that NVIDIA's Jetson AI Lab builds. The wheel on PyPI has no kernels for 8.7 and 11.0.
_JETSON_INDEX = {6: "https://pypi.jetson-ai-lab.io/jp6/cu126", 7: "https://pypi.jetson-ai-lab.io/sbsa/cu130"}
_JETSON_PYTHON = {6: "3.10", 7: "3.12"}
_JETSON_CUDA_PYTHON = {6: "12.6", 7: "13.0"}


@dataclass(frozen=True)
class Found:
    """What the lines depend on.

    processor     as platform.machine() tells it: "x86_64", "aarch64"
    capabilities  of each GPU, as in "8.9"; empty without a usable one
    cuda          the newest CUDA that the driver runs, as in "13.0"; None without a driver
    packages      distribution -> version, None where it is not installed
    usable        names of what works: "cpu" and "cuda" (ONNX Runtime), "rtx" and "tensorrt" (builds here)
    """

    processor: str
    python: tuple[int, int]
    capabilities: tuple[str, ...]
    cuda: str | None
    jetpack: Jetpack | None
    packages: Mapping[str, str | None]
    usable: frozenset[str]


def install_lines(found: Found) -> list[str]:
    """What to do, most needed first; each "WHAT FOR: COMMAND". Empty where nothing is missing."""
    lines = list(_conflicts(found))
    if found.jetpack is not None:
        lines += _jetson(found, found.jetpack)
    elif found.capabilities:
        lines += _gpu(found)
    else:
        lines += _no_gpu(found)
    if not found.packages.get("pillow"):
        lines.append("to run on image files: pip install pillow")
    if not found.packages.get("matplotlib"):
        lines.append("for bench --plot: pip install matplotlib")
    return lines


def rtx_supports(capability: str) -> bool:
    """Whether TensorRT-RTX runs on a GPU of this compute capability."""
    return capability in _RTX_CAPABILITIES or version_tuple(capability) >= _RTX_FROM


def _conflicts(found: Found) -> Iterator[str]:
    if found.packages.get("onnxruntime") and found.packages.get("onnxruntime-gpu"):
        keep = "'onnxruntime-gpu[cuda,cudnn]'" if found.capabilities else "onnxruntime"
        yield (
            "onnxruntime and onnxruntime-gpu overwrite each other: pip uninstall -y onnxruntime onnxruntime-gpu && "
            f"pip install {keep}"
        )


def _no_gpu(found: Found) -> Iterator[str]:
    if "cpu" not in found.usable:
        yield "to run graphs: pip install onnxruntime"
    if "rtx" not in found.usable and found.processor in ("x86_64", "AMD64", "aarch64"):
        yield "to build TensorRT-RTX engines for RTX cards, which needs no GPU: pip install tensorrt-rtx-cu13 cuda-python"


def _gpu(found: Found) -> Iterator[str]:
    old = found.cuda is not None and version_tuple(found.cuda) < _CUDA
    if old:
        yield (
            f"the driver runs CUDA {found.cuda}, and the packages of today want CUDA 13: install NVIDIA's driver 580 or "
            f"newer, for everything below"
        )
    if "cuda" not in found.usable:
        remove = "pip uninstall -y onnxruntime && " if found.packages.get("onnxruntime") else ""
        yield f"to run graphs on the GPU: {remove}pip install 'onnxruntime-gpu[cuda,cudnn]'"
        if old:
            yield f"or, with the driver that is here: {remove}pip install {_ORT_FOR_CUDA_12}"
    on_rtx = any(map(rtx_supports, found.capabilities))
    if on_rtx and "rtx" not in found.usable:
        yield "for TensorRT-RTX engines on this GPU: pip install tensorrt-rtx-cu13 cuda-python"
    if not on_rtx and "tensorrt" not in found.usable:
        told = ", ".join(dict.fromkeys(found.capabilities))
        yield (
            f"for TensorRT engines (TensorRT-RTX does not run on compute capability {told}): "
            f"pip install tensorrt cuda-python"
        )


def _jetson(found: Found, jetpack: Jetpack) -> Iterator[str]:
    if jetpack.major is None:
        yield "this Jetson tells no JetPack version: sudo apt install nvidia-jetpack, and run doctor again"
        return
    if jetpack.major < 6:
        yield (
            f"JetPack {jetpack.version} has TensorRT 8, and strongly typed networks need 10.3 or newer: install JetPack 6.2 "
            f"or newer on the board"
        )
        if "cpu" not in found.usable:
            yield "to run graphs on the CPU: pip install onnxruntime"
        return
    major = min(jetpack.major, max(_JETSON_INDEX))
    python = _JETSON_PYTHON[major]
    if found.python != tuple(map(int, python.split("."))):
        yield (
            f"JetPack {jetpack.version} has its TensorRT and its wheels for Python {python}, this is "
            f"{found.python[0]}.{found.python[1]}: python{python} -m venv --system-site-packages venv"
        )
    if "tensorrt" not in found.usable:
        yield (
            f"for TensorRT engines, which JetPack brings and pip can't: sudo apt install nvidia-jetpack "
            f"python3-libnvinfer && python{python} -m venv --system-site-packages venv && "
            f"venv/bin/pip install 'cuda-python~={_JETSON_CUDA_PYTHON[major]}' attn_runtime-*.whl"
        )
    if "cuda" not in found.usable:
        yield (
            f"to run graphs in ONNX Runtime on the GPU (wheels of the Jetson AI Lab for JetPack {major}, Python {python}): "
            f"pip install onnxruntime-gpu --index-url {_JETSON_INDEX[major]}; where it has none, build ONNX Runtime with "
            f"CMAKE_CUDA_ARCHITECTURES={'87' if major == 6 else '87 (Orin) or 110 (Thor)'}"
        )
    if "cpu" not in found.usable:
        yield "to run graphs on the CPU alone: pip install onnxruntime"
