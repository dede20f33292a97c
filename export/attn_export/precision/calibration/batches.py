"""The parent's side: samples go to the child process as files, a batch of them a task, and each is read once.

A task takes some seconds, so that its time limit is the limit of a batch and progress is told; what it has found lies in files,
which the next one goes on from.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.errors import PassError

from .collecting import FIRST_CHUNK
from .samples import Samples

#: Samples so far, and how many there will be, None where only the end will tell.
Progress = Callable[[int, int | None], None]
#: Seconds that a task should take: as many samples make a batch. Every task opens the graph anew.
SECONDS = 15.0
_MOST_SAMPLES = 1024
_MOST_BYTES = 64 << 20
#: A sample so much larger than all before is asked for a few tensors at a time again.
_LARGER = 1.25


def run_in_batches(
    task: str,
    samples: Samples,
    isolated: ChildProcess,
    work: Path,
    progress: Progress,
    seconds: float = SECONDS,
    **arguments: Any,
) -> int:
    """Call `task`, "package.module:function", in the child with every batch; returns the number of samples.

    It is called with `arguments`, `samples`: paths of .safetensors files, and `together`, as `collect` takes it, and returns
    {"together": n}, in about `seconds`. Raises PassError with its reason where it fails, and what iterating over `samples`
    raises.
    """
    with tempfile.TemporaryDirectory(dir=work, prefix="samples-") as folder:
        runner = _Runner(task, samples, isolated, progress, min(seconds, isolated.seconds / 4), arguments)
        largest = 0
        for number, arrays in enumerate(samples):
            size = sum(value.nbytes for value in arrays.values())
            if size > largest * _LARGER:
                runner.flush()
                largest, runner.together = size, FIRST_CHUNK
            path = Path(folder, f"{number}.safetensors")
            write_tensors(path, arrays)
            runner.add(path, size)
        runner.flush()
    return runner.done


class _Runner:
    def __init__(
        self,
        task: str,
        samples: Samples,
        isolated: ChildProcess,
        progress: Progress,
        seconds: float,
        arguments: dict[str, Any],
    ) -> None:
        self._task, self._samples, self._isolated, self._progress = task, samples, isolated, progress
        self._seconds, self._arguments = seconds, arguments
        self._batch: list[Path] = []
        self._bytes, self._limit = 0, 1
        self.together, self.done = FIRST_CHUNK, 0

    def add(self, path: Path, size: int) -> None:
        self._batch.append(path)
        self._bytes += size
        if len(self._batch) >= self._limit or self._bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._batch:
            return
        started = time.monotonic()
        files = [str(path) for path in self._batch]
        stage = f"calibrating with {self._samples.source}"
        try:
            reply = self._isolated.run(self._task, stage, samples=files, together=self.together, **self._arguments)
        except TaskFailed as problem:
            raise PassError(f"the fp32 graph can't be measured: {problem}") from problem
        self.together = reply["together"]
        for path in self._batch:
            path.unlink()
        self.done += len(self._batch)
        self._progress(self.done, self._samples.count)
        took = time.monotonic() - started
        if took < self._seconds / 2:
            self._limit = min(2 * self._limit, _MOST_SAMPLES)
        elif took > 2 * self._seconds:
            self._limit = max(1, self._limit // 2)
        self._batch, self._bytes = [], 0
