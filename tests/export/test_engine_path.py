"""The built-in models through everything that a TensorRT engine's call goes through but the engine: golden cases answered
as PyTorch did, over profiles, pooled contexts, staging, CUDA graphs and buffers on the device."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from attn_export.console import Console
from attn_export.pipeline import Options, export
from attn_export.source import load_source
from attn_models import registry
from attn_runtime.backends import GraphFile
from attn_runtime.bundle import Bundle, Graph
from attn_runtime.compare import compare_all
from attn_runtime.session import Session
from attn_runtime.spec import named_dims
from attn_runtime.trt.lane import LaneOptions
from attn_runtime.trt.opening import specs_of
from attn_runtime.trt.runner import EngineRunner

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))  # the tests' import mode adds no folder of its own

from host_device import HostDevice
from ort_executor import OrtExecutor


@pytest.fixture(scope="module", params=registry.names())
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    target = tmp_path_factory.mktemp("path") / f"{request.param}.attn"
    export(load_source(str(request.param)), target, Options(), Console(True))
    return Bundle.open(target).graph()


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
    options = LaneOptions("engine", "attn-run compile", cuda_graph)
    return Session("trt", EngineRunner(device, executor, *specs_of(executor, file), options), "trt", "bundle")


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_golden_cases_over_and_over(graph: Graph, cuda_graph: bool) -> None:
    tolerance = graph.precisions["fp32"].tolerance
    with opened(graph, cuda_graph) as session:
        for _ in range(3):  # the third time, from a captured graph
            for case in graph.cases():
                for got in (
                    session.run(case.inputs),
                    {name: value.numpy() for name, value in session.run_on_device(case.inputs).items()},
                ):
                    differences = compare_all(case.outputs, got, tolerance)
                    assert all(d.passed for d in differences), case.name


@pytest.mark.parametrize("on_device", [False, True])
def test_golden_cases_bound(graph: Graph, on_device: bool) -> None:
    with opened(graph, True) as session:
        for case in graph.cases():
            call = session.bind({name: value.shape for name, value in case.inputs.items()}, on_device=on_device)
            for name, value in case.inputs.items():
                if on_device:
                    call.inputs[name].write(value)
                else:
                    call.inputs[name][...] = value
            got = {name: np.from_dlpack(value) for name, value in call().items()}
            assert all(d.passed for d in compare_all(case.outputs, got, graph.precisions["fp32"].tolerance)), case.name
