"""What the generation loop costs beside its graphs: the same generation with graphs that do nothing, in processor time.

    python scripts/bench/generation/loop_costs.py BUNDLE [--rows 1,8] [--tokens 120]

Nothing is timed but our own Python and numpy, warm: the least of many generations. docs/use/generation.md has figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from attn_runtime.generate import GenerateOptions, Generator, Sample, open_generator


class Nothing:
    """Stands in for a bound call: its buffers stay as they are."""

    def __init__(self, call: Any) -> None:
        self.inputs, self.outputs = call.inputs, call.outputs

    def __call__(self) -> Mapping[str, Any]:
        return self.outputs


def prompts(generator: Generator, rows: int) -> dict[str, np.ndarray]:
    """Zeros of the usual sizes, nothing of them padding."""
    sizes = {"batch": rows}
    return {s.name: (np.ones if s.dtype == "bool" else np.zeros)(s.shape(sizes), s.dtype) for s in generator.inputs}


def microseconds(generator: Generator, rows: int, options: GenerateOptions) -> float:
    """Processor time of a step."""
    inputs = prompts(generator, rows)
    steps = generator.generate(inputs, options).steps
    plan = next(reversed(generator._plans.values()))
    plan._steps = {size: (cache, Nothing(call)) for size, (cache, call) in plan._steps.items()}  # type: ignore[misc]
    plan._first = Nothing(plan._first)  # type: ignore[assignment]
    plan._encoder = plan._encoder and Nothing(plan._encoder)  # type: ignore[assignment]
    best = float("inf")
    for _ in range(50):
        started = time.thread_time()
        generator.generate(inputs, options)
        best = min(best, time.thread_time() - started)
    generator._plans.clear()
    return best / steps * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--rows", default="1,8")
    parser.add_argument("--tokens", type=int, default=120)
    asked = parser.parse_args()
    most = asked.tokens
    kinds = {
        "greedy": GenerateOptions(most, stop=()),
        "greedy, scores": GenerateOptions(most, stop=(), scores=True),
        "top_k 20, top_p 0.9": GenerateOptions(most, stop=(), sample=Sample(0.8, 20, 0.9)),
        "4 beams": GenerateOptions(most, beams=4, stop=()),
    }
    with open_generator(asked.bundle, "cpu", threads=1) as generator:
        print(
            f"vocabulary {generator.vocabulary}, at most {generator.max_length} tokens; us of a step beside its graph"
        )
        for rows in map(int, asked.rows.split(",")):
            for name, options in kinds.items():
                if rows * (options.beams or 1) <= generator.most_rows:
                    print(f"{rows:3} rows  {name:20} {microseconds(generator, rows, options):7.1f}")


if __name__ == "__main__":
    main()
