"""scripts/bench/gpu_bench.py: its refusals on a machine without a GPU, and its arithmetic on runners that a CPU has."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_bench
import gpu_runners
import numpy as np
import pytest
from attn_runtime.device.gpus import find_gpus

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"

no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU; run the script itself")


@no_gpu
def test_without_a_gpu_every_row_has_its_reason_and_nothing_is_written() -> None:
    before = gpu_bench.DOCS.read_bytes() if gpu_bench.DOCS.exists() else None
    done = subprocess.run(
        [sys.executable, SCRIPTS / "gpu_bench.py", "attentionnet", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    names = {row["runner"] for row in rows}
    assert len(names) == 7 and len(rows) == 7 * 2 * 2
    assert all(row["problem"] and row["p50_ms"] is None for row in rows)
    assert any("NVIDIA driver" in row["problem"] for row in rows)
    assert "nothing could be measured here" in done.stderr
    assert (gpu_bench.DOCS.read_bytes() if gpu_bench.DOCS.exists() else None) == before


class Clock:
    """Wall time, for runners on the CPU."""

    def time(self, call: Any) -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return next(iter(gpu_bench.jobs(["attentionnet"], ["fp32"], [2], tmp_path_factory.mktemp("bench"))))


def on_cpu(job: Any) -> Any:
    return gpu_runners._bound(job.bundle, "ort", job, device="cpu")


def test_a_runner_is_measured_and_held_against_pytorch(job: Any) -> None:
    what, batch, expected = job
    row = gpu_bench.measure(gpu_runners.Runner("attn_runtime ort", None, on_cpu), what, batch, expected, 20, Clock)
    assert not row.problem and row.matches
    assert 0 < row.p50_ms <= row.p99_ms
    assert 0 <= row.error < 2e-5 and (row.model, row.batch, row.precision) == ("attentionnet", 2, "fp32")


def test_wrong_answers_are_a_failure_and_leave_the_page_as_it_was(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, batch, expected = job
    other = replace(what, inputs={n: v + 0.5 for n, v in what.inputs.items()})
    runner = gpu_runners.Runner("attn_runtime ort", None, lambda _: on_cpu(other))
    row = gpu_bench.measure(runner, what, batch, expected, 3, Clock)
    assert not row.matches and row.error > 1e-3
    docs = tmp_path / "benchmarks-gpu.md"
    docs.write_text("of last year")
    assert gpu_bench.finish([row], 3, False, docs) == 4
    assert docs.read_text() == "of last year"
    # PyTorch's own half precision is nobody's promise.
    monkeypatch.setattr(gpu_bench, "document", lambda rows, calls: "")
    assert gpu_bench.finish([replace(row, runner="PyTorch eager")], 3, True, docs) == 0


def test_what_fails_is_a_row_and_not_the_end(job: Any) -> None:
    what, batch, expected = job

    def broken(_: Any) -> Any:
        raise RuntimeError("out of\nmemory")

    row = gpu_bench.measure(gpu_runners.Runner("torch.compile", None, broken), what, batch, expected, 3, Clock)
    assert row.problem == "RuntimeError: out of memory" and row.p50_ms is None
    refused = gpu_runners.Runner("torch.compile", "no GPU", broken)
    assert gpu_bench.measure(refused, what, batch, expected, 3, Clock).problem == "no GPU"


def test_sessions_are_closed_also_when_they_fail(job: Any) -> None:
    what, batch, expected = job
    closed: list[int] = []
    opened = gpu_runners.Opened(lambda: 1 / 0, dict, close=lambda: closed.append(1))
    row = gpu_bench.measure(gpu_runners.Runner("x", None, lambda _: opened), what, batch, expected, 3, Clock)
    assert "ZeroDivisionError" in row.problem and closed == [1]


def test_a_session_that_can_not_be_closed_costs_no_row(job: Any) -> None:
    what, batch, expected = job
    real = on_cpu(what)

    def close() -> None:
        raise RuntimeError("cudaErrorIllegalAddress")

    row = gpu_bench.measure(
        gpu_runners.Runner("x", None, lambda _: replace(real, close=close)), what, batch, expected, 3, Clock
    )
    real.close()
    assert row.matches and not row.problem


def test_without_fp16_the_rest_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'modelopt'")

    monkeypatch.setattr("attn_export.precision.conversion.add_precision", refuse)
    found = list(gpu_bench.jobs(["attentionnet"], ["fp32", "fp16"], [1], tmp_path))
    assert [(job.precision, job.problem is None) for job, *_ in found] == [("fp32", True), ("fp16", False)]
    half, batch, expected = found[1]
    row = gpu_bench.measure(gpu_runners.Runner("x", None, on_cpu), half, batch, expected, 3, Clock)
    assert row.problem == "there is no fp16 of it: ModuleNotFoundError: No module named 'modelopt'"


def test_the_page_tells_hardware_versions_and_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "attn_runtime.device.gpus.find_gpus", lambda: SimpleNamespace(names=("NVIDIA Test",), problem=None)
    )
    good = gpu_bench.Row("m", "fp32", 8, "attn_runtime trt (rtx)", 0.1234, 0.2, 1e-6, 2e-5, True, "buffers on the GPU")
    skipped = gpu_bench.Row("m", "fp32", 8, "attn_runtime ort_rtx", problem="not installed | really")
    docs = tmp_path / "benchmarks-gpu.md"
    assert gpu_bench.finish([good, skipped], 500, False, docs) == 0
    text = docs.read_text()
    assert "NVIDIA Test" in text and "torch 2." in text and "Expected before measuring:" in text
    assert "| m | fp32 | 8 | attn_runtime trt (rtx) | 0.123 | 0.200 | 1.0e-06 | buffers on the GPU |" in text
    assert "not installed / really" in text


def test_buffers_of_either_kind_are_filled() -> None:
    array = np.zeros((2, 2), np.float16)
    gpu_runners._fill(array, np.ones((2, 2), np.float32))
    assert (array == 1).all()
    written: list[np.ndarray] = []
    device = SimpleNamespace(dtype=np.dtype("float16"), write=written.append)
    gpu_runners._fill(device, np.ones((2, 2), np.float32))
    assert written[0].dtype == np.float16


def test_a_cuda_event_clock_asks_for_what_the_module_has() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for name, parameters in [
        ("cudaEventCreate", ""),
        ("cudaEventRecord", "event, stream"),
        ("cudaEventSynchronize", "event"),
        ("cudaEventElapsedTime", "start, end"),
    ]:
        assert f"{name}({parameters})" in getattr(runtime, name).__doc__
    if find_gpus().problem:
        with pytest.raises(RuntimeError, match=r"cudaEventCreate (answers|.*)"):
            gpu_bench.EventClock()


def test_help_tells_the_exit_codes() -> None:
    done = subprocess.run([sys.executable, SCRIPTS / "gpu_bench.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Exit code: 0 when what was measured matches" in done.stdout
