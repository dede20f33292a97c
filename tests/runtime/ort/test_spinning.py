"""A generator's sessions take turns on the same cores: their threads sleep behind a call, where a session's wait busily."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attn_runtime.backends import native
from attn_runtime.generate import GenerateOptions, open_generator
from attn_runtime.session import open_session
from support.checks.idle import WIDE, busy
from support.models.tiny_generators import drawn_prompts, inputs_of, write_bundle


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("wide") / "wide.attn", WIDE)


@pytest.mark.parametrize("backend", ["ort", "native"])
def test_a_generators_threads_sleep_behind_a_call(backend: str, wide: Path) -> None:
    if backend == "native" and (reason := native.why_unavailable()):
        pytest.skip(reason)
    how: dict[str, Any] = {"device": "cpu", "backend": backend, "threads": 2}
    inputs = inputs_of(WIDE, drawn_prompts(WIDE, [32] * 8))
    with open_session(wide, graph="encoder", **how) as session:
        waiting = busy(lambda: session.run(inputs))
    assert waiting > 0.01, (
        "a session waits busily, unless it is told to stop: without that, there is nothing to see here"
    )
    with open_session(wide, graph="encoder", **how, stop_spinning=True) as session:
        assert busy(lambda: session.run(inputs)) < 0.005
    with open_generator(wide, **how) as generator:
        assert busy(lambda: generator.generate(inputs, GenerateOptions(max_length=3, stop=()))) < 0.005
