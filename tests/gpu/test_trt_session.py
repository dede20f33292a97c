"""Compiled engines on a real GPU: the same promises that the tests in tests/runtime hold on a CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from attn_export import export
from attn_export.console import Console
from attn_export.precision.conversion import add_precision
from attn_export.source.resolve import load_source
from attn_models import registry
from attn_runtime.errors import BackendError, InputError
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from attn_runtime.trt.builder.compile import compile_engine
from support.graphs.make_graphs import nonzero
from support.models.adder import build, check, drawn


@pytest.fixture
def adder(library: str, tmp_path: Path) -> Path:
    """z = a + b with an engine beside it, for two profiles."""
    return build(tmp_path, library)


# --- the models -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=registry.names())
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("gpu") / f"{request.param}.attn"
    export(load_source(str(request.param)), target)
    return target


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_golden_cases(precision: str, bundle: Path, library: str, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / bundle.name)
    if precision == "fp16":
        pytest.importorskip("modelopt")
        add_precision(copy, "fp16", console=Console(True))
    compile_engine(copy, precision=precision, flavour=library)
    report = verify(copy, "trt", "cuda", precision=precision)
    assert report.passed and report.device == "cuda:0"
    with open_session(copy, precision=precision) as session:
        assert session.backend == "trt", session.choice


def test_golden_cases_with_cuda_graphs(bundle: Path, library: str, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / bundle.name)
    compile_engine(copy, flavour=library)
    with open_session(copy, "cuda", "trt") as plain, open_session(copy, "cuda", "trt", cuda_graph=True) as captured:
        for case in list(plain._bundle.graph().cases()):  # type: ignore[union-attr]
            expected = plain.run(case.inputs)
            for _ in range(4):
                for name, got in captured.run(case.inputs).items():
                    np.testing.assert_allclose(got, expected[name], rtol=1e-5, atol=1e-5)


# --- the engine -----------------------------------------------------------------------------------------------------


def test_out_of_every_profile(adder: Path) -> None:
    with open_session(adder, "cuda", "trt") as session:
        with pytest.raises(InputError, match=r'input "a": got \[65, 8\]; axis 0 is 65, the engine was built for'):
            session.run({"a": drawn(65, 8), "b": drawn(65, 8)})
        check(session, 64, 8)


# --- values that decide on shapes, memory, kernels ------------------------------------------------------------------


def test_outputs_whose_shapes_follow_from_values(library: str, tmp_path: Path) -> None:
    model = nonzero(tmp_path / "nonzero.onnx")
    compile_engine(model, flavour=library, profiles=[{"x": ((1,), (64,), (4096,))}])
    with open_session(model, "cuda", "trt") as session:
        for values in ([0, 3, 0, 5], [1] * 3000, [0, 3, 0, 5]):
            x = np.array(values, np.float32)
            np.testing.assert_array_equal(session.run({"x": x})["i"], np.nonzero(x))
            np.testing.assert_array_equal(session.run_on_device({"x": x})["i"].numpy(), np.nonzero(x))
    with pytest.raises(BackendError, match="a CUDA graph has fixed shapes"):
        open_session(model, "cuda", "trt", cuda_graph=True)


def free_bytes() -> int:
    from cuda.bindings import runtime

    error, free, _ = runtime.cudaMemGetInfo()
    assert error == runtime.cudaError_t.cudaSuccess
    return int(free)


def test_memory_comes_back(adder: Path) -> None:
    def once() -> None:
        with open_session(adder, "cuda", "trt", cuda_graph=True) as session:
            for _ in range(3):
                check(session, 64, 512)
            session.bind({"a": (4, 64), "b": (4, 64)})()

    for _ in range(3):
        once()
    before = free_bytes()
    for _ in range(20):
        once()
    assert before - free_bytes() < 32 * 2**20


def test_kernels_are_kept_and_foreign_ones_ignored(adder: Path, library: str) -> None:
    if library != "rtx":
        pytest.skip("tensorrt tunes its kernels at the build; there is nothing to keep")
    with open_session(adder, "cuda", "trt") as session:
        check(session, 4, 64)
    kept = next(adder.parent.glob("*.engine.kernels"))
    content = kept.read_bytes()
    assert content
    for foreign in (b"", b"of another machine", content[:-10], content):
        kept.write_bytes(foreign)
        with open_session(adder, "cuda", "trt") as session:
            check(session, 4, 64)
        assert kept.stat().st_size


def test_an_engine_file_by_itself(adder: Path) -> None:
    engine = next(adder.parent.glob("*.engine"))
    with open_session(engine) as session:
        assert (session.backend, session.device) == ("trt", "cuda:0")
        check(session, 4, 64)
