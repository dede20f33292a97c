"""What a bound call of the C++ runtime costs beside ONNX Runtime's own C IoBinding, on a Gemm of 1x16 by 16x10, one thread.

    make bench-cpp            or: python scripts/bench/bench_cpp.py [--build build/cpp/release] [--processes 5]

Expected before it was measured: 1.01. A bound call is one virtual call, a check of a pointer and the clearing of an empty
message around the same RunWithBinding: 10 to 20 ns on 1.9 us. The goal is 1.05. Both take turns in one process, and several
processes are run, since where a process's memory happens to lie moves either by more than that; the median of all ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_cpp_generation import ROOT, made, measure, onnxruntime_library
from support.graphs.make_hostile_bundles import make_valid_bundle

GOAL = 1.05
MOST_BYTES = 200_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "cpp" / "release", help="a build with ATTN_BENCH"
    )
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    program, library = asked.build / "bench" / "attn_bench_bound", onnxruntime_library()
    ratios: list[float] = []
    ours: list[float] = []
    raw: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_valid_bundle(Path(folder) / "gemm.attn")
        for _ in range(asked.processes):
            done = subprocess.run([*pinned(), program, bundle, library], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            ratios += found["ratios"]
            ours += found["ours_us"]
            raw += found["raw_us"]
    size = stripped_size(asked.build / "libattn_runtime.so")
    ratio = statistics.median(ratios)
    low, high = statistics.quantiles(ratios, n=4)[0::2]
    print(
        f"bound call {statistics.median(ours):.2f} us, ONNX Runtime's IoBinding {statistics.median(raw):.2f} us ({library.name})"
    )
    print(
        f"ratio {ratio:.3f} (half of {len(ratios)} rounds within {low:.3f}..{high:.3f}), goal {GOAL}: {verdict(ratio <= GOAL)}"
    )
    print(f"library {size:,} bytes stripped, goal {MOST_BYTES:,}: {verdict(size <= MOST_BYTES)}")
    with tempfile.TemporaryDirectory() as folder:
        generation = measure(asked.build, made(Path(folder)), rounds=15)
    if asked.json:
        figures = {"ours_us": ours, "raw_us": raw, "ratios": ratios, "ratio": ratio, "library_bytes": size}
        figures["generation_ratios"] = generation
        asked.json.write_text(json.dumps(figures))
    return 0


def pinned() -> list[str]:
    """One core for the whole process, where taskset is there: moving between two costs more than what is measured."""
    core = max(os.sched_getaffinity(0))
    return ["taskset", "-c", str(core)] if Path("/usr/bin/taskset").exists() else []


def stripped_size(library: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "stripped.so"
        subprocess.run(["strip", "-o", copy, library.resolve()], check=True)
        return copy.stat().st_size


def verdict(met: bool) -> str:
    return "met" if met else "NOT met"


if __name__ == "__main__":
    sys.exit(main())
