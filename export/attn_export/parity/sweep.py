"""PyTorch's answers at the sizes between the corners, on disk, and a graph's answers held against them one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Arrays, Case
from safetensors.numpy import load_file


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
    return tuple((case_name(sizes), sizes, sweep["seed"] + number) for number, sizes in enumerate(named))


def case_name(sizes: Mapping[str, int]) -> str:
    return "size " + "x".join(str(n) for n in sizes.values())
