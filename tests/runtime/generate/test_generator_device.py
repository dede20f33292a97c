"""Generation with a cache in device memory: the real loop, sessions and runners, on a device that this machine can be.

`HostDevice` runs nothing before it is waited for, and fails where a copy leaves its memory; `OrtExecutor` computes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from attn_runtime.backends import ort
from attn_runtime.bundle.reader import Bundle
from attn_runtime.device.tensor import DeviceArray
from attn_runtime.generate import GenerateOptions, Generator, open_generator
from attn_runtime.generate.graphs.buffers import DeviceMemory, HostStack
from attn_runtime.generate.graphs.graph_io import GraphIO
from attn_runtime.generate.graphs.step_graphs import Sessions
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.ort.device_memory import DeviceMemory as OrtMemory
from attn_runtime.ort.gpu_engine import GpuEngine
from attn_runtime.session import Session
from attn_runtime.trt.run.engine_pool import EnginePool
from attn_runtime.trt.run.stream import StreamOptions
from support.machines.host_device import HostDevice
from support.machines.ort_executor import OrtExecutor
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, write_bundle

pytestmark = pytest.mark.usefixtures("own_garbage")

# Heads of 8 x 4 bytes: parts of 16 entries begin where engines want them; those of 2 rows and one entry do not.
TRANSLATOR = Tiny(extend=True, sharpness=1.0, batch=12, max_length=40, seed=1)
WRITER = Tiny(encoder=False, extend=True, key_heads=1, sharpness=1.0, batch=12, max_length=40, seed=9)
LENGTHS = [5, 3, 9]


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("device") / "tiny.attn", tiny))


Open = Callable[[Bundle, GraphFile, HostDevice], Session]


def tensorrt(bundle: Bundle, file: GraphFile, device: HostDevice) -> Session:
    assert file.inputs is not None and file.outputs is not None
    profile = {s.name: tuple(tuple(getattr(d, e) for d in s.dims) for e in ("min", "opt", "max")) for s in file.inputs}
    executor = OrtExecutor(device, file.file, [profile])
    options = StreamOptions(file.where, "attn-run compile", False, 8)
    runner = EnginePool(device, executor, file.inputs, file.outputs, options)
    return Session("trt", runner, "trt on cuda:0", file.where, bundle, file.precision)


def onnx_runtime(bundle: Bundle, file: GraphFile, device: HostDevice) -> Session:
    made = ort.create(file, "cpu", OpenOptions(threads=1), [])
    engine = GpuEngine(ort.library(), made, file, 0, None, OrtMemory(device), device_type="cpu")
    return Session("ort", engine, "ort on cuda:0", file.where, bundle, file.precision)


@pytest.fixture(params=[tensorrt, onnx_runtime])
def on_device(bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[tuple[Generator, HostDevice]]:
    device = HostDevice()
    device.use()
    wiring = GraphIO.of(bundle)

    def open_one(name: str, _: Session | None) -> Session:
        graphs = (wiring.encoder, wiring.first, wiring.step, wiring.extend)
        (sides,) = [graph for graph in graphs if graph is not None and graph.name == name]
        entry = bundle.graphs[sides.name].precisions["fp32"]
        specs = tuple(sides.inputs.values()), tuple(sides.outputs.values())
        file = GraphFile(entry.file, f"graph {sides.name}", *specs, None, bundle, sides.name, "fp32")
        session: Session = request.param(bundle, file, device)
        return session

    generator = Generator(bundle, wiring, Sessions.opened(wiring, open_one))
    yield generator, device
    generator.close()
    gc.collect()
    assert (device.allocated, device.pinned) == (0, 0), "memory that nobody gave back"
    assert device.alive == (0, 0, 0)


@pytest.mark.parametrize(
    "options",
    [GenerateOptions(scores=True), GenerateOptions(20, beams=4), GenerateOptions(scores=True, lookup=7)],
    ids=["greedy", "beams", "lookup"],
)
def test_answers_are_those_of_the_host(
    on_device: tuple[Generator, HostDevice], bundle: Bundle, tiny: Tiny, options: GenerateOptions
) -> None:
    generator, _ = on_device
    assert isinstance(generator._memory, DeviceMemory)
    with open_generator(bundle, "cpu", threads=1) as on_host:
        for seed in range(2):  # the second time on the buffers of the first
            inputs = inputs_of(tiny, drawn_prompts(tiny, LENGTHS, seed))
            found, wanted = generator.generate(inputs, options), on_host.generate(inputs, options)
            np.testing.assert_array_equal(found.tokens, wanted.tokens)
            np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
            assert found.lengths.max() > 16, "the cache has to grow for this to say anything"


def test_requests_get_there_what_they_get_on_the_host(
    on_device: tuple[Generator, HostDevice], bundle: Bundle, tiny: Tiny
) -> None:
    """The device belongs to one thread at a time, and so does each step."""
    generator, _ = on_device
    prompts = [inputs_of(tiny, drawn_prompts(tiny, [length], length)) for length in (5, 3, 9, 17)]
    options = [GenerateOptions(most, stop=()) for most in (20, 4, 9, 12)]
    with open_generator(bundle, "cpu", threads=1) as on_host:
        wanted = [on_host.generate(*each).row(0) for each in zip(prompts, options, strict=True)]
    generator._turns.take()
    requests = [generator.submit(*each) for each in zip(prompts, options, strict=True)]
    generator._turns.give()
    assert [request.result(60).row(0) for request in requests] == wanted
    assert generator._server._slices.place == (0 if tiny.encoder else 17), "the last prompt was to be read in slices"


def test_nothing_of_the_cache_comes_to_the_host(on_device: tuple[Generator, HostDevice], tiny: Tiny) -> None:
    generator, device = on_device
    read: list[object] = []
    array = DeviceArray.numpy
    inputs = inputs_of(tiny, drawn_prompts(tiny, LENGTHS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceArray, "numpy", lambda self: read.append(self) or array(self))
        generator.generate(inputs)
        (plan,) = generator._plans.values()
        allocations, cache = device.allocations, plan._cache
        again = generator.generate(inputs)
    assert read == [] and again.steps > 16
    assert all(isinstance(part, DeviceArray) for part in cache.past.by_name.values())
    assert device.allocations == allocations, "the second time everything is there"


@pytest.mark.parametrize("shape", [(3, 2, 16, 8), (1, 1, 5, 3), (4, 2, 1, 8)])
def test_a_stack_on_the_device_copies_as_numpy_does(on_device: tuple[Generator, HostDevice], shape: Any) -> None:
    """Boxes between stacks of the two kinds: of one array, and of one for each part."""
    generator, _ = on_device
    assert generator._sessions is not None
    memory, rng = DeviceMemory(generator._sessions.step), np.random.default_rng(0)
    rows, heads, places, size = shape
    for other in (places, 16, 3):
        stacks = [memory.stack(3, (rows, heads, n, size), "float32") for n in (places, other)]
        hosts = [HostStack(3, (rows, heads, n, size), "float32") for n in (places, other)]
        for host, stack in zip(hosts, stacks, strict=True):
            host.whole[...] = rng.standard_normal(host.whole.shape)
            for part, value in zip(stack.parts, host.whole, strict=True):
                part.write(value)
        for _ in range(10):
            count, length = int(rng.integers(1, rows + 1)), int(rng.integers(1, min(places, other) + 1))
            at = [int(rng.integers(0, n + 1)) for n in (rows - count, places - length, rows - count, other - length)]
            for to, source in ((hosts[0], hosts[1]), (stacks[0], stacks[1])):
                to.copy(at[0], at[1], source, at[2], at[3], count, length)
            assert hosts[0].moved == stacks[0].moved
        for part, value in zip(stacks[0].parts, hosts[0].whole, strict=True):
            np.testing.assert_array_equal(part.numpy(), value)
        stacks[0].clear()
        assert not any(part.numpy().any() for part in stacks[0].parts)
