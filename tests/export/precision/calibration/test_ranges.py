"""The table of ranges: of a real graph, in a real child process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.calibration import (
    METHODS,
    Calibration,
    Range,
    Samples,
    calibrate,
    check_method,
    collecting,
    ranges,
)
from attn_export.precision.calibration.histogram import TensorStatistics
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import PassError, UsageError

#: h = 2 x, never rectified; r = relu(h) + 0; masked = h with minus infinity where x is negative; nothing = h * 0.
GRAPH = onnx.parser.parse_model(
    """<ir_version: 10, opset_import: ["": 20]> g (float[n, k] x) => (float[n, k] y)
    <float two = {2.0}, float zero = {0.0}, float lowest = {-3.4028235e38}, float infinity = {-inf}>
    { h = Mul(x, two)  r = Relu(h)  below = Less(x, zero)  masked = Where(below, lowest, h)
      holes = Where(below, infinity, h)  all_masked = Sub(infinity, r)  nothing = Mul(h, zero)
      whole = Cast<to = 7>(h)  y = Neg(r) }"""
)
RNG = np.random.default_rng(0)
DRAWN = [RNG.standard_t(3, (n, 100)).astype(np.float32) for n in (20, 300, 5, 700)]


def samples(arrays: list[np.ndarray] = DRAWN) -> Samples:
    return Samples("somewhere", len(arrays), lambda: ((str(n), {"x": one}) for n, one in enumerate(arrays)))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranges") / "g.onnx"
    onnx.save(GRAPH, path)
    return path


@pytest.fixture(scope="module")
def child() -> Iterator[ChildProcess]:
    with ChildProcess(120) as isolated:
        yield isolated


def run(graph: Path, child: ChildProcess, work: Path, tensors: list[str], method: str, **options) -> Calibration:
    return calibrate(graph, tensors, samples(), method, child, work, lambda *_: None, **options)


def test_min_max_is_over_all_samples_inner_tensors_outputs_and_inputs(
    graph: Path, child: ChildProcess, tmp_path: Path
) -> None:
    found = run(graph, child, tmp_path, ["h", "x", "y", "r", "h"], "min-max")
    whole = np.concatenate(DRAWN)
    low, high = float(whole.min()), float(whole.max())
    assert found == Calibration(
        "min-max",
        "somewhere",
        4,
        {"h": Range(2 * low, 2 * high), "x": Range(low, high), "y": Range(-2 * high, 0.0), "r": Range(0.0, 2 * high)},
    )
    assert list(found.ranges) == ["h", "x", "y", "r"]
    assert not list(tmp_path.iterdir()), "what was written on the way is gone"


@pytest.mark.parametrize("tensor", ["masked", "holes"])
def test_what_stands_for_infinity_is_no_part_of_a_range(
    tensor: str, graph: Path, child: ChildProcess, tmp_path: Path
) -> None:
    values = 2 * np.concatenate(DRAWN)
    found = run(graph, child, tmp_path, [tensor], "min-max").ranges[tensor]
    assert found == Range(float(values[values >= 0].min()), float(values.max()))


def test_the_other_methods_clip_tails_on_both_sides(graph: Path, child: ChildProcess, tmp_path: Path) -> None:
    values = np.abs(2 * np.concatenate(DRAWN))
    widest = run(graph, child, tmp_path, ["h", "r"], "min-max").ranges
    for method, options in (("percentile", {"percentile": 99.9}), ("percentile", {}), ("entropy", {})):
        found = run(graph, child, tmp_path, ["h", "r"], method, **options)
        kept = found.ranges["h"]
        assert kept.low == -kept.high and kept.largest < 0.8 * widest["h"].largest
        assert found.ranges["r"].low == 0.0
        assert found.percentile == (options.get("percentile", 99.99) if method == "percentile" else None)
    clipped = run(graph, child, tmp_path, ["h"], "percentile", percentile=99.9).ranges["h"].high
    assert np.mean(values <= clipped) == pytest.approx(0.999, abs=2e-4)
    least = run(graph, child, tmp_path, ["h"], "percentile", percentile=100).ranges["h"]
    assert least == widest["h"]


@pytest.mark.parametrize("method", METHODS)
def test_many_tensors_are_taken_a_few_at_a_time_and_found_the_same(
    method: str, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the child does it, in this process: the budget is one tensor of the smallest sample."""
    tensors = ["h", "x", "r", "masked", "y", "holes"]
    files = []
    for n, one in enumerate(DRAWN):
        files.append(str(tmp_path / f"{n}.in"))
        write_tensors(Path(files[-1]), {"x": one})

    def found(*batches: list[str]) -> dict[str, TensorStatistics]:
        state = tmp_path / "state"
        state.unlink(missing_ok=True)
        for batch in batches:
            ranges.collect_here(str(graph), tensors, batch, 4, False, str(state), method != "min-max")
        return ranges._read(state, tensors)

    whole = found(files)
    monkeypatch.setattr(collecting, "BUDGET_BYTES", DRAWN[0].nbytes)
    parts = found(*([one] for one in files))
    for name in tensors:
        one, other = vars(whole[name]), vars(parts[name])
        np.testing.assert_array_equal(one.pop("counts"), other.pop("counts"))
        assert one == other


