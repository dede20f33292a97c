"""The ranges of a graph's activations over samples: measured in a child process, chosen by a method, kept as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import UsageError, did_you_mean
from numpy.typing import NDArray
from safetensors.numpy import load_file

from .batches import Progress, run_in_batches
from .collecting import collect
from .histogram import BINS, TensorStatistics
from .samples import Samples
from .thresholds import entropy_threshold, percentile_threshold

#: How a range follows from the values that were seen: all of them; the threshold that changes their distribution least; a share.
METHODS = ("min-max", "entropy", "percentile")
#: The percent of values that "percentile" keeps.
PERCENTILE = 99.99
_STATE = "statistics.safetensors"


@dataclass(frozen=True)
class Range:
    """The values that a tensor is represented in, both ends included, in the tensor's own unit; zero need not be among them.

    Raises UsageError for ends that are not finite, or in the wrong order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise UsageError(
                f"range: got {self.low:g}..{self.high:g}, expected two finite numbers, the lower one first"
            )

    @property
    def largest(self) -> float:
        """The largest magnitude in it: what a symmetric scheme takes."""
        return max(-self.low, self.high)


@dataclass(frozen=True)
class Calibration:
    """What was measured, of what, and how.

    method       one of METHODS
    source       what the samples are called, as `Samples` has it
    samples      how many there were
    ranges       by the name of the tensor in the fp32 graph, in the order in which they were asked for
    percentile   percent, of that method alone
    """

    method: str
    source: str
    samples: int
    ranges: Mapping[str, Range]
    percentile: float | None = None

    def to_json(self) -> dict[str, Any]:
        """{"method", "source", "samples", "ranges": {tensor: [low, high]}}, and "percentile" where the method has one."""
        ranges = {name: [found.low, found.high] for name, found in self.ranges.items()}
        own = {} if self.percentile is None else {"percentile": self.percentile}
        return {"method": self.method, **own, "source": self.source, "samples": self.samples, "ranges": ranges}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        ranges = {name: Range(float(low), float(high)) for name, (low, high) in data["ranges"].items()}
        return cls(data["method"], data["source"], data["samples"], ranges, data.get("percentile"))


def check_method(method: str, percentile: float = PERCENTILE) -> None:
    """Raises UsageError for a method that there is not, and a percentile that is none. Costs nothing: ask before long work."""
    if method not in METHODS:
        raise UsageError(
            f"unknown calibration method {method}; {did_you_mean(method, METHODS)}available: {', '.join(METHODS)}"
        )
    if not 50 <= percentile <= 100:
        raise UsageError(
            f"percentile {percentile:g}: expected 50 to 100, the percent of values to keep, such as {PERCENTILE}"
        )


def calibrate(
    source: Path,
    tensors: Sequence[str],
    samples: Samples,
    method: str,
    isolated: ChildProcess,
    work: Path,
    progress: Progress,
    *,
    percentile: float = PERCENTILE,
    large: bool = False,
) -> Calibration:
    """The range of each of `tensors`, floating-point tensors of the main graph or its inputs, over all samples.

    "min-max" takes the least and the largest value. The other two clip both ends at one magnitude: "percentile" at that which
    this percent of the values do not exceed, zeros not counted; "entropy" at `entropy_threshold`, made for 8 bit integers. Values
    that stand for infinity (from 1e30 on, as masks have) and those that are not finite are left out.

    `source` is the fp32 ONNX graph, `work` a folder for files, `large` as `cpu_options` has it. What is held at one time is
    bounded, whatever the number of tensors and samples; `progress` is called after each batch. Raises UsageError for an unknown
    method, for no samples or bad ones, and for a tensor that has no range: zero, or not finite, in all of them; PassError where
    the graph can't be run.
    """
    check_method(method, percentile)
    names = list(dict.fromkeys(tensors))
    state = work / _STATE
    state.unlink(missing_ok=True)
    count = run_in_batches(
        f"{__name__}:collect_here",
        samples,
        isolated,
        work,
        progress,
        graph=str(source),
        names=names,
        large=large,
        state=str(state),
        histograms=method != "min-max",
    )
    found = _read(state, names)
    state.unlink()
    _check(found, samples.source)
    ranges = {name: _range(one, method, percentile) for name, one in found.items()}
    return Calibration(method, samples.source, count, ranges, percentile if method == "percentile" else None)


def _check(found: Mapping[str, TensorStatistics], source: str) -> None:
    for words, names in (
        ("infinite or not a number", [name for name, one in found.items() if one.low > one.high]),
        ("zero", [name for name, one in found.items() if one.largest == 0]),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UsageError(
                f"tensor {names[0]}{more}: every value is {words} in {source}, so that there is no range to represent it in; "
                "give samples that reach it with --calibrate, or leave it as it is"
            )


def _range(found: TensorStatistics, method: str, percentile: float) -> Range:
    if method == "min-max":
        return Range(found.low, found.high)
    threshold = entropy_threshold(found) if method == "entropy" else percentile_threshold(found, percentile)
    return Range(max(found.low, -threshold), min(found.high, threshold))


# --- in the child process -------------------------------------------------------------------------------------------------


def collect_here(
    graph: str, names: list[str], samples: list[str], together: int, large: bool, state: str, histograms: bool
) -> dict[str, Any]:
    """The task of the child process: goes on from what lies at `state`."""
    path = Path(state)
    statistics = _Statistics(_read(path, names) if path.exists() else {n: _empty(histograms) for n in names})
    together = collect(graph, names, samples, together, large, statistics)
    _write(path, statistics.found)
    return {"together": together}


class _Statistics:
    """Collector of TensorStatistics."""

    def __init__(self, found: dict[str, TensorStatistics]) -> None:
        self.found = found

    def take(self, name: str, value: NDArray[np.floating]) -> int:
        self.found[name].add(value)
        return 0

    def finish(self, names: Sequence[str]) -> None:
        pass


def _empty(histograms: bool) -> TensorStatistics:
    return TensorStatistics() if histograms else TensorStatistics(counts=None)


def _write(path: Path, found: Mapping[str, TensorStatistics]) -> None:
    every = list(found.values())
    counts = [one.counts for one in every if one.counts is not None]
    arrays = {
        "low": np.array([one.low for one in every], np.float64),
        "high": np.array([one.high for one in every], np.float64),
        "exponent": np.array([one.exponent for one in every], np.int64),
        "counts": np.array(counts, np.int64).reshape(len(counts), BINS),
    }
    write_tensors(path, arrays)


def _read(path: Path, names: Sequence[str]) -> dict[str, TensorStatistics]:
    arrays = load_file(path)
    counts = arrays["counts"] if len(arrays["counts"]) else [None] * len(names)
    columns = zip(arrays["low"].tolist(), arrays["high"].tolist(), counts, arrays["exponent"].tolist(), strict=True)
    return dict(zip(names, (TensorStatistics(*one) for one in columns), strict=True))
