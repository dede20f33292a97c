"""What an export with every check costs beside a bare `torch.onnx.export` of the same module: time and peak memory.

Expected before measuring: at most 1.5x of the time for AttentionNet and for a 3 GB stack of layers, and a peak memory
under 2.5x of the weights for the large one. Both sides run as fresh processes, alternating, best of --repeat. Memory is
the largest sum of PSS (proportional set size, so that pages shared by parent and child count once) over the process
tree, sampled every 100 ms in one more run of each side, which is not timed: reading it slows a large process down.

What the checks cost grows with the ranges that are checked: PyTorch and ONNX Runtime each answer at every corner. The
ranges here are batch 1:8:32 for AttentionNet (its own), batch 1:2:4 and T 1:8:16 for the large stack.

usage: export_cost.py [--model attentionnet|large] [--gigabytes 3] [--longest 16] [--repeat 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found.extend(tree(int(child)))
        except OSError:
            continue
    return found


def memory_bytes(pid: int) -> int:
    total = 0
    for member in tree(pid):
        try:
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue  # it ended between the two reads
    return total


class Cost(NamedTuple):
    """Wall seconds of a command, those of processors that it and its children took, and the peak bytes of their memory: 0 where
    that was not looked at."""

    seconds: float
    processor: float
    peak: int


def cost_of(command: list[str], memory: bool = False) -> Cost:
    """What a command costs; it must succeed."""
    start, peak, before = time.perf_counter(), 0, _of_children()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=HERE, stdout=said, stderr=subprocess.STDOUT)
        while memory and process.poll() is None:
            peak = max(peak, memory_bytes(process.pid))
            time.sleep(0.1)
        process.wait()
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read()[-3000:]}")
    return Cost(seconds, _of_children() - before, peak)


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands(model: str, gigabytes: float, longest: int, folder: Path) -> dict[str, list[str]]:
    python = sys.executable
    ours = [python, "-m", "attn_export.cli.app", "to-onnx", "-o", str(folder / "ours.attn"), "--quiet"]
    if model == "attentionnet":
        ours += ["attentionnet"]
    else:
        ours += ["large_stack:build", "--config", f"gigabytes={gigabytes}", "--input", "x_BTC:float32[batch,T,4096]"]
        ours += ["--dim", "batch=1:2:4", "--dim", f"T=1:8:{longest}"]
    bare = [python, "bare_export.py", model, str(folder / "bare.onnx"), "--gigabytes", str(gigabytes)]
    return {"bare torch.onnx.export": bare, "attn-export to-onnx": ours}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["attentionnet", "large"], default="attentionnet")
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--longest", type=int, default=16, help="largest T of the large stack")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="attn-cost-") as folder:
        for _ in range(arguments.repeat):
            for name, command in commands(
                arguments.model, arguments.gigabytes, arguments.longest, Path(folder)
            ).items():
                row = rows.setdefault(name, {"seconds": float("inf")})
                row["seconds"] = min(row["seconds"], cost_of(command).seconds)
        for name, command in commands(arguments.model, arguments.gigabytes, arguments.longest, Path(folder)).items():
            rows[name]["peak_bytes"] = cost_of(command, memory=True).peak
        weights = sum(f.stat().st_size for f in Path(folder, "ours.attn").glob("model.onnx*"))
    bare, ours = rows["bare torch.onnx.export"], rows["attn-export to-onnx"]
    result = {
        "model": arguments.model,
        "weight_bytes": weights,
        "rows": rows,
        "time_ratio": ours["seconds"] / bare["seconds"],
        "peak_over_weights": ours["peak_bytes"] / weights,
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{arguments.model}, {weights / 1e9:.2f} GB of weights, best of {arguments.repeat}")
    for name, row in rows.items():
        print(f"  {name:<24} {row['seconds']:7.1f} s   peak {row['peak_bytes'] / 1e9:5.2f} GB", end="")
        print(f" = {row['peak_bytes'] / weights:.2f}x weights" if arguments.model == "large" else "")
    print(f"  time: {result['time_ratio']:.2f}x of the bare export")


if __name__ == "__main__":
    main()
