"""Answers to the rows of whole files: a bundle mapped over tables, and folders of pictures or recordings, into Parquet."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ... import arguments
from ...bundle import Bundle
from ...errors import BackendError, RowsError, UsageError
from ...files import check_file
from ...session import check_open
from .answers import RESERVED, Opening, Task, TaskOptions, task_of
from .local_run import Answered, in_processes, in_this_process
from .output_folder import OutputFolder, output_folder
from .progress import Counter, Progress
from .rows import FILE, Layout, Source, find_sources, read_all, read_columns, read_kept
from .worker import Work, bundle_mark

#: Errors of rows that a report tells word by word.
_TOLD = 5


@dataclass(frozen=True)
class MapReport:
    """What lies in `output` now: `rows`, of which `failed` have no answer, in `parts` files. `mapped` rows are this run's, in
    `seconds`. `errors` are the first of this run: (source, row, why).

    stopped  whether it was asked to end before all rows were done
    choice   who answered; "" where there was nothing left to do
    allowed  how many rows may have no answer
    """

    output: str
    task: str
    rows: int
    failed: int
    parts: int
    mapped: int
    seconds: float
    choice: str
    errors: tuple[tuple[str, int, str], ...] = ()
    stopped: bool = False
    allowed: int = 0

    @property
    def rows_per_second(self) -> float:
        return self.mapped / self.seconds if self.seconds else 0.0

    def require(self) -> None:
        """RowsError where more rows have no answer than are allowed."""
        if not self.stopped and self.failed > self.allowed:
            raise RowsError(
                f"{self.failed} of {self.rows} rows have no answer, expected {self.allowed} at most; see the column error in "
                f"{self.output}, or allow them with --allow-failed"
            )

    def to_json(self) -> dict[str, Any]:
        errors = [{"source": source, "row": row, "error": error} for source, row, error in self.errors]
        return {**vars(self), "rows_per_second": self.rows_per_second, "errors": errors}


def map_rows(
    path: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    task: str | None = None,
    options: TaskOptions | None = None,
    columns: Sequence[str] = (),
    keep: Sequence[str] = (),
    delimiter: str | None = None,
    batch: int | None = None,
    part_rows: int | None = None,
    workers: int | None = None,
    ray: str | None = None,
    restart: bool = False,
    allow_failed: int | str = 0,
    metrics: str | os.PathLike[str] | None = None,
    device: str = "auto",
    backend: str | None = None,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    check: bool = True,
) -> MapReport:
    """Answer every row of `inputs` with the bundle at `path`, into Parquet files in the folder `output`.

    inputs      files of rows (.jsonl, .csv, .tsv, .txt, .parquet; all but the last also compressed), folders of them, pictures or
                recordings and folders of those, as the bundle takes them
    task        one of classify, detect, embed, generate, outputs, tag, transcribe; None is what the bundle is for
    columns     where a task finds what it needs, as in "text=body"
    keep        columns to write beside the answers: "id", "id:int64", "key=id"
    batch       most rows of a call of the graph; None for as many as it takes
    part_rows   rows of one file of the output, and how many are lost at most when a worker is killed
    workers     processes on this machine that each have the bundle open, or actors on a Ray cluster
    ray         the address of a Ray cluster that is there, or "auto"; None is this machine
    restart     remove what a run with another bundle, other inputs or other options wrote there
    allow_failed  how many rows may have no answer before `check` raises: a number, or a share as in "1%"
    metrics     a file that gets counters in Prometheus' text form, every few seconds
    on_progress  called after each part

    Each row of an input is one row of the output, with `source` and `row`, its number from 0 on; a row that can't be answered
    has `error` in one line instead, and never ends the run. The bundle is verified on every machine that answers, before it does.
    A run that was killed goes on where it was: each row is written once. Ctrl-C ends it behind the part under way, a second one
    at once.

    Raises RowsError where rows have no answer (with `check=False` the report is returned instead), OutputError for a folder that
    can't be written or belongs to another run, InputError for a file that is missing or damaged, ParityError where the bundle
    does not answer as PyTorch did, BackendError where pyarrow or ray are missing, StageError where a worker process dies, and
    what `open_session` raises.
    """
    check_open(path, device, backend, graph, precision, threads, cache)
    arguments.expect(arguments.PATH, output=output)
    arguments.expect(arguments.PATH | arguments.NONE, metrics=metrics)
    arguments.expect(arguments.TEXT | arguments.NONE, task=task, delimiter=delimiter, ray=ray)
    arguments.expect(arguments.TEXTS, columns=columns, keep=keep)
    arguments.expect(arguments.WHOLE | arguments.NONE, batch=batch, part_rows=part_rows, workers=workers)
    arguments.expect(arguments.FLAG, restart=restart, check=check)
    arguments.expect_call("on_progress", on_progress, None)
    for name, value in (("batch", batch), ("part_rows", part_rows), ("workers", workers)):
        if value is not None and value < 1:
            raise UsageError(f"{name}: got {value}, expected 1 or more")
    if delimiter is not None and len(delimiter) != 1:
        raise UsageError(f"delimiter: got {arguments.shown(delimiter)}, expected one character")
    allowed = _allowed(allow_failed)
    _need_pyarrow()
    if metrics is not None:
        check_file(Path(metrics))
    opening = Opening(
        os.fspath(path), device, backend, graph, precision, threads, None if cache is None else os.fspath(cache), batch
    )
    bundle = Bundle.open(path)
    made = task_of(bundle, task, options or TaskOptions(), opening)
    found = find_sources([os.fspath(each) for each in inputs], made.needs)
    if not found:
        raise UsageError("nothing to map: give files of rows, or folders")
    work = _work(bundle, made, opening, options or TaskOptions(), found, columns, keep, delimiter)
    with output_folder(Path(output), _begun_with(bundle, work, found), restart) as folder:
        report = _run(work, found, folder, part_rows or made.part_rows, workers, ray, on_progress, metrics, allowed)
    if check:
        report.require()
    return report


def _run(
    work: Work,
    found: Sequence[Source],
    folder: OutputFolder,
    part_rows: int,
    workers: int | None,
    ray: str | None,
    on_progress: Callable[[Progress], object] | None,
    metrics: str | os.PathLike[str] | None,
    allowed: Callable[[int], int],
) -> MapReport:
    before, failed = folder.counted()
    counter = Counter(len(found), before, on_progress, metrics)
    choice: list[str] = []
    errors: list[tuple[str, int, str]] = []
    stopped = False
    if not folder.all_done:
        dones = [folder.done(number) for number in range(len(found))]
        for number, done in enumerate(dones):
            if done.all:
                counter.finished(number, done.places[-1].stop)
        if ray is not None:
            from .ray_run import on_ray

            answered = on_ray(work, found, dones, part_rows, workers, ray, choice.append)
        else:
            parts = read_all(found, work.layout, dones, part_rows)
            answered = (
                in_processes(work, parts, workers, choice.append)
                if workers is not None and workers > 1
                else in_this_process(work, parts, choice.append)
            )
        with _asked_to_end() as asked:
            stopped = _write(answered, folder, counter, errors, asked)
    now = counter.now()
    counter.write(now)
    rows = before + now.rows
    return MapReport(
        os.fspath(folder.path), work.task, rows, failed + now.failed, folder.parts, now.rows, now.seconds,
        choice[0] if choice else "", tuple(errors), stopped, allowed(rows),
    )  # fmt: skip


def _write(
    answered: Iterator[Answered],
    folder: OutputFolder,
    counter: Counter,
    errors: list[tuple[str, int, str]],
    asked: threading.Event,
) -> bool:
    """Whether it was ended before all was done."""
    try:
        for part, table in answered:
            failed = folder.write(part.place, table)
            if failed and len(errors) < _TOLD:
                told = zip(
                    table["source"].to_pylist(), table["row"].to_pylist(), table["error"].to_pylist(), strict=True
                )
                errors += [each for each in told if each[2] is not None][: _TOLD - len(errors)]
            counter.add(part, failed)
            if asked.is_set():
                return not folder.all_done
    finally:
        if (close := getattr(answered, "close", None)) is not None:
            close()
    return False


def _work(
    bundle: Bundle,
    task: Task,
    opening: Opening,
    options: TaskOptions,
    found: Sequence[Source],
    columns: Sequence[str],
    keep: Sequence[str],
    delimiter: str | None,
) -> Work:
    taken = [*RESERVED, *(name for name, _ in task.fields)]
    if not any(need.kind == "file" for need in task.needs):
        taken.remove(FILE)
    layout = Layout(task.needs, read_columns(columns, task.needs), read_kept(keep, taken), delimiter)
    if any(source.form == "files" for source in found) and (layout.kept or layout.columns):
        raise UsageError("keep and column: files of pictures or recordings have no columns; leave them out")
    for source in found:
        source.check(layout)
    types = [each for source in found if (each := source.kept_types(layout)) is not None]
    if types and layout.kept and (len(types) < len(found) or any(each != types[0] for each in types)):
        for kept in layout.kept:
            own = {str(each[kept.column]) for each in types} | ({"string"} if len(types) < len(found) else set())
            if len(own) > 1 and kept.type is None:
                raise UsageError(
                    f"keep: {kept.column} is {' and '.join(sorted(own))} in these inputs; say what to keep it as, as in "
                    f"{kept.column}:string"
                )
    names = tuple(source.name for source in found)
    return Work(opening, task.name, options, layout, names, bundle_mark(bundle), types[0] if types else {})


def _begun_with(bundle: Bundle, work: Work, found: Sequence[Source]) -> dict[str, Any]:
    """What makes a run another one. Where and how fast it is answered does not: backend, device, workers, batches."""
    layout = work.layout
    return {
        "format": 1,
        "bundle": {"name": bundle.path.name, "sha256": work.bundle},
        "options": {
            "task": work.task,
            **asdict(work.options),
            "graph": work.opening.graph,
            "precision": work.opening.precision,
            "columns": dict(layout.columns),
            "keep": [vars(kept) for kept in layout.kept],
            "delimiter": layout.delimiter,
        },
        "inputs": [{"name": source.name, "form": source.form, **source.mark} for source in found],
    }


def _allowed(given: int | str) -> Callable[[int], int]:
    """How many of so many rows may fail."""
    try:
        if isinstance(given, str) and given.endswith("%") and 0 <= (share := float(given[:-1])) <= 100:
            return lambda rows: int(rows * share / 100)
        if not isinstance(given, bool) and (count := int(given)) >= 0:
            return lambda rows: count
    except (TypeError, ValueError):
        pass
    raise UsageError(f"allow_failed: got {arguments.shown(given)}, expected a number of rows, or a share as in 1%")


def _need_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise BackendError("map needs pyarrow; pip install pyarrow") from error


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C; a second one is the KeyboardInterrupt that it always is. Only in the main thread."""
    asked = threading.Event()
    before: Any = None

    def ask(number: int, frame: Any) -> None:
        if asked.is_set() or not callable(before):
            raise KeyboardInterrupt
        asked.set()
        with suppress(KeyboardInterrupt):  # whoever watches for signals that are not heard is to know of it
            before(number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):  # ignored, as under nohup
        yield asked
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
