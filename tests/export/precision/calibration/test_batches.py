"""Samples on their way to the child process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.precision.calibration import Samples, batches
from attn_export.precision.calibration.batches import run_in_batches
from attn_export.precision.calibration.collecting import FIRST_CHUNK
from attn_runtime.child_process import ChildProcess
from safetensors.numpy import load_file


class Recorder(ChildProcess):
    """Stands for a child: what it was sent, and what lay there then. (With a real one: test_ranges.py.)"""

    def __init__(self, together: int = 100) -> None:
        super().__init__()
        self.batches: list[list[int]] = []
        self.together: list[int] = []
        self._answer = together

    def run(self, task: str, stage: str, **arguments: Any) -> dict[str, Any]:
        files: Sequence[str] = arguments["samples"]
        self.batches.append([int(load_file(file)["x"][0]) for file in files])
        self.together.append(arguments["together"])
        assert sorted(map(str, Path(files[0]).parent.iterdir())) == sorted(files), "only this batch is on the disk"
        return {"together": self._answer}


def numbered(*sizes: int) -> Samples:
    def read() -> Iterator[tuple[str, dict[str, Any]]]:
        for number, size in enumerate(sizes):
            yield str(number), {"x": np.full(size, number, np.float32)}

    return Samples("here", len(sizes), read)


def sent(samples: Samples, work: Path) -> tuple[Recorder, list[tuple[int, int | None]]]:
    child, told = Recorder(), []
    assert run_in_batches("attn_x.y:z", samples, child, work, lambda *now: told.append(now)) == samples.count
    assert not list(work.iterdir())
    assert [number for batch in child.batches for number in batch] == list(range(samples.count or 0))
    return child, told


def test_each_sample_goes_once_in_batches_that_grow_while_they_are_quick(tmp_path: Path) -> None:
    child, told = sent(numbered(*[10] * 20), tmp_path)
    assert [len(batch) for batch in child.batches] == [1, 2, 4, 8, 5]
    assert told == [(1, 20), (3, 20), (7, 20), (15, 20), (20, 20)]
    assert child.together == [FIRST_CHUNK, 100, 100, 100, 100]


def test_batches_are_bounded_in_samples_and_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_MOST_SAMPLES", 4)
    assert max(len(batch) for batch in sent(numbered(*[10] * 40), tmp_path)[0].batches) == 4
    monkeypatch.setattr(batches, "_MOST_BYTES", 90)
    assert max(len(batch) for batch in sent(numbered(*[10] * 40), tmp_path)[0].batches) == 3


def test_before_a_much_larger_sample_the_others_go_and_it_begins_with_few_tensors(tmp_path: Path) -> None:
    child, _ = sent(numbered(10, 10, 11, 10, 40, 10, 10), tmp_path)
    assert child.batches == [[0], [1, 2], [3], [4, 5, 6]]
    assert child.together == [FIRST_CHUNK, 100, 100, FIRST_CHUNK]


def test_batches_shrink_where_they_take_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 100))
    monkeypatch.setattr(batches.time, "monotonic", lambda: next(clock))
    assert [len(batch) for batch in sent(numbered(*[10] * 5), tmp_path)[0].batches] == [1] * 5
