"""An engine's calls from the session down to the copies, computed for real by ONNX Runtime in a host device's memory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_runtime.bundle.reader import Bundle
from attn_runtime.compare import compare_all
from attn_runtime.device.buffers import host_view
from attn_runtime.device.interface import DEFAULT_STREAM
from attn_runtime.device.tensor import DeviceArray, borrow
from attn_runtime.errors import BackendError, InputError, UsageError
from attn_runtime.interface import GraphFile
from attn_runtime.session import Session
from attn_runtime.trt.profiles import Profile
from attn_runtime.trt.run.engine_pool import EnginePool
from attn_runtime.trt.run.open_engine import specs_of
from attn_runtime.trt.run.stream import StreamOptions
from onnx import TensorProto, helper
from support.checks.threads import in_threads
from support.graphs.make_graphs import add, embed, floats, integers, nonzero, save
from support.machines.host_device import HostDevice
from support.machines.ort_executor import OrtExecutor

pytestmark = pytest.mark.usefixtures("own_garbage")

ADD = {"a": ((1, 1), (2, 8), (64, 64)), "b": ((1, 1), (2, 8), (64, 64))}


class Rig:
    """A session over an executor over a device, and all three to look into."""

    def __init__(
        self,
        model: Path,
        profiles: Sequence[Profile],
        *,
        cuda_graph: bool = False,
        most_graphs: int = 8,
        most_lanes: int = 4,
        graph: GraphFile | None = None,
        **executor: Any,
    ) -> None:
        self.device = HostDevice()
        self.device.use()
        self.lent: list[int] = []
        self.executor = OrtExecutor(self.device, model, profiles, **executor)
        inputs, outputs = specs_of(self.executor, graph or GraphFile(model, "file m.onnx"))
        options = StreamOptions("engine m.engine", "attn-run compile m.onnx", cuda_graph, most_graphs)
        self.runner = EnginePool(self.device, self.executor, inputs, outputs, options, most_lanes=most_lanes)
        self.session = Session("trt", self.runner, "trt on cuda:0", "file m.onnx")

    def run(self, *shape: int, seed: int = 0) -> np.ndarray:
        """One right call of the adder."""
        a, b = drawn(*shape, seed=seed), drawn(*shape, seed=seed + 1)
        got = self.session.run({"a": a, "b": b})["z"]
        np.testing.assert_array_equal(got, a + b)
        return got

    def lend(self, array: np.ndarray, off_by: int = 0) -> torch.Tensor:
        """The caller's own tensor in the device's memory, at an address that TensorRT takes or `off_by` bytes beside it."""
        self.device.use()
        address = self.device.allocate(array.nbytes + off_by)
        self.lent.append(address)
        view = host_view(address + off_by, array.shape, array.dtype)
        view[...] = array
        return torch.from_numpy(view)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes rigs, and holds each to having given everything back when its session is closed."""
    made: list[Rig] = []

    def make(*arguments: Any, **options: Any) -> Rig:
        made.append(Rig(*(arguments or (add(tmp_path / "add.onnx"), [ADD])), **options))
        return made[-1]

    yield make
    for one in made:
        one.session.close()
        gc.collect()
        for address in one.lent:
            one.device.free(address)
        assert one.device.alive == (0, 0, 0) and one.executor.closed
        assert (one.device.allocated, one.device.pinned) == (0, 0)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


# --- run ----------------------------------------------------------------------------------------------------------


def test_many_shapes_one_after_another(rig: Callable[..., Rig]) -> None:
    there = rig()
    for turn, shape in enumerate([(2, 8), (64, 64), (1, 1), (2, 8), (7, 3), (64, 64)]):
        there.run(*shape, seed=turn)
    assert there.executor.made == 1  # one context for one profile


def test_warm_calls_allocate_nothing_and_set_nothing_anew(rig: Callable[..., Rig]) -> None:
    there = rig()
    there.run(8, 8)
    before, context = there.device.allocations, there.executor.contexts[0]
    changes = context.shape_changes
    for seed in range(20):
        there.run(8, 8, seed=seed)
    assert there.device.allocations == before and context.shape_changes == changes
    there.run(4, 4)
    assert there.device.allocations == before  # smaller fits


def test_answers_are_the_callers_own(rig: Callable[..., Rig]) -> None:
    there = rig()
    first = there.run(2, 8, seed=1)
    kept = first.copy()
    there.run(2, 8, seed=5)
    np.testing.assert_array_equal(first, kept)


