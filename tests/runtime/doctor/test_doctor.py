"""doctor tells what is usable and why the rest is not, also where nothing is installed."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
from attn_runtime import __version__, backends
from attn_runtime.device.gpus import Gpus, find_gpus
from attn_runtime.device.jetpack import Jetpack
from attn_runtime.doctor import tensorrt as trt_doctor
from attn_runtime.doctor.doctor import GpuState, diagnose, diagnosis_lines
from attn_runtime.trt import library
from support.command_lines.json_answers import answer_of

no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")


@pytest.mark.usefixtures("without_native")
def test_this_machine() -> None:
    found = diagnose()
    assert found.attn_runtime == __version__
    assert found.python.startswith(platform.python_version()) and sys.executable in found.python
    assert [state.name for state in found.backends] == backends.names()
    usable = {state.name: state.problems["cpu"] is None for state in found.backends}
    assert usable == {
        "native": False,
        "openvino": True,
        "ort": True,
        "ort_rtx": False,
        "ort_tensorrt": False,
        "replay": True,
        "trt": False,
    }
    if found.gpu_problem:
        assert (
            found.auto == "ort on cpu" and not found.gpus and not [p for p in found.backends if not p.problems["cuda"]]
        )
    assert {"CPUExecutionProvider": True}.items() <= {p.name: p.problem is None for p in found.providers}.items()


def test_json_and_text_tell_the_same() -> None:
    found = diagnose()
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    text = "\n".join(diagnosis_lines(found))
    assert told["providers"][0].keys() == {"name", "listed", "problem", "loads"}
    for name in backends.names():
        assert f"backend {name}:" in text
    assert [state["flavour"] for state in told["tensorrt"]] == library.names()
    assert f"device auto takes: {told['auto']}" in text
    assert (find_gpus().problem or find_gpus().names[0]) in text
    assert "jetson " not in text or told["jetpack"]


def test_gpu_and_jetson_are_told_with_their_numbers() -> None:
    board = Jetpack("6.2", "36.4.3", "NVIDIA Jetson Orin NX", {"python3-libnvinfer": "10.3.0.30-1+cuda12.5"})
    found = replace(diagnose(), gpus=(GpuState("Orin", "8.7"), GpuState("X", None)), driver="12.6", jetpack=board)
    text = "\n".join(diagnosis_lines(found))
    assert "0: Orin, compute capability 8.7; 1: X, compute capability unknown" in text
    assert "driver        for CUDA 12.6" in text
    assert "NVIDIA Jetson Orin NX; JetPack 6.2, L4T 36.4.3; python3-libnvinfer 10.3.0.30-1+cuda12.5" in text
    assert json.loads(json.dumps(found.to_json()))["jetpack"]["packages"] == board.packages


def test_more_packages() -> None:
    found = diagnose(("pytest", "no-such-distribution"))
    assert found.packages["pytest"] == pytest.__version__ and found.packages["no-such-distribution"] is None
    assert found.packages["numpy"]


# --- TensorRT -----------------------------------------------------------------------------------------------------


@no_gpu
@pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))
def test_rtx_builds_without_a_gpu_and_does_not_run() -> None:
    (rtx,) = [state for state in trt_doctor.flavour_states() if state.flavour == "rtx"]
    assert rtx.problem is rtx.why_no_build is None and rtx.version == library.load("rtx").version
    assert "driver" in (rtx.why_no_run or "")


@pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))
@pytest.mark.parametrize(("capability", "runs"), [("8.9", True), ("12.0", True), ("8.7", False), ("9.0", False)])
def test_rtx_runs_on_the_gpus_that_it_knows(capability: str, runs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is the library's own; only the GPU is made up."""
    monkeypatch.setattr(trt_doctor.gpus, "find_gpus", lambda: Gpus(("A GPU",)))
    monkeypatch.setattr("attn_runtime.trt.library_choice.compute_capability", lambda number=0: capability)
    (rtx,) = [state for state in trt_doctor.flavour_states() if state.flavour == "rtx"]
    assert rtx.why_no_build is None
    assert (rtx.why_no_run is None) == runs
    assert runs or f"this GPU has {capability}; take the flavour tensorrt" in str(rtx.why_no_run)


def test_flavour_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_doctor.flavour, "why_unavailable", lambda name: f"{name} is not installed; pip install it")
    for state in trt_doctor.flavour_states():
        assert state.version is None and state.problem == state.why_no_build == state.why_no_run
    text = "\n".join(diagnosis_lines(replace(diagnose(), tensorrt=trt_doctor.flavour_states())))
    assert "TensorRT flavour rtx: no: rtx is not installed; pip install it" in text


# --- a machine with nothing ---------------------------------------------------------------------------------------

# As on a machine without these packages: each is looked for before it is imported, and is not found.
_BARE = """
import importlib.abc, importlib.metadata, importlib.util, sys
missing = ("onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "PIL", "matplotlib", "onnxruntime_ep_nv_tensorrt_rtx")
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in missing else real(name, package)
from attn_runtime.cli.app import main
sys.argv = ["attn-run", "doctor", *sys.argv[1:]]
main()
"""


@no_gpu
def test_without_any_engine_library_it_says_what_to_install_and_exits_10() -> None:
    done = subprocess.run([sys.executable, "-c", _BARE], capture_output=True, text=True)
    assert done.returncode == 10, done.stderr
    assert done.stderr == ""
    assert "device auto takes: nothing" in done.stdout
    assert "to run graphs: pip install onnxruntime" in done.stdout
    answer = answer_of(subprocess.run([sys.executable, "-c", _BARE, "--json"], capture_output=True, text=True).stdout)
    assert (answer["ok"], answer["exit_code"], answer["error"]) == (False, 10, None)
    told = answer["result"]
    assert told["auto"] is None and told["providers"] == []
    assert {state["problem"] is None for state in told["tensorrt"]} == {False}


# --- GPUs ---------------------------------------------------------------------------------------------------------


def test_gpu_number_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_runtime.device import gpus as cuda

    monkeypatch.setattr(cuda, "find_gpus", lambda: Gpus(("A", "B")))
    assert cuda.why_not("cuda") is None and cuda.why_not("cuda:1") is None
    assert cuda.why_not("cuda:2") == "there is no GPU 2; this machine has 0 (A), 1 (B)"
