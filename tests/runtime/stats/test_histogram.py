"""Times in buckets, and what is told of them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from attn_runtime.stats import Histogram, Latencies
from attn_runtime.stats.histogram import BOUNDS


def latencies(*times: float) -> Latencies:
    histogram = Histogram()
    histogram.add(times)
    return histogram.read()


def test_bounds_grow_by_a_tenth_over_nine_decades() -> None:
    ratios = [high / low for low, high in pairwise(BOUNDS)]
    assert (BOUNDS[0], BOUNDS[-1]) == (1e-6, 1e3) and min(ratios) > 1.08 and max(ratios) < 1.12


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_within_a_bucket_of_the_calls_own_time(share: float) -> None:
    times = np.random.default_rng(0).lognormal(-7, 2, 5000)
    found = latencies(*times).quantile(share)
    wanted = np.quantile(times, share, method="inverted_cdf")
    assert found is not None and wanted / 1.12 <= found <= wanted * 1.12


def test_the_slowest_is_never_passed_and_none_is_none() -> None:
    assert latencies(0.0103).quantile(1.0) == 0.0103 and latencies(0.0).quantile(0.5) == 0.0
    assert latencies().quantile(0.5) is None
    assert latencies().to_json() == {"sum": 0.0, "p50": None, "p90": None, "p99": None, "max": None}


def test_beyond_the_last_bound_is_the_longest() -> None:
    found = latencies(1.0, 5000.0)
    assert found.quantile(0.99) == 5000.0 and found.seconds == 5001.0


def test_a_time_on_a_bound_counts_below_it() -> None:
    """As Prometheus counts: le means less or equal."""
    found = dict(latencies(0.001, 0.0011, 2000.0).cumulative())
    assert found[0.001] == 1 and found[1000.0] == 2 and found[math.inf] == 3
    assert list(found.values()) == sorted(found.values())


def test_what_came_since() -> None:
    before = latencies(0.001)
    assert latencies(0.001, 0.0123).since(before) == [pytest.approx(0.0123)]
    assert latencies(0.001).since(before) == []
    assert latencies(0.001, 0.1, 0.001, 7000.0).since(before) == [0.001, 0.1, 7000.0]
