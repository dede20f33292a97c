"""The ort backend on a GPU: the same golden cases, on the device that was asked for."""

from pathlib import Path

import numpy as np
import pytest
from attn_export import export
from attn_export.source.resolve import load_source
from attn_models import registry
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify


@pytest.mark.parametrize("model", registry.names())
def test_golden_cases_on_cuda(model: str, tmp_path: Path) -> None:
    export(load_source(model), tmp_path / "m.attn")
    report = verify(tmp_path / "m.attn", backend="ort", device="cuda")
    assert report.passed
    assert report.device.startswith("cuda")


@pytest.mark.parametrize("model", registry.names())
def test_auto_takes_the_gpu_and_says_so(model: str, tmp_path: Path) -> None:
    export(load_source(model), tmp_path / "m.attn")
    with open_session(tmp_path / "m.attn") as session:
        assert session.device.startswith("cuda")
        call = session.bind({s.name: s.shape({}) for s in session.inputs})
        for buffer in call.inputs.values():
            buffer[...] = np.ones_like(buffer)
        first = {n: v.copy() for n, v in call().items()}
        assert all(np.array_equal(v, first[n]) for n, v in call().items())
