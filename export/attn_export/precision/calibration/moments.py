"""Second moments of the inputs of products: what a rounding of weights needs that looks at the error of the product.

GPTQ (Frantar et al., 2022) rounds the columns of a weight in turn and makes up for each error in those that follow, by the
inverse of the mean of x^T x over what the product is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import UsageError
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ..layerwise import STANDS_FOR_INFINITY
from .batches import Progress, run_in_batches
from .collecting import collect
from .samples import Samples

#: Seconds of a batch: each reads and writes all sums, a gigabyte for an encoder of BERT's size.
_SECONDS = 60.0
#: What the matrix and the number of its rows are called in their file.
MOMENTS, ROWS = "moments", "rows"
_SUM = "sum"


def second_moments(
    source: Path,
    tensors: Sequence[str],
    samples: Samples,
    isolated: ChildProcess,
    work: Path,
    progress: Progress,
    *,
    large: bool = False,
) -> Mapping[str, Path]:
    """The mean of x^T x over the rows of each of `tensors`, [..., K], in all samples: files in `work`, by name of the tensor.

    Each holds a matrix "moments": float32 [K, K], symmetric, in the square of the tensor's unit; sums are float64, in the order
    of the samples. Beside it "rows", int64 [1], says of how many rows it is the mean. Rows with a number that is not finite, or
    stands for infinity, are left out. Parameters as `calibrate` has them. Raises UsageError for no samples or bad ones, and for a
    tensor of no finite rows; PassError where the graph can't be run, and for a tensor without axes or whose last one changes.
    """
    names = list(dict.fromkeys(tensors))
    files = {name: work / f"moments-{number}.safetensors" for number, name in enumerate(names)}
    for path in files.values():
        path.unlink(missing_ok=True)
    run_in_batches(
        f"{__name__}:collect_here",
        samples,
        isolated,
        work,
        progress,
        _SECONDS,
        graph=str(source),
        names=names,
        large=large,
        files=[str(path) for path in files.values()],
    )
    for name, path in files.items():
        found = load_file(path)
        rows = int(found[ROWS][0])
        if not rows:
            raise UsageError(
                f"tensor {name}: no row of it is finite in {samples.source}, so that there are no moments of it; give samples "
                "that reach it with --calibrate"
            )
        write_tensors(path, {MOMENTS: (found[_SUM] / rows).astype(np.float32), ROWS: found[ROWS]})
    return files


def collect_here(
    graph: str, names: list[str], samples: list[str], together: int, large: bool, files: list[str]
) -> dict[str, Any]:
    """The task of the child process: goes on from what lies in `files`."""
    moments = _Moments(dict(zip(names, map(Path, files), strict=True)))
    return {"together": collect(graph, names, samples, together, large, moments)}


class _Moments:
    """Collector of sums, those of a few tensors in memory at a time."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._held: dict[str, tuple[NDArray[np.float64], int]] = {}

    def take(self, name: str, value: NDArray[np.floating]) -> int:
        if not value.ndim:
            raise ValueError(f"tensor {name} has no axes, expected [..., K]")
        rows = value.reshape(-1, value.shape[-1]).astype(np.float32, copy=False)
        total, count = self._held[name] if name in self._held else self._before(name, rows.shape[1])
        if total.shape[0] != rows.shape[1]:
            raise ValueError(f"tensor {name} ends in an axis of {rows.shape[1]}, and of {total.shape[0]} before")
        with np.errstate(invalid="ignore"):
            meant = (np.abs(rows) < STANDS_FOR_INFINITY).all(1)
        if not meant.all():
            rows = rows[meant]
        total += rows.T @ rows
        self._held[name] = total, count + len(rows)
        # The product is as large as half of the sum.
        return total.nbytes + total.nbytes // 2

    def finish(self, names: Sequence[str]) -> None:
        for name in names:
            total, count = self._held.pop(name)
            write_tensors(self._files[name], {_SUM: total, ROWS: np.array([count], np.int64)})

    def _before(self, name: str, width: int) -> tuple[NDArray[np.float64], int]:
        path = self._files[name]
        if not path.exists():
            return np.zeros((width, width)), 0
        found = load_file(path)
        return found[_SUM], int(found[ROWS][0])
