"""Every built-in model, every pass, every backend: nothing here knows the name of any of them.

A new file in attn_models, attn_export/passes or attn_runtime/backends is crossed with the others by being there.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from attn_export import pipeline, step
from attn_export.capture import EXPORTERS
from attn_export.console import Console
from attn_export.live import verify_live
from attn_export.pipeline import Options, export
from attn_export.source import load_source
from attn_models import registry
from attn_runtime import backends
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BundleError, ParityError
from attn_runtime.session import open_session
from attn_runtime.verify import verify
from onnx import numpy_helper

MODELS = registry.names()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bundle(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, untrained but awake, exported as a user would."""
    target = tmp_path_factory.mktemp(model) / f"{model}.attn"
    export(load_source(model), target, Options(), Console(True))
    return target


@pytest.fixture(params=backends.names())
def backend(request: pytest.FixtureRequest) -> str:
    module = backends.get(request.param)
    reasons = [module.why_unavailable() or module.why_not(device) for device in ("cpu", "cuda")]
    if all(reasons):
        pytest.skip(f"{request.param}: {'; '.join(filter(None, reasons))}")
    return str(request.param)


def test_a_fresh_model_has_parts_that_are_asleep_only_if_it_can_wake_them(model: str) -> None:
    """A gate at zero makes a parity test of what it gates prove nothing."""
    spec = registry.get(model)
    asleep = [n for n, p in spec.build().named_parameters() if p.numel() == 1 and not p.any()]
    assert not asleep or spec.wake is not None
    woken = load_source(model).module
    assert not [n for n, p in woken.named_parameters() if p.numel() == 1 and not p.any()]


def test_every_parameter_takes_part(model: str, bundle: Path) -> None:
    """Each weight tensor, disturbed, must change an answer: else the parity of the bundle says nothing about it."""
    module = load_source(model).module
    case = next(iter(Bundle.open(bundle).graph().cases()))
    inputs = [torch.from_numpy(v) for v in case.inputs.values()]
    with torch.no_grad():
        whole = module(*inputs)
        for name, parameter in module.named_parameters():
            before = parameter.clone()
            parameter.add_(0.1 * parameter.abs().mean() + 0.01)
            changed = float((module(*inputs) - whole).abs().max() / whole.abs().max())
            parameter.copy_(before)
            assert changed > 1e-5, f"{name} takes no part"


def test_every_backend_answers_as_pytorch_did(bundle: Path, backend: str) -> None:
    report = verify(bundle, backend=backend)
    assert report.passed
    assert report.backend == backend
    assert {c.case for c in report.cases} == {g.name for g in Bundle.open(bundle).graph().golden}


def test_fresh_inputs_match_the_living_module(model: str, bundle: Path) -> None:
    checks = verify_live(bundle, model, seed=1234)
    assert checks
    assert all(c.difference.passed for c in checks)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("chosen", step.names())
def test_every_pass_keeps_the_answers_of_every_exporter(model: str, exporter: str, chosen: str, tmp_path: Path) -> None:
    skip = tuple(n for n in pipeline.DEFAULT_PASSES if n != chosen)
    options = Options(exporter=exporter, passes=(chosen,), skip=skip)
    done = export(load_source(model), tmp_path / "m.attn", options, Console(True))
    assert [s.name for s in done.stages] == ["capture", chosen]
    assert verify(tmp_path / "m.attn").passed


def test_a_changed_weight_is_caught_by_hash_and_then_by_its_answers(bundle: Path, backend: str, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.attn"
    subprocess.run(["cp", "-r", bundle, spoilt], check=True)
    model = onnx.load(spoilt / "model.onnx")
    largest = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    value = numpy_helper.to_array(largest) * np.float32(1.01)
    largest.CopyFrom(numpy_helper.from_array(value, largest.name))
    onnx.save(model, spoilt / "model.onnx")
    with pytest.raises(BundleError, match="sha256"):
        verify(spoilt, backend=backend)
    manifest = json.loads((spoilt / "manifest.json").read_text())
    data = (spoilt / "model.onnx").read_bytes()
    manifest["files"]["model.onnx"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (spoilt / "manifest.json").write_text(json.dumps(manifest))
    if backend == "replay":  # it answers with the golden outputs and never reads the graph
        assert verify(spoilt, backend=backend).passed
        return
    with pytest.raises(ParityError, match="do not match"):
        verify(spoilt, backend=backend)


def test_training_learns_something(model: str, tmp_path: Path) -> None:
    """Two epochs on a part of the data: well above chance, and the weights export and verify."""
    if registry.get(model).recipe is None:
        pytest.skip(f"{model} has no training")
    command = [sys.executable, "-m", "attn_models.train", model, "--limit", "256", "--epochs", "4", "--out", tmp_path]
    ran = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=250)
    assert ran.returncode == 0, ran.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["accuracy"] > 2 / len(registry.get(model).recipe().labels)  # type: ignore[misc]
    source = load_source(model, checkpoint=tmp_path / "model.safetensors")
    export(source, tmp_path / "m.attn", Options(), Console(True))
    assert verify(tmp_path / "m.attn").passed


def test_a_session_tells_what_it_takes(model: str, bundle: Path) -> None:
    spec = registry.get(model)
    with open_session(bundle) as session:
        assert [i.name for i in session.inputs] == [i.name for i in spec.graph.inputs]
        assert [i.dims for i in session.inputs] == [i.dims for i in spec.graph.inputs]
        assert [o.name for o in session.outputs] == [o.name for o in spec.graph.outputs]
