"""How a long run speaks: a spinner on a terminal, plain lines in a pipe, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from pathlib import Path

from attn_runtime.escape import message, printable
from attn_runtime.files import changing
from attn_runtime.logs import Log

_log = Log(__name__)


class Console:
    """`stage` wraps one stage of work; its `done` text is printed with the seconds it took. Speaks on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console as Rich

        self.quiet = quiet or sys.stderr is None  # no stream: print would take stdout instead
        # The stream itself, not its name: libraries are hushed by redirecting sys.stderr while a stage runs.
        self._stream = sys.stderr
        self._rich = Rich(file=self._stream, highlight=False, soft_wrap=True)
        self._notes: set[str] = set()
        self._label = ""
        self._spins = False  # a stage inside another has no spinner of its own: a terminal shows one at a time

    @contextmanager
    def stage(self, name: str) -> Iterator[Line]:
        from rich.text import Text

        start = time.perf_counter()
        line = Line(lambda text: self._say(f"{name:<10} {self._label}{text}", "default"))
        if self._rich.is_terminal and not self.quiet and not self._spins:
            self._spins = True
            try:
                with self._rich.status(Text(f"{printable(name)} ...")) as spinner:
                    line = Line(lambda text: spinner.update(Text(f"{printable(name)} ... {text}")), always=True)
                    yield line
            finally:
                self._spins = False
        else:
            yield line
        if not line.dropped:
            self._say(f"{name:<10} {self._label + line.text:<78} {time.perf_counter() - start:6.1f} s", "green")

    def note(self, text: str) -> None:
        """A remark, told once."""
        text = self._label + message(text)
        if text not in self._notes:
            self._notes.add(text)
            self._say(f"note       {text}", "yellow")

    def waits(self, target: object) -> None:
        """That another run is at work on the same `target`, and that this one goes on after it."""
        self.note(f"another run is changing {target}; this one goes on when that has ended")

    def changing(self, target: Path) -> AbstractContextManager[None]:
        """attn_runtime.files.changing; that another run is waited for is told."""
        return changing(target, lambda: self.waits(target))

    def about(self, label: str) -> Console:
        """The same console, for the work on one of several things: each text begins with `label`."""
        other = copy(self)
        other._label = label
        return other

    def say(self, text: str) -> None:
        self._say(text, "default")

    def _say(self, text: str, colour: str) -> None:
        from rich.text import Text

        _log.info("%s", " ".join(text.split()))  # without the columns
        if self.quiet:
            return
        text = printable(text, None)
        if self._rich.is_terminal:
            first, space, rest = text.partition(" ")
            self._rich.print(Text.assemble((first, colour), space, rest))
        else:
            print(text, file=self._stream, flush=True)


class Line:
    """The text that a stage will be remembered by, and how far it is meanwhile."""

    def __init__(self, show: Callable[[str], object] = lambda _: None, *, always: bool = False) -> None:
        self.text, self.dropped = "", False
        self._show, self._always = show, always
        self._before = 0

    def done(self, text: str) -> None:
        self.text = text

    def drop(self) -> None:
        """Say nothing of this stage."""
        self.dropped = True

    def progress(self, done: int, total: int | None) -> None:
        """`done` of `total` parts are through; None where nobody knows how many there will be.

        A spinner tells it each time. Plain lines come at every quarter on the way, and without a total at 64, 128, 256, ...
        """
        if total is None:
            due = done >= 64 and done.bit_length() > self._before.bit_length()
        else:
            due = done < total and 4 * done // total > 4 * self._before // total
        if due or self._always:
            self._show(f"{done} so far" if total is None else f"{done} of {total}")
            self._before = done
