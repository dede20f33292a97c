"""One request to a running generator: its tokens as they come, its answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ... import arguments, forks
from ...errors import UsageError

Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)


@dataclass(frozen=True)
class RequestLimits:
    """What requests to one generator may take up at a time.

    rows     how many are written at once, as far as the graphs take so many
    waiting  how many more there may be, which wait; a further one is refused
    memory   bytes of the buffers that they share, None for no bound but the one that `rows` sets. Half as much again is taken
             while the buffers grow
    """

    rows: int = 64
    waiting: int = 1024
    memory: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("rows", 1), ("waiting", 0), ("memory", 1)):
            value = getattr(self, name)
            if value is None and name == "memory":
                continue
            if not arguments.is_whole(value) or value < least:
                raise UsageError(f"{name}: got {arguments.shown(value)}, expected a whole number, {least} or more")


@dataclass(frozen=True)
class Prompt:
    """What one row begins with: the encoder's inputs of one row, tokens int64 [1, length], and how many tokens may follow."""

    source: Mapping[str, NDArray[Any]]
    tokens: NDArray[np.int64]
    limit: int

    @property
    def length(self) -> int:
        return int(self.tokens.shape[1])

    @property
    def entries(self) -> int:
        """Of the cache, when the answer is as long as it may be: its last token is never fed."""
        return self.length + self.limit - 1


class Row(Protocol[Made]):
    """How the tokens of one row are chosen, and what is made of them. Used by one thread at a time."""

    def take(self, logits: NDArray[Any], row: int, likeliest: int | None) -> tuple[int, bool]:
        """(the next token, whether another one follows), by one row of the logits [rows, vocabulary], of which the token
        `likeliest` has the largest; None where that is no finite number."""

    def result(self, why: str | None, seconds: float) -> Made:
        """What was chosen until now; `why` says why no more was, None where the row ended by itself."""


class Owner(Protocol):
    """Who writes a request: the server."""

    where: str

    @property
    def here(self) -> bool:
        """Whether it is the calling thread that takes the steps."""

    def forget(self, request: Any) -> None:
        """It is over: it waits no longer."""


class Request(Generic[Result]):
    """A prompt that was submitted. Its tokens are iterated over as they come; `result` waits for all of them.

    Any thread may call it, but for on_token's, which would wait for itself.

    first_seconds   from when it was submitted to its first token; None before
    """

    def __init__(
        self,
        server: Owner,
        prompt: Prompt,
        row: Row[Result],
        on_token: Callable[[int], object] | None,
        deadline: float | None,
    ) -> None:
        self.prompt = prompt
        self._server, self._row, self._on_token = server, row, on_token
        self._started = time.perf_counter()
        self.expires = None if deadline is None else self._started + deadline
        # Who waits for the whole answer sleeps until it is there: woken for each token, it would take turns with who writes them.
        lock = threading.RLock()
        self._changed, self._over = threading.Condition(lock), threading.Condition(lock)
        self._tokens: list[int] = []
        self.first_seconds: float | None = None
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._done = False
        self._calls: list[Callable[[Request[Result]], object]] = []
        self._process = os.getpid()

    @property
    def done(self) -> bool:
        """Whether there will be no more tokens."""
        return self._done

    @property
    def tokens(self) -> list[int]:
        """Those that were chosen until now, the stop token included."""
        return list(self._tokens)

    def __iter__(self) -> Iterator[int]:
        """Every token from the first on, as they come. Raises what `result` does, behind those that there are."""
        number = 0
        while True:
            self._wait(number + 1, None)
            if number == len(self._tokens):
                break
            yield self._tokens[number]
            number += 1
        if self._error is not None:
            raise self._error

    def result(self, timeout: float | None = None) -> Result:
        """The answer, as `generate` gives it for this prompt alone; what there is of it where it was cancelled or late.

        Raises TimeoutError where it takes more than `timeout` seconds from now on, and goes on then; what `generate` raises; what
        on_token raised; UsageError where the generator was closed.
        """
        arguments.expect(arguments.NUMBER | arguments.NONE, timeout=timeout)
        if not self._wait(None, timeout):
            raise TimeoutError(f"the request has {len(self._tokens)} tokens after {timeout} s and goes on; cancel it")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def when_done(self, call: Callable[[Request[Result]], object]) -> None:
        """Have `call(request)` called once it is over, by the thread that ends it; at once where it is. Its errors are lost."""
        arguments.expect_call("when_done", call, self)
        with self._changed:
            if not self._done:
                self._calls.append(call)
                return
        call(self)

    def cancel(self) -> None:
        """End it with the tokens that there are; nothing where it is over."""
        self.end("cancelled")

    # --- the server's

    def take(self, logits: NDArray[Any], row: int, likeliest: int | None) -> tuple[int, bool]:
        """Choose the next token, as `Row.take`. What that raises ends the request."""
        try:
            with self._changed:
                if self._done:
                    return 0, False
                token, going = self._row.take(logits, row, likeliest)
                if not self._tokens:
                    self.first_seconds = time.perf_counter() - self._started
                self._tokens.append(token)
                self._changed.notify_all()
            if self._on_token is not None:
                self._on_token(token)
        except BaseException as error:  # of this request alone, whatever a function of the caller raises
            self.fail(error)
            return 0, False
        if not going:
            self.end(None)
        return token, going

    def expired(self) -> bool:
        """Whether it is over, as it is when it has no more time."""
        if not self._done and self.expires is not None and time.perf_counter() >= self.expires:
            self.end("deadline")
        return self._done

    def end(self, why: str | None) -> None:
        """Nothing more is chosen; `why` as in `Row.result`."""
        self._end(None, why)

    def fail(self, error: BaseException) -> None:
        self._end(error, None)

    def _end(self, error: BaseException | None, why: str | None) -> None:
        with self._changed:
            if self._done:
                return
            if error is None:
                self._result = self._row.result(why, time.perf_counter() - self._started)
            self._error, self._done = error, True
            self._changed.notify_all()
            self._over.notify_all()
        self._server.forget(self)
        for call in self._calls:
            with suppress(Exception):  # there is nobody to tell
                call(self)

    def _wait(self, tokens: int | None, timeout: float | None) -> bool:
        """Until it is over, or has so many tokens. False where that takes too long."""
        if self._process != os.getpid():
            raise UsageError(forks.opened_before("generator", self._server.where))
        if not self._done and self._server.here:
            raise UsageError(
                f"a request to the generator on {self._server.where} is waited for in on_token, by the thread that writes it; "
                "wait in another"
            )
        until = None if timeout is None else time.perf_counter() + timeout
        waited = self._over if tokens is None else self._changed
        with waited:
            while not (self._done or (tokens is not None and len(self._tokens) >= tokens)):
                ends = [at for at in (until, self.expires) if at is not None]
                left = min(ends) - time.perf_counter() if ends else None
                if left is None or left > 0:
                    waited.wait(left)
                    continue
                if until is not None and time.perf_counter() >= until:
                    return False
                break
            else:
                return True
        self.expired()
        return self._wait(tokens, None if until is None else max(0.0, until - time.perf_counter()))
