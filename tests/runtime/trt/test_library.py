"""The calls on TensorRT that only a GPU executes, held against the library that is installed; and what it does without one."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.device.gpus import find_gpus
from attn_runtime.errors import BackendError, EngineError
from attn_runtime.trt import library
from attn_runtime.trt.builder.network import build
from attn_runtime.trt.run import executor_trt10
from attn_runtime.trt.run.executor import IoTensor
from attn_runtime.trt.run.executor_trt10 import LibraryContext, LibraryExecutor, _allocator
from support.graphs.make_graphs import add

reasons = {name: library.why_unavailable(name) for name in library.names()}
FLAVOURS = [name for name, reason in reasons.items() if reason is None]
pytestmark = pytest.mark.skipif(not FLAVOURS, reason="; ".join(filter(None, reasons.values())))
no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU; tests/gpu uses it")

# What a name in executor_trt10.py holds -> the library's class. Anything else called there is Python.
HOLDS = {
    "self._runtime": "Runtime",
    "self._engine": "ICudaEngine",
    "engine": "ICudaEngine",
    "self._context": "IExecutionContext",
    "context": "IExecutionContext",
    "config": "IRuntimeConfig",
    "self._cache": "IRuntimeCache",
    "cache": "IRuntimeCache",
}


@pytest.fixture(params=FLAVOURS)
def trt(request: pytest.FixtureRequest) -> Any:
    return library.load(request.param).api


def uses() -> Iterator[tuple[str, str, int | None]]:
    """(class, attribute, number of arguments or None where it is no call) of all that is used of the library."""
    tree = ast.parse(inspect.getsource(executor_trt10))
    calls = {id(node.func): len(node.args) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (held := HOLDS.get(ast.unparse(node.value))):
            yield held, node.attr, calls.get(id(node))


def test_the_reader_of_uses_reads_them() -> None:
    found = set(uses())
    assert {("IExecutionContext", "execute_async_v3", 1), ("ICudaEngine", "num_io_tensors", None)} <= found
    assert len(found) > 20


def test_every_call_is_one_that_the_library_has(trt: Any) -> None:
    is_rtx = hasattr(trt, "DynamicShapesKernelSpecializationStrategy")
    wrong = []
    for held, name, count in uses():
        of_rtx = held in ("IRuntimeConfig", "IRuntimeCache") or name in (
            "is_stream_capturable",
            "create_runtime_config",
        )
        if of_rtx and not is_rtx:
            continue
        found = getattr(getattr(trt, held), name, None)
        if found is None:
            wrong.append(f"{held} has no {name}")
        elif count is not None:
            signatures = re.findall(rf"{name}\(self: [\w.]+(.*?)\) ->", str(found.__doc__))
            counts = {len([p for p in re.split(r", (?=\w+:)", s) if p.strip(", ")]) for s in signatures}
            optional = any("=" in s for s in signatures)
            if count not in counts and not (optional and count < max(counts)):
                wrong.append(f"{held}.{name} takes {counts} arguments, is given {count}")
    assert not wrong


def test_every_enum_value_is_one_that_the_library_has(trt: Any) -> None:
    is_rtx = hasattr(trt, "DynamicShapesKernelSpecializationStrategy")
    tree = ast.parse(inspect.getsource(executor_trt10))
    written = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    found = {m.groups() for text in written if (m := re.fullmatch(r"(?:self\._)?trt\.([A-Z]\w+)\.([A-Z_]+)", text))}
    assert len(found) >= 6
    for enum, value in found:
        if is_rtx or enum not in ("DynamicShapesKernelSpecializationStrategy", "CudaGraphStrategy"):
            assert hasattr(getattr(trt, enum), value), f"{enum} has no {value}"
    for name in executor_trt10._DTYPES:
        assert hasattr(trt.DataType, name)
        assert getattr(trt.DataType, name).name == name


def test_an_output_allocator_of_the_library(trt: Any) -> None:
    class Memory:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def at_least(self, nbytes: int) -> int:
            if nbytes > 1000:
                raise BackendError("cudaErrorMemoryAllocation")
            self.asked.append(nbytes)
            return 4096

    memory = Memory()
    allocator = _allocator(trt, memory)
    assert isinstance(allocator, trt.IOutputAllocator)
    assert allocator.reallocate_output_async("y", 0, 100, 256, 7) == 4096
    allocator.notify_shape("y", trt.Dims((2, 3)))
    assert allocator.shape == (2, 3) and memory.asked == [100]
    # An exception would be printed inside the library, and lost: null is the library's own word for it.
    assert allocator.reallocate_output("y", 4096, 2000, 256) == 0
    assert isinstance(allocator.error, BackendError)
    assert allocator.reallocate_output("y", 4096, 20, 256) == 4096 and allocator.error is None


@no_gpu
@pytest.mark.parametrize("name", FLAVOURS)
def test_a_plan_without_a_gpu_is_an_error_and_no_crash(name: str, tmp_path: Path) -> None:
    found = library.load(name)
    shape = (1, 1), (2, 2), (4, 4)
    built = build(found, add(tmp_path / "add.onnx"), [{"a": shape, "b": shape}])
    if built.plan is None:
        pytest.skip(f"{name} builds nothing without a GPU: {built.errors}")
    for plan in (built.plan, b"not an engine at all"):
        with pytest.raises(
            EngineError, match=rf"^engine e: {name} [\d.]+ can't load it: .+\. Build it again here\.$"
        ) as e:
            LibraryExecutor(found, plan, "engine e")
        assert "\n" not in str(e.value) and e.value.exit_code == 14


class Context:
    """An execution context that answers as told; the real one needs a GPU."""

    def __init__(self, **answers: object) -> None:
        self.answers, self.calls = answers, []

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            raise AttributeError(name)

        def call(*arguments: object) -> object:
            self.calls.append((name, *arguments))
            return self.answers[name]

        return call


@pytest.mark.parametrize(
    ("method", "arguments", "answers", "says"),
    [
        ("set_shape", ("x", (9, 9)), {"set_input_shape": False}, r"not take \[9, 9\] for input x"),
        ("set_address", ("x", 17), {"set_tensor_address": False}, "not take address 0x11 for x"),
        ("set_growing", ("y", None), {"set_output_allocator": False}, "not take an allocator for y"),
        ("infer", (), {"infer_shapes": ["a", "b"]}, "not know the shapes of a, b"),
        ("enqueue", (7,), {"execute_async_v3": False}, "not run the engine"),
    ],
)
def test_a_false_answer_is_never_taken_for_success(
    method: str, arguments: tuple, answers: dict[str, object], says: str, trt: Any
) -> None:
    def check(done: bool, what: str) -> None:
        if not done:
            raise BackendError(f"does {what}")

    tensors = IoTensor("x", "float32", (-1, 4), True), IoTensor("y", "float32", (-1, 4), False)
    there = LibraryContext(trt, Context(**answers), tensors, check, None)
    with pytest.raises(BackendError, match=says.replace("not ", "does ", 1)):
        getattr(there, method)(*arguments)
