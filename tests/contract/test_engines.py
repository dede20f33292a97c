"""Every built-in model as an engine of every type, with every TensorRT that is installed here: built, not executed.

Nothing here knows a model's name. tests/gpu executes what is built here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attn_export.console import Console
from attn_export.pipeline import Options, export
from attn_export.precision import add_precision
from attn_export.source import load_source
from attn_models import registry
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BackendError, EngineError
from attn_runtime.session import open_session
from attn_runtime.trt import flavour
from attn_runtime.trt.compile import compile_engine
from attn_runtime.trt.engines import find_engine, read_plan
from attn_runtime.trt.key import EngineKey
from attn_runtime.trt.machine import Machine
from attn_runtime.verify import verify

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@pytest.fixture(scope="module", params=registry.names())
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in every precision."""
    target = tmp_path_factory.mktemp(request.param) / f"{request.param}.attn"
    export(load_source(request.param), target, Options(), Console(True))
    for kind in ("fp16", "bf16"):
        add_precision(target, kind, console=Console(True))
    return target


@pytest.fixture(params=flavour.names())
def library(request: pytest.FixtureRequest) -> str:
    if reason := flavour.why_unavailable(request.param):
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


def test_every_precision_matches_pytorch_and_stored_its_proof(bundle: Path) -> None:
    graph = Bundle.open(bundle).graph()
    assert {p.type for p in graph.precisions.values()} == set(DTYPES)
    stages = Bundle.open(bundle).manifest["graphs"][graph.name]["stages"]
    for name in graph.precisions:
        if graph.precisions[name].type != "bf16":  # ONNX Runtime has few kernels for it on the CPU, and says so
            assert verify(bundle, device="cpu", precision=name).passed
        checks = [check for stage in stages if stage["precision"] == name for check in stage["checks"]]
        assert {check["case"] for check in checks} >= {g.name for g in graph.golden}
        assert all(check["passed"] for check in checks)
        if name != "fp32":  # an error of 0 would mean that nothing was rounded
            assert max(check["max_error"] for check in checks) > 0


@pytest.mark.parametrize("kind", DTYPES)
def test_every_model_builds_in_the_type_that_was_asked_for(kind: str, library: str, bundle: Path) -> None:
    built = compile_engine(bundle, precision=kind, flavour=library)
    assert set(built.audit.counts) == {DTYPES[kind]} and not built.audit.offenders
    assert (built.key.type, built.key.flavour) == (kind, library)
    assert (
        len(read_plan(find_engine(Bundle.open(bundle), "model", kind, machine_of(built.key)))) == built.key.engine_size
    )


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_every_attention_block_is_fused_in_half_precision(kind: str, library: str, bundle: Path) -> None:
    graph = Bundle.open(bundle).graph()
    recorded = graph.precisions[graph.precision_for(kind, "tensorrt")[0]].attention
    assert recorded, "a reference model without attention"
    built = compile_engine(bundle, precision=kind, flavour=library, require_fused=True)
    assert [f.block.label for f in built.attention] == [b.label for b in recorded]
    assert all(f.fused and f.kernel for f in built.attention)


def test_no_engine_of_a_changed_model_is_taken(library: str, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / bundle.name)
    built = compile_engine(copy, precision="fp16", flavour=library)
    machine = machine_of(built.key)
    assert find_engine(Bundle.open(copy), "model", "fp16", machine).path == built.path
    data = bytearray(built.path.read_bytes())
    data[len(data) // 2] ^= 1
    built.path.write_bytes(data)
    with pytest.raises(EngineError, match="sha256"):
        read_plan(find_engine(Bundle.open(copy), "model", "fp16", machine))
    export(load_source(bundle.stem, seed=7), tmp_path / "other.attn", Options(), Console(True))
    add_precision(tmp_path / "other.attn", "fp16", console=Console(True))
    shutil.copytree(bundle.parent / bundle.name / "engines", tmp_path / "other.attn/engines", dirs_exist_ok=True)
    shutil.copytree(copy / "engines", tmp_path / "other.attn/engines", dirs_exist_ok=True)
    with pytest.raises(BackendError, match=r"model.*to-trt|model.*compile"):
        find_engine(Bundle.open(tmp_path / "other.attn"), "model", "fp16", machine)


def test_a_session_on_the_cpu_never_takes_an_engine(library: str, bundle: Path) -> None:
    compile_engine(bundle, precision="fp16", flavour=library)
    with open_session(bundle, "cpu", precision="fp16") as session:
        assert (session.backend, session.device) == ("ort", "cpu")
    with pytest.raises(BackendError, match="needs a GPU|GPU"):
        open_session(bundle, "cpu", "trt", precision="fp16")


def machine_of(key: EngineKey) -> Machine:
    """A machine that the engine was built for."""
    return Machine({key.flavour: key.version}, key.compute_capabilities[-1], key.os)
