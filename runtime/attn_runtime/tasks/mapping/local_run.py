"""A run on this machine: in this process, or in several of which each has the bundle open."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import StageError
from .rows import Part, from_bytes, to_bytes
from .worker import Work, Worker, working

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
#: Parts that lie ready for each worker beside the one that it answers.
_AHEAD = 1
#: What a part came to, with the part.
Answered = tuple[Part, "pa.Table"]


def in_this_process(work: Work, parts: Iterator[Part], tell: Callable[[str], object]) -> Iterator[Answered]:
    """Parts in order, the next one read meanwhile."""
    with working(work) as worker:
        tell(worker.choice)
        for part in ahead(parts, _AHEAD):
            yield part, worker.answer(part)


def in_processes(work: Work, parts: Iterator[Part], workers: int, tell: Callable[[str], object]) -> Iterator[Answered]:
    """Parts as they are done, by so many processes. StageError where one of them dies."""
    with working(
        work
    ) as worker:  # verified once for this machine, and what is wrong with the bundle is told before all else
        tell(f"{worker.choice}, {workers} processes")
    if work.opening.threads is None:
        # Each would take all cores, and they would get in each other's way.
        work = replace(work, opening=work.opening.with_threads(max(1, _cores() // workers)))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (work,))
    try:
        waiting: deque[tuple[Part, Future[bytes]]] = deque()
        for part in ahead(parts, _AHEAD):
            waiting.append((part, pool.submit(_answer, part)))
            if len(waiting) >= workers * (1 + _AHEAD):
                yield _taken(*waiting.popleft())
        while waiting:
            yield _taken(*waiting.popleft())
    except BrokenProcessPool as error:
        raise StageError(
            "a worker process died, as for want of memory; what is done stays: run the same command again, with fewer --workers "
            "or a smaller --batch"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _taken(part: Part, answer: Future[bytes]) -> Answered:
    return part, from_bytes(answer.result())


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """The same items, read by a thread that is up to `count` of them ahead. What reading raises is raised in its place."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(count)
    ended = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not ended.is_set():
            try:
                ready.put((item, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        error: BaseException | None = StopIteration()
        try:
            for item in items:
                if not put(item, None):
                    return
        except BaseException as raised:  # whoever takes the items is told
            error = raised
        put(None, error)

    thread = threading.Thread(target=read, name="attn rows", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        ended.set()
        thread.join()


# --- in a worker process ------------------------------------------------------------------------------------------------

_worker: list[Worker] = []
_open = ExitStack()


def _begin(work: Work) -> None:
    # Who started it decides when it ends: a part is finished on Ctrl-C. It does not outlive that one, however that one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _worker.append(_open.enter_context(working(work, check=False)))


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _answer(part: Part) -> bytes:
    return to_bytes(_worker[0].answer(part))
