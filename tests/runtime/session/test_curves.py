"""What was measured, kept in the bundle: told for its own files alone, of every machine, and of no hostile file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attn_runtime import describe
from attn_runtime.bundle import Bundle
from attn_runtime.device import Jetpack
from attn_runtime.device.gpus import Gpus
from attn_runtime.errors import OutputError
from attn_runtime.session import curves, latency_curves, measured, open_session, remember, remember_curve
from attn_runtime.session.measured import machine
from attn_runtime.tasks.benchmark import bench
from attn_runtime.tasks.info import info_lines

POINT = {
    "batch": 1,
    "sizes": {"batch": 1},
    "runs": 9,
    "p50_ms": 1.5,
    "p90_ms": 1.75,
    "p99_ms": 2.0,
    "throughput": 700.0,
}


def kept(bundle: Path, backend: str = "ort", **point: Any) -> Path:
    results = [{**POINT, **point, "memory_source": "not kept", "token_ms": None}]
    return remember_curve(Bundle.open(bundle), "model", "fp32", 2, backend, "cpu", "bound", results)


def told(bundle: Path) -> list[dict[str, Any]]:
    return latency_curves(Bundle.open(bundle))


def test_it_has_the_machine_the_versions_the_date_and_the_points(valid_bundle: Path) -> None:
    assert kept(valid_bundle).parent == valid_bundle / "engines"
    (curve,) = told(valid_bundle)
    assert curve["hardware"] == machine()["cpu"] and curve["machine"] == machine() and curve["threads"] == 2
    assert (curve["graph"], curve["precision"], curve["backend"], curve["call"]) == ("model", "fp32", "ort", "bound")
    assert curve["results"] == [POINT] and curve["measured"].endswith("Z")


def test_a_later_measurement_replaces_its_like_and_leaves_the_others(valid_bundle: Path) -> None:
    remember(Bundle.open(valid_bundle), None, None, None, {"ort": 1.0, "openvino": 2.0})
    for backend, milliseconds in (("ort", 1.0), ("openvino", 3.0), ("ort", 2.0)):
        kept(valid_bundle, backend, p50_ms=milliseconds)
    assert {curve["backend"]: curve["results"][0]["p50_ms"] for curve in told(valid_bundle)} == {
        "ort": 2.0,
        "openvino": 3.0,
    }
    file = kept(valid_bundle)
    assert json.loads(file.read_text())["graphs"][0]["milliseconds"] == {"ort": 1.0, "openvino": 2.0}
    remember(Bundle.open(valid_bundle), None, None, None, {"ort": 1.0, "openvino": 2.0})
    assert len(told(valid_bundle)) == 2, "and the choice of a backend leaves the curves"


def test_a_gpu_and_a_board_are_named(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "find_gpus", lambda: Gpus(("One", "Two"), ""))
    monkeypatch.setattr(curves, "read_jetpack", lambda: Jetpack("6.2", "36.4", "Orin Nano", {}))
    for device in ("cuda", "cuda:1", "cpu"):
        remember_curve(Bundle.open(valid_bundle), "model", "fp32", None, "trt", device, "run", [POINT])
    assert {curve["device"]: (curve["hardware"], curve["board"]) for curve in told(valid_bundle)} == {
        "cuda": ("One", "Orin Nano"), "cuda:1": ("Two", "Orin Nano"), "cpu": (machine()["cpu"], "Orin Nano"),
    }  # fmt: skip


def test_machines_stand_side_by_side(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = kept(valid_bundle)
    other = machine() | {"cpu": "Another CPU", "cores": 64}
    monkeypatch.setattr(measured, "machine", lambda: other)
    assert kept(valid_bundle, p50_ms=0.5) != here
    assert {curve["machine"]["cores"]: curve["results"][0]["p50_ms"] for curve in told(valid_bundle)} == {
        machine()["cores"]: 1.5, 64: 0.5,
    }  # fmt: skip


def only(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda content: change(content["curves"][0])


SPOILT: dict[str, Callable[[dict[str, Any]], object]] = {
    "of another export": only(lambda curve: curve.update(sha256="0" * 64)),
    "a graph that is not there": only(lambda curve: curve.update(graph="other")),
    "a precision that is not there": only(lambda curve: curve.update(precision="fp99")),
    "a negative time": only(lambda curve: curve["results"][0].update(p50_ms=-1)),
    "a time that is text": only(lambda curve: curve["results"][0].update(p50_ms="<b>")),
    "without points": only(lambda curve: curve.update(results=[])),
    "a name without end": only(lambda curve: curve.update(hardware="x" * 1000)),
    "curves that are none": lambda content: content.update(curves=[1]),
    "not in a list": lambda content: content.update(curves={}),
    "more than was asked": lambda content: content.update(run="rm"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_damaged_or_of_others_is_not_told(how: str, valid_bundle: Path) -> None:
    file = kept(valid_bundle)
    content = json.loads(file.read_text())
    SPOILT[how](content)
    file.write_text(json.dumps(content))
    assert told(valid_bundle) == []
    open_session(valid_bundle, "cpu").close()
    kept(valid_bundle)
    assert len(told(valid_bundle)) == 1


def test_bench_remembers_and_info_tells_it(valid_bundle: Path) -> None:
    report = bench(valid_bundle, "ort", warmup_s=0, measure_s=0, min_runs=2, threads=1, remember=True)
    assert report.remembered is not None and Path(report.remembered).parent == valid_bundle / "engines"
    with open_session(valid_bundle, "cpu") as session:
        assert "measured" not in session.choice, "one backend alone decides nothing"
    file = Path(report.remembered)
    content = json.loads(file.read_text())
    content["curves"][0]["hardware"] = "odd \x1b[2J name"
    file.write_text(json.dumps(content))
    lines = "\n".join(info_lines(describe(valid_bundle)))
    assert "model in fp32 by ort on odd \ufffd[2J name, 1 threads" in lines and "  batch 4: p50 " in lines
    assert bench(valid_bundle, "ort", warmup_s=0, measure_s=0, min_runs=2).remembered is None


def test_a_bundle_that_cannot_be_written_is_told_before_anything_is_timed(
    valid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attn_runtime.tasks.benchmark._measure", lambda *_: pytest.fail("it was timed"))
    with monkeypatch.context() as patched:
        patched.setattr("os.access", lambda *_: False)
        with pytest.raises(OutputError, match="engines/ can't be written .it is read-only.; copy the bundle"):
            bench(valid_bundle, "ort", remember=True)
    (valid_bundle / "engines").write_text("in the way")
    with pytest.raises(OutputError, match="can't be written"):
        bench(valid_bundle, "ort", remember=True)
