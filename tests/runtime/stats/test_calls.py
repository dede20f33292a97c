"""Calls are counted, each once, by however many threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from attn_runtime.stats import CallRecorder


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_none_is_lost_while_others_read() -> None:
    recorder, each, threads = CallRecorder(), 5000, 4

    def work() -> None:
        for number in range(each):
            recorder.answered(1000 + number, 2)
            if number % 10 == 0:
                recorder.failed()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        recorder.read({})
    found = recorder.read({})
    assert (found.calls, found.failed) == (threads * (each + each // 10), threads * each // 10)
    assert found.rows == 2 * threads * each and found.latencies.count == threads * each
    assert found.seconds == pytest.approx(threads * sum(1000 + n for n in range(each)) / 1e9)


def test_memory_does_not_grow_with_calls_that_nobody_reads() -> None:
    recorder = CallRecorder()
    for _ in range(20_000):
        recorder.answered(1000, 1)
        recorder.failed()
    assert len(recorder._kept) < 5000 and len(recorder._failures) < 5000
    assert (recorder.read({}).calls, recorder.read({}).failed) == (40_000, 20_000)


class Hurried(list[int]):
    """While it is copied, another thread answers a call."""

    def __getitem__(self, part: Any) -> Any:
        copied = super().__getitem__(part)
        self.extend((5000, 3))
        return copied


def test_what_comes_while_calls_are_sorted_is_kept() -> None:
    recorder = CallRecorder()
    recorder._kept = Hurried((1000, 2))
    assert (recorder.read({}).rows, recorder.read({}).rows) == (2, 2 + 3)
