"""No collection of garbage runs inside TensorRT's calls."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.trt import collector_paused, library
from attn_runtime.trt.builder import network
from support.tensorrt.parsed_networks import save_text


def test_it_is_as_it_was_behind_the_last_of_several_threads() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with collector_paused():
            inside.set()
            go_on.wait(30)

    thread = threading.Thread(target=other)
    with collector_paused():
        thread.start()
        assert inside.wait(30) and not gc.isenabled()
    assert not gc.isenabled()
    go_on.set()
    thread.join()
    assert gc.isenabled()


def test_who_has_switched_it_off_has_it_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_build_calls_back_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    seen: list[bool] = []

    def logger(trt: Any) -> Any:
        log = make_logger(trt)
        kind = type(log)
        told = kind.log
        monkeypatch.setattr(kind, "log", lambda self, *message: (seen.append(gc.isenabled()), told(self, *message))[1])
        return log

    make_logger = network.make_logger
    monkeypatch.setattr(network, "make_logger", logger)
    file = save_text(tmp_path / "m.onnx", "(float[2, 3] x) => (float[2, 3] y)", "y = Relu(x)")
    assert network.build(library.load("rtx"), file, [{}]).plan is not None
    assert seen and not any(seen)
    assert gc.isenabled()
