"""A graph's inner tensors, a few at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.calibration import collecting
from attn_export.precision.calibration.collecting import collect
from attn_runtime.bundle import write_tensors

COUNT = 40
#: t0 = x + 1, t1 = t0 + 1, ...
CHAIN = onnx.parser.parse_model(
    """<ir_version: 10, opset_import: ["": 20]> g (float[n] x) => (float[n] last) <float one = {1.0}> { """
    + " ".join(f"t{n} = Add({f't{n - 1}' if n else 'x'}, one)" for n in range(COUNT))
    + f" last = Identity(t{COUNT - 1}) }}"
)
NAMES = [f"t{n}" for n in range(COUNT)]


class Kept:
    """Collector of all that it is given."""

    def __init__(self, holds: int = 0) -> None:
        self.values: dict[str, list[float]] = {}
        self.chunks: list[int] = []
        self._holds = holds

    def take(self, name: str, value: np.ndarray) -> int:
        self.values.setdefault(name, []).append(float(value[0]))
        return self._holds

    def finish(self, names: Sequence[str]) -> None:
        self.chunks.append(len(names))


def ran(folder: Path, names: Sequence[str], together: int, collector: Kept) -> int:
    onnx.save(CHAIN, folder / "chain.onnx")
    # The first sample is the larger one, by a number.
    files = [str(folder / f"{n}.safetensors") for n in range(2)]
    for n, file in enumerate(files):
        write_tensors(Path(file), {"x": np.full(1000 - n, 100.0 * n, np.float32)})
    return collect(str(folder / "chain.onnx"), names, files, together, False, collector)


@pytest.mark.parametrize("large", [False, True])
def test_each_tensor_of_each_sample_is_handed_over_once_inputs_too(large: bool, tmp_path: Path) -> None:
    kept = Kept()
    assert ran(tmp_path, [*NAMES, "x", "last"], 4, kept) >= 32
    assert kept.values == {
        **{f"t{n}": [n + 1.0, n + 101.0] for n in range(COUNT)}, "x": [0.0, 100.0], "last": [40.0, 140.0],
    }  # fmt: skip


def test_an_input_alone_asks_nothing_of_the_graph(tmp_path: Path) -> None:
    kept = Kept()
    ran(tmp_path, ["x"], 4, kept)
    assert kept.values == {"x": [0.0, 100.0]}


def test_chunks_grow_to_what_memory_allows_and_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunks(budget: int, together: int, holds: int = 0) -> tuple[list[int], int]:
        monkeypatch.setattr(collecting, "BUDGET_BYTES", budget)
        kept = Kept(holds)
        return (kept.chunks, ran(tmp_path, NAMES, together, kept))[::1]

    size = 4000
    assert chunks(10 * size - 1, 10) == ([10, 9, 9, 9, 3], 9), "the larger sample counts, not the last"
    assert chunks(1000 * size, 4) == ([4, 32, 4], 32)
    assert chunks(1000 * size, 32) == ([32, 8], 32)
    assert chunks(10 * size, 4) == ([4, 10, 10, 10, 6], 10)
    assert chunks(10 * size, 40) == ([40], 1), "too much, so that the next batch begins with few"
    assert chunks(10 * size, 4, holds=size) == ([4, 5, 5, 5, 5, 5, 5, 5, 1], 5)
    assert chunks(1, 4) == ([4, *[1] * 36], 1)