def test_strided_inputs(rig: Callable[..., Rig]) -> None:
    there = rig()
    a, b = drawn(6, 8)[::2], np.asfortranarray(drawn(3, 8, seed=2))
    np.testing.assert_array_equal(there.session.run({"a": a, "b": b})["z"], a + b)


def test_bundle_answers_as_pytorch_did_through_the_whole_path(valid_bundle: Path, rig: Callable[..., Rig]) -> None:
    graph = Bundle.open(valid_bundle).graph()
    entry = graph.precisions["fp32"]
    file = GraphFile(entry.file, "bundle gemm.attn", graph.inputs, graph.outputs)
    there = rig(entry.file, [{"x": ((1, 16), (2, 16), (4, 16))}], graph=file)
    for case in graph.cases():
        got = there.session.run(case.inputs)
        assert all(d.passed for d in compare_all(case.outputs, got, entry.tolerance))
    with pytest.raises(InputError, match=r"dim batch allows 1\.\.4"):
        there.session.run({"x": drawn(5, 16)})


def test_engine_for_less_than_the_bundle_allows(valid_bundle: Path, rig: Callable[..., Rig]) -> None:
    graph = Bundle.open(valid_bundle).graph()
    file = GraphFile(graph.precisions["fp32"].file, "bundle gemm.attn", graph.inputs, graph.outputs)
    there = rig(file.file, [{"x": ((1, 16), (2, 16), (2, 16))}], graph=file)
    for _ in range(2):  # the second time, the session remembers that it liked the shape
        with pytest.raises(InputError, match=r'input "x": got \[3, 16\]; axis 0 is 3, the engine was built for 1\.\.2'):
            there.session.run({"x": drawn(3, 16)})
    assert there.session.run({"x": drawn(2, 16)})["y"].shape == (2, 10)


def test_each_profile_has_a_context_of_its_own(rig: Callable[..., Rig], tmp_path: Path) -> None:
    small = dict.fromkeys("ab", ((1, 1), (1, 4), (2, 8)))
    large = dict.fromkeys("ab", ((3, 1), (8, 8), (64, 64)))
    there = rig(add(tmp_path / "add.onnx"), [small, large])
    for shape in [(1, 4), (8, 8), (2, 8), (64, 64), (1, 1)]:
        there.run(*shape)
    assert [context.profile for context in there.executor.contexts] == [0, 1]
    with pytest.raises(InputError, match="axis 1 is 9"):
        there.run(2, 9)


def test_integers_booleans_halves_and_scalars(rig: Callable[..., Rig], tmp_path: Path) -> None:
    there = rig(embed(tmp_path / "e.onnx"), [{"tokens": ((1, 1), (1, 4), (4, 64))}])
    tokens = np.array([[4, 29, 0]])
    np.testing.assert_array_equal(there.session.run({"tokens": tokens})["e"][..., 0], tokens)

    types = {"h": TensorProto.FLOAT16, "m": TensorProto.BOOL, "s": TensorProto.FLOAT16}
    inputs = [helper.make_tensor_value_info(n, t, [] if n == "s" else ["N"]) for n, t in types.items()]
    outputs = [
        helper.make_tensor_value_info(n, t, ["N"]) for n, t in (("y", TensorProto.FLOAT16), ("n", TensorProto.BOOL))
    ]
    nodes = [
        helper.make_node("Mul", ["h", "s"], ["p"]),
        helper.make_node("Where", ["m", "p", "h"], ["y"]),
        helper.make_node("Not", ["m"], ["n"]),
    ]
    model = save(tmp_path / "t.onnx", nodes, inputs, outputs)
    there = rig(model, [{"h": ((0,), (4,), (9,)), "m": ((0,), (4,), (9,)), "s": ((), (), ())}])
    h, m = np.arange(5, dtype=np.float16), np.array([True, False, True, True, False])
    got = there.session.run({"h": h, "m": m, "s": np.float16(3)})
    np.testing.assert_array_equal(got["y"], np.where(m, 3 * h, h))
    np.testing.assert_array_equal(got["n"], ~m)


