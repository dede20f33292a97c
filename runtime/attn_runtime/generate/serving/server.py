"""The thread that reads prompts and takes steps while there are requests."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UsageError
from ..graphs import GraphIO, Memory, Plans, PromptSlices, Sessions, Shape, Shapes, Slots, StepGraphs
from .request import Prompt, Request, RequestLimits
from .turns import Turns

#: Shapes of prompts that stay bound.
_MOST_PLANS = 8
#: Prompts of a decoder-only model are padded to a multiple of so many tokens, since a new shape has to be bound.
_WIDTH = 8


@dataclass
class _Running:
    """One row: its request, and the token that it is fed next."""

    request: Request[Any]
    token: int
    shapes: Shapes


class Server:
    """Requests, first come, first served, in rows of one step that they share.

    The thread lives while there are requests. It has the graphs for as long as rows are under way; where somebody else wants
    them (`turns`), it lets go of them after a step, and when it gets them back it keeps them for as long as it waited.
    """

    def __init__(
        self, wiring: GraphIO, sessions: Sessions, memory: Memory, turns: Turns, limits: RequestLimits
    ) -> None:
        self.where = wiring.where
        self._wiring, self._turns, self._limits = wiring, turns, limits
        # Where all rows stand at one place there can be but one.
        self._most = 1 if wiring.one_place else min(limits.rows, wiring.step.inputs["token"].dims[0].max)
        self._slots = Slots(wiring, sessions.step, memory, self._most, limits.memory)
        self._plans = Plans(wiring, sessions, memory, _MOST_PLANS)
        self._slices = PromptSlices(wiring, sessions, memory)
        self._running: list[_Running] = []
        self._reading: Request[Any] | None = None  # whose prompt was read in part; it waits in front
        self._step_seconds = 0.0
        # What other threads change:
        self._lock = threading.Lock()
        self._waiting: deque[Request[Any]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def here(self) -> bool:
        """Whether it is the calling thread that takes the steps."""
        thread = self._thread
        return thread is not None and thread.ident == threading.get_ident()

    @property
    def waiting(self) -> int:
        """How many requests have not been begun."""
        return len(self._waiting)

    def submit(self, request: Request[Any]) -> None:
        """Take it in. InputError where it would never fit, UsageError where too many wait, and once it is closed."""
        if not self._closed:
            self._check_memory(request.prompt)
        with self._lock:
            if self._closed:
                raise UsageError(f"the generator on {self.where} is closed; open another")
            there = len(self._waiting) + len(self._running)
            if there >= self._most + self._limits.waiting:
                raise UsageError(
                    f"{there} requests are there already, expected {self._most} under way and {self._limits.waiting} waiting at "
                    f"most; wait for one of them, or allow more in RequestLimits(waiting=...) ({self.where})"
                )
            self._waiting.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="attn requests", daemon=False)
                self._thread.start()

    def forget(self, request: Request[Any]) -> None:
        """One that is over waits no longer."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)

    def close(self) -> None:
        """End all requests with an error, and the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._fail_all()
        if thread is not None:
            thread.join()
        self._reading = None
        self._plans.clear()
        self._slices.clear()
        self._slots.clear()

    def _check_memory(self, prompt: Prompt) -> None:
        """InputError for a prompt that would never fit."""
        shapes = self._slots.carried.shapes_of(prompt.source)
        if self._slots.fit([prompt.entries], [shapes]):
            return
        room = self._slots.room_for([prompt.entries], [shapes])
        assert room is not None
        raise InputError(
            f"the request has up to {prompt.entries + 1} tokens, which take {self._slots.nbytes(room)} bytes; the memory of "
            f"requests is {self._limits.memory}: give a lower max_length, or more memory in RequestLimits ({self.where})"
        )

    def _work(self) -> None:
        while True:
            asked = time.perf_counter()
            self._turns.take()
            try:
                self._run(time.perf_counter() - asked)
            except BaseException as error:  # of the graphs: nobody may wait for ever
                for each in self._running:
                    each.request.fail(error)
                if not self._running:
                    self._fail_all(error)
                self._running = []
                self._slots.clear()
            finally:
                self._turns.give()
            with self._lock:
                if self._closed or not (self._waiting or self._running):
                    self._thread = None
                    break
        if self._closed:
            self._fail_all()

    def _run(self, owed: float) -> None:
        """Until there is nothing to do, or somebody else wants the graphs and what is owed was had."""
        started = time.perf_counter()
        while not self._closed:
            self._let_go()
            self._read_prompts()
            if self._running:
                self._step()
            elif not self._waiting:
                return
            if self._turns.wanted and time.perf_counter() - started >= owed:
                return

    def _let_go(self) -> None:
        """Of rows that are over, and of requests that had no time to begin."""
        for row in reversed(range(len(self._running))):
            if self._running[row].request.expired():
                self._leave(row)
        now = time.perf_counter()
        with self._lock:
            late = [request for request in self._waiting if request.expires is not None and request.expires <= now]
        for request in late:
            request.expired()

    def _leave(self, row: int) -> None:
        self._slots.leave(row)
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last

    def _read_prompts(self) -> None:
        """Of those that have waited longest, as many as fit. Where rows are under way, one, or as many as take no longer together
        than a step does, and no more than one slice: so long a row waits at most, beside the step itself."""
        until = time.perf_counter() + self._step_seconds
        first = True
        while first or not self._running or time.perf_counter() < until:
            first = False
            with self._lock:
                request = self._waiting[0] if self._waiting else None
            if request is not self._reading:
                self._reading = None  # it is over
            if request is None or len(self._running) == self._most:
                return
            shapes = self._slots.carried.shapes_of(request.prompt.source)
            entries = [each.request.prompt.entries for each in self._running]
            if not self._slots.fit([*entries, request.prompt.entries], [*(e.shapes for e in self._running), shapes]):
                return
            if self._read(request, shapes):
                return

    def _read(self, request: Request[Any], shapes: Shapes) -> bool:
        """Its prompt, or a slice of it, which answers True: where rows are under way when it is begun, and from then on. Behind
        its end, its first token, and a row of its own where more follow."""
        prompt, sliced = request.prompt, self._reading is not None
        try:
            if not sliced:
                count = self._slices.first(prompt.length) if self._running else prompt.length
                plan, tokens = self._plan(prompt, count)
                logits = plan.read(prompt.source, tokens, [count])
                if count < prompt.length:
                    self._slices.begin(plan.prompt, count, prompt.length)
                    self._reading = request
                    return True
                entries, carried = plan.prompt, plan.carried
            else:
                logits = self._slices.read(prompt.tokens)
                if self._slices.place < prompt.length:
                    return True
                entries, carried = self._slices.prompt, {}
            token, going = request.take(logits, 0, *_likeliest(logits))
            if going:
                self._slots.join(entries, carried, prompt.length, shapes)
                self._running.append(_Running(request, token, shapes))
        except Exception as error:
            request.fail(error)
        self.forget(request)
        return sliced

    def _plan(self, prompt: Prompt, count: int) -> tuple[StepGraphs, NDArray[np.int64]]:
        """The graphs that read its first `count` tokens, and these as wide as they take them."""
        width, dim = count, self._wiring.first.inputs["tokens"].dims[1]
        if self._wiring.encoder is None and not self._wiring.one_place:
            width = min(max(-(-width // _WIDTH) * _WIDTH, dim.min), dim.max)
        tokens = np.full((1, width), self._wiring.pad, np.int64)
        tokens[:, :count] = prompt.tokens[:, :count]
        shape = Shape(1, 1, width, tuple((name, value.shape) for name, value in prompt.source.items()))
        return self._plans.of(shape), tokens

    def _step(self) -> None:
        started = time.perf_counter()
        logits = self._slots.step([each.token for each in self._running])
        over = []
        for row, (each, likeliest) in enumerate(zip(self._running, _likeliest(logits), strict=True)):
            each.token, going = each.request.take(logits, row, likeliest)
            if not going:
                over.append(row)
        self._step_seconds = time.perf_counter() - started
        for row in reversed(over):
            self._leave(row)

    def _fail_all(self, error: BaseException | None = None) -> None:
        """With `error`, or since it was closed."""
        why = f"the generator on {self.where} was closed before the request had its answer; open another"
        with self._lock:
            every = [*self._waiting, *(each.request for each in self._running)]
        for request in every:
            request.fail(error or UsageError(why))


def _likeliest(logits: NDArray[Any]) -> list[int | None]:
    """Of each row the token with the largest logit, of equal ones the lowest; None where that is no finite number. For all rows
    at once: one by one takes most of the time that is spent beside the graph."""
    if len(logits) == 1:
        token = int(logits.argmax())
        return [token if math.isfinite(logits[0, token]) else None]
    tokens = logits.argmax(1)
    finite = np.isfinite(logits[np.arange(len(tokens)), tokens])
    return [token if good else None for token, good in zip(tokens.tolist(), finite.tolist(), strict=True)]
