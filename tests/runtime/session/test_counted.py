"""What a session counts when it is asked to."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from attn_runtime import prometheus_text
from attn_runtime.errors import InputError, UsageError
from attn_runtime.session import open_session
from prometheus_client.parser import text_string_to_metric_families
from support.graphs.make_graphs import add

X = np.zeros((3, 16), np.float32)


def test_calls_rows_and_failures_of_run_and_of_bound_calls(valid_bundle: Path) -> None:
    with open_session(valid_bundle, "cpu", stats=True) as session:
        assert session.stats().calls == 0 and session.stats().p50 is None
        wanted = session.run({"x": X})["y"]
        bound = session.bind({"batch": 2})
        for _ in range(5):
            np.testing.assert_array_equal(bound()["y"][:2], wanted[:2])
        for wrong in ({"x": X.astype(np.float64)}, {"y": X}, {"x": np.zeros((9, 16), np.float32)}):
            with pytest.raises(InputError):
                session.run(wrong)
        found = session.stats()
        assert (found.calls, found.failed, found.rows) == (9, 3, 3 + 5 * 2)
        assert (
            found.p50 and found.p99 and found.longest and 0 < found.p50 <= found.p99 <= found.longest <= found.seconds
        )
        assert abs(found.since - time.time()) < 3600
        assert found.labels["backend"] == session.backend and found.labels["precision"] == "fp32"
        told = {f.name: f for f in text_string_to_metric_families(prometheus_text(found))}
        assert (
            told["attn_session_calls"].samples[0].value == 9 and told["attn_session_call_seconds"].type == "histogram"
        )
    with pytest.raises(UsageError, match="closed"):
        bound()
    assert session.stats().failed == 4, "it can be read when it is closed"


def test_a_graph_without_axes_has_a_row_a_call(tmp_path: Path) -> None:
    with open_session(add(tmp_path / "add.onnx"), "cpu", stats=True) as session:
        session.run({name: np.zeros((4, 2), np.float32) for name in ("a", "b")})
        assert session.stats().rows == 4


def test_who_did_not_ask_is_told_how(valid_bundle: Path) -> None:
    with open_session(valid_bundle, "cpu") as session, pytest.raises(UsageError, match="stats=True"):
        session.stats()