def test_empty_tensors_have_an_address(rig: Callable[..., Rig], tmp_path: Path) -> None:
    model = save(
        tmp_path / "n.onnx", [helper.make_node("Neg", ["x"], ["y"])], [floats("x", "N", 3)], [floats("y", "N", 3)]
    )
    there = rig(model, [{"x": ((0, 3), (1, 3), (4, 3))}])
    assert there.runner.run({"x": np.zeros((0, 3), np.float32)})["y"].shape == (0, 3)
    assert there.runner.run({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[-1] * 3] * 2


# --- values that decide on shapes -----------------------------------------------------------------------------------


def reshaper(tmp_path: Path) -> Path:
    """y = x[A, B] in the shape s[2]."""
    return save(
        tmp_path / "r.onnx",
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [floats("x", "A", "B"), integers("s", 2)],
        [floats("y", "C", "D")],
    )


RESHAPE = {"x": ((1, 1), (2, 6), (8, 8)), "s": ((2,), (2,), (2,))}


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_inputs_on_the_host_decide_on_shapes_at_every_call(
    cuda_graph: bool, rig: Callable[..., Rig], tmp_path: Path
) -> None:
    there = rig(reshaper(tmp_path), [RESHAPE], on_host=["s"], cuda_graph=cuda_graph)
    x = drawn(2, 6)
    for wanted in [(3, 4), (4, 3), (3, 4), (4, 3), (3, 4), (1, 12), (3, 4)]:
        got = there.session.run({"x": x, "s": np.array(wanted)})["y"]
        np.testing.assert_array_equal(got, x.reshape(wanted))


def test_a_bound_call_whose_values_ask_for_another_shape(rig: Callable[..., Rig], tmp_path: Path) -> None:
    there = rig(reshaper(tmp_path), [RESHAPE], on_host=["s"])
    arrays = {"x": drawn(2, 6), "s": np.array([3, 4])}
    outputs = {"y": np.zeros((3, 4), np.float32)}
    call = there.runner.bind(arrays, outputs)
    call()
    np.testing.assert_array_equal(outputs["y"], arrays["x"].reshape(3, 4))
    arrays["s"][:] = 4, 3
    with pytest.raises(InputError, match=r"y has shape \[4, 3\] for these values, and \[3, 4\] is bound. Call run"):
        call()
    arrays["s"][:] = 3, 4
    arrays["x"][:] = 7
    call()
    assert (outputs["y"] == 7).all()


def test_a_tensor_on_the_device_can_not_decide_on_shapes(rig: Callable[..., Rig], tmp_path: Path) -> None:
    there = rig(reshaper(tmp_path), [RESHAPE], on_host=["s"])
    with pytest.raises(BackendError, match='input "s" decides on shapes.*as a numpy array'):
        there.session.run({"x": drawn(2, 6), "s": torch.tensor([3, 4])})
    assert there.session.run({"x": drawn(2, 6), "s": np.array([3, 4])})["y"].shape == (3, 4)


@pytest.mark.parametrize("on_device", [False, True])
def test_outputs_whose_shapes_follow_from_values(on_device: bool, rig: Callable[..., Rig], tmp_path: Path) -> None:
    there = rig(nonzero(tmp_path / "nz.onnx"), [{"x": ((1,), (4,), (4096,))}], growing=["i"])
    for values in ([0, 3, 0, 5], [0, 0], [1] * 3000, [0, 3, 0, 5], [1] * 4000):
        x = np.array(values, np.float32)
        got = there.session.run_on_device({"x": x})["i"].numpy() if on_device else there.session.run({"x": x})["i"]
        np.testing.assert_array_equal(got, np.nonzero(x))


def test_bound_call_of_a_shape_that_follows_from_values(rig: Callable[..., Rig], tmp_path: Path) -> None:
    there = rig(nonzero(tmp_path / "nz.onnx"), [{"x": ((1,), (4,), (4096,))}], growing=["i"])
    bound = there.session.bind({"x": (4,)})  # learnt on zeros: nothing is found
    assert bound()["i"].shape == (1, 0)
    bound.inputs["x"][:] = 0, 3, 0, 5
    with pytest.raises(InputError, match=r"i has shape \[1, 2\] for these values, and \[1, 0\] is bound"):
        bound()
    bound.inputs["x"][:] = 0
    assert bound()["i"].shape == (1, 0)


def test_no_cuda_graph_for_shapes_that_follow_from_values(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="a CUDA graph has fixed shapes, and that of i follows from values"):
        Rig(nonzero(tmp_path / "nz.onnx"), [{"x": ((1,), (4,), (64,))}], growing=["i"], cuda_graph=True)


# --- tensors on the device ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_tensors_on_the_device_are_not_copied(cuda_graph: bool, rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=cuda_graph)
    a, b = there.lend(drawn(4, 4)), there.lend(drawn(4, 4, seed=1))
    for turn in range(4):
        a += turn
        before = there.device.copies
        got = there.session.run_on_device({"a": a, "b": b})["z"]
        # A graph writes to its own memory, from which one copy on the device leads out.
        assert there.device.copies - before == (1 if cuda_graph and turn else 0)
        np.testing.assert_array_equal(np.from_dlpack(got), a.numpy() + b.numpy())


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_addresses_that_tensorrt_does_not_take_are_copied(cuda_graph: bool, rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=cuda_graph)
    a, b = there.lend(drawn(4, 4), off_by=16), there.lend(drawn(4, 4, seed=1))
    for turn in range(4):
        a += turn
        np.testing.assert_array_equal(there.session.run({"a": a, "b": b})["z"], a.numpy() + b.numpy())


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_mixed_with_numpy_and_at_ever_new_addresses(cuda_graph: bool, rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=cuda_graph)
    kept = []
    for turn in range(30):
        a, b = there.lend(drawn(4, 4, seed=turn)), drawn(4, 4, seed=turn + 1)
        kept.append(a)
        np.testing.assert_array_equal(there.session.run({"a": a, "b": b})["z"], a.numpy() + b)
    assert there.device.captures == 0  # what comes once is not worth a capture


@pytest.mark.parametrize("tells_its_stream", [False, True])
def test_work_of_the_producer_is_waited_for(tells_its_stream: bool, rig: Callable[..., Rig]) -> None:
    """A tensor still being computed on another stream: its producer orders the intake's stream, or just names its own."""
    there = rig()
    device, a = there.device, there.lend(np.zeros((4, 4), np.float32))
    theirs, event = device.create_stream(), device.create_event()
    device.put(theirs, lambda: a.fill_(5))

    class Busy:
        def __dlpack_device__(self) -> tuple[int, int]:
            return a.__dlpack_device__()

        def __dlpack__(self, **_: object) -> object:
            if tells_its_stream:
                there.runner.intake.wait_for(theirs)
            else:
                device.record(event, theirs)
                device.wait(there.runner.intake.stream, event)
            return a.__dlpack__()

    got = there.session.run({"a": Busy(), "b": np.zeros((4, 4), np.float32)})["z"]
    assert (got == 5).all()
    device.synchronize(theirs)
    device.destroy_stream(theirs)
    device.destroy_event(event)


def test_outputs_on_the_device_are_the_callers_own(rig: Callable[..., Rig]) -> None:
    there = rig()
    feeds = [{"a": drawn(4, 4, seed=s), "b": drawn(4, 4, seed=s + 1)} for s in range(5)]
    held = [there.session.run_on_device(feed)["z"] for feed in feeds]
    for feed, got in zip(feeds, held, strict=True):
        assert isinstance(got, DeviceArray)
        np.testing.assert_array_equal(got.numpy(), feed["a"] + feed["b"])
    before = there.device.allocations
    del held, got
    for feed in feeds:
        there.session.run_on_device(feed)
    assert there.device.allocations == before  # memory that came back is lent again
    last = there.session.run_on_device(feeds[0])["z"]
    there.session.close()
    np.testing.assert_array_equal(np.from_dlpack(last), feeds[0]["a"] + feeds[0]["b"])


def test_outputs_on_the_device_are_inputs_of_the_next_call(rig: Callable[..., Rig]) -> None:
    there = rig()
    one = np.ones((4, 4), np.float32)
    running: Any = one
    allocations = []
    for _ in range(8):
        running = there.session.run_on_device({"a": running, "b": one})["z"]
        allocations.append(there.device.allocations)
    assert (running.numpy() == 9).all()
    assert allocations[3:] == [allocations[3]] * 5  # two blocks take turns


def test_an_array_that_is_being_written_is_waited_for(rig: Callable[..., Rig]) -> None:
    """By who took it over and works on the default stream, as PyTorch does."""
    there = rig()
    one = np.ones((4, 4), np.float32)
    array = there.session.run_on_device({"a": one, "b": one})["z"]
    theirs = torch.from_dlpack(array)
    there.device.put(DEFAULT_STREAM, lambda: theirs.fill_(5))
    assert (there.session.run({"a": array, "b": one})["z"] == 6).all()


def test_what_no_profile_covers_is_refused_before_anything_is_queued(rig: Callable[..., Rig]) -> None:
    there = rig()
    a, b = there.lend(drawn(4, 65), off_by=16), there.lend(drawn(4, 65, seed=1), off_by=16)
    before = there.device.copies
    with pytest.raises(InputError, match="axis 1 is 65"):
        there.runner.run({name: borrow(value, there.runner.intake) for name, value in {"a": a, "b": b}.items()})
    assert there.device.copies == before


# --- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("on_device", [False, True])
def test_sixteen_threads_on_three_lanes_get_their_own_answers(
    cuda_graph: bool, on_device: bool, rig: Callable[..., Rig]
) -> None:
    there = rig(cuda_graph=cuda_graph, most_lanes=3)

    def work(number: int) -> None:
        for turn in range(25):
            a, b = drawn(1 + number % 4, 8, seed=number), drawn(1 + number % 4, 8, seed=turn)
            if on_device:
                got = there.session.run_on_device({"a": there.lend(a), "b": b})["z"].numpy()
            else:
                got = there.session.run({"a": a, "b": b})["z"]
            np.testing.assert_array_equal(got, a + b)

    assert in_threads(16, work) == []
    assert len({context.scratch for context in there.executor.contexts}) <= 3


def test_closing_waits_for_calls_and_refuses_later_ones(rig: Callable[..., Rig]) -> None:
    there = rig(most_lanes=2)
    bound = there.session.bind({"a": (2, 2), "b": (2, 2)})
    stop, refused = threading.Event(), []

    def work(number: int) -> None:
        while not stop.is_set():
            try:
                there.run(2, 2, seed=number)
            except UsageError:
                refused.append(number)
                return

    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(6)]
    for worker in workers:
        worker.start()
    there.session.close()
    stop.set()
    for worker in workers:
        worker.join()
    assert there.executor.closed
    for call in (bound, lambda: there.run(2, 2), there.session.bind, lambda: there.session.run_on_device({})):
        with pytest.raises(UsageError, match="closed"):
            call()


