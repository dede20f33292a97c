"""Half precision of a generator: caches cross from graph to graph as float16, and what is written stays PyTorch's."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.console import Console
from attn_export.parity.against_module import verify_against
from attn_export.precision.conversion import add_precision
from attn_runtime.bundle.known_hashes import sha256_of
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import ParityError
from attn_runtime.generate.verify import replay
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def converted(small_translator: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The small translator with fp16, not to be changed, and what the conversion said."""
    bundle = shutil.copytree(small_translator, tmp_path_factory.mktemp("half") / "t.attn")
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as said:
        patch.setattr(sys, "stderr", said)
        add_precision(bundle, "fp16", console=Console())
        return bundle, said.getvalue()


@pytest.fixture
def half(converted: tuple[Path, str]) -> Path:
    return converted[0]


def test_caches_and_logits_are_float16_at_every_border(half: Path) -> None:
    bundle = Bundle.open(half)
    for name, graph in bundle.graphs.items():
        assert graph.precisions["fp16"].half_io, name
        model = onnx.load(graph.precisions["fp16"].file, load_external_data=False)
        borders = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
        assert onnx.TensorProto.FLOAT not in borders.values(), f"{name}: {borders}"
        session = open_session(bundle, "cpu", graph=name, precision="fp16")
        assert {s.dtype for s in session.inputs} <= {"float16", "int64", "bool"}


def test_no_step_casts_its_past(half: Path) -> None:
    step = onnx.load(Bundle.open(half).graph("step").precisions["fp16"].file, load_external_data=False)
    cast = [node.input[0] for node in step.graph.node if node.op_type == "Cast"]
    assert not [name for name in cast if name.startswith(("past_", "cross_"))], cast


def test_its_weights_are_shared_too(half: Path) -> None:
    bundle = Bundle.open(half)
    assert {g.precisions["fp16"].data for g in bundle.graphs.values()} == {(half / "weights.fp16.data",)}
    files = bundle.manifest["files"]
    assert files["weights.fp16.data"]["size"] <= 0.6 * files["weights.data"]["size"]


def test_golden_cases_and_what_is_written_hold(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = verify(half, precision="fp16")
    assert {c.graph for c in report.cases} == {"encoder", "first", "step"}
    assert len(report.generation) == 11 and all(r.passed for r in report.generation)
    assert all(r.same for r in report.generation if r.beams == 1)
    assert verify_against(half, "support.models.small_generators:translator", precision="fp16")


def test_progress_says_what_it_did_and_what_is_undecided(converted: tuple[Path, str]) -> None:
    bundle, said = converted
    assert said.count("the graphs hand caches to each other") == 1
    assert "fp16       encoder: " in said and "check      step: " in said
    found = replay(bundle, precision="fp16")
    undecided = {r.case for r in found if not r.decided}
    assert undecided, "untrained weights choose by small margins"
    for case in undecided:
        assert f"generated case {case} is undecided in the fp16 bundle" in said


def test_what_writes_other_tokens_is_not_added(small_translator: Path, tmp_path: Path) -> None:
    """The recorded answers are changed here, and their margins said to be wide."""
    bundle = shutil.copytree(small_translator, tmp_path / "t.attn")
    manifest = json.loads((bundle / "manifest.json").read_text())
    for case in manifest["generation"]:
        case["margin"] = 1e3
        stored = load_file(bundle / case["outputs"])
        stored["tokens"][0, 1] = (stored["tokens"][0, 1] + 1) % 20 + 3
        save_file({n: np.ascontiguousarray(v) for n, v in stored.items()}, bundle / case["outputs"])
        manifest["files"][case["outputs"]]["sha256"] = sha256_of(bundle / case["outputs"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    before = sorted(p.name for p in bundle.iterdir())
    with pytest.raises(ParityError, match="the fp16 bundle does not write what PyTorch writes"):
        add_precision(bundle, "fp16", skip=["attention"], console=Console(True))
    assert sorted(p.name for p in bundle.iterdir()) == before
    assert list(Bundle.open(bundle).graph("step").precisions) == ["fp32"]
