"""A run on a Ray cluster, through Ray Data: one process beside the caller reads parts, a pool of actors answers them, and the
caller writes what comes back.

Inputs and output are therefore the caller's machine's alone. No storage is shared: the bundle lies at the same path on every
machine that answers. Ray Data holds back the reading while parts wait to be answered. When a machine is lost, Ray
has its parts answered elsewhere; what reaches the caller reaches it once.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import AttnError, BackendError, StageError
from ...escape import message
from ...files import reason
from .local_run import Answered
from .rows import Done, Part, Place, Source, from_bytes, read_all, to_bytes
from .worker import Work, Worker, working

if TYPE_CHECKING:
    from numpy.typing import NDArray

Columns = dict[str, "NDArray[Any]"]
_HOST_PORT = re.compile(r"(?:ray://)?(.+):(\d{1,6})")
_PATIENCE_S = 10.0
#: Columns of a dataset that tell where a part belongs.
_PLACE = ("source", "first", "stop", "last", "total")


def on_ray(
    work: Work,
    found: Sequence[Source],
    dones: Sequence[Done],
    part_rows: int,
    workers: int | None,
    address: str,
    tell: Callable[[str], object],
) -> Iterator[Answered]:
    """Parts as they are done, in any order, by `workers` actors; None for as many as the cluster has room for.

    BackendError where ray is missing or the cluster can't be reached, StageError where an actor fails for good.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        yield from _answered(ray, work, found, dones, part_rows, workers, tell)
    finally:
        if ours:
            ray.shutdown()


def _answered(
    ray: Any, work: Work, found: Sequence[Source], dones: Sequence[Done], part_rows: int, workers: int | None,
    tell: Callable[[str], object],
) -> Iterator[Answered]:  # fmt: skip
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    # A block is what one actor takes at a time: a part, whatever its size.
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    needs = _resources(ray, work)
    if "num_gpus" not in needs and work.opening.threads is None:
        work = replace(
            work, opening=work.opening.with_threads(1)
        )  # as many threads as cores, for each actor, would get in their way
    count = workers or _room(ray, needs)
    tell(f"{count} actors on Ray")
    read = ray.data.from_items([{"run": 0}]).map_batches(
        _read,
        fn_kwargs={"work": work, "found": tuple(found), "dones": tuple(dones), "part_rows": part_rows},
        batch_size=1,
        num_cpus=0,
        label_selector=here,
    )
    answered = read.map_batches(
        _Actor, fn_constructor_args=(work,), batch_size=1, compute=ActorPoolStrategy(size=count), **needs
    )
    try:
        for batch in answered.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
            if error := str(batch["error"][0]):
                raise StageError(error)
            part = _part(batch, "table")
            yield part, part.rows
    except ray.exceptions.RayError as error:
        raise StageError(
            f"the run on Ray ended: {message(str(error))[-300:]}; what is done stays: run it again"
        ) from error


def _read(
    batch: Columns, work: Work, found: Sequence[Source], dones: Sequence[Done], part_rows: int
) -> Iterator[Columns]:
    try:
        for part in read_all(found, work.layout, dones, part_rows):
            place = part.place
            told = {
                "source": place.source,
                "first": place.first,
                "stop": place.stop,
                "last": place.last,
                "total": part.total,
            }
            yield _row(**told, rows=to_bytes(part.rows), error="")
    except AttnError as error:  # raised here, Ray would wrap it in one of its own
        yield _row(source=0, first=0, stop=0, last=False, total=0, rows=b"", error=str(error))


class _Actor:
    """One open bundle, verified where it is."""

    def __init__(self, work: Work) -> None:
        self._open = ExitStack()
        self._worker: Worker | None = None
        self._error = ""
        try:
            self._worker = self._open.enter_context(working(work))
        except AttnError as error:  # raised here, Ray would start it again and again
            self._error = f"a machine of the cluster can't run the bundle: {error}"

    def __call__(self, batch: Columns) -> Columns:
        error = self._error or str(batch["error"][0])
        # The rows are not sent back: who writes needs the answers alone.
        back = {name: batch[name] for name in _PLACE}
        if error or self._worker is None:
            return back | _row(table=b"", error=error)
        return back | _row(table=to_bytes(self._worker.answer(_part(batch))), error="")


def _row(**values: object) -> Columns:
    """One row of a dataset of Ray."""
    return {
        name: np.array([value], object if isinstance(value, bytes | str) else None) for name, value in values.items()
    }


def _part(batch: Columns, rows: str = "rows") -> Part:
    """The part of a row, with what is in its column `rows`."""
    source, first, stop, total = (int(batch[name][0]) for name in ("source", "first", "stop", "total"))
    return Part(Place(source, first, stop, bool(batch["last"][0])), from_bytes(batch[rows][0]), total)


def _resources(ray: Any, work: Work) -> dict[str, float]:
    """What an actor takes up: a GPU where one is asked for, or there are some and it is left open; else its threads."""
    device, threads = work.opening.device, work.opening.threads
    if device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= 1):
        return {"num_gpus": 1}
    return {"num_cpus": threads if isinstance(threads, int) else 1}


def _room(ray: Any, needs: dict[str, float]) -> int:
    (kind, each), = needs.items()  # fmt: skip
    name = "GPU" if kind == "num_gpus" else "CPU"
    alive = [node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]]
    count = sum(int(there // each) for there in alive)
    if not count:
        raise BackendError(
            f"the Ray cluster has no machine with {each:g} {name}s; found {', '.join(map(str, alive)) or 'none'}"
        )
    return count


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError("--ray needs Ray Data; pip install 'ray[data]'") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    before = signal.getsignal(signal.SIGTERM)
    try:
        _expect_somebody(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise BackendError(
            f"Ray at {address}: can't be reached: {message(str(error))[:200]}; start a cluster with ray start --head"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's own ends the process with 15, which means something else here


def _expect_somebody(address: str) -> None:
    """ConnectionError where nobody listens at HOST:PORT: Ray would ask for minutes."""
    told = _HOST_PORT.fullmatch(address)
    if told is None:  # "auto" and the like
        return
    try:
        socket.create_connection((told[1].strip("[]"), int(told[2])), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(reason(error) if isinstance(error, OSError) else str(error)) from error
