"""C++ calls equal what Python calls equal, with fill values and without: the two have one arithmetic."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.compare import Difference, Tolerance, compare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

VALUES = [0.0, 1.0, -2.0, 2.5, -1e4, -10003.5, -1e9, 1e30, 65504.0, -65504.0, 7e4, -3.4028234663852886e38]
VALUES += [math.inf, -math.inf, math.nan]
RANGES = [
    (-1e4, -1e4),
    (-10010.0, -9990.0),
    (-1.1e9, -0.9e9),
    (0.9e30, 1.1e30),
    (6e4, 8e4),
    (-3.5e38, -3.3e38),
    (2.0, 3.0),
]
values = st.sampled_from(VALUES) | st.floats(-5, 5, width=32)


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    expected = draw(st.lists(values, min_size=1, max_size=8))
    near = [st.just(v) | st.just(v * 1.00001) | st.just(-v) | values for v in expected]
    ranges = draw(st.lists(st.sampled_from(RANGES), max_size=3))
    tolerance = Tolerance(
        draw(st.sampled_from([0.0, 1e-6])), draw(st.sampled_from([2e-5, 1e-2])), {"y": tuple(ranges)} if ranges else {}
    )
    sides = [np.array(side, np.float32) for side in (expected, [draw(each) for each in near])]
    return {"sides": sides, "tolerance": tolerance, "half_io": draw(st.booleans())}


def numbers(found: Difference) -> list[float]:
    return [found.max_error, found.max_reference, found.limit, found.max_fill, found.fill_ratio]


@pytest.mark.filterwarnings("ignore:overflow")
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(questions(), min_size=40, max_size=40))
def test_any_two_tensors_are_judged_alike(cpp_build: Path, asked: list[dict[str, Any]]) -> None:
    told = [
        {
            "expected": each["sides"][0].view(np.uint32).tolist(),
            "got": each["sides"][1].view(np.uint32).tolist(),
            "tolerance": each["tolerance"].to_json(),
            "half_io": each["half_io"],
        }
        for each in asked
    ]
    tool = [cpp_build / "tests" / "attn_read_bundles", "compare"]
    done = subprocess.run(tool, input=json.dumps(told).encode(), capture_output=True, timeout=60, check=True)
    for each, answer in zip(asked, json.loads(done.stdout), strict=True):
        found = compare("y", *each["sides"], each["tolerance"], half_io=each["half_io"])
        assert answer["passed"] == found.passed, each
        assert answer["problem"] == found.problem, each
        assert [float(n) for n in answer["numbers"]] == pytest.approx(numbers(found), rel=1e-12, nan_ok=True), each
        if (
            found.worst and len(found.worst) == each["sides"][0].size
        ):  # of more, the last may be any of those that are equal
            theirs = {index: float(allowed) for index, allowed in answer["worst"]}
            assert theirs == pytest.approx({worst.place[0]: worst.allowed for worst in found.worst}), each
