"""PyTorch's answers at the sizes of a sweep, asked and written to files. Apart from `sweep`, which brings no torch."""

from __future__ import annotations

import time
from pathlib import Path

from attn_runtime.bundle import Arrays, Case, write_tensors
from attn_runtime.errors import OutputError

from ..reference import Signature, SweepPlan, run_module
from .sweep import Sweep, case_name

#: What the cases may take on disk together, in bytes.
_MOST_BYTES = 1 << 30


def record_sweep(plan: SweepPlan, signature: Signature, folder: Path, seed: int) -> Sweep:
    """What PyTorch answers at each of the plan's sizes, written to `folder`.

    Ends early where it takes longer than was granted, or more of the disk. OutputError where the disk is full.
    """
    cases: list[Case[Path]] = []
    size, start = 0, time.monotonic()
    for number, sizes in enumerate(plan.sizes):
        if size > _MOST_BYTES or time.monotonic() - start > plan.limit:
            return Sweep(seed, tuple(cases))
        drawn = signature.draw(sizes, seed + number)
        answer = run_module(signature, Case(case_name(drawn.sizes), drawn.sizes, {}, {}), drawn.inputs)
        paths = folder / f"{number}.in.safetensors", folder / f"{number}.out.safetensors"
        for arrays, path in zip((answer.inputs, answer.outputs), paths, strict=True):
            _write(arrays, path)
            size += path.stat().st_size
        cases.append(Case(answer.name, answer.sizes, *paths))
    return Sweep(seed, tuple(cases), plan.complete)


def _write(arrays: Arrays, path: Path) -> None:
    try:
        write_tensors(path, arrays)
    except OutputError as error:
        raise OutputError(
            f"can't write PyTorch's answers to {path.parent}: {error.__cause__}; free some space there, set TMPDIR, or leave "
            "the sizes between the corners out with --sweep 0. What was there is unchanged"
        ) from error
