"""Several backends timed in turn: who takes part, whose answers count, and what is kept of it. No time is asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.backends import openvino
from attn_runtime.cli.app import cli
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.session import open_session
from attn_runtime.tasks.backend_comparison import BackendTime, ComparisonReport
from attn_runtime.tasks.benchmark import bench
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.graphs.make_graphs import add

pytestmark = pytest.mark.usefixtures("without_native")
QUICK: dict[str, Any] = {"warmup_s": 0.0, "measure_s": 0.0, "min_runs": 4}


def compared(path: Path, *names: str, **options: Any) -> ComparisonReport:
    report = bench(path, backends=list(names) or ["all"], **QUICK, **options)
    assert isinstance(report, ComparisonReport)
    return report


def test_all_that_can_be_used_are_timed_and_the_fastest_is_remembered(valid_bundle: Path) -> None:
    report = compared(valid_bundle, remember=True)
    assert {each.backend for each in report.results} == {"ort", "openvino"}
    assert [each.batch for each in report.results] == [1, 1, 2, 2, 4, 4]
    for fastest, other in zip(report.results[::2], report.results[1::2], strict=True):
        assert fastest.ratio == 1 <= other.ratio == pytest.approx(other.p50_ms / fastest.p50_ms)
        assert fastest.runs == other.runs == 6  # three turns of two
    assert report.verified and report.remembered is not None
    file = json.loads(Path(report.remembered).read_text())
    (kept,) = file["graphs"]
    assert {curve["backend"]: [p["batch"] for p in curve["results"]] for curve in file["curves"]} == {
        "ort": [1, 2, 4], "openvino": [1, 2, 4]
    }  # fmt: skip
    assert all(0 < p["p50_ms"] <= p["p99_ms"] and p["throughput"] > 0 for c in file["curves"] for p in c["results"])
    assert min(kept["milliseconds"], key=kept["milliseconds"].get) == report.fastest
    with open_session(valid_bundle) as session:
        assert session.backend == report.fastest
    assert any(reason.startswith("native (") for reason in report.left_out)
    assert not any(reason.startswith(("trt", "replay")) for reason in report.left_out)


def test_the_fastest_is_so_over_all_sizes(monkeypatch: pytest.MonkeyPatch, valid_bundle: Path) -> None:
    """By times that the test gives: ort wins at one size by little, OpenVINO at two by much."""
    told = {
        ("ort", 1): 1.0,
        ("openvino", 1): 1.1,
        ("ort", 2): 4.0,
        ("openvino", 2): 2.0,
        ("ort", 4): 9.0,
        ("openvino", 4): 3.0,
    }
    from attn_runtime.tasks import benchmark

    real = benchmark._measure

    def measured(session: Any, batch: int, *rest: Any) -> Any:
        from dataclasses import replace

        return replace(real(session, batch, *rest), p50_ms=told[session.backend, batch])

    monkeypatch.setattr(benchmark, "_measure", measured)
    report = compared(valid_bundle, "ort", "openvino")
    assert report.fastest == "openvino" and report.remembered is None
    found = {(each.backend, each.batch): each.ratio for each in report.results}
    assert found["ort", 1] == 1 and found["openvino", 1] == pytest.approx(1.1) and found["ort", 4] == 3
    assert isinstance(report.results[0], BackendTime) and not (valid_bundle / "engines").exists()


def test_one_that_answers_wrongly_is_left_out(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = openvino.OpenvinoEngine.run
    monkeypatch.setattr(
        openvino.OpenvinoEngine, "run", lambda self, feed: {n: v + 1 for n, v in real(self, feed).items()}
    )
    report = compared(valid_bundle, remember=True)
    assert {each.backend for each in report.results} == {"ort"}
    assert any("openvino (its answers are not within the limit" in reason for reason in report.left_out)


def test_a_plain_file_is_timed_unchecked(tmp_path: Path) -> None:
    report = compared(add(tmp_path / "add.onnx"), "openvino", "ort", sizes={"T": 4})
    assert not report.verified and {each.backend for each in report.results} == {"ort", "openvino"}
    with pytest.raises(UsageError, match=r"remember: add\.onnx is no bundle"):
        compared(tmp_path / "add.onnx", remember=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"backends": ["ort", "openvin"]}, "did you mean openvino"),
        ({"backends": ["trt"]}, r"no backend to time: trt \("),
        ({"backends": ["replay"]}, "knows the golden cases alone"),
        ({"backends": ["ort"], "backend": "ort"}, "leave out backend"),
        ({"backends": ["ort"], "device": "cuda"}, "leave out backend, and device"),
        ({"backends": "ort"}, "names in a list"),
    ],
)
def test_what_can_not_be_asked(options: dict[str, Any], expected: str, valid_bundle: Path) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        bench(valid_bundle, **QUICK, **options)
    assert "\n" not in str(caught.value)
    assert not (valid_bundle / "engines").exists()


def test_a_damaged_bundle_is_the_bundles_fault(valid_bundle: Path) -> None:
    (valid_bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError):
        compared(valid_bundle)


def test_from_the_command_line(valid_bundle: Path) -> None:
    told = [
        "bench",
        str(valid_bundle),
        "--backends",
        "ort,openvino",
        "--seconds",
        "0",
        "--warmup",
        "0",
        "--min-runs",
        "3",
    ]
    done = CliRunner().invoke(cli, [*told, "--remember"])
    assert done.exit_code == 0, done.output
    assert "answers as PyTorch's" in done.output and "is taken here where no backend is named" in done.output
    found = result_of(CliRunner().invoke(cli, [*told, "--json"]).output)
    assert {each["backend"] for each in found["results"]} == {"ort", "openvino"} and found["remembered"] is None
    assert CliRunner().invoke(cli, [*told, "--plot", "x.png"]).exit_code != 0
