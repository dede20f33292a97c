"""ONNX Runtime on a GPU by each of its providers: golden cases, device buffers, CUDA graphs, tensors in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export import export
from attn_export.console import Console
from attn_export.precision.conversion import add_precision
from attn_export.source.resolve import load_source
from attn_models import registry
from attn_runtime import backends
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.session import Session, open_session
from attn_runtime.tasks.verification import verify

MODEL = registry.names()[0]
Arrays = Mapping[str, np.ndarray]


def why_not(backend: str) -> str | None:
    module = backends.get(backend)
    return module.why_unavailable() or module.why_not("cuda")


@pytest.fixture(autouse=True)
def gpu() -> None:
    """In place of the folder's own, which asks for ONNX Runtime's CUDA provider: here each backend is asked."""


@pytest.fixture(params=["ort", "ort_tensorrt", "ort_rtx"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if reason := why_not(request.param):
        pytest.skip(f"{request.param}: {reason}")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # the tolerances are those of float32
    return str(request.param)


@pytest.fixture
def cuda() -> None:
    """For what only the CUDA provider is held to."""
    if reason := why_not("ort"):
        pytest.skip(f"ort: {reason}")


@pytest.fixture(scope="module")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """The model in fp32 and fp16. A function, so that nothing is exported for tests that are skipped."""
    made: list[Path] = []

    def make() -> Path:
        if not made:
            pytest.importorskip("modelopt", reason="modelopt makes the fp16 graph, and is not installed")
            path = tmp_path_factory.mktemp("gpu") / "m.attn"
            export(load_source(MODEL), path)
            add_precision(path, "fp16", console=Console(True))
            made.append(path)
        return made[0]

    return make


def feed(session: Session, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    return draw_inputs(session.inputs, sizes, seed)


def sizes_of(bundle: Path) -> list[dict[str, int]]:
    """The smallest, the usual and the largest call of the bundle's golden cases."""
    return [dict(golden.sizes) for golden in Bundle.open(bundle).graph().golden][:3]


def bound(session: Session, sizes: Mapping[str, int], seed: int, **options: Any) -> tuple[Any, dict[str, np.ndarray]]:
    call = session.bind(sizes, **options)
    given = feed(session, sizes, seed)
    for name, value in given.items():
        call.inputs[name][...] = value
    return call, given


def assert_same(got: Arrays, expected: Arrays, rtol: float = 1e-5) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=rtol * float(np.abs(value).max()))


# --- every provider -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_golden_cases(backend: str, precision: str, make_bundle: Callable[[], Path]) -> None:
    report = verify(make_bundle(), backend=backend, device="cuda", precision=precision)
    assert report.passed and report.device == "cuda:0" and report.cases


def test_bound_call_equals_run(backend: str, make_bundle: Callable[[], Path]) -> None:
    with open_session(make_bundle(), "cuda", backend) as session:
        for sizes in sizes_of(make_bundle()):
            call, given = bound(session, sizes, 1)
            assert_same(call(), session.run(given))


def test_cache_is_filled_and_answers_alike(backend: str, make_bundle: Callable[[], Path], tmp_path: Path) -> None:
    if backend == "ort":
        pytest.skip("ort: the CUDA provider compiles nothing")
    answers = []
    for _ in range(2):
        with open_session(make_bundle(), "cuda", backend, cache=tmp_path / "cache", workspace=2**30) as session:
            answers.append(session.run(feed(session, {})))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert_same(answers[1], answers[0])


def test_cuda_graph_equals_plain(backend: str, make_bundle: Callable[[], Path]) -> None:
    sizes = sizes_of(make_bundle())[0]
    with (
        open_session(make_bundle(), "cuda", backend) as plain,
        open_session(make_bundle(), "cuda", backend, cuda_graph=True) as session,
    ):
        call = session.bind(sizes)
        for seed in range(4):  # the inputs change, the addresses do not
            given = feed(session, sizes, seed)
            for name, value in given.items():
                call.inputs[name][...] = value
            assert_same(call(), plain.run(given))


# --- the CUDA provider --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("cuda_graph", [False, True], ids=["plain", "graph"])
def test_several_shapes_bound_at_once(cuda_graph: bool, make_bundle: Callable[[], Path]) -> None:
    with (
        open_session(make_bundle(), "cpu", "ort") as reference,
        open_session(make_bundle(), "cuda", "ort", cuda_graph=cuda_graph) as session,
    ):
        calls = [bound(session, sizes, seed) for seed, sizes in enumerate(sizes_of(make_bundle()))]
        for _ in range(2):
            for call, given in reversed(calls):
                assert_same(call(), reference.run(given), 1e-4)
        # A run between the calls is neither captured nor replayed.
        given = feed(session, sizes_of(make_bundle())[0], 9)
        assert_same(session.run(given), reference.run(given), 1e-4)


@pytest.mark.usefixtures("cuda")
def test_tensors_of_torch_are_read_where_they_lie(make_bundle: Callable[[], Path]) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch is built without CUDA")
    with open_session(make_bundle(), "cuda", "ort") as session:
        given = feed(session, {})
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            there = {name: torch.from_numpy(value).to("cuda", non_blocking=True) for name, value in given.items()}
            torch.cuda._sleep(100_000_000)  # whoever does not wait for the stream reads what was there before
            for tensor in there.values():
                tensor.mul_(2)
        doubled = {name: value * 2 for name, value in given.items()}
        assert_same(session.run(there), session.run(doubled))


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("cuda_graph", [False, True], ids=["plain", "graph"])
def test_call_on_arrays_of_the_device(cuda_graph: bool, make_bundle: Callable[[], Path]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this torch is built without CUDA")
    with open_session(make_bundle(), "cuda", "ort", cuda_graph=cuda_graph) as session:
        given = feed(session, {}, 3)
        call = session.bind(on_device=True)
        theirs = {name: torch.from_dlpack(array) for name, array in call.inputs.items()}
        assert {name: tensor.data_ptr() for name, tensor in theirs.items()} == {
            name: array.address for name, array in call.inputs.items()
        }
        for name, value in given.items():
            theirs[name].copy_(torch.from_numpy(value))
        got = {name: torch.from_dlpack(array).cpu().numpy() for name, array in call().items()}
        assert_same(got, session.run(given))
        left = {name: array.numpy() for name, array in session.run_on_device(given).items()}
        assert_same(left, got)


# --- TensorRT -----------------------------------------------------------------------------------------------------


def test_the_tensorrt_provider_keeps_one_graph(make_bundle: Callable[[], Path]) -> None:
    if reason := why_not("ort_tensorrt"):
        pytest.skip(f"ort_tensorrt: {reason}")
    with open_session(make_bundle(), "cuda", "ort_tensorrt", cuda_graph=True) as session:
        session.bind()
        with pytest.raises(UsageError, match="one CUDA graph a session"):
            session.bind()
