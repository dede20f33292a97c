"""Every built-in model, every pass, every backend: nothing here knows the name of any of them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from attn_export.parity.against_module import verify_against
from attn_export.passes import _base as step
from attn_export.pipeline import pipeline
from attn_export.source.resolve import load_source
from attn_models import registry
from attn_runtime import backends
from attn_runtime.bundle.reader import Bundle
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import compare_all
from attn_runtime.errors import BackendError, BundleError, ParityError
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify


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
    spec, module, opened = registry.get(model), load_source(model).module, Bundle.open(bundle, check_hashes=False)
    views = [(graph.view(module), _inputs(opened, graph.name)) for graph in spec.graphs]

    def answers() -> Iterator[torch.Tensor]:
        for view, inputs in views:
            answered = view(*inputs)
            yield from [answered] if isinstance(answered, torch.Tensor) else answered

    with torch.no_grad():
        whole = list(answers())
        for name, parameter in module.named_parameters():
            before = parameter.clone()
            parameter.add_(0.1 * parameter.abs().mean() + 0.01 * torch.randn_like(parameter))
            changed = max(
                float((now - was).abs().max() / was.abs().max()) for now, was in zip(answers(), whole, strict=True)
            )
            parameter.copy_(before)
            assert changed > 1e-5, f"{name} takes no part"


def _inputs(opened: Bundle, graph: str) -> list[torch.Tensor]:
    """Of the largest case: over one key, attention is the same whatever the queries are."""
    largest = max(opened.graph(graph).cases(), key=lambda case: sum(v.size for v in case.inputs.values()))
    return [torch.from_numpy(v) for v in largest.inputs.values()]


def test_every_backend_answers_as_pytorch_did(bundle: Path, backend: str) -> None:
    report = verify(bundle, backend=backend)
    assert report.passed
    assert report.backend == backend
    for name, graph in Bundle.open(bundle, check_hashes=False).graphs.items():
        assert {c.case for c in report.cases if c.graph == name} == {g.name for g in graph.golden}


def test_every_precision_holds_on_each_backend_that_runs_it(
    bundle: Path, precisions: tuple[str, ...], backend: str
) -> None:
    for precision in precisions[1:]:
        try:
            report = verify(bundle, backend=backend, precision=precision)
        except BackendError:  # no kernels for it, said in one line
            continue
        assert report.passed and report.backend == backend


def test_fresh_inputs_match_the_living_module(model: str, bundle: Path) -> None:
    checks = verify_against(bundle, model, seed=1234)
    assert checks
    assert all(c.difference.passed for c in checks)


@pytest.mark.parametrize("chosen", [name for name in step.names() if name not in pipeline.DEFAULT_PASSES])
def test_every_other_pass_keeps_the_answers(chosen: str, bundle: Path, tmp_path: Path) -> None:
    """The default passes are in the bundle that all the other tests look at; these go over its graphs once more."""
    with ChildProcess(120) as isolated:
        for graph in Bundle.open(bundle, check_hashes=False).graphs.values():
            done = step.run_pass(step.get(chosen), graph.precisions["fp32"].file, tmp_path / "after.onnx", isolated)
            with open_session(done.result.path) as session:
                for case in graph.cases():
                    found = compare_all(case.outputs, session.run(case.inputs), graph.precisions["fp32"].tolerance)
                    assert all(difference.passed for difference in found)


def test_a_changed_weight_is_caught_by_hash_and_then_by_its_answers(bundle: Path, backend: str, tmp_path: Path) -> None:
    spoilt = shutil.copytree(bundle, tmp_path / bundle.name)
    opened = Bundle.open(spoilt)
    graph = next(iter(opened.graphs.values()))
    changed = _scale_largest_weight(graph.precisions["fp32"].file)
    with pytest.raises(BundleError, match="sha256"):
        verify(spoilt, backend=backend)
    manifest = json.loads((spoilt / "manifest.json").read_text())
    data = changed.read_bytes()
    manifest["files"][changed.name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (spoilt / "manifest.json").write_text(json.dumps(manifest))
    if backend == "replay":  # it answers with the golden outputs and never reads the graph
        assert verify(spoilt, backend=backend).passed
        return
    with pytest.raises(ParityError, match="do not match"):
        verify(spoilt, backend=backend)


def _scale_largest_weight(file: Path) -> Path:
    """Scale the largest float weight by 1.05 in place, and return the file that it lies in: the graph, or its data."""
    model = onnx.load(file, load_external_data=False)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    largest = max(floats, key=lambda t: torch.Size(t.dims).numel())
    place = {entry.key: entry.value for entry in largest.external_data}
    path = file.with_name(place["location"]) if place else file
    data = bytearray(path.read_bytes())
    length = torch.Size(largest.dims).numel() * 4
    start = int(place.get("offset", 0)) if place else data.find(largest.raw_data)
    values = torch.frombuffer(data, dtype=torch.uint8)[start : start + length]
    values.copy_((values.clone().view(torch.float32) * 1.05).view(torch.uint8))
    path.write_bytes(data)
    return path


def test_training_learns_something(model: str, trained: Path) -> None:
    """The loss on samples that are shown again and again falls, every weight moves, and the weights load.

    How good a model gets on what it has not seen is what whole trainings tell: docs/use/models.md.
    """
    with (trained / "log.csv").open(newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert min(losses) < 0.95 * losses[0]
    before, after = load_source(model).module, load_source(model, checkpoint=trained / "model.safetensors").module
    changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert all(changed)


def test_a_session_tells_what_it_takes(model: str, bundle: Path) -> None:
    for spec in registry.get(model).graphs:
        with open_session(bundle, graph=spec.name) as session:
            assert [i.name for i in session.inputs] == [i.name for i in spec.inputs]
            assert [i.dims for i in session.inputs] == [i.dims for i in spec.inputs]
            assert [o.name for o in session.outputs] == [o.name for o in spec.outputs]