def test_a_call_that_fails_costs_its_lane_and_nothing_else(rig: Callable[..., Rig]) -> None:
    there = rig(most_lanes=1)
    there.run(2, 2)
    there.executor.fail_enqueue = BackendError("engine m.engine: TensorRT does not run the engine: out of memory")
    with pytest.raises(BackendError, match="out of memory"):
        there.run(2, 2)
    there.executor.fail_enqueue = None
    assert not there.executor.contexts
    there.run(2, 2)


def test_what_the_library_raises_becomes_one_line(rig: Callable[..., Rig]) -> None:
    there = rig()
    bound = there.session.bind({"a": (2, 2), "b": (2, 2)})
    there.executor.fail_enqueue = RuntimeError("infer_shapes error code:\n-1")
    feed = {"a": drawn(2, 2), "b": drawn(2, 2)}
    arrays = {**feed, "z": np.zeros((2, 2), np.float32)}
    for call in (
        lambda: there.session.run(feed),
        lambda: there.session.run_on_device(feed),
        lambda: there.runner.bind(feed, {"z": arrays["z"]}),
    ):
        with pytest.raises(
            BackendError, match=r"^engine m\.engine: TensorRT failed on cuda:0: infer_shapes error code: -1$"
        ):
            call()
    there.executor.fail_enqueue = None
    bound()
    there.run(2, 2)


