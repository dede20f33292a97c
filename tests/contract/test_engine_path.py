"""The built-in models through everything that a TensorRT engine's call goes through but the engine: golden cases answered
as PyTorch did, over profiles, pooled contexts, staging, CUDA graphs and buffers on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle, Graph
from attn_runtime.compare import compare_all
from attn_runtime.interface import GraphFile
from attn_runtime.session import Session
from attn_runtime.spec import named_dims
from attn_runtime.trt.run.engine_pool import EnginePool
from attn_runtime.trt.run.open_engine import specs_of
from attn_runtime.trt.run.stream import StreamOptions
from support.machines.host_device import HostDevice
from support.machines.ort_executor import OrtExecutor


@pytest.fixture
def graphs(bundle: Path) -> list[Graph]:
    return list(Bundle.open(bundle, check_hashes=False).graphs.values())


def opened(graph: Graph, cuda_graph: bool) -> Session:
    """One profile for the smallest sizes and one for all, as a robot's engine may have."""
    device = HostDevice()
    device.use()
    smallest = {name: dim.min for name, dim in named_dims(graph.inputs).items()}
    largest = {name: dim.max for name, dim in named_dims(graph.inputs).items()}
    profiles = [
        {s.name: (s.shape(smallest), s.shape(smallest), s.shape(end)) for s in graph.inputs}
        for end in (smallest, largest)
    ]
    file = GraphFile(graph.precisions["fp32"].file, "bundle", graph.inputs, graph.outputs)
    executor = OrtExecutor(device, file.file, profiles)
    options = StreamOptions("engine", "attn-run compile", cuda_graph)
    return Session("trt", EnginePool(device, executor, *specs_of(executor, file), options), "trt", "bundle")


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_golden_cases_over_and_over(graphs: list[Graph], cuda_graph: bool) -> None:
    for graph in graphs:
        with opened(graph, cuda_graph) as session:
            for _ in range(3):  # the third time, from a captured graph
                for case in graph.cases():
                    on_device = session.run_on_device(case.inputs)
                    for got in (session.run(case.inputs), {name: value.numpy() for name, value in on_device.items()}):
                        found = compare_all(case.outputs, got, graph.precisions["fp32"].tolerance)
                        assert all(d.passed for d in found), case.name


@pytest.mark.parametrize("on_device", [False, True])
def test_golden_cases_bound(graphs: list[Graph], on_device: bool) -> None:
    for graph in graphs:
        with opened(graph, True) as session:
            for case in graph.cases():
                call = session.bind({name: value.shape for name, value in case.inputs.items()}, on_device=on_device)
                for name, value in case.inputs.items():
                    if on_device:
                        call.inputs[name].write(value)
                    else:
                        call.inputs[name][...] = value
                got = {name: np.from_dlpack(value) for name, value in call().items()}
                found = compare_all(case.outputs, got, graph.precisions["fp32"].tolerance)
                assert all(d.passed for d in found), case.name
