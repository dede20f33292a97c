"""doctor tells what is usable and why the rest is not, also where nothing is installed."""

from __future__ import annotations

import json
import platform
import sys

import pytest
from attn_runtime import __version__, backends, doctor
from attn_runtime.cuda import Gpus, find_gpus
from attn_runtime.doctor import diagnose, diagnosis_lines
from attn_runtime.ort_providers import CUDA, ProviderState


def test_this_machine() -> None:
    found = diagnose()
    assert found.attn_runtime == __version__
    assert found.python.startswith(platform.python_version()) and sys.executable in found.python
    assert [state.name for state in found.backends] == backends.names() == ["ort", "ort_tensorrt", "replay"]
    usable = {state.name: state.problems["cpu"] is None for state in found.backends}
    assert usable == {"ort": True, "ort_tensorrt": False, "replay": True}
    assert found.auto == ("ort on cpu" if found.gpu_problem or found.backends[0].problems["cuda"] else "ort on cuda")
    assert {"CPUExecutionProvider": True}.items() <= {p.name: p.problem is None for p in found.providers}.items()


def test_json_and_text_tell_the_same() -> None:
    found = diagnose()
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    text = "\n".join(diagnosis_lines(found))
    assert told["providers"][0].keys() == {"name", "listed", "problem", "loads"}
    for name in backends.names():
        assert f"backend {name}:" in text
    assert f"device auto takes: {told['auto']}" in text
    assert (find_gpus().problem or find_gpus().names[0]) in text


@pytest.mark.parametrize(
    ("packages", "gpu", "says"),
    [
        ({}, False, "to run graphs: pip install 'attn-runtime[cpu]'"),
        ({}, True, "to run graphs: pip install 'attn-runtime[gpu]'"),
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, True, "pip uninstall -y onnxruntime onnxruntime-gpu && "
         "pip install 'attn-runtime[gpu]'"),
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, False, "pip install 'attn-runtime[cpu]'"),
    ],
)  # fmt: skip
def test_advice(packages: dict, gpu: bool, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    installed = dict.fromkeys(doctor._PACKAGES) | packages
    lines = doctor._advice(installed, (), gpu)
    assert any(says in line for line in lines)
    assert any("attn-runtime[image]" in line for line in lines) and any("[plot]" in line for line in lines)


def test_advice_for_a_gpu_that_onnxruntime_can_not_use() -> None:
    state = ProviderState(CUDA, False, "this onnxruntime is built without it; pip install X")
    installed = dict.fromkeys(doctor._PACKAGES) | {"onnxruntime": "1"}
    assert "to use the GPU: this onnxruntime is built without it; pip install X" in doctor._advice(
        installed, (state,), True
    )
    assert not [line for line in doctor._advice(installed, (state,), False) if "GPU" in line]


def test_gpu_number_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_runtime import cuda

    monkeypatch.setattr(cuda, "find_gpus", lambda: Gpus(("A", "B")))
    assert cuda.why_not("cuda") is None and cuda.why_not("cuda:1") is None
    assert cuda.why_not("cuda:2") == "there is no GPU 2; this machine has 0 (A), 1 (B)"
