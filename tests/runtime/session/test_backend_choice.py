"""What is said of the backend that was taken, and of the GPU that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_runtime.backends import ort
from attn_runtime.device.gpus import Gpus
from attn_runtime.session import backend_choice, open_session
from support.graphs.make_graphs import add

pytestmark = pytest.mark.usefixtures("without_native")


@pytest.fixture
def gpu_that_nothing_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_choice, "find_gpus", lambda: Gpus(("NVIDIA T4",)))
    monkeypatch.setattr(ort, "why_not", lambda device: None if device == "cpu" else "built without CUDA")


@pytest.mark.usefixtures("gpu_that_nothing_runs_on")
def test_auto_that_leaves_a_gpu_unused_says_so(valid_bundle: Path) -> None:
    with open_session(valid_bundle) as session:
        assert session.choice == "ort on cpu, fp32, though there is a GPU, which could not be used"
        assert session.unused_gpu == "NVIDIA T4"
        assert any("ort on cuda (built without CUDA)" in reason for reason in session.passed_over)


@pytest.mark.usefixtures("gpu_that_nothing_runs_on")
def test_the_cpu_that_was_asked_for_needs_no_excuse(valid_bundle: Path) -> None:
    with open_session(valid_bundle, "cpu") as session:
        assert (session.choice, session.unused_gpu) == ("ort on cpu, fp32", None)


def test_a_backend_that_was_named_passes_nothing_over(tmp_path: Path) -> None:
    with open_session(add(tmp_path / "add.onnx"), "cpu", "ort") as session:
        assert (session.choice, session.passed_over) == ("ort on cpu", ())
