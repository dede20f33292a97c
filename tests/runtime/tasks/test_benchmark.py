"""bench measures what it says it measures. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import InputError, OutputError, UsageError
from attn_runtime.escape import plot_text
from attn_runtime.tasks import benchmark as bench_module
from attn_runtime.tasks.benchmark import BenchReport, SizeResult, bench
from attn_runtime.tasks.plots.bench import plot_bench
from PIL import Image
from support.graphs.make_graphs import add, embed, nonzero

QUICK = {"device": "cpu", "warmup_s": 0.0, "measure_s": 0.0, "min_runs": 5}


@pytest.mark.usefixtures("without_native")
@pytest.mark.parametrize("call", ["bound", "run"])
def test_one_result_for_each_batch_size(call: str, valid_bundle: Path) -> None:
    report = bench(valid_bundle, **QUICK, call=call)
    assert [r.batch for r in report.results] == [1, 2, 4]  # min, opt, max
    assert (report.backend, report.device, report.call, report.batch_dim) == ("ort", "cpu", call, "batch")
    for r in report.results:
        assert r.runs == 5 and r.sizes == {"batch": r.batch}
        assert 0 < r.p50_ms <= r.p90_ms <= r.p99_ms and r.mean_ms > 0
        assert r.throughput == pytest.approx(r.batch * 1000 / r.mean_ms, rel=0.01)
        assert r.peak_memory > 10 * 2**20
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["results"][2]["batch"] == 4


def test_percentiles_by_a_clock_that_the_test_turns(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of 1, 2, ... 21 ms. The clock is read twice in the warm-up and once at the start."""
    steps = iter([0.0] * 3 + [milliseconds / 1000 for milliseconds in range(1, 22)])
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += next(steps)
        return now

    monkeypatch.setattr(bench_module.time, "perf_counter", clock)
    (r,) = bench(valid_bundle, **{**QUICK, "min_runs": 21}, batches=[4]).results
    found = r.runs, r.p50_ms, r.p90_ms, r.p99_ms, r.mean_ms
    assert found == (21, *map(pytest.approx, (11.0, 19.0, 20.8, 11.0)))
    assert r.throughput == pytest.approx(4 / 0.011)


def test_sizes_that_are_asked_for(tmp_path: Path) -> None:
    report = bench(add(tmp_path / "add.onnx"), **QUICK, batches=[8, 2], sizes={"T": 5})
    assert [dict(r.sizes) for r in report.results] == [{"B": 2, "T": 5}, {"B": 8, "T": 5}]


def test_dims_without_a_known_range_take_one(tmp_path: Path) -> None:
    assert [dict(r.sizes) for r in bench(embed(tmp_path / "e.onnx"), **QUICK).results] == [{"B": 1, "T": 1}]


@pytest.mark.parametrize("call", ["bound", "run"])
@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"batches": [5]}, InputError, r"dim batch allows 1\.\.4"),
        ({"batches": [0]}, UsageError, "expected 1 or more"),
        ({"sizes": {"bach": 1}}, UsageError, "did you mean batch"),
        ({"min_runs": 0}, UsageError, "0 runs"),
    ],
)
def test_bad_options(call: str, options: dict, error: type[Exception], says: str, valid_bundle: Path) -> None:
    with pytest.raises(error, match=says):
        bench(valid_bundle, **{**QUICK, **options, "call": call})


def test_unknown_call(valid_bundle: Path) -> None:
    with pytest.raises(UsageError, match="did you mean bound"):
        bench(valid_bundle, call="bounded")


def test_output_that_can_not_be_bound_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Call run instead of bind"):
        bench(nonzero(tmp_path / "n.onnx"), **QUICK, batches=[50])
    assert bench(nonzero(tmp_path / "n.onnx"), **QUICK, batches=[50], call="run").results[0].runs == 5


def test_peak_memory_sees_what_was_freed() -> None:
    # In a process of its own: one that has run other tests holds freed memory, which a new array would be given.
    script = """
import numpy as np
from attn_runtime.files.resident_memory import peak_memory, reset_peak_memory
source = reset_peak_memory()
before = peak_memory(source)
np.ones(50_000_000 // 8).sum()
assert peak_memory(source) - before >= (40 * 2**20 if source == "VmHWM" else 0), (peak_memory(source), before)
if source == "VmHWM":
    reset_peak_memory()
    assert peak_memory(source) < before + 30 * 2**20
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_plot_is_a_picture(valid_bundle: Path, tmp_path: Path) -> None:
    report = bench(valid_bundle, **QUICK)
    plot_bench(report, tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as image:
        assert image.format == "PNG" and len(image.convert("RGB").getcolors(1 << 20) or []) > 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.png", "gemm.attn"]
    with pytest.raises(UsageError, match="got suffix xyz"):
        plot_bench(report, tmp_path / "bench.xyz")
    with pytest.raises(OutputError, match="can't write"):
        plot_bench(report, tmp_path / "no" / "bench.png")


@pytest.mark.parametrize("name", ["cost $\\frac{ $", "$", "a$b$c$", "\\$x$", "tab\there", "$\\undefined$"])
def test_names_are_no_formulas(tmp_path: Path, name: str) -> None:
    """matplotlib takes what stands between two dollars for one, and ends with its own traceback."""
    size = SizeResult(1, {name: 1}, 3, 1.0, 1.0, 1.0, 1.0, 1.0, 0, "")
    report = BenchReport(f"{name}.attn", "ort", f"cpu {name}", "", "bound", name, (size, size))
    plot_bench(report, tmp_path / "bench.svg")
    drawn = (tmp_path / "bench.svg").read_text()  # the words stand in comments, their letters are paths
    assert f"{plot_text(name).replace(chr(92) + chr(36), chr(36))}.attn" in drawn


def test_a_long_run_keeps_a_fair_sample_of_fixed_size() -> None:
    kept = bench_module._Sample(1000)
    for number in range(200_000):
        kept.add(float(number))
    assert kept.seen == 200_000 and len(kept.values) == 1000 == len(set(kept.values))
    # Evenly from the whole run: the share of each tenth within 5 deviations, and the percentiles where they belong.
    shares, _ = np.histogram(kept.values, 10, (0, 200_000))
    assert all(52 <= share <= 148 for share in shares), shares
    np.testing.assert_allclose(np.percentile(kept.values, [50, 90, 99]) / 2e5, [0.5, 0.9, 0.99], atol=0.08)


def test_what_is_told_counts_all_calls(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "_MOST_TIMES", 10)
    (one,) = bench(valid_bundle, device="cpu", batches=[2], warmup_s=0, measure_s=0, min_runs=500).results
    assert one.runs == 500
    assert one.throughput == pytest.approx(2 * 1000 / one.mean_ms)
