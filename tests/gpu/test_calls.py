"""Calls on a real GPU: shapes, threads, streams, tensors of PyTorch. By engines of TensorRT, and by PyTorch in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.device.cuda_device import CudaDevice
from attn_runtime.interface import GraphFile
from attn_runtime.session import Session, open_session
from attn_runtime.trt import library
from attn_runtime.trt.run.engine_pool import EnginePool
from attn_runtime.trt.run.open_engine import specs_of
from attn_runtime.trt.run.stream import StreamOptions
from support.checks.threads import in_threads
from support.machines.gpu_here import why_no_library
from support.models.adder import build, check, drawn

# In cycles of the GPU, some milliseconds: whoever does not wait reads what was there before.
_LONG = 10_000_000


@pytest.fixture(params=[False, True], ids=["plain", "cuda-graph"])
def cuda_graph(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=["torch", *library.names()])
def session(request: pytest.FixtureRequest, cuda_graph: bool, tmp_path: Path) -> Iterator[Session]:
    """z = a + b."""
    if request.param == "torch":
        request.getfixturevalue("torch_with_cuda")
        opened = by_torch(cuda_graph)
    elif reason := why_no_library(str(request.param)):
        pytest.skip(reason)
    else:
        opened = open_session(build(tmp_path, str(request.param)), "cuda", "trt", cuda_graph=cuda_graph)
    with opened:
        yield opened


def by_torch(cuda_graph: bool) -> Session:
    from support.machines.torch_executor import TorchExecutor

    device, executor = CudaDevice(0), TorchExecutor()
    specs = specs_of(executor, GraphFile(Path("add.onnx"), "file add.onnx"))
    runner = EnginePool(device, executor, *specs, StreamOptions("add by torch", "nothing", cuda_graph))
    return Session("trt", runner, "trt on cuda:0", "file add.onnx")


def test_many_shapes_over_and_over(session: Session) -> None:
    for turn in range(4):
        for shape in [(2, 8), (64, 512), (1, 1), (4, 64), (5, 65), (64, 512)]:
            check(session, *shape, seed=turn)


def test_more_shapes_than_graphs_are_kept(session: Session) -> None:
    check(session, 64, 512)
    for turn in range(3):
        for size in range(1, 20):
            check(session, 3, size, seed=turn)


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


def test_torch_tensors_on_the_gpu_are_read_in_place(session: Session, torch_with_cuda: Any) -> None:
    torch = torch_with_cuda
    for turn in range(4):
        a = torch.from_numpy(drawn(4, 64, seed=turn)).cuda()
        b = a * 2  # still being computed when it is handed over
        got = torch.from_dlpack(session.run_on_device({"a": a, "b": b})["z"])
        assert got.is_cuda and torch.equal(got, a * 3)
        np.testing.assert_array_equal(session.run({"a": a, "b": drawn(4, 64)})["z"], a.cpu().numpy() + drawn(4, 64))


def test_work_on_another_stream_is_waited_for(session: Session, torch_with_cuda: Any) -> None:
    torch = torch_with_cuda
    stream = torch.cuda.Stream()
    ones = torch.ones(64, 512, device="cuda")
    torch.cuda.synchronize()
    for _ in range(10):
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)
            a = ones * 5
            got = torch.from_dlpack(session.run_on_device({"a": a, "b": ones})["z"])
        assert bool((got == 6).all())


def test_views_at_any_address(session: Session, torch_with_cuda: Any) -> None:
    torch = torch_with_cuda
    base = torch.arange(1000, dtype=torch.float32, device="cuda")
    for offset in (1, 3, 64):
        a = base[offset : offset + 64].reshape(4, 16)
        np.testing.assert_array_equal(session.run({"a": a, "b": a})["z"], 2 * a.cpu().numpy())


def test_cuda_array_interface(session: Session, torch_with_cuda: Any) -> None:
    torch = torch_with_cuda

    class Interface:
        def __init__(self, tensor: Any) -> None:
            self.tensor, self.__cuda_array_interface__ = tensor, tensor.__cuda_array_interface__

    a = torch.from_numpy(drawn(4, 64)).cuda()
    got = session.run({"a": Interface(a), "b": drawn(4, 64)})["z"]
    np.testing.assert_array_equal(got, 2 * drawn(4, 64))


def test_bound_on_the_device(session: Session, torch_with_cuda: Any) -> None:
    """PyTorch is still filling the inputs when the call begins, and reading the output when the next one does."""
    torch = torch_with_cuda
    call = session.bind({"a": (4, 64), "b": (4, 64)}, on_device=True)
    a, b, z = (torch.from_dlpack(t) for t in (call.inputs["a"], call.inputs["b"], call.outputs["z"]))
    assert not a.any() and not b.any()
    sources = [torch.from_numpy(drawn(4, 64, seed=turn)).cuda() for turn in range(4)]
    read = []
    for turn, source in enumerate(sources):
        torch.cuda._sleep(_LONG)
        a.copy_(source)
        b.fill_(turn)
        call()
        torch.cuda._sleep(_LONG)
        read.append(z.clone())
    for turn, got in enumerate(read):
        assert torch.equal(got, sources[turn] + turn)


def test_answers_are_not_written_over_while_pytorch_reads_them(session: Session, torch_with_cuda: Any) -> None:
    """It lets go of an answer when its work is queued. The memory serves again, and must not before that work is done."""
    torch = torch_with_cuda
    for stream in (torch.cuda.default_stream(), torch.cuda.Stream()):
        for _ in range(3):
            read = []
            for turn in range(4):
                a, b = np.full((64, 512), turn, np.float32), np.ones((64, 512), np.float32)
                with torch.cuda.stream(stream):
                    answer = torch.from_dlpack(session.run_on_device({"a": a, "b": b})["z"])
                    torch.cuda._sleep(_LONG)
                    read.append(answer.clone())
                    del answer
            torch.cuda.synchronize()
            for turn, got in enumerate(read):
                assert bool((got == turn + 1).all()), f"turn {turn} on {stream}"


def test_answers_go_back_in_as_inputs(session: Session, torch_with_cuda: Any) -> None:
    ones = np.ones((64, 512), np.float32)
    answer = session.run_on_device({"a": ones, "b": ones})["z"]
    for _ in range(8):
        theirs = torch_with_cuda.from_dlpack(answer)
        torch_with_cuda.cuda._sleep(_LONG)
        theirs.add_(1)  # still being done when it is handed over
        answer = session.run_on_device({"a": answer, "b": ones})["z"]
    np.testing.assert_array_equal(answer.numpy(), np.full_like(ones, 18))
