"""The calls that only a GPU executes, held against the signatures of the cuda-python that is installed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attn_runtime.device import cuda_device
from attn_runtime.device.cuda_device import CudaDevice
from attn_runtime.device.gpus import find_gpus
from attn_runtime.device.interface import Device
from attn_runtime.errors import BackendError

pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")

# Handles and addresses as the engine libraries have them: plain integers.
CALLS: dict[str, tuple[Any, ...]] = {
    "use": (),
    "allocate": (8,),
    "free": (4096,),
    "allocate_pinned": (8,),
    "free_pinned": (4096,),
    "create_stream": (),
    "destroy_stream": (7,),
    "synchronize": (7,),
    "create_event": (),
    "destroy_event": (7,),
    "record": (7, 8),
    "wait": (7, 8),
    "copy": (4096, 8192, 16, 7),
    "copy_box": (4096, (64, 256), 8192, (16, 64), (16, 4, 2), 7),
    "clear": (4096, 16, 7),
    "begin_capture": (7,),
    "end_capture": (7,),
    "launch": (7, 8),
    "destroy_graph": (7,),
}
GIVE = {"allocate", "allocate_pinned", "create_stream", "create_event", "end_capture"}


def device() -> CudaDevice:
    """One that was made without a GPU; `__init__` chooses the device, which is a driver call."""
    from cuda.bindings import runtime

    made = object.__new__(CudaDevice)
    made.number, made.name, made._cuda = 0, "cuda:0", runtime
    made._copy_kind = runtime.cudaMemcpyKind.cudaMemcpyDefault
    return made


def test_every_method_is_tried_here() -> None:
    assert set(CALLS) == {name for name in vars(Device) if not name.startswith("_")} & set(vars(CudaDevice)) - {
        "dlpack_type"
    }


@pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU; tests/gpu uses it")
@pytest.mark.parametrize("name", CALLS)
def test_the_real_module_takes_the_arguments_and_says_that_there_is_no_driver(name: str) -> None:
    """A wrong count or type of arguments would be a TypeError before CUDA is reached."""
    with pytest.raises(BackendError, match=r"^cuda:0: cuda\w+ (answers cudaError\w+ \(.+\)|can't be called: .+)$"):
        getattr(device(), name)(*CALLS[name])


@pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")
def test_making_one_without_a_gpu() -> None:
    with pytest.raises(BackendError, match="cudaSetDevice"):
        CudaDevice(0)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_asked_for_is_what_the_call_answers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the module's own documentation: how many parameters, and one result after the error where one is used."""
    there, made = device(), []

    def do(call: Any, *arguments: Any) -> int:
        documentation = str(call.__doc__)
        signature = re.search(rf"{call.__name__}\((.*?)\)", documentation)
        assert signature is not None
        parameters = [p for p in signature[1].split(",") if p.strip()]
        results = re.findall(r"^(\w+) : |^cudaError_t$", documentation.partition("Returns\n-------\n")[2], re.MULTILINE)
        made.append((call.__name__, [r for r in results if r]))
        assert len(arguments) == len(parameters), f"{call.__name__}({signature[1]})"
        return 77

    monkeypatch.setattr(there, "_do", do)
    answer = getattr(there, name)(*CALLS[name])
    assert made
    if name in GIVE:
        assert answer == 77
        giving = [call for call, results in made if results]
        assert giving, f"no call of {made} gives anything"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((0,), None), ((0, 5), 5)],
)
def test_answers_are_an_error_and_results(answer: tuple[Any, ...], expected: object) -> None:
    there = device()

    def cudaSomething(*_: object) -> tuple[Any, ...]:
        return there._cuda.cudaError_t(answer[0]), *answer[1:]

    assert there._do(cudaSomething, 1) == expected


def test_an_error_is_told_by_its_name() -> None:
    there = device()

    def cudaMalloc(nbytes: int) -> tuple[Any, ...]:
        return there._cuda.cudaError_t.cudaErrorMemoryAllocation, None

    with pytest.raises(BackendError, match=r"^cuda:0: cudaMalloc answers cudaErrorMemoryAllocation \(out of memory\)$"):
        there._do(cudaMalloc, 10**15)


def test_missing_cuda_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda_device.why_unavailable() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'cuda-python>=12.6'" in str(cuda_device.why_unavailable())

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'cuda'")

    monkeypatch.setattr("importlib.util.find_spec", missing)
    assert "cuda-python is not installed" in str(cuda_device.why_unavailable())