def test_what_a_run_that_failed_has_seen_is_forgotten(graph: Path, child: ChildProcess, tmp_path: Path) -> None:
    spoilt = samples([np.full((1, 100), 1e6, np.float32), np.ones(3, np.float32)])
    with pytest.raises(PassError):
        calibrate(graph, ["h"], spoilt, "min-max", child, tmp_path, lambda *_: None)
    assert run(graph, child, tmp_path, ["h"], "min-max").ranges["h"].largest < 1e5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("tensor", "words"),
    [("nothing", "every value is zero in somewhere"), ("all_masked", "is infinite or not a number")],
)
def test_a_tensor_without_a_range_is_named(
    tensor: str, words: str, method: str, graph: Path, child: ChildProcess, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"tensor {tensor}: .*{words.split(' in ')[0]}") as refused:
        run(graph, child, tmp_path, ["h", tensor], method)
    assert words in str(refused.value) and "--calibrate" in str(refused.value)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [("elsewhere", "the graph has no tensor elsewhere"), ("whole", "tensor whole is int64, expected")],
)
def test_a_tensor_that_has_none_is_told(
    tensor: str, says: str, graph: Path, child: ChildProcess, tmp_path: Path
) -> None:
    with pytest.raises(PassError, match="the fp32 graph can't be measured: ") as refused:
        run(graph, child, tmp_path, ["h", tensor], "min-max")
    assert says in str(refused.value)


def test_a_sample_that_the_graph_can_not_take_is_told(graph: Path, child: ChildProcess, tmp_path: Path) -> None:
    flat = samples([np.ones(3, np.float32)])
    with pytest.raises(PassError, match="calibrating with somewhere: .*INVALID_ARGUMENT"):
        calibrate(graph, ["h"], flat, "min-max", child, tmp_path, lambda *_: None)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("method", "percentile", "says"),
    [
        (
            "minmax",
            99.0,
            "unknown calibration method minmax; did you mean min-max? available: min-max, entropy, percentile",
        ),
        ("percentile", 0.9999, "percentile 0.9999: expected 50 to 100, the percent of values to keep, such as 99.99"),
        ("percentile", 100.1, "expected 50 to 100"),
        ("percentile", float("nan"), "expected 50 to 100"),
    ],
)
def test_what_is_no_method_is_refused_at_once(method: str, percentile: float, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        check_method(method, percentile)
    assert says in str(refused.value)
    unused = ChildProcess()
    with pytest.raises(UsageError):
        calibrate(
            Path("none"), [], samples(), method, unused, tmp_path, lambda *_: None, percentile=percentile
        )  # fmt: skip


def test_the_table_goes_through_json() -> None:
    table = Calibration("percentile", "folder calib", 512, {"a/b": Range(-0.1, float(np.float32(0.3)))}, 99.9)
    assert Calibration.from_json(json.loads(json.dumps(table.to_json()))) == table
    assert "percentile" not in Calibration("min-max", "here", 1, {}).to_json()
    assert Calibration.from_json({"method": "entropy", "source": "s", "samples": 1, "ranges": {"t": [0, 1]}}) == (
        Calibration("entropy", "s", 1, {"t": Range(0.0, 1.0)})
    )


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (float("nan"), 0.0), (0.0, float("inf"))])
def test_what_is_no_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="expected two finite numbers, the lower one first"):
        Range(low, high)
