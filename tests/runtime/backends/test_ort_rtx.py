"""The plugin provider, registered for real in processes of their own: without a driver, and with one that has no GPU."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attn_runtime.backends import ort_rtx
from attn_runtime.device import gpus

plugin = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx") is None, reason="the plugin is not installed"
)
no_gpu = pytest.mark.skipif(gpus.find_gpus().problem is None, reason="this machine has a GPU")

# What the plugin links of the driver, as a driver answers that finds no device (100) and whose NVML is not loaded (9).
_CUDA = """cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetCurrent cuCtxPopCurrent_v2 cuCtxPushCurrent_v2 cuCtxSetCurrent
cuDestroyExternalMemory cuDestroyExternalSemaphore cuExternalMemoryGetMappedBuffer cuGetErrorString cuImportExternalMemory
cuImportExternalSemaphore cuInit cuSignalExternalSemaphoresAsync cuStreamGetCtx cuWaitExternalSemaphoresAsync
cuDeviceGetCount cuGetProcAddress cuGetProcAddress_v2"""
_NVML = "nvmlErrorString nvmlInit_v2 nvmlShutdown nvmlSystemGetDriverVersion"


def run(program: str, driver: Path | None = None) -> str:
    environment = {**os.environ, **({"LD_LIBRARY_PATH": str(driver)} if driver else {})}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def driver_without_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here, or no Linux")
    folder = tmp_path_factory.mktemp("driver")
    for name, functions, status in (("libcuda.so.1", _CUDA, 100), ("libnvidia-ml.so.1", _NVML, 9)):
        source = folder / "source.c"
        lines = [f"int {function}(void) {{ return {status}; }}" for function in functions.split()]
        if "cuda" in name:
            lines.append("int cuDriverGetVersion(int *version) { *version = 13000; return 0; }")
        source.write_text("\n".join(lines))
        subprocess.run([compiler, "-shared", "-fPIC", "-w", source, "-o", folder / name], check=True)
    return folder


@plugin
@no_gpu
def test_registering_without_a_driver_is_refused_in_one_line() -> None:
    """What `why_not` keeps from happening, since it asks the driver first."""
    told = run("from attn_runtime.backends import ort_rtx; print(ort_rtx.register()); print(ort_rtx.register())")
    first, second = told.splitlines()
    assert first == second and "does not register" in first and "libcuda.so.1" in first
    assert "libcuda.so.1 is not found" in (ort_rtx.why_not("cuda") or "")


@plugin
@no_gpu
def test_it_registers_once_and_offers_no_gpu_where_the_driver_has_none(driver_without_gpu: Path) -> None:
    told = run(
        "from attn_runtime.backends import ort, ort_rtx; print(ort_rtx.register()); print(ort_rtx.register());"
        "print({d.ep_name for d in ort.library().get_ep_devices()}); print(ort_rtx._offered('cuda'));"
        "print(ort_rtx.why_not('cuda')); print(ort_rtx._why_not_offered('cuda'))",
        driver_without_gpu,
    ).splitlines()
    assert told[:4] == ["None", "None", "{'CPUExecutionProvider'}", "None"]
    assert "cuInit answers 100" in told[4]
    assert "offers 0 GPUs, and cuda is none of them" in told[5]


@plugin
@no_gpu
def test_past_all_checks_nothing_is_opened_on_the_cpu(driver_without_gpu: Path, valid_bundle: Path) -> None:
    for driver, reason in ((None, "does not register"), (driver_without_gpu, "offers 0 GPUs")):
        told = run(
            "from attn_runtime.backends import ort_rtx; from attn_runtime.interface import GraphFile, OpenOptions;"
            "from attn_runtime.errors import *;"
            "from pathlib import Path\n"
            f"try: ort_rtx.open(GraphFile(Path({str(valid_bundle / 'model.onnx')!r}), 'm'), 'cuda', OpenOptions())\n"
            "except BackendError as error: print('refused', error)",
            driver,
        )
        assert told.startswith("refused m: the plugin") and reason in told and told.count("\n") == 1


def test_what_is_missing_is_told_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx") is not None:
        assert ort_rtx.why_unavailable() is None
        monkeypatch.setattr(ort_rtx, "_PACKAGE", "no_such_plugin")
    assert "pip install onnxruntime onnxruntime-ep-nv-tensorrt-rtx-cu13" in (ort_rtx.why_unavailable() or "")
    assert not ort_rtx.AUTOMATIC and "needs a GPU" in (ort_rtx.why_not("cpu") or "")
