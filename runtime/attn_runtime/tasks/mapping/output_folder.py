"""The folder that a run writes: a file for each part that is done, and what the run was begun with.

    _run.json                                             bundle, options and inputs, written first
    part-00000-000000000000-000000008192.parquet          rows 0..8191 of the first input
    part-00000-000000008192-000000009000-end.parquet      its last ones

A part's file appears whole, under the name that tells its rows: which rows are done is told by the files that are there, and by
nothing else, so there is no moment in which the two differ. Readers of Parquet pass over names that begin with _ or a dot.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import AttnError, OutputError
from ...escape import printable
from ...files import changing, folder_problem, read_json, reason, resolved, sweep, write_file, write_whole
from .rows import ERROR, Done, Place

if TYPE_CHECKING:
    import pyarrow as pa

_RUN = "_run.json"
_LEFT = re.compile(r"\.(.+)\.tmp-")
#: In a file's own metadata: how many of its rows have no answer.
_FAILED = b"attn.failed"


class OutputFolder:
    """What is done there. Nobody else writes into it meanwhile (`output_folder`)."""

    def __init__(self, path: Path, sources: int) -> None:
        self.path = path
        places = [place for name in _names(path) if (place := Place.of_file(name)) is not None]
        self._done = [[place for place in places if place.source == number] for number in range(sources)]

    def done(self, source: int) -> Done:
        return Done(self._done[source])

    @property
    def all_done(self) -> bool:
        return all(Done(places).all for places in self._done)

    @property
    def parts(self) -> int:
        return sum(map(len, self._done))

    def counted(self) -> tuple[int, int]:
        """(rows that are written, those of them without an answer)"""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = failed = 0
        for place in (place for places in self._done for place in places):
            try:
                told = pq.read_metadata(self.path / place.file)
            except (OSError, pa.ArrowException) as error:
                raise OutputError(
                    f"{self.path / place.file}: can't be read: {printable(reason(error), 100)}; remove it, and its rows are "
                    "answered again"
                ) from error
            rows += len(place)
            failed += int((told.metadata or {}).get(_FAILED, 0))
        return rows, failed

    def write(self, place: Place, table: pa.Table) -> int:
        """Put the rows of a part there, whole or not at all. How many have no answer. OutputError where that can't be done."""
        import pyarrow.parquet as pq

        failed = len(table) - int(table[ERROR].null_count)
        marked = table.replace_schema_metadata({_FAILED: str(failed).encode()})
        write_whole(self.path / place.file, lambda path: pq.write_table(marked, path, compression="zstd"))
        self._done[place.source].append(place)
        return failed


@contextmanager
def output_folder(path: Path, run: Mapping[str, Any], restart: bool) -> Iterator[OutputFolder]:
    """The folder for a run that was begun as `run` tells; made where it is not there, its parent is.

    OutputError where another run is at work there, where it holds something else, and where it was begun with another bundle,
    other inputs or options, unless with `restart`: then what is there is removed first. A run that ended before its first part,
    as where its options were wrong, holds nothing back.
    """
    _check_place(path)
    with changing(path, lambda: _refuse_a_second(path)):
        begun = _begun(path)
        if begun is None and (other := [name for name in _names(path) if name[0] != "."]):
            raise OutputError(f"{path}: holds {printable(other[0])}, which no run wrote; choose another folder")
        unused = begun is not None and set(begun) == set(run) and not any(map(Place.of_file, _names(path)))
        if begun is not None and not (restart or unused) and (differs := list(_differences(begun, run))):
            raise OutputError(
                f"{path}: was begun with other {' and '.join(dict.fromkeys(d.partition(':')[0] for d in differs))}; begin anew "
                "with --restart, or choose another folder",
                "\n".join(differs),
            )
        for name in _names(path):
            if left := _LEFT.match(name):  # by a run that was killed when the part was in its place already
                sweep(path / left[1])
        try:
            if begun is not None and restart:
                for name in _names(path):
                    if Place.of_file(name) is not None:
                        (path / name).unlink()
                (path / _RUN).unlink()
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"can't write {path}: {reason(error)}; choose another folder") from error
        if begun != run or restart:
            write_file(path / _RUN, json.dumps(run, indent=1, sort_keys=True).encode())
        yield OutputFolder(path, len(run["inputs"]))


def _check_place(path: Path) -> None:
    try:
        problem = folder_problem(resolved(path).parent)
        if not problem and path.exists() and not path.is_dir():
            problem = "is no folder"
        if not problem and not os.access(path if path.exists() else resolved(path).parent, os.W_OK | os.X_OK):
            problem = "is not writable"
    except (OSError, ValueError) as error:
        problem = reason(error)
    if problem:
        raise OutputError(f"can't write {path}: {problem}; choose another folder")


def _refuse_a_second(path: Path) -> NoReturn:
    raise OutputError(f"{path}: another run is at work there; wait for it, or choose another folder")


def _names(path: Path) -> list[str]:
    try:
        return sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    except OSError as error:
        raise OutputError(f"{path}: can't be read: {reason(error)}; choose another folder") from error


def _begun(path: Path) -> dict[str, Any] | None:
    if not (path / _RUN).exists():
        return None
    try:
        found = read_json(path / _RUN, str(path))
    except AttnError as error:
        raise OutputError(f"{error}; choose another folder") from None
    return found if isinstance(found, dict) else {}


def _differences(begun: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing that is not as it was: "inputs: ...", "options: ...", "bundle: ..."."""
    for topic in ("bundle", "options", "inputs"):
        before, now = begun.get(topic), run[topic]
        if before == now:
            continue
        if topic == "inputs" and isinstance(before, list) and len(before) == len(now):
            pairs = [(f"{b.get('name')}", b, n) for b, n in zip(before, now, strict=True) if b != n]
        else:
            pairs = [("", before, now)]
        for name, was, is_ in pairs:
            if isinstance(was, dict) and isinstance(is_, dict):
                keys = [key for key in {**was, **is_} if was.get(key) != is_.get(key)]
                told = "; ".join(f"{key} was {json.dumps(was.get(key))}, is {json.dumps(is_.get(key))}" for key in keys)
            else:
                told = f"was {json.dumps(was)[:200]}, is {json.dumps(is_)[:200]}"
            yield printable(f"{topic}: {f'{name}: ' if name else ''}{told}", 400)
