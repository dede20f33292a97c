"""Device memory and CUDA graphs of ONNX Runtime, with buffers that this machine has: the calls are the library's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from attn_runtime.backends import ort
from attn_runtime.bundle.reader import Bundle
from attn_runtime.device.buffers import host_view
from attn_runtime.device.gpus import find_gpus
from attn_runtime.device.interface import DEFAULT_STREAM
from attn_runtime.device.tensor import DeviceTensor, borrow
from attn_runtime.errors import BackendError, InputError, UsageError
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.ort import device_memory
from attn_runtime.ort.device_memory import DeviceMemory, on_gpu
from attn_runtime.ort.gpu_bound_call import BoundOnGpu, StagedCall, copies_straight
from attn_runtime.ort.gpu_engine import GpuEngine
from attn_runtime.ort.providers import GraphIds
from attn_runtime.session import Session, open_session
from onnx import TensorProto, helper
from support.graphs.make_graphs import add, embed, floats, nonzero, save
from support.machines.host_device import HostDevice

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.full((2, 3), 0.5, np.float32)


ONE = GraphIds(option=None)


def engine(file: Path, **options: Any) -> GpuEngine:
    graph = GraphFile(file, f"file {file.name}")
    session = ort.create(graph, "cpu", OpenOptions(), [])
    return GpuEngine(ort.library(), session, graph, 0, device_type="cpu", **options)


def bound(opened: GpuEngine, a: np.ndarray = A, b: np.ndarray = B) -> tuple[BoundOnGpu, dict, dict]:
    inputs = {"a": a.copy(), "b": b.copy()}
    outputs = {"z": np.zeros_like(a)}
    return opened.bind(inputs, outputs), inputs, outputs


# --- bound calls --------------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["straight", "through a new array"])
def copies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Outputs come back in one of two ways, by what the library's version can."""
    monkeypatch.setattr("attn_runtime.ort.gpu_bound_call.copies_straight", lambda *_: request.param)
    yield


@pytest.mark.usefixtures("copies")
def test_bound_call_copies_in_and_out_of_buffers_that_stay(tmp_path: Path) -> None:
    call, inputs, outputs = bound(engine(add(tmp_path / "m.onnx")))
    assert isinstance(call, StagedCall)
    addresses = [value.data_ptr() for value, _ in call._fed]
    assert not {value.ctypes.data for value in inputs.values()} & set(addresses)
    for factor in (1, -3):
        inputs["a"][...] = factor * A
        call()
        np.testing.assert_array_equal(outputs["z"], factor * A + B)
    assert addresses == [value.data_ptr() for value, _ in call._fed]


