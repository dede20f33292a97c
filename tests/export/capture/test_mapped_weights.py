"""Large weights that are mapped from the file of the graph: they hold what they held, and no other memory."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from attn_export.capture import capture
from attn_export.onnx_graph import load, onnx_file
from attn_export.reference import Signature
from attn_runtime.spec import Dim, TensorSpec
from torch import nn

X = TensorSpec("x", "int64", (Dim("B", 1, 2, 3), Dim("T", 1, 3, 5)), low=0, high=512)


class Net(nn.Module):
    """A table that is written as it is, a layer whose weight is written transposed, a weight that the graph has not, and small
    ones; `memory` is what the first two are made of."""

    def __init__(self, memory: list[np.ndarray]) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.from_numpy(memory[0]), freeze=False)
        self.wide = nn.Linear(600, 500)
        self.wide.weight = nn.Parameter(torch.from_numpy(memory[1]))
        self.unused = nn.Parameter(torch.randn(1000, 500))
        self.small = nn.Linear(500, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.small(self.wide(self.table(x)))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    monkeypatch.setattr(onnx_file, "EXTERNAL_FROM_BYTES", 1)
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((512, 600), (500, 600))]


def captured(module: nn.Module, path: Path, map_weights: bool) -> np.ndarray:
    """What the module answers before."""
    signature, example = Signature(module.eval(), [X]), {"x": np.array([[3, 500, 0], [1, 2, 3]])}
    with torch.no_grad():
        (before,) = signature({"x": torch.from_numpy(example["x"])}).values()
    capture(signature, example, path, opset=20, map_weights=map_weights)
    return before.numpy()


def mapped(module: nn.Module, data: Path) -> set[str]:
    """The weights that lie where the file is mapped into this process."""
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [[int(end, 16) for end in m[0].split("-")] for m in maps if m[5:] == [str(data)]]
    return {n for n, value in module.named_parameters() if any(a <= value.data_ptr() < b for a, b in ranges)}


def test_what_was_written_whole_is_mapped_and_the_rest_stays(memory: list[np.ndarray], tmp_path: Path) -> None:
    module, path = Net(memory), tmp_path / "net.onnx"
    held = {name: value.clone() for name, value in module.named_parameters()}
    old = [weakref.ref(memory.pop()), weakref.ref(memory.pop())]
    before = captured(module, path, True)
    assert [ref() for ref in old] == [None, None], "what the weights were is freed"
    data = path.with_name("net.onnx.data")
    assert mapped(module, data) == {"table.weight", "wide.weight"}
    assert all(torch.equal(value, held[name]) for name, value in module.named_parameters())
    assert module.table.weight.is_contiguous() and not module.wide.weight.is_contiguous(), (
        "whoever looks at it with view() still can"
    )
    np.testing.assert_allclose(module(torch.tensor([[3, 500, 0], [1, 2, 3]])).detach(), before, rtol=1e-5, atol=1e-4)
    written = data.read_bytes()
    with torch.no_grad():
        module.wide.weight.fill_(7.0)
    assert data.read_bytes() == written, "a change is the module's alone"


def test_a_module_of_somebody_elses_is_left_alone(memory: list[np.ndarray], tmp_path: Path) -> None:
    module = Net(memory)
    captured(module, tmp_path / "net.onnx", False)
    assert mapped(module, tmp_path / "net.onnx.data") == set()
    assert module.wide.weight.data_ptr() == memory[1].ctypes.data


def test_a_graph_without_a_data_file_has_nothing_to_map(
    memory: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "EXTERNAL_FROM_BYTES", 1 << 30)
    module = Net(memory)
    captured(module, tmp_path / "net.onnx", True)
    assert module.wide.weight.data_ptr() == memory[1].ctypes.data


def test_the_graph_holds_them_all_in_memory_order(memory: list[np.ndarray], tmp_path: Path) -> None:
    """Those that are turned are copied in one piece of memory, one after the other."""
    module, path = Net(memory), tmp_path / "net.onnx"
    captured(module, path, True)
    stored = [v.const_value.numpy() for v in load(path).graph.initializers.values() if v.const_value is not None]
    for value in (module.table.weight, module.wide.weight.T, module.small.weight.T):
        assert any(s.shape == value.shape and np.array_equal(s, value.detach()) for s in stored)
