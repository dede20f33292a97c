"""Greedy generation in C++ beside the same in Python, over one ONNX Runtime: a translator, one thread, the same tokens.

    python scripts/bench/bench_cpp_generation.py [--build build/cpp/release] [--bundle BUNDLE.attn] [--rounds 15]

Expected before it was measured: a step of a small model takes 200 us in ONNX Runtime. Python adds some 25 us to it (numpy's
copies into the cache, its argmax, a call with bound buffers), C++ about 2 us: 0.9 of Python's time for one row; less of a
difference with more rows, where the graph takes longer. The goal is to be no slower. Both take turns in one process; the
median of the ratios counts. Tokens are compared before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attn_runtime.generate import GenerateOptions, open_generator
from attn_runtime.native import capi

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from support.machines.generator_library import Generator
from support.models.tiny_generators import Tiny, write_bundle

ROOT = Path(__file__).parents[2]
GOAL = 1.0
WORK = ((1, 16), (1, 48), (8, 16), (8, 48))  # (rows, tokens)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "cpp" / "release")
    parser.add_argument("--bundle", type=Path, help="a translator; left out: a random one of the built-in one's size")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(asked.build, asked.bundle or made(Path(folder)), asked.rounds)
    return 0


def made(folder: Path) -> Path:
    return write_bundle(
        folder / "made.attn", Tiny(layers=2, heads=4, key_heads=4, head_size=32, vocabulary=1100, max_length=64)
    )


def onnxruntime_library() -> Path:
    """The library that C++ loads: the caller's own, or the one that Python's sessions run in."""
    library = os.environ.get("ATTN_ONNXRUNTIME") or capi.onnxruntime_library()
    if library is None:
        sys.exit("error: no ONNX Runtime; pip install onnxruntime or set ATTN_ONNXRUNTIME")
    return Path(library)


def measure(build: Path, bundle: Path, rounds: int) -> list[float]:
    """Print a line for each amount of work. Returns their ratios, C++ over Python."""
    ratios = []
    with (
        Generator(build / "libattn_runtime.so", bundle, library=onnxruntime_library()) as cpp,
        open_generator(bundle, "cpu", "ort", threads=1) as python,
    ):
        for rows, tokens in WORK:
            most = min(tokens, python.max_length - 1)
            source = np.tile(np.arange(5, 13), (rows, 1))
            inputs = {"source": source, "source_mask": np.ones(source.shape, bool)}
            options = GenerateOptions(max_length=most, stop=())

            def ours(inputs: dict[str, np.ndarray] = inputs, most: int = most) -> object:
                return cpp.generate(inputs, max_length=most, stop=[])

            def theirs(inputs: dict[str, np.ndarray] = inputs, options: GenerateOptions = options) -> object:
                return python.generate(inputs, options)

            written = [row.tokens for row in cpp.generate(inputs, max_length=most, stop=[])]
            assert written == python.generate(inputs, options).tokens.tolist(), "C++ writes other tokens than Python"
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
            ratio = statistics.median(one / other for one, other in pairs)
            ratios.append(ratio)
            per_token = [statistics.median(times) / most * 1e6 for times in zip(*pairs, strict=True)]
            print(
                f"{rows} rows, {most} tokens: a step takes {per_token[0]:.0f} us in C++, {per_token[1]:.0f} us in Python; "
                f"ratio {ratio:.3f}, goal {GOAL}: {'met' if ratio <= GOAL else 'NOT met'}"
            )
    return ratios


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