def test_no_memory_is_told_and_survived(rig: Callable[..., Rig]) -> None:
    there = rig()
    there.run(2, 2)
    there.device.most_bytes = there.device.allocated + 10_000
    with pytest.raises(BackendError, match="cudaErrorMemoryAllocation"):
        there.run(64, 64)
    there.device.most_bytes = None
    there.run(64, 64)


def test_an_engine_that_can_not_run_fails_when_it_is_opened(tmp_path: Path) -> None:
    device = HostDevice()
    device.use()
    executor = OrtExecutor(device, add(tmp_path / "add.onnx"), [ADD], scratch_bytes=10**6)
    device.most_bytes = 10**5
    specs = specs_of(executor, GraphFile(tmp_path / "add.onnx", "file add.onnx"))
    with pytest.raises(BackendError, match="cudaErrorMemoryAllocation"):
        EnginePool(device, executor, *specs, StreamOptions("engine", "build"))
    assert executor.closed and device.alive == (0, 0, 0) and device.allocated == device.pinned == 0


def test_what_is_done_at_the_end_is_done_once_while_the_engine_lives(tmp_path: Path) -> None:
    for end in (lambda runner: runner.close(), lambda runner: runner.__del__(), lambda runner: None):
        device, alive = HostDevice(), []
        device.use()
        executor = OrtExecutor(device, add(tmp_path / "add.onnx"), [ADD])
        specs = specs_of(executor, GraphFile(tmp_path / "add.onnx", "file add.onnx"))
        runner = EnginePool(device, executor, *specs, StreamOptions("e", "c"), on_close=partial(_note, executor, alive))
        end(runner)
        del runner
        gc.collect()
        assert alive == [True] and executor.closed and device.alive == (0, 0, 0) and device.allocated == 0