def test_several_shapes_are_bound_at_once(tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"))
    calls = [bound(opened, np.full((n, 2), n, np.float32), np.ones((n, 2), np.float32)) for n in (1, 4, 2)]
    for n, (call, _, outputs) in zip((1, 4, 2), calls, strict=True):
        call()
        np.testing.assert_array_equal(outputs["z"], np.full((n, 2), n + 1, np.float32))


def test_this_library_copies_straight() -> None:
    assert copies_straight(onnxruntime, ("cpu", 0))


def test_engine_answers_as_the_plain_one(tmp_path: Path) -> None:
    opened = engine(embed(tmp_path / "m.onnx"))
    tokens = np.array([[3, 1]])
    np.testing.assert_array_equal(opened.run({"tokens": tokens})["e"], np.repeat([[[3.0], [1.0]]], 4, 2))
    assert opened.device == "cuda:0"
    with pytest.raises(InputError, match="out of data bounds"):
        opened.run({"tokens": np.array([[30]])})
    call = opened.bind({"tokens": tokens + 40}, {"e": np.zeros((1, 2, 4), np.float32)})
    with pytest.raises(Exception, match="out of data bounds") as caught:
        call()
    assert isinstance(opened.explain(caught.value), InputError)


def test_output_whose_shape_follows_from_the_values(tmp_path: Path) -> None:
    opened = engine(nonzero(tmp_path / "m.onnx"))
    x = np.ones(3, np.float32)
    call = opened.bind({"x": x}, {"i": np.zeros((1, 3), np.int64)})
    call()
    x[1] = 0
    with pytest.raises(Exception) as caught:
        call()
    assert "Call run instead of bind" in str(opened.explain(caught.value))


def test_buffers_that_can_not_be_had(tmp_path: Path) -> None:
    """This onnxruntime has no CUDA: what it says of memory there comes back in one line."""
    graph = GraphFile(add(tmp_path / "m.onnx"), "file m.onnx")
    opened = GpuEngine(ort.library(), ort.create(graph, "cpu", OpenOptions(), []), graph, 0)
    with pytest.raises(BackendError, match=r"file m\.onnx: .* on cuda:0: .*CUDA") as caught:
        bound(opened)
    assert "\n" not in str(caught.value)


# --- CUDA graphs --------------------------------------------------------------------------------------------------


class Spy:
    """A session that notes under which number each call is captured or replayed."""

    def __init__(self, session: Any, option: str) -> None:
        self._session, self._option = session, option
        self.bound: list[str | None] = []
        self.plain: list[str | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _number(self, options: Any) -> str | None:
        return None if options is None else options.get_run_config_entry(self._option)

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        self.bound.append(self._number(options))
        self._session.run_with_iobinding(binding, options)

    def run(self, names: Any, feed: Any, options: Any = None) -> Any:
        self.plain.append(self._number(options))
        return self._session.run(names, feed, options)


def spied(file: Path, graphs: GraphIds) -> tuple[GpuEngine, Spy]:
    opened = engine(file, graphs=graphs)
    spy = Spy(opened._session, graphs.option)
    opened._session = spy
    return opened, spy


def test_each_bound_call_has_a_graph_of_its_own_captured_before_it_is_handed_out(tmp_path: Path) -> None:
    opened, spy = spied(add(tmp_path / "m.onnx"), GraphIds("gpu_graph_id", skip=-1))
    first, inputs, outputs = bound(opened)
    captured = len(spy.bound)
    assert captured >= 2 and set(spy.bound) == {"1"}
    second, *_ = bound(opened, A[:1], B[:1])
    assert set(spy.bound[captured:]) == {"2"}
    inputs["a"][...] = 7
    first()
    second()
    assert spy.bound[-2:] == ["1", "2"]
    np.testing.assert_array_equal(outputs["z"], 7 + B)
    opened.run({"a": A, "b": B})
    opened.run({"a": tensor(A), "b": tensor(B)})
    assert spy.plain == ["-1"] and spy.bound[-1] == "-1", "what run is given lies elsewhere each time"


def test_provider_that_looks_at_the_addresses_itself_is_told_nothing_by_run(tmp_path: Path) -> None:
    opened, spy = spied(add(tmp_path / "m.onnx"), GraphIds("cuda_graph_annotation_id"))
    opened.run({"a": A, "b": B})
    bound(opened)
    assert spy.plain == [None] and set(spy.bound) == {"1"}


def test_provider_with_one_graph_answers_the_first_bound_shape_alone(tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"), graphs=ONE)
    with pytest.raises(UsageError, match="Call bind"):
        opened.run({"a": A, "b": B})
    call, inputs, outputs = bound(opened)
    inputs["a"][...] = 2
    call()
    np.testing.assert_array_equal(outputs["z"], 2 + B)
    with pytest.raises(UsageError, match="one CUDA graph a session"):
        bound(opened)


def test_bind_that_failed_does_not_take_the_one_graph(tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"), graphs=ONE)
    with pytest.raises((BackendError, InputError)):
        opened.bind({"a": A, "b": np.zeros((5, 5), np.float32)}, {"z": np.zeros((2, 3), np.float32)})
    bound(opened)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into the library's file, whose name differs")
def test_refusals_of_graphs_are_worded_as_this_library_words_them() -> None:
    """The words by which `_open_error` knows them, read in the library, since only a GPU makes it say them."""
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1.*")
    content = library.read_bytes()
    says = b"This session cannot use the graph capture feature as requested by the user"
    assert says in content
    error = RuntimeError(f"{says.decode()} as the model has control flow nodes which can't be supported by X")
    found = ort._open_error(error, GraphFile(Path("m.onnx"), "file m.onnx"), "cuda")
    assert isinstance(found, BackendError)
    assert "control flow nodes" in str(found) and "without cuda_graph" in str(found)


def test_cpu_ignores_the_wish_for_a_graph(tmp_path: Path) -> None:
    opened = ort.open(GraphFile(add(tmp_path / "m.onnx"), "m"), "cpu", OpenOptions(cuda_graph=True))
    np.testing.assert_array_equal(opened.run({"a": A, "b": B})["z"], A + B)


def test_options_of_the_cuda_provider() -> None:
    assert ort.cuda_provider("cuda:2") == ("CUDAExecutionProvider", {"device_id": "2", "use_tf32": "0"})
    assert ort.cuda_provider("cuda", True)[1]["enable_cuda_graph"] == "1"


# --- tensors of the caller ----------------------------------------------------------------------------------------


def tensor(array: np.ndarray) -> DeviceTensor:
    return DeviceTensor(array.ctypes.data, array.shape, array.dtype, array)


@pytest.mark.parametrize("dtype", [np.bool_, np.float16, np.float32, np.int64, np.uint8])
def test_every_kind_of_tensor(dtype: type, tmp_path: Path) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    info = [helper.make_tensor_value_info(name, kind, ["N"]) for name in "xy"]
    opened = engine(save(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])], info[:1], info[1:]))
    mine = np.array([1, 0, 1], dtype)
    np.testing.assert_array_equal(opened.run({"x": tensor(mine)})["y"], mine)


def test_tensors_and_arrays_are_mixed_in_a_run(tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(opened.run({"a": tensor(A), "b": B.T.copy().T})["z"], A + B)


def test_tensor_of_another_framework_arrives_through_the_intake(tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"))
    theirs = torch.from_numpy(A.copy())
    lent = borrow(theirs, opened.intake)
    assert lent.address == theirs.data_ptr()
    np.testing.assert_array_equal(opened.run({"a": lent, "b": B})["z"], A + B)


# --- arrays on the device, for callers ---------------------------------------------------------------------------


class SharedDevice(HostDevice):
    """One that ONNX Runtime allocates on as well, as on a GPU: what lies there is copied from too."""

    def view(self, address: int, nbytes: int) -> np.ndarray:
        try:
            return super().view(address, nbytes)
        except AssertionError:
            return host_view(address, (nbytes,), np.dtype(np.uint8))

    def destroy_stream(self, stream: int) -> None:
        assert not self._streams[stream].items, "nobody waited for it"
        super().destroy_stream(stream)


@pytest.fixture
def device() -> HostDevice:
    made = SharedDevice()
    made.use()
    return made


def test_call_on_arrays_of_the_device_copies_nothing(device: HostDevice, tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"), memory=DeviceMemory(device))
    inputs = {name: opened.device_buffer((2, 3), "float32") for name in "ab"}
    outputs = {"z": opened.device_buffer((2, 3), "float32")}
    assert not inputs["a"].numpy().any(), "a call is warmed up on it"
    call = opened.bind(inputs, outputs)
    copies = device.copies
    for value in (1, 2):
        for name, array in (("a", value * A), ("b", B)):
            host_view(inputs[name].address, (2, 3), np.dtype(np.float32))[...] = array
        call()
        np.testing.assert_array_equal(host_view(outputs["z"].address, (2, 3), np.dtype(np.float32)), value * A + B)
    assert device.copies == copies


def test_what_the_default_stream_still_does_is_waited_for(device: HostDevice, tmp_path: Path) -> None:
    """PyTorch works there; ONNX Runtime has a stream of its own, and not every provider waits for others."""
    opened = engine(add(tmp_path / "m.onnx"), memory=DeviceMemory(device))
    inputs = {name: opened.device_buffer((2, 3), "float32") for name in "ab"}
    outputs = {"z": opened.device_buffer((2, 3), "float32")}
    call = opened.bind(inputs, outputs)
    theirs = torch.from_dlpack(inputs["a"])
    device.put(DEFAULT_STREAM, lambda: theirs.fill_(5))
    call()
    assert (outputs["z"].numpy() == 5).all()
    lent = borrow(tensor := torch.zeros(2, 3), opened.intake)
    device.put(DEFAULT_STREAM, lambda: tensor.fill_(7))
    assert (opened.run({"a": lent, "b": B})["z"] == 7.5).all()
    device.put(DEFAULT_STREAM, lambda: tensor.fill_(8))
    assert (opened.run_on_device({"a": lent, "b": B})["z"].numpy() == 8.5).all()
    other = device.create_stream()
    device.put(other, lambda: tensor.fill_(9))
    opened.intake.wait_for(other)  # as it is told by who names the stream that he works on
    assert (opened.run({"a": lent, "b": B})["z"] == 9.5).all()


@pytest.mark.parametrize("waits", [False, True])
def test_tensors_that_nobody_would_wait_for_are_not_taken(
    waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_memory, "on_gpu", lambda number: (None, "cuda-python is not installed"))
    graph = GraphFile(add(tmp_path / "m.onnx"), "file m.onnx")
    opened = ort.gpu_engine(ort.create(graph, "cpu", OpenOptions(), []), graph, "cuda:0", None, waits=waits)
    assert (opened.intake is not None) == waits and opened.note == "cuda-python is not installed"


def test_outputs_left_on_the_device_outlive_the_session(device: HostDevice, tmp_path: Path) -> None:
    opened = engine(embed(tmp_path / "m.onnx"), memory=DeviceMemory(device))
    found = opened.run_on_device({"tokens": np.array([[3, 1]])})
    opened.close()
    del opened
    theirs = torch.from_dlpack(found.pop("e"))
    assert theirs.tolist() == [[[3.0] * 4, [1.0] * 4]]
    before = device.allocated
    del theirs
    assert device.allocated < before


def test_outputs_are_asked_for_where_they_are_wanted(device: HostDevice, tmp_path: Path) -> None:
    """On a GPU they would not come to the host for a caller on the GPU; this library has none, and leaves them there."""
    opened = engine(add(tmp_path / "m.onnx"), memory=DeviceMemory(device))
    asked: list[tuple[object, ...]] = []
    make = opened._session.io_binding

    def recorded() -> Any:
        binding = make()
        bind = binding.bind_output
        binding.bind_output = lambda *given: asked.append(given) or bind(*given)
        return binding

    opened._session.io_binding = recorded
    opened._place = ("cuda", 0)
    opened.run_on_device({"a": A, "b": B})
    opened._place = ("cpu", 0)
    opened.run({"a": tensor(A), "b": B})
    assert asked == [("z", "cuda", 0), ("z", "cpu", 0)]


def test_a_session_hands_out_and_takes_arrays_of_the_device(device: HostDevice, tmp_path: Path) -> None:
    opened = engine(add(tmp_path / "m.onnx"), memory=DeviceMemory(device))
    with Session("ort", opened, "ort on cuda:0", "file m.onnx") as session:
        first = session.run_on_device({"a": A, "b": B})["z"]
        np.testing.assert_array_equal(session.run({"a": first, "b": B})["z"], A + 2 * B)
        call = session.bind({"B": 2, "T": 3}, on_device=True)
        assert not call()["z"].numpy().any()
        pinned = session.bind({"B": 2, "T": 3})
        pinned.inputs["a"][...] = A
        np.testing.assert_array_equal(pinned()["z"], A)
        assert device.pinned


def test_without_memory_a_session_says_what_it_can_not(tmp_path: Path) -> None:
    with Session("ort", engine(add(tmp_path / "m.onnx")), "ort on cuda:0", "file m.onnx") as session:
        with pytest.raises(UsageError, match="leaves nothing on a device"):
            session.bind({"B": 1, "T": 1}, on_device=True)
        with pytest.raises(UsageError, match="leaves nothing on a device"):
            session.run_on_device({"a": A, "b": B})


@pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")
def test_why_there_is_no_memory_for_callers() -> None:
    memory, reason = on_gpu(0)
    assert memory is None and reason and reason.startswith("no arrays on the device for callers: ")
    assert "\n" not in reason


# --- what the choice says -----------------------------------------------------------------------------------------


def test_answers_from_the_cpu_say_that_they_hide_an_overflow_of_fp16(tmp_path: Path) -> None:
    """300 x 300 x 4 does not fit in fp16, and yet the next node gets it."""
    half = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [4, 4])
    nodes = [helper.make_node("MatMul", ["x", "x"], ["m"]), helper.make_node("Sqrt", ["m"], ["r"])]
    nodes.append(helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT))
    file = save(tmp_path / "m.onnx", nodes, [half], [floats("y", 4, 4)])
    graph = GraphFile(file, "file m.onnx")
    plain = ort.open(graph, "cpu", OpenOptions())
    assert np.isfinite(plain.run({"x": np.full((4, 4), 300, np.float16)})["y"]).all()
    with open_session(file, "cpu") as session:
        assert "overflow of fp16 would not show" in session.choice
    with open_session(add(tmp_path / "add.onnx"), "cpu") as session:
        assert "fp16" not in session.choice


def test_of_a_bundle_its_record_tells_what_is_fp16(valid_bundle: Path) -> None:
    """Usually nothing shows at the borders: inputs and outputs stay in fp32."""
    bundle = Bundle.open(valid_bundle)
    graph = bundle.graph()
    bundle.graphs[graph.name] = replace(graph, precisions={"fp16": replace(graph.precisions["fp32"], type="fp16")})
    assert "overflow of fp16" in open_session(bundle, "cpu", "ort").choice
    assert "overflow of fp16" not in open_session(valid_bundle, "cpu", "ort", precision="fp32").choice
