"""scripts/bench/gpu_bench.py: its refusals on a machine without a GPU, and its arithmetic on runners that a CPU has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_bench
import numpy as np
import pytest
from attn_runtime.device.gpus import find_gpus
from on_gpu import models, page, runners
from on_gpu.timing import EventClock, Row, measure

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"
#: Of the built-in models the one that is exported soonest.
QUICK = "vit"

no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU; run the script itself")


@no_gpu
def test_without_a_gpu_every_row_has_its_reason_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_bench.DOCS.read_bytes() if gpu_bench.DOCS.exists() else None
    monkeypatch.setattr(sys, "argv", ["gpu_bench.py", "attentionnet", "--json"])
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # set by it too, and put back here
    assert gpu_bench.main() == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    names = {row["runner"] for row in rows}
    assert len(names) == 7 and len(rows) == 7 * 3 * 2
    assert all(row["problem"] and row["p50_ms"] is None for row in rows)
    assert any("NVIDIA driver" in row["problem"] for row in rows)
    assert "nothing could be measured here" in said.err
    assert (gpu_bench.DOCS.read_bytes() if gpu_bench.DOCS.exists() else None) == before


class Clock:
    """Wall time, for runners on the CPU."""

    def time(self, call: Any) -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    preparing = models.Preparing([QUICK], [], tmp_path_factory.mktemp("bench"), 1)
    made = preparing.wait(time.monotonic() + 200)[QUICK]
    assert made is not None and not made.problems
    return models.jobs(QUICK, made, ["fp32"], [2])[0]


def on_cpu(job: Any) -> Any:
    return runners._bound(job.bundle, "ort", job, device="cpu")


def test_a_runner_is_measured_and_held_against_pytorch(job: Any) -> None:
    what, batch, expected = job
    row = measure(runners.Runner("attn_runtime ort", None, on_cpu), what, batch, expected, 20, Clock)
    assert not row.problem and row.matches
    assert 0 < row.p50_ms <= row.p99_ms
    assert 0 <= row.error < 2e-5 and (row.model, row.batch, row.precision) == (QUICK, 2, "fp32")


def test_wrong_answers_are_a_failure_and_leave_the_page_as_it_was(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, batch, expected = job
    other = replace(what, inputs={n: v + 0.5 for n, v in what.inputs.items()})
    runner = runners.Runner("attn_runtime ort", None, lambda _: on_cpu(other))
    row = measure(runner, what, batch, expected, 3, Clock)
    assert not row.matches and row.error > 1e-3
    docs = tmp_path / "benchmarks-gpu.md"
    docs.write_text("of last year")
    assert gpu_bench.finish([row], 3, False, docs) == 4
    assert docs.read_text() == "of last year"
    # PyTorch's own half precision is nobody's promise.
    monkeypatch.setattr(page, "document", lambda *_: "")
    assert gpu_bench.finish([replace(row, runner="PyTorch eager")], 3, True, docs) == 0


def test_what_fails_is_a_row_and_not_the_end(job: Any) -> None:
    what, batch, expected = job

    def broken(_: Any) -> Any:
        raise RuntimeError("out of\nmemory")

    row = measure(runners.Runner("torch.compile", None, broken), what, batch, expected, 3, Clock)
    assert row.problem == "RuntimeError: out of memory" and row.p50_ms is None
    refused = runners.Runner("torch.compile", "no GPU", broken)
    assert measure(refused, what, batch, expected, 3, Clock).problem == "no GPU"


def test_sessions_are_closed_also_when_they_fail(job: Any) -> None:
    what, batch, expected = job
    closed: list[int] = []
    opened = runners.Opened(lambda: 1 / 0, dict, close=lambda: closed.append(1))
    row = measure(runners.Runner("x", None, lambda _: opened), what, batch, expected, 3, Clock)
    assert "ZeroDivisionError" in row.problem and closed == [1]


def test_a_session_that_can_not_be_closed_costs_no_row(job: Any) -> None:
    what, batch, expected = job
    real = on_cpu(what)

    def close() -> None:
        raise RuntimeError("cudaErrorIllegalAddress")

    row = measure(runners.Runner("x", None, lambda _: replace(real, close=close)), what, batch, expected, 3, Clock)
    real.close()
    assert row.matches and not row.problem


def test_without_fp16_the_rest_is_measured(job: Any) -> None:
    what, _, _ = job
    commands: list[list[str]] = []

    def refuse(command: Any) -> str | None:
        commands.append(list(command))
        return "pip install nvidia-modelopt"

    made = models.make(QUICK, ["fp16"], what.bundle.parent, refuse)
    assert [command[3] for command in commands] == ["convert"]  # what was exported is not exported again
    found = models.jobs(QUICK, made, ["fp32", "fp16"], [1])
    assert [(each.precision, each.problem is None) for each, *_ in found] == [("fp32", True), ("fp16", False)]
    half, batch, expected = found[1]
    row = measure(runners.Runner("x", None, on_cpu), half, batch, expected, 3, Clock)
    assert row.problem == "there is no fp16 of it: pip install nvidia-modelopt"


def test_what_is_not_ready_in_time_is_given_up(tmp_path: Path) -> None:
    preparing = models.Preparing(["attentionnet", "vit"], [], tmp_path, 1)
    assert preparing.wait(time.monotonic() + 0.3) == {"attentionnet": None, "vit": None}
    assert not list(tmp_path.glob("*.attn"))


@no_gpu
def test_a_session_without_a_gpu_runs_to_its_skips(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    session = SCRIPTS.parent / "gpu_session.sh"
    done = subprocess.run(
        [session, tmp_path / "wheels", tmp_path / "out"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    assert "skipped" in done.stderr and "nothing could be measured here" in done.stderr
    assert "NVIDIA driver" in done.stdout and "skipped" in (tmp_path / "out" / "log.txt").read_text()
    missing = subprocess.run([session, tmp_path / "none"], capture_output=True, text=True)
    assert missing.returncode == 2 and "scripts/gpu_wheels.sh makes one" in missing.stderr


def test_the_page_tells_hardware_versions_and_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "attn_runtime.device.gpus.find_gpus", lambda: SimpleNamespace(names=("NVIDIA Test",), problem=None)
    )
    good = Row("m", "fp32", 8, "attn_runtime trt (rtx)", 0.1234, 0.2, 1e-6, 2e-5, True, "buffers on the GPU")
    skipped = Row("m", "fp32", 8, "attn_runtime ort_rtx", problem="not installed | really")
    docs = tmp_path / "benchmarks-gpu.md"
    assert gpu_bench.finish([good, skipped], 500, False, docs) == 0
    text = docs.read_text()
    assert "NVIDIA Test" in text and "torch 2." in text and "Expected before measuring:" in text
    assert "| m | fp32 | 8 | attn_runtime trt (rtx) | 0.123 | 0.200 | 1.0e-06 | – | buffers on the GPU |" in text
    assert "not installed / really" in text


def test_buffers_of_either_kind_are_filled() -> None:
    array = np.zeros((2, 2), np.float16)
    runners._fill(array, np.ones((2, 2), np.float32))
    assert (array == 1).all()
    written: list[np.ndarray] = []
    device = SimpleNamespace(dtype=np.dtype("float16"), write=written.append)
    runners._fill(device, np.ones((2, 2), np.float32))
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
            EventClock()


def test_help_tells_the_exit_codes() -> None:
    done = subprocess.run([sys.executable, SCRIPTS / "gpu_bench.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Exit code: 0 when what was measured matches" in done.stdout