def _note(executor: OrtExecutor, alive: list[bool]) -> None:
    alive.append(not executor.closed)


# --- CUDA graphs ----------------------------------------------------------------------------------------------------


def test_a_shape_is_captured_when_it_comes_again(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True)
    for turn, (captures, launches) in enumerate([(0, 0), (1, 0), (1, 1), (1, 2)]):
        there.run(4, 4, seed=turn)
        assert (there.device.captures, there.device.launches) == (captures, launches)


def test_nothing_is_collected_while_a_call_is_captured(rig: Callable[..., Rig]) -> None:
    """Memory that is freed then, by whatever garbage there is, would spoil the capture."""
    there, seen = rig(cuda_graph=True), []
    begin, end = there.device.begin_capture, there.device.end_capture
    there.device.begin_capture = lambda stream: (seen.append(gc.isenabled()), begin(stream))
    there.device.end_capture = lambda stream: (seen.append(gc.isenabled()), end(stream))[1]
    there.run(2, 8)
    there.run(2, 8)
    assert seen == [False, False] and gc.isenabled()


def test_what_fails_in_the_capture_says_how_to_do_without(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True)
    there.run(2, 8)

    def fail(stream: int) -> int:
        HostDevice.end_capture(there.device, stream)
        raise BackendError("cuda:0: cudaStreamEndCapture answers cudaErrorStreamCaptureInvalidated (invalid)")

    there.device.end_capture = fail
    with pytest.raises(BackendError, match=r"CaptureInvalidated \(invalid\)\. .*open it without cuda_graph\.$"):
        there.run(2, 8)
    del there.device.end_capture
    there.device._graphs.clear()  # what the failing call had recorded
    there.run(2, 8)


def test_without_the_option_nothing_is_captured(rig: Callable[..., Rig]) -> None:
    there = rig()
    for turn in range(4):
        there.run(4, 4, seed=turn)
    assert there.device.captures == 0


def test_each_captured_shape_keeps_a_context_for_itself(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True)
    there.run(64, 64)  # buffers are as large as they get
    for turn in range(6):
        for shape in [(4, 4), (2, 9), (5, 5)]:
            there.run(*shape, seed=turn)
    assert (there.device.captures, there.device.launches) == (3, 12)
    assert len(there.executor.contexts) == 4  # one for what is not captured


def test_the_graph_not_used_for_longest_goes_first(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True, most_graphs=2)
    there.run(64, 64)
    for shape in [(1, 1), (1, 1), (2, 2), (2, 2), (1, 1), (3, 3), (3, 3)]:  # 3x3 takes the place of 2x2
        there.run(*shape)
    assert there.device.captures == 3 and there.device.alive[2] == 2
    launches = there.device.launches
    there.run(1, 1)
    there.run(3, 3)
    assert (there.device.launches - launches, there.device.captures) == (2, 3)
    there.run(2, 2)
    assert there.device.captures == 4 and there.device.alive[2] == 2
    assert there.executor.most_at_once == 3  # the old one goes before the new one takes memory


def test_ever_new_shapes_do_not_fill_the_memory(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True, most_graphs=2)
    there.run(64, 64)
    for turn in range(3):
        for size in range(1, 40):
            there.run(1, size, seed=turn)
    assert there.device.alive[2] <= 2 and len(there.executor.contexts) <= 3


def test_graphs_go_when_a_buffer_moves(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True)
    for turn in range(3):
        there.run(4, 4, seed=turn)
    assert there.device.alive[2] == 1
    there.run(64, 64)
    assert there.device.alive[2] == 0
    for turn in range(3):
        there.run(4, 4, seed=turn)
    assert there.device.captures == 2


def test_an_engine_that_can_not_be_captured_says_so(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True, why_not_capturable="the engine can't be captured in a CUDA graph")
    there.run(2, 2)
    with pytest.raises(BackendError, match="can't be captured in a CUDA graph; open it without cuda_graph"):
        there.run(2, 2)


def test_a_library_with_graphs_of_its_own_is_left_alone(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True, captures_itself=True)
    for turn in range(4):
        there.run(4, 4, seed=turn)
    bound = there.session.bind({"a": (2, 2), "b": (2, 2)})
    bound()
    assert there.device.captures == 0


