"""Replay answers with the golden outputs, and only for the golden inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BackendError, InputError
from attn_runtime.session import open_session
from support.graphs.make_graphs import add


def test_golden_inputs_get_golden_outputs(valid_bundle: Path) -> None:
    with open_session(valid_bundle, backend="replay") as session:
        assert (session.backend, session.device) == ("replay", "cpu")
        for case in Bundle.open(valid_bundle).graph().cases():
            np.testing.assert_array_equal(session.run(case.inputs)["y"], case.outputs["y"])
            bound = session.bind(case.sizes)
            bound.inputs["x"][...] = case.inputs["x"]
            np.testing.assert_array_equal(bound()["y"], case.outputs["y"])


def test_answers_are_the_callers_own(valid_bundle: Path) -> None:
    session = open_session(valid_bundle, backend="replay")
    case = next(Bundle.open(valid_bundle).graph().cases())
    session.run(case.inputs)["y"][...] = 0
    np.testing.assert_array_equal(session.run(case.inputs)["y"], case.outputs["y"])


def test_other_inputs_are_refused_with_what_is_known(valid_bundle: Path) -> None:
    session = open_session(valid_bundle, backend="replay")
    x = next(Bundle.open(valid_bundle).graph().cases()).inputs["x"].copy()
    x[0, 0] = np.nextafter(x[0, 0], np.float32(9))
    with pytest.raises(InputError, match=r"no answer .* min \(x \[1, 16\]\); opt \(x \[2, 16\]\); max"):
        session.run({"x": x})


def test_needs_golden_cases(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no golden cases to replay"):
        open_session(add(tmp_path / "add.onnx"), backend="replay")


def test_never_on_a_gpu(valid_bundle: Path) -> None:
    with pytest.raises(BackendError, match="replay on cuda"):
        open_session(valid_bundle, "cuda", backend="replay")
