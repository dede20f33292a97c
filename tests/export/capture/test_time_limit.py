"""A capture that takes too long is interrupted, says where it was, and leaves all as it found it."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from attn_export.capture import capture
from attn_export.capture import time_limit as at
from attn_export.capture.patches import applied
from attn_export.capture.time_limit import time_limit
from attn_export.reference import Signature
from attn_runtime.errors import StageError
from attn_runtime.spec import Dim, TensorSpec
from torch import nn

X = TensorSpec("x", "float32", (Dim("B", 1, 2, 3), Dim.fixed(4)))


class Endless(nn.Module):
    """Works on for ever while it is traced, as code does that grows with each trace."""

    def __init__(self) -> None:
        super().__init__()
        self.tracing, self.reached = False, threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.tracing:
            self.reached.set()
        while self.tracing and time.sleep(0.001) is None:
            pass
        return x * 2


def endless() -> tuple[Signature, nn.Module]:
    module = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"inner": Endless()})["inner"], nn.ReLU()).eval()
    signature = Signature(module, [X])
    signature({"x": torch.zeros(2, 4)})
    module[1].tracing = True
    return signature, module


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_capture_over_its_limit_names_the_module_it_was_at(
    exporter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, module = endless()

    class WhenReached(at._Watch):
        """The time is over once the module is at work, however busy the machine is."""

        def _run(self) -> None:
            module[1].reached.wait()
            self._seconds = 0.0
            super()._run()

    monkeypatch.setattr(at, "_Watch", WhenReached)
    with pytest.raises(
        StageError, match=r"^capture: no graph within 900 s.* at 1 \(Endless\), while.*--stage-timeout"
    ) as told:
        capture(
            signature, {"x": torch.zeros(2, 4).numpy()}, tmp_path / "m.onnx", opset=20, exporter=exporter, seconds=900
        )
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []
    # What was patched for the capture is as before, so that the next one is right.
    module[1].tracing = False
    done = capture(signature, {"x": torch.zeros(2, 4).numpy()}, tmp_path / "m.onnx", opset=20, exporter=exporter)
    assert done.path.exists()


def test_within_the_limit_nothing_is_interrupted() -> None:
    module = nn.Identity()
    before = threading.active_count()
    for seconds in (60.0, math.inf):
        with time_limit(seconds, time.monotonic(), module):
            pass
    assert threading.active_count() <= before + 1


def test_a_limit_that_falls_on_the_end_interrupts_nothing_behind_it() -> None:
    """The interruption comes from another thread: what is on its way when the work ends must not hit who comes next."""
    for number in range(400):
        with suppress(StageError), time_limit(0.0002 * (number % 5), time.monotonic(), nn.Identity()):
            until = time.perf_counter() + 0.0004
            while time.perf_counter() < until:
                pass
        sum(range(200))  # where a late one would be raised


def test_who_swallows_the_interruption_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at, "_AGAIN", 0.1)
    swallowed = []
    with pytest.raises(StageError), time_limit(0.1, time.monotonic(), nn.Identity()):
        while True:
            try:
                while True:
                    time.sleep(0.001)
            except BaseException as problem:
                if swallowed:
                    raise
                swallowed.append(problem)
    assert len(swallowed) == 1


def test_a_time_that_is_over_already_is_told_at_once(tmp_path: Path) -> None:
    signature, module = endless()
    with applied(module), pytest.raises(StageError), time_limit(1.0, time.monotonic() - 5, module):
        signature({"x": torch.zeros(2, 4)})