def test_a_library_with_graphs_of_its_own_sees_the_same_addresses(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True, captures_itself=True)
    held, addresses = [], set()
    for seed in range(4):
        feed = {"a": drawn(4, 4, seed=seed), "b": drawn(4, 4, seed=seed + 1)}
        held.append(there.session.run_on_device(feed)["z"])
        np.testing.assert_array_equal(held[-1].numpy(), feed["a"] + feed["b"])
        addresses |= {tuple(context.addresses.items()) for context in there.executor.contexts}
    assert len(addresses) == 1 and len({array.address for array in held}) == 4


def test_answers_on_the_host_and_on_the_device_are_captured_apart(rig: Callable[..., Rig]) -> None:
    there = rig(cuda_graph=True)
    for seed in range(12):
        feed = {"a": drawn(4, 4, seed=seed), "b": drawn(4, 4, seed=seed + 1)}
        got = there.session.run(feed)["z"] if seed % 3 else there.session.run_on_device(feed)["z"].numpy()
        np.testing.assert_array_equal(got, feed["a"] + feed["b"])
    assert there.device.captures == 2


# --- bind -----------------------------------------------------------------------------------------------------------


def test_a_bound_call_is_one_launch_on_page_locked_buffers(rig: Callable[..., Rig]) -> None:
    there = rig()
    bound = there.session.bind({"a": (4, 4), "b": (4, 4)})
    before = there.device.launches, there.device.copies, there.device.allocations
    for seed in range(5):
        bound.inputs["a"][...], bound.inputs["b"][...] = drawn(4, 4, seed=seed), drawn(4, 4, seed=seed + 1)
        outputs = bound()
        assert outputs["z"] is bound.outputs["z"]
        np.testing.assert_array_equal(outputs["z"], bound.inputs["a"] + bound.inputs["b"])
    assert (there.device.launches, there.device.copies, there.device.allocations) == (before[0] + 5, *before[1:])


def test_bound_calls_beside_each_other_and_beside_runs(rig: Callable[..., Rig]) -> None:
    there = rig(most_lanes=1)
    calls = [there.session.bind({"a": (4, n), "b": (4, n)}) for n in (1, 4, 4)]

    def work(number: int) -> None:
        for turn in range(20):
            if number == 3:
                there.run(5, 5, seed=turn)
                continue
            call = calls[number]
            call.inputs["a"][...] = number + turn
            call.inputs["b"][...] = 100
            assert (call()["z"] == 100 + number + turn).all()

    assert in_threads(4, work) == []


def test_any_arrays_can_be_bound(rig: Callable[..., Rig]) -> None:
    there = rig()
    inputs = {"a": drawn(3, 3), "b": drawn(3, 3, seed=1)}
    outputs = {"z": np.zeros((3, 3), np.float32)}
    call = there.runner.bind(inputs, outputs)
    for turn in range(3):
        inputs["a"] += turn
        call()
        np.testing.assert_array_equal(outputs["z"], inputs["a"] + inputs["b"])
    assert there.device.launches == 3


def test_buffers_on_the_device_are_not_copied(rig: Callable[..., Rig]) -> None:
    there = rig()
    bound = there.session.bind({"a": (4, 4), "b": (4, 4)}, on_device=True)
    before = there.device.copies
    a, b, z = (np.from_dlpack(t) for t in (bound.inputs["a"], bound.inputs["b"], bound.outputs["z"]))
    for seed in range(4):
        torch.from_dlpack(bound.inputs["a"]).copy_(torch.from_numpy(drawn(4, 4, seed=seed)))
        torch.from_dlpack(bound.inputs["b"]).fill_(seed)
        bound()
        np.testing.assert_array_equal(z, a + b)
    assert there.device.copies == before and there.device.launches == 4


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_bound_call_waits_for_what_fills_its_buffers(cuda_graph: bool, rig: Callable[..., Rig]) -> None:
    """PyTorch, on the default stream, is not done with the inputs when the call begins."""
    there = rig(cuda_graph=cuda_graph, why_not_capturable=None if cuda_graph else "it can't be")
    bound = there.session.bind({"a": (4, 4), "b": (4, 4)}, on_device=True)
    a, b, z = (torch.from_dlpack(t) for t in (bound.inputs["a"], bound.inputs["b"], bound.outputs["z"]))
    read = []
    for turn in range(3):
        there.device.put(DEFAULT_STREAM, lambda turn=turn: (a.fill_(turn), b.fill_(10)))
        bound()
        there.device.put(DEFAULT_STREAM, lambda: read.append(float(z[0, 0])))  # before the next call writes over it
    there.device.synchronize(DEFAULT_STREAM)
    assert read == [10, 11, 12] and there.device.launches == (3 if cuda_graph else 0)


