"""Compiled engines on a real GPU: the same promises that the tests in tests/runtime hold on a CPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.console import Console
from attn_export.pipeline import Options, export
from attn_export.precision import add_precision
from attn_export.source import load_source
from attn_models import registry
from attn_runtime.errors import BackendError, InputError
from attn_runtime.session import Session, open_session
from attn_runtime.trt.compile import compile_engine
from attn_runtime.verify import verify
from make_graphs import add, nonzero
from threads import in_threads

RANGE = (1, 1), (4, 64), (64, 512)


def torch_with_cuda() -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} has no CUDA")
    return torch


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


@pytest.fixture
def adder(library: str, tmp_path: Path) -> Path:
    """z = a + b with an engine beside it, for two profiles."""
    model = add(tmp_path / "add.onnx")
    small = (1, 1), (1, 8), (4, 64)
    compile_engine(model, flavour=library, profiles=[dict.fromkeys("ab", small), dict.fromkeys("ab", RANGE)])
    return model


@pytest.fixture(params=[False, True], ids=["plain", "cuda-graph"])
def session(adder: Path, request: pytest.FixtureRequest) -> Iterator[Session]:
    with open_session(adder, "cuda", "trt", cuda_graph=request.param) as opened:
        yield opened


def check(session: Session, *shape: int, seed: int = 0) -> None:
    a, b = drawn(*shape, seed=seed), drawn(*shape, seed=seed + 1)
    np.testing.assert_array_equal(session.run({"a": a, "b": b})["z"], a + b)


# --- the models -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=registry.names())
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("gpu") / f"{request.param}.attn"
    export(load_source(str(request.param)), target, Options(), Console(True))
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


# --- calls ----------------------------------------------------------------------------------------------------------


def test_many_shapes_over_and_over(session: Session) -> None:
    for turn in range(4):
        for shape in [(2, 8), (64, 512), (1, 1), (4, 64), (5, 65), (64, 512)]:
            check(session, *shape, seed=turn)


def test_more_shapes_than_graphs_are_kept(session: Session) -> None:
    check(session, 64, 512)
    for turn in range(3):
        for size in range(1, 20):
            check(session, 3, size, seed=turn)


def test_out_of_every_profile(adder: Path) -> None:
    with open_session(adder, "cuda", "trt") as session:
        with pytest.raises(InputError, match=r'input "a": got \[65, 8\]; axis 0 is 65, the engine was built for'):
            session.run({"a": drawn(65, 8), "b": drawn(65, 8)})
        check(session, 64, 8)


def test_sixteen_threads(session: Session) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            check(session, 1 + number % 5, 8 + number, seed=turn)

    assert in_threads(16, work) == []


def test_bound_calls(session: Session) -> None:
    calls = [session.bind({"a": (4, n), "b": (4, n)}) for n in (8, 64, 512)]
    for turn in range(5):
        for call in calls:
            call.inputs["a"][...] = drawn(*call.inputs["a"].shape, seed=turn)
            call.inputs["b"][...] = turn
            np.testing.assert_array_equal(call()["z"], call.inputs["a"] + call.inputs["b"])


def test_torch_tensors_on_the_gpu_are_read_in_place(session: Session) -> None:
    torch = torch_with_cuda()
    for turn in range(4):
        a = torch.from_numpy(drawn(4, 64, seed=turn)).cuda()
        b = a * 2  # still being computed when it is handed over
        got = torch.from_dlpack(session.run_on_device({"a": a, "b": b})["z"])
        assert got.is_cuda and torch.equal(got, a * 3)
        np.testing.assert_array_equal(session.run({"a": a, "b": drawn(4, 64)})["z"], a.cpu().numpy() + drawn(4, 64))


def test_work_on_another_stream_is_waited_for(session: Session) -> None:
    torch = torch_with_cuda()
    stream = torch.cuda.Stream()
    ones = torch.ones(64, 512, device="cuda")
    torch.cuda.synchronize()
    for _ in range(10):
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)
            a = ones * 5
            got = torch.from_dlpack(session.run_on_device({"a": a, "b": ones})["z"])
        assert bool((got == 6).all())


def test_views_at_any_address(session: Session) -> None:
    torch = torch_with_cuda()
    base = torch.arange(1000, dtype=torch.float32, device="cuda")
    for offset in (1, 3, 64):
        a = base[offset : offset + 64].reshape(4, 16)
        np.testing.assert_array_equal(session.run({"a": a, "b": a})["z"], 2 * a.cpu().numpy())


def test_cuda_array_interface(session: Session) -> None:
    torch = torch_with_cuda()

    class Interface:
        def __init__(self, tensor: Any) -> None:
            self.tensor, self.__cuda_array_interface__ = tensor, tensor.__cuda_array_interface__

    a = torch.from_numpy(drawn(4, 64)).cuda()
    got = session.run({"a": Interface(a), "b": drawn(4, 64)})["z"]
    np.testing.assert_array_equal(got, 2 * drawn(4, 64))


def test_bound_on_the_device(session: Session) -> None:
    torch = torch_with_cuda()
    call = session.bind({"a": (4, 64), "b": (4, 64)}, on_device=True)
    a, b, z = (torch.from_dlpack(t) for t in (call.inputs["a"], call.inputs["b"], call.outputs["z"]))
    for turn in range(4):
        a.copy_(torch.from_numpy(drawn(4, 64, seed=turn)))
        b.fill_(turn)
        torch.cuda.synchronize()
        call()
        assert torch.equal(z, a + b)


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
