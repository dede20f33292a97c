"""What a training says while it runs: a bar on a terminal, plain lines otherwise, nothing when quiet."""

from __future__ import annotations

import sys
from types import TracebackType

from attn_runtime.cli.options import say
from attn_runtime.escape import printable
from attn_runtime.logs import Log
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .history import Row

_log = Log(__name__)


class Report:
    def __init__(self, epochs: int, steps: int, done_epochs: int = 0, quiet: bool = False) -> None:
        self.epochs, self.quiet = epochs, quiet
        self.bar: Progress | None = None
        if not quiet and sys.stdout.isatty():
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps"),
                TimeRemainingColumn(),
                console=Console(),
                transient=True,
            )
            self.task = self.bar.add_task("training", total=epochs * steps, completed=done_epochs * steps)

    def __enter__(self) -> Report:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def step(self) -> None:
        if self.bar:
            self.bar.advance(self.task)

    def epoch(self, row: Row) -> None:
        self.say(
            f"epoch {row.epoch}/{self.epochs}  loss {row.train_loss:.4f}  validation {row.validation_loss:.4f}  "
            f"accuracy {100 * row.accuracy:.2f} %  {row.seconds:.1f} s"
        )

    def say(self, line: str) -> None:
        _log.info("%s", line)
        if self.bar:
            self.bar.console.print(printable(line, None), highlight=False, markup=False, emoji=False)
        elif not self.quiet:
            say(line)