def test_buffers_on_the_device_begin_as_zeros(rig: Callable[..., Rig]) -> None:
    """A call is warmed up on them: what was in memory before could be an index far beyond a table."""
    there = rig()
    first = there.runner.device_buffer((4, 4), "int64")
    first.write(np.full((4, 4), -1))
    address = first.address
    del first
    gc.collect()
    again = there.runner.device_buffer((4, 4), "int64")
    assert again.address == address and not again.numpy().any()


def test_a_bound_call_that_is_dropped_gives_its_memory_back(rig: Callable[..., Rig]) -> None:
    there = rig()
    there.run(64, 64)
    gc.collect()
    before = there.device.allocated, there.device.pinned, there.device.alive, len(there.executor.contexts)
    bound = there.session.bind({"a": (64, 64), "b": (64, 64)})
    bound()
    assert there.device.pinned > before[1]
    del bound
    gc.collect()
    assert (there.device.allocated, there.device.pinned, there.device.alive, len(there.executor.contexts)) == before


def test_bound_calls_end_with_the_engine(rig: Callable[..., Rig]) -> None:
    there = rig()
    arrays, outputs = {"a": drawn(3, 3), "b": drawn(3, 3)}, {"z": np.zeros((3, 3), np.float32)}
    call = there.runner.bind(arrays, outputs)
    there.runner.close()
    assert there.executor.closed and there.device.alive == (0, 0, 0) and there.device.allocated == 0
    with pytest.raises(UsageError, match="closed"):
        call()


def test_bind_out_of_the_profile_costs_nothing(rig: Callable[..., Rig]) -> None:
    there = rig()
    gc.collect()
    before = there.device.allocated, there.device.alive
    with pytest.raises(InputError):
        there.runner.bind(
            {"a": np.zeros((99, 1), np.float32), "b": np.zeros((99, 1), np.float32)},
            {"z": np.zeros((99, 1), np.float32)},
        )
    gc.collect()
    assert (there.device.allocated, there.device.alive) == before


def test_backends_without_device_memory_say_so(valid_bundle: Path) -> None:
    from attn_runtime.session import open_session

    with open_session(valid_bundle, "cpu") as session:
        for call in (lambda: session.run_on_device({"x": drawn(1, 16)}), lambda: session.bind(on_device=True)):
            with pytest.raises(UsageError, match="(ort|native) on cpu leaves nothing on a device"):
                call()


# --- an engine of another graph -------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["name", "dtype", "rank"])
def test_engine_and_graph_must_agree(change: str, valid_bundle: Path, tmp_path: Path) -> None:
    graph = Bundle.open(valid_bundle).graph()
    shape = ["batch", 16] if change != "rank" else ["batch", 16, 1]
    kind = TensorProto.DOUBLE if change == "dtype" else TensorProto.FLOAT
    name = "x" if change != "name" else "image"
    sides = [[helper.make_tensor_value_info(n, kind, shape)] for n in (name, "y")]
    model = save(tmp_path / "m.onnx", [helper.make_node("Neg", [name], ["y"])], *sides)
    device = HostDevice()
    low = tuple(1 if isinstance(s, str) else s for s in shape)
    executor = OrtExecutor(device, model, [{name: (low, low, low)}])
    with pytest.raises(BackendError, match=r"the engine has .*the graph .*Build it again") as caught:
        specs_of(executor, GraphFile(model, "bundle gemm.attn", graph.inputs, graph.outputs))
    assert "\n" not in str(caught.value)


def test_what_an_engine_alone_tells(tmp_path: Path) -> None:
    small, large = (dict.fromkeys("ab", ((low, 1), (low, 8), (high, 64))) for low, high in ((1, 4), (8, 32)))
    executor = OrtExecutor(HostDevice(), add(tmp_path / "a.onnx"), [small, large])
    inputs, outputs = specs_of(executor, GraphFile(tmp_path / "a.onnx", "file a.onnx"))
    assert [str(spec) for spec in inputs] == [f"{n}: float32[{n}_0=1..32, {n}_1=1..64]" for n in "ab"]
    assert [spec.name for spec in outputs] == ["z"] and all(dim.dynamic for dim in outputs[0].dims)
