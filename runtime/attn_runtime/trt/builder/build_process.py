"""Build in a child process, and wait for it: what crashes there is an error here, and what interrupts here ends there.

The plan and the timing cache go through files, all else of `Built` through the reply.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ... import child_process
from ...child_process import ChildDied, ChildProcess, TaskFailed
from ...errors import EngineError, OutputError, StageError
from .. import Layer, LayerTensor, Profile, Quantised, library
from . import network
from .callbacks import Phases
from .network import BuildOptions, Built
from .parser_check import Misread
from .progress import BuildProgress, Estimate

#: Seconds between two reports of progress, and how long a cancelled build may take to end by itself.
_EVERY, _PATIENCE = 0.25, 1.5


def build_apart(
    flavour: str,
    file: Path,
    profiles: Sequence[Profile],
    options: BuildOptions,
    folder: Path,
    on_progress: Callable[[BuildProgress], object] | None = None,
) -> Built:
    """As `network.build`, in a process of its own. `folder` holds what the two pass each other.

    `on_progress` may return False, which cancels the build: EngineError. Raises StageError when the child died, OutputError
    when the disk has no place. However this ends, also by an exception such as KeyboardInterrupt, the child is gone.
    """
    plan, old, new = folder / "plan", folder / "timing_cache", folder / "new_timing_cache"
    request: dict[str, Any] = {**vars(options)}
    if options.timing_cache:
        try:
            old.write_bytes(options.timing_cache)
        except OSError as error:
            raise OutputError(f"can't write beside {folder.parent}: {error.strerror or error}") from error
    request["timing_cache"] = None if options.timing_cache is None else str(old) if options.timing_cache else ""
    estimate, start = Estimate(), time.monotonic()

    def report(phases: list[list[Any]]) -> None:
        progress = estimate.update([tuple(phase) for phase in phases], time.monotonic() - start)
        if on_progress is not None and on_progress(progress) is False:
            raise EngineError(f"the build was cancelled after {progress.elapsed:.0f} s; nothing was written")

    # Without a limit: a large engine takes hours. In a new child: the library must find none of another's memory.
    with ChildProcess(math.inf, on_message=report, patience=_PATIENCE, reuse=False) as child:
        try:
            reply = child.run(
                f"{__name__}:build_here",
                f"the build of {file.name}",
                flavour=flavour,
                file=str(file),
                profiles=[dict(profile) for profile in profiles],
                options=request,
                plan=str(plan),
                new_timing_cache=str(new),
            )
        except ChildDied as died:
            raise StageError(
                f"the build of {file.name} died ({died.how}); nothing was written. Its last words: {died.last_words}"
            ) from None
        except TaskFailed as problem:
            raise StageError(f"{problem}; nothing was written") from None
    if "unwritten" in reply:
        raise OutputError(
            f"the engine was built and can't be written: {reply['unwritten']}; what was there is still there"
        )
    return built_from_json(
        reply,
        plan.read_bytes() if reply["plan"] is not None else None,
        new.read_bytes() if reply["timing_cache"] is not None else None,
    )


def build_here(
    flavour: str,
    file: str,
    profiles: list[dict[str, list[list[int]]]],
    options: dict[str, Any],
    plan: str,
    new_timing_cache: str,
) -> dict[str, Any]:
    """The task of the child process: `built_to_json`, or {"unwritten": why} where the disk had no place."""
    latest: list[Phases] = [()]
    over = threading.Event()

    def on_progress(phases: Phases) -> bool:
        latest[0] = phases
        return not child_process.cancelled()

    def report() -> None:
        # Also while nothing moves: the one who waits sees the time go by, and may cancel.
        while not over.wait(_EVERY) and not child_process.cancelled():
            child_process.send(latest[0])

    cache = options.pop("timing_cache")
    parsed = BuildOptions(
        **{**options, "capabilities": tuple(options["capabilities"]), "kept": tuple(options["kept"])},
        timing_cache=None if cache is None else Path(cache).read_bytes() if cache else b"",
    )
    shapes: list[Profile] = [
        {name: (tuple(low), tuple(opt), tuple(high)) for name, (low, opt, high) in one.items()} for one in profiles
    ]
    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        built = network.build(library.load(flavour), Path(file), shapes, parsed, on_progress)
    finally:
        over.set()
        reporter.join()
    try:
        for data, place in ((built.plan, plan), (built.timing_cache, new_timing_cache)):
            if data is not None:
                Path(place).write_bytes(data)
    except OSError as error:
        return {"unwritten": error.strerror or str(error)}
    return built_to_json(built)


def built_to_json(built: Built) -> dict[str, Any]:
    """Everything but the plan and the timing cache, whose sizes stand in their place."""
    document = {**vars(built), "layers": [asdict(layer) for layer in built.layers]}
    document["plan"] = None if built.plan is None else len(built.plan)
    document["timing_cache"] = None if built.timing_cache is None else len(built.timing_cache)
    document["problems"] = [asdict(problem) for problem in built.problems]
    document["misread"] = [asdict(one) for one in built.misread]
    document["quantised"] = {node: asdict(one) for node, one in built.quantised.items()}
    return document


def built_from_json(document: Mapping[str, Any], plan: bytes | None, timing_cache: bytes | None) -> Built:
    """The other way."""
    return Built(
        plan,
        tuple(map(_layer, document["layers"])),
        document["scratch"],
        tuple(network.ParserProblem(**problem) for problem in document["problems"]),
        tuple(document["errors"]),
        tuple(document["warnings"]),
        timing_cache,
        document["products"],
        tuple(Misread(**one) for one in document["misread"]),
        {node: Quantised(**{**one, "nodes": tuple(one["nodes"])}) for node, one in document["quantised"].items()},
    )


def _layer(document: Mapping[str, Any]) -> Layer:
    sides = {
        side: tuple(LayerTensor(t["name"], tuple(t["dims"]), t["dtype"]) for t in document[side])
        for side in ("inputs", "outputs", "constants")
    }
    return Layer(document["name"], document["type"], document["tactic"], nodes=tuple(document["nodes"]), **sides)
