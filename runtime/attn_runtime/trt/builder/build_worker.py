"""The child process that builds: a crash of the library, or what it prints, stays here. Started by `apart.py`.

stdin: one JSON request, then "cancel" or the end. stdout: JSON lines, {"phases": ...} while it builds and one
{"built": ...} at the end, or {"unwritten": ...} where the disk had no place. The plan goes to the file that the request names.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from .. import library
from ..layers import Layer, LayerTensor
from . import network
from .callbacks import Phases

#: Seconds between two reports of progress, and how long a cancelled build may take to end by itself.
_EVERY, _PATIENCE = 0.25, 2.0


def main() -> None:
    # The protocol keeps the real stdout; whatever the library prints there goes to stderr.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    cancelled = threading.Event()
    threading.Thread(target=_listen, args=(sys.stdin, cancelled), daemon=True).start()
    built = _build(request, replies, cancelled)
    reply: dict[str, Any] = {"built": built_to_json(built)}
    try:
        for data, name in ((built.plan, "plan"), (built.timing_cache, "new_timing_cache")):
            if data is not None:
                Path(request[name]).write_bytes(data)
    except OSError as error:
        reply = {"unwritten": error.strerror or str(error)}
    replies.write(json.dumps(reply) + "\n")
    replies.flush()
    os._exit(0)  # the library's own way out has nothing to add, and the thread still listens


def _listen(stdin: TextIO, cancelled: threading.Event) -> None:
    """Anything that is read, and the end of what can be read, means that nobody waits for this build any more."""
    stdin.readline()
    cancelled.set()
    time.sleep(_PATIENCE)
    os._exit(1)


def _build(request: Mapping[str, Any], replies: TextIO, cancelled: threading.Event) -> network.Built:
    latest: list[Phases] = [()]
    over = threading.Event()

    def tell(phases: Phases) -> bool:
        latest[0] = phases
        return not cancelled.is_set()

    def report() -> None:
        # Also while nothing moves: the one who waits sees the time go by, and may cancel.
        with suppress(OSError):
            while not over.wait(_EVERY) and not cancelled.is_set():
                replies.write(json.dumps({"phases": latest[0]}) + "\n")

    asked = dict(request["options"])
    cache = asked.pop("timing_cache")
    options = network.BuildOptions(
        **{**asked, "capabilities": tuple(asked["capabilities"]), "kept": tuple(asked["kept"])},
        timing_cache=None if cache is None else Path(cache).read_bytes() if cache else b"",
    )
    profiles = [
        {name: (tuple(low), tuple(opt), tuple(high)) for name, (low, opt, high) in one.items()}
        for one in request["profiles"]
    ]
    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        return network.build(library.load(request["flavour"]), Path(request["file"]), profiles, options, tell)
    finally:
        over.set()
        reporter.join()  # what is written next must not be written into its line


def built_to_json(built: network.Built) -> dict[str, Any]:
    """Everything but the plan and the timing cache, of which the sizes are told."""
    told = {**vars(built), "layers": [asdict(layer) for layer in built.layers]}
    told["plan"] = None if built.plan is None else len(built.plan)
    told["timing_cache"] = None if built.timing_cache is None else len(built.timing_cache)
    told["problems"] = [asdict(problem) for problem in built.problems]
    return told


def built_from_json(told: Mapping[str, Any], plan: bytes | None, timing_cache: bytes | None) -> network.Built:
    """The other way."""
    return network.Built(
        plan,
        tuple(map(_layer, told["layers"])),
        told["scratch"],
        tuple(network.ParserProblem(**problem) for problem in told["problems"]),
        tuple(told["errors"]),
        tuple(told["warnings"]),
        timing_cache,
        told["products"],
    )


def _layer(told: Mapping[str, Any]) -> Layer:
    sides = {
        side: tuple(LayerTensor(t["name"], tuple(t["dims"]), t["dtype"]) for t in told[side])
        for side in ("inputs", "outputs", "constants")
    }
    return Layer(told["name"], told["type"], told["tactic"], nodes=tuple(told["nodes"]), **sides)


if __name__ == "__main__":
    main()
