"""PyTorch's answers at the sizes between the corners, on disk, and a graph's answers held against them one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Arrays, Case, write_tensors
from attn_runtime.errors import OutputError
from safetensors.numpy import load_file

from ..reference import Signature, SweepPlan, run_module

#: What the cases may take on disk together, in bytes.
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Sweep:
    """Cases whose inputs and answers lie in files; those of number N are drawn from `seed` + N.

    `complete` names the dims of which every size is asked.
    """

    seed: int = 0
    cases: tuple[Case[Path], ...] = ()
    complete: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cases)

    @property
    def text(self) -> str:
        """What was swept, for a person: "117 more sizes (every T)"."""
        count = f"{len(self.cases)} more size{'s' if len(self.cases) != 1 else ''}"
        return count + (f" (every {', '.join(self.complete)})" if self.complete else "")

    def answers(self) -> Iterator[Case[Arrays]]:
        """The cases with their arrays, one in memory at a time."""
        for case in self.cases:
            yield Case(case.name, case.sizes, load_file(case.inputs), load_file(case.outputs))

    def to_json(self, worst: float) -> dict[str, Any]:
        """What the manifest says of it; `worst` is the largest error seen, as a share of max|reference|."""
        dims = sorted({name for case in self.cases for name in case.sizes})
        return {
            "seed": self.seed,
            "dims": dims,
            "sizes": [[case.sizes[name] for name in dims] for case in self.cases],
            "complete": list(self.complete),
            "worst_relative_error": worst,
        }


def swept_cases(sweep: Mapping[str, Any] | None) -> tuple[tuple[str, Mapping[str, int], int], ...]:
    """The cases of what `Sweep.to_json` gave, as a manifest or a file's metadata has it: name, sizes, seed of the inputs."""
    if not sweep:
        return ()
    named = [dict(zip(sweep["dims"], sizes, strict=True)) for sizes in sweep["sizes"]]
    return tuple((_name(sizes), sizes, sweep["seed"] + number) for number, sizes in enumerate(named))


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
        answer = run_module(signature, Case(_name(drawn.sizes), drawn.sizes, {}, {}), drawn.inputs)
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


def _name(sizes: Mapping[str, int]) -> str:
    return "size " + "x".join(str(n) for n in sizes.values())
