"""The lines to install, for machines that are not this one."""

from __future__ import annotations

from typing import Any

import pytest
from attn_runtime.device.jetpack import Jetpack
from attn_runtime.doctor.install_hints import Found, install_lines, rtx_supports

COMPLETE = {"pillow": "13", "matplotlib": "3.11"}


def lines(**given: Any) -> list[str]:
    defaults: dict[str, Any] = {
        "processor": "x86_64", "python": (3, 11), "capabilities": (), "cuda": None, "jetpack": None,
        "packages": COMPLETE, "usable": frozenset(),
    }  # fmt: skip
    return install_lines(Found(**(defaults | given)))


def one(found: list[str], start: str) -> str:
    (line,) = [line for line in found if line.startswith(start)]
    return line


def test_machine_with_nothing() -> None:
    assert lines(packages={}) == [
        "to run graphs: pip install onnxruntime",
        "to build TensorRT-RTX engines for RTX cards, which needs no GPU: pip install tensorrt-rtx-cu13 cuda-python",
        "to run on image files: pip install pillow",
        "for bench --plot: pip install matplotlib",
    ]


def test_nothing_is_missing() -> None:
    assert lines(usable=frozenset({"cpu", "rtx"})) == []
    assert lines(usable=frozenset({"cpu", "cuda", "rtx"}), capabilities=("8.9",), cuda="13.0") == []
    assert lines(usable=frozenset({"cpu", "cuda", "tensorrt"}), capabilities=("9.0",), cuda="13.0") == []


def test_two_distributions_over_each_other() -> None:
    both = COMPLETE | {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    assert "pip install onnxruntime" in one(lines(packages=both), "onnxruntime and onnxruntime-gpu overwrite")
    on_gpu = lines(packages=both, capabilities=("8.9",), cuda="13.0")
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in one(on_gpu, "onnxruntime and onnxruntime-gpu overwrite")


def test_rtx_card() -> None:
    found = lines(capabilities=("8.9",), cuda="13.0", packages=COMPLETE | {"onnxruntime": "1.31.1"},
                  usable=frozenset({"cpu"}))  # fmt: skip
    assert found == [
        "to run graphs on the GPU: pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
        "for TensorRT-RTX engines on this GPU: pip install tensorrt-rtx-cu13 cuda-python",
    ]


@pytest.mark.parametrize("capability", ["9.0", "10.0", "unknown"])
def test_card_that_rtx_does_not_know(capability: str) -> None:
    found = lines(capabilities=(capability,), cuda="13.0")
    line = one(found, "for TensorRT engines")
    assert f"does not run on compute capability {capability}" in line and "pip install tensorrt cuda-python" in line
    assert not [line for line in found if "tensorrt-rtx" in line]


def test_two_cards_of_which_one_is_rtx() -> None:
    assert "tensorrt-rtx" in one(lines(capabilities=("9.0", "12.0"), cuda="13.0"), "for TensorRT-RTX engines")


def test_driver_of_yesterday() -> None:
    found = lines(capabilities=("8.6",), cuda="12.4")
    assert "CUDA 12.4" in found[0] and "580 or newer" in found[0]
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]<1.27'" in one(found, "or, with the driver that is here")
    assert not [line for line in lines(capabilities=("8.6",), cuda="13.0") if "580" in line or "<1.27" in line]


def test_capabilities_of_rtx() -> None:
    known = ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1", "unknown")
    assert [c for c in known if rtx_supports(c)] == ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1"]


# --- Jetson -------------------------------------------------------------------------------------------------------


def on_jetson(version: str | None, python: tuple[int, int], **given: Any) -> list[str]:
    board = Jetpack(version, None, "NVIDIA Jetson", {})
    return lines(jetpack=board, processor="aarch64", python=python, **given)


def test_orin() -> None:
    found = on_jetson("6.2", (3, 10), capabilities=("8.7",), cuda="12.6", usable=frozenset({"cpu"}))
    engines = one(found, "for TensorRT engines")
    assert "sudo apt install nvidia-jetpack python3-libnvinfer" in engines and "'cuda-python~=12.6'" in engines
    assert "--system-site-packages" in engines
    onnx = one(found, "to run graphs in ONNX Runtime on the GPU")
    assert "pip install onnxruntime-gpu --index-url https://pypi.jetson-ai-lab.io/jp6/cu126" in onnx
    assert "CMAKE_CUDA_ARCHITECTURES=87" in onnx
    assert len(found) == 2 and not [
        line for line in found if "tensorrt-rtx" in line or "[tensorrt]" in line or "580" in line
    ]


def test_thor() -> None:
    found = on_jetson("7.1", (3, 12), capabilities=("11.0",), cuda="13.0", usable=frozenset({"cpu", "tensorrt"}))
    (onnx,) = found
    assert "https://pypi.jetson-ai-lab.io/sbsa/cu130" in onnx and "110 (Thor)" in onnx
    assert on_jetson("8.0", (3, 12))  # one that is not out yet is treated as the newest known


def test_python_that_jetpack_has_no_wheels_for() -> None:
    found = on_jetson("6.2", (3, 12))
    assert "for Python 3.10, this is 3.12: python3.10 -m venv --system-site-packages venv" in found[0]


def test_jetpack_that_is_too_old_or_tells_nothing() -> None:
    found = on_jetson("5", (3, 10), usable=frozenset({"cpu"}))
    assert len(found) == 1 and "JetPack 6.2 or newer" in found[0]
    assert "sudo apt install nvidia-jetpack" in on_jetson(None, (3, 10))[0]


def test_nothing_is_missing_on_a_jetson() -> None:
    assert on_jetson("6.2", (3, 10), usable=frozenset({"cpu", "cuda", "tensorrt"}), capabilities=("8.7",)) == []
