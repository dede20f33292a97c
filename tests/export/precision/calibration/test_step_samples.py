"""Rows of tokens as inputs of a generator's graphs: they answer as the model does without a cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from attn_export.precision.calibration import step_samples
from attn_export.precision.calibration.step_samples import generator_samples
from attn_export.precision.calibration.token_rows import write_windows
from attn_runtime.bundle.reader import Bundle
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import PassError
from attn_runtime.session import open_session
from support.models.tiny_generators import Tiny, drawn_prompts, logits_of, write_bundle

LM = Tiny(encoder=False, key_heads=1)
ROWS = drawn_prompts(LM, (9, 2, 30))


def with_dims(bundle: Path, **changed: dict[str, int]) -> Path:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for graph in manifest["graphs"].values():
        for dim in [dim for tensor in (*graph["inputs"], *graph["outputs"]) for dim in tensor["dims"]]:
            dim |= changed.get(dim["name"], {})
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@pytest.mark.parametrize(
    ("dims", "places"),
    [
        ({}, [(0, 4), (0, 8), (1, 1), (2, 15), (2, 29)]),
        # The prompt graph ends at 12 tokens, and caches have 16 entries and more.
        ({"prompt": {"max": 12}, "cache": {"min": 16, "opt": 16}}, [(0, 4), (0, 8), (1, 1), (2, 12)]),
        ({"batch": {"min": 3, "opt": 3}, "prompt": {"min": 3, "opt": 3}}, [(0, 4), (0, 8), (2, 15), (2, 29)]),
    ],
    ids=["usual", "bounded", "three rows"],
)
def test_samples_answer_as_the_model_without_a_cache(
    dims: dict[str, dict[str, int]], places: list[tuple[int, int]], tmp_path: Path
) -> None:
    bundle = Bundle.open(with_dims(write_bundle(tmp_path / "t.attn", LM), **dims))
    windows = write_windows(tmp_path / "w.safetensors", [np.array(row) for row in ROWS])
    with ChildProcess(60) as isolated:
        found = generator_samples(bundle, windows, "these", isolated, tmp_path)
    assert {name: samples.source for name, samples in found.items()} == {"first": "these", "step": "these"}
    shortest, longest = (dims.get("prompt", {}).get(n, d) for n, d in (("min", 1), ("max", 40)))
    read = [row[:longest] for row in ROWS if len(row) >= shortest]
    expected = {
        "first": [logits_of(LM, row)[-1] for row in read],
        "step": [logits_of(LM, ROWS[row][: place + 1])[-1] for row, place in places],
    }
    for name, samples in found.items():
        with open_session(bundle, "cpu", "ort", graph=name) as session:
            answers = [session.run(sample)["logits"] for sample in samples]
        assert samples.count == len(answers) == len(expected[name])
        for got, want in zip(answers, expected[name], strict=True):
            assert len(got) == dims.get("batch", {}).get("min", 1)
            np.testing.assert_allclose(got, np.tile(want, (len(got), 1)), rtol=1e-4, atol=1e-4)


def test_caches_take_no_more_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_samples, "_MOST_BYTES", 1000)
    bundle = write_bundle(tmp_path / "t.attn", LM)
    windows = write_windows(tmp_path / "w.safetensors", [np.array(row) for row in ROWS])
    made = step_samples.write_here(str(bundle), str(windows), str(tmp_path))["files"]
    assert len(made["first"]) == 3 and 1 <= len(made["step"]) < 5


def test_a_graph_that_can_not_be_run(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "t.attn", LM)
    windows = write_windows(tmp_path / "w.safetensors", [np.array([400, 3])])
    with ChildProcess(60) as isolated, pytest.raises(PassError, match="^the fp32 graphs can't be run on these: "):
        generator_samples(Bundle.open(bundle), windows, "these", isolated, tmp_path)
