"""Every built-in model as engines of every type, with every TensorRT that is installed here: built, not executed.

Nothing here knows a model's name. tests/gpu executes what is built here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BackendError, EngineError
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from attn_runtime.trt import library as flavour
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.engine_files import find_engine, read_plan
from attn_runtime.trt.engine_key import EngineKey
from attn_runtime.trt.machine import Machine

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@pytest.fixture(params=flavour.names())
def library(request: pytest.FixtureRequest) -> str:
    if reason := flavour.why_unavailable(request.param):
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


@pytest.fixture(params=DTYPES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_precision_matches_pytorch_and_stored_its_proof(precisions: tuple[str, ...], bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert verify(bundle, device="cpu", precision="fp16").passed  # of bf16, ONNX Runtime has few kernels on the CPU
    for name, graph in opened.graphs.items():
        assert {p.type for p in graph.precisions.values()} == set(precisions)
        stages = opened.manifest["graphs"][name]["stages"]
        for precision in graph.precisions:
            checks = [check for stage in stages if stage["precision"] == precision for check in stage["checks"]]
            assert {check["case"] for check in checks} >= {g.name for g in graph.golden_for("fp16")}
            assert all(check["passed"] for check in checks)
            if precision != "fp32":  # an error of 0 would mean that nothing was rounded
                assert max(check["max_error"] for check in checks) > 0


def test_every_graph_builds_in_the_type_that_was_asked_for_with_its_attention_fused(
    precisions: tuple[str, ...], kind: str, library: str, bundle: Path
) -> None:
    if kind not in precisions or (kind == "fp32" and len(precisions) < 3):
        pytest.skip(f"{kind} is crossed with every third model; ATTN_TEST_ALL=1 takes all")
    opened = Bundle.open(bundle)
    fused = 0
    for name, graph in opened.graphs.items():
        built = compile_engine(bundle, graph=name, precision=kind, flavour=library)
        assert set(built.audit.counts) == {DTYPES[kind]} and not built.audit.offenders
        assert (built.key.type, built.key.flavour) == (kind, library)
        found = find_engine(Bundle.open(bundle), name, kind, machine_of(built.key))
        assert len(read_plan(found)) == built.key.engine_size
        recorded = graph.precisions[graph.precision_for(kind, "tensorrt")[0]].attention or ()
        assert [f.block.label for f in built.attention] == [b.label for b in recorded]
        if kind != "fp32":  # one query over a cache and a new token is no kernel of its own, and the engine says so
            assert all((f.fused and f.kernel) or (f.block.joined and f.why_not) for f in built.attention)
            fused += sum(f.fused for f in built.attention)
    assert fused or kind == "fp32", "a reference model without attention"


def test_an_engine_is_taken_where_it_belongs_and_as_it_was_built(library: str, bundle: Path, tmp_path: Path) -> None:
    name = next(iter(Bundle.open(bundle).graphs))
    built = compile_engine(bundle, graph=name, precision="fp16", flavour=library)
    with open_session(bundle, "cpu", graph=name, precision="fp16") as session:
        assert session.device == "cpu" and session.backend != "trt"
    with pytest.raises(BackendError, match="needs a GPU|GPU"):
        open_session(bundle, "cpu", "trt", graph=name, precision="fp16")

    copy = shutil.copytree(bundle, tmp_path / bundle.name)
    engine = find_engine(Bundle.open(copy), name, "fp16", machine_of(built.key))
    assert engine.path == copy / built.path.relative_to(bundle)
    data = bytearray(engine.path.read_bytes())
    data[len(data) // 2] ^= 1
    engine.path.write_bytes(data)
    with pytest.raises(EngineError, match="sha256"):
        read_plan(find_engine(Bundle.open(copy), name, "fp16", machine_of(built.key)))


def machine_of(key: EngineKey) -> Machine:
    """A machine that the engine was built for."""
    return Machine({key.flavour: key.version}, key.compute_capabilities[-1], key.os)
