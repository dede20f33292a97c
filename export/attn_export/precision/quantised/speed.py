"""How long a graph takes on this machine's CPU, measured when it is made: a number of a front, not a benchmark."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn_runtime.child_process import ChildProcess
from numpy.typing import NDArray

#: Seconds that one graph is timed for, and the least number of calls.
SECONDS, _LEAST = 0.5, 3


def measure(graphs: list[Path], inputs: Path, isolated: ChildProcess) -> list[float]:
    """Median seconds of one call of each graph with these inputs, in ONNX Runtime on the CPU."""
    reply = isolated.run(
        "attn_export.precision.quantised.speed:measure_here",
        "timing the quantised graphs",
        graphs=[str(graph) for graph in graphs],
        inputs=str(inputs),
        most=SECONDS,
    )
    return [float(seconds) for seconds in reply["seconds"]]


def measure_here(graphs: list[str], inputs: str, most: float) -> dict[str, Any]:
    """The task of the child process."""
    from safetensors.numpy import load_file

    values = load_file(inputs)
    return {"seconds": [_median(Path(graph), values, most) for graph in graphs]}


def _median(graph: Path, values: Mapping[str, NDArray[Any]], most: float) -> float:
    """Of one graph, whose session ends here: the next one may take as much memory."""
    from attn_runtime.ort import cpu_options, make_session

    session = make_session(graph, cpu_options())
    known = {i.name for i in session.get_inputs()}
    fed = {name: value for name, value in values.items() if name in known}
    session.run(None, fed)
    times: list[float] = []
    while len(times) < _LEAST or sum(times) < most:
        started = time.perf_counter()
        session.run(None, fed)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
